"""What `zpipe up` shows to a person: a table of the stages, drawn anew in place, log lines above it."""

import logging

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.table import Table

from zpipe.show.display import Lines, one_line
from zpipe.snapshot import Snapshot

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

    def started(self, snapshot: Snapshot) -> None:
        """Where to subscribe; then the table."""
        super().started(snapshot)
        self._live.start()

    def progress(self, snapshot: Snapshot) -> None:
        """The table as it is now."""
        self._live.update(table_of(snapshot), refresh=True)

    def close(self) -> None:
        """Take the table away."""
        self._live.stop()


def table_of(snapshot: Snapshot) -> Table:
    """The stages of a running pipeline."""
    title = f"{snapshot.name}: {snapshot.state}, {one_line(snapshot).split(';')[0]}"
    table = Table(title=title, title_justify="left")
    for column in ("stage", "workers", "held", "queue", "done", "frames/s", "busy", "restarts"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage in snapshot.stages:
        ready = sum(worker.state != "starting" for worker in stage.workers)
        workers = f"{ready}/{stage.wanted}" if ready != stage.wanted else f"{ready}"
        if stage.role == "ingest" and not stage.wanted:
            workers = "ended"
        table.add_row(
            stage.stage, workers, str(stage.held), str(stage.queue), str(stage.done),
            f"{stage.frames_per_s:.1f}", f"{stage.busy:.0%}", str(stage.restarts),
        )  # fmt: skip
    return table


def print_status(snapshot: Snapshot) -> None:
    """A running pipeline, once."""
    console = Console()
    console.print(table_of(snapshot))
    for stage in snapshot.stages:
        for worker in stage.workers:
            told = f"pid {worker.pid}, {worker.state}, held {worker.held}, done {worker.done}"
            console.print(f"  {worker.worker}: {told}")
    for stream in snapshot.streams:
        console.print(
            f"stream {stream.stream}: read {stream.read}, published {stream.published}, ok {stream.ok}, "
            f"failed {stream.failed}, dropped {stream.dropped}"
        )
    memory = snapshot.memory
    console.print(
        f"publishing on {snapshot.publish}; memory: {memory.processes_bytes / 1e6:.0f} MB in processes, "
        f"{memory.frames_bytes / 1e6:.0f} MB of frames"
    )
