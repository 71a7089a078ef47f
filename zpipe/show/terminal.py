"""What `zpipe up` shows to a person: a table of the stages, drawn anew in place, log lines above it."""

import os
import shutil

from rich.cells import cell_len

from zpipe.show.display import Lines
from zpipe.show.outlet import Outlet
from zpipe.show.overview import overview
from zpipe.show.text import plain_lines
from zpipe.snapshot import Account, Snapshot

TERMINAL_S = 0.5
ERASE_BELOW = "\x1b[J"


class Terminal(Lines):
    """A table that is drawn anew in place. The cursor stands below it, at the start of a line."""

    every_s = TERMINAL_S

    def __init__(self, errors: Outlet) -> None:
        super().__init__(errors)
        self._table: list[str] = []
        """Its lines as they stand in the terminal now."""

    def say(self, text: str) -> None:
        """A line above the table."""
        self._errors.put(self._back() + f"zpipe: {plain_lines(text)}\n" + "".join(f"{row}\n" for row in self._table))

    def progress(self, snapshot: Snapshot) -> None:
        """The table as it is now."""
        columns, lines = size()
        table = overview(snapshot, columns)[: lines - 1]
        if self._errors.put(self._back() + "".join(f"{row}\n" for row in table), passing=True):
            self._table = table

    def ended(self, account: Account) -> None:
        """Take the table away; the ledger."""
        self._errors.put(self._back())
        self._table = []
        super().ended(account)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._errors.put(self._back())
        self._table = []
        super().close()

    def _back(self) -> str:
        """To where the table begins, taking it away.

        A terminal that has become narrower has broken its lines; where it has cut them instead, some log lines go too.
        """
        if not self._table:
            return ""
        columns, _ = size()
        height = sum(max(1, -(-cell_len(row) // columns)) for row in self._table)
        return f"\x1b[{height}A\r{ERASE_BELOW}"


def size() -> tuple[int, int]:
    """Columns and lines of the terminal."""
    try:
        columns, lines = os.get_terminal_size(2)
    except OSError:  # it is gone
        columns = lines = 0
    return columns or 80, lines or 24


def print_status(snapshot: Snapshot) -> None:
    """A running pipeline, once."""
    print(*overview(snapshot, shutil.get_terminal_size().columns), sep="\n")
    for stage in snapshot.stages:
        for worker in stage.workers:
            told = f"pid {worker.pid}, {worker.state}, held {worker.held}, done {worker.done}"
            print(f"  {worker.worker}: {told}")
    for stream in snapshot.streams:
        print(
            f"stream {stream.stream}: read {stream.read}, published {stream.published}, ok {stream.ok}, "
            f"failed {stream.failed}, dropped {stream.dropped}"
        )
    memory = snapshot.memory
    print(
        f"publishing on {snapshot.publish}; memory: {memory.processes_bytes / 1e6:.0f} MB in processes, "
        f"{memory.frames_bytes / 1e6:.0f} MB of frames"
    )
