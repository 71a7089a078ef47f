"""What `zpipe up` shows to a person: a table of the stages, drawn anew in place, log lines above it."""

import logging
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.table import Table

from zpipe.run.broker import Broker
from zpipe.show.display import Lines, one_line

TERMINAL_S = 0.5


class Terminal(Lines):
    """A table that is drawn anew in place."""

    every_s = TERMINAL_S

    def __init__(self) -> None:
        super().__init__()
        console = Console(stderr=True)
        handler = RichHandler(console=console, show_path=False, show_level=False, markup=False, highlighter=None)
        logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[handler])
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def started(self, broker: Broker) -> None:
        """Where to subscribe; then the table."""
        super().started(broker)
        self._live.start()

    def progress(self, status: dict[str, Any]) -> None:
        """The table as it is now."""
        self._live.update(table_of(status), refresh=True)

    def close(self) -> None:
        """Take the table away."""
        self._live.stop()


def table_of(status: dict[str, Any]) -> Table:
    """The stages of a running pipeline."""
    table = Table(title=f"{status['name']}: {status['state']}, {one_line(status).split(';')[0]}", title_justify="left")
    for column in ("stage", "workers", "held", "queue", "done", "frames/s", "busy", "restarts"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in status["stages"]:
        ready = sum(worker["state"] != "starting" for worker in stage["workers"])
        workers = f"{ready}/{stage['wanted']}" if ready != stage["wanted"] else f"{ready}"
        if stage["role"] == "ingest" and not stage["wanted"]:
            workers = "ended"
        table.add_row(
            stage["stage"], workers, str(stage["held"]), str(stage["queue"]), str(stage["done"]),
            f"{stage['frames_per_s']:.1f}", f"{stage['busy']:.0%}", str(stage["restarts"]),
        )  # fmt: skip
    return table
