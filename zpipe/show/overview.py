"""A snapshot as lines for people: a title, and a table of its stages that fits the width it is given. Pure."""

import io
from collections.abc import Callable

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zpipe.show.display import progress_of
from zpipe.show.text import plain
from zpipe.snapshot import Snapshot, StageSnapshot

MOST_STREAMS = 8
"""Rows for sources: those that still run come first. The others are only counted."""

GAP = 2
"""Blanks between columns."""

COLUMNS: dict[str, Callable[[StageSnapshot], str]] = {
    "stage": lambda stage: plain(stage.stage),
    "workers": lambda stage: workers_of(stage),
    "held": lambda stage: str(stage.held),
    "queue": lambda stage: str(stage.queue),
    "done": lambda stage: str(stage.done),
    "failed": lambda stage: str(stage.failed),
    "frames/s": lambda stage: f"{stage.frames_per_s:.1f}",
    "busy": lambda stage: f"{stage.busy:.0%}",
    "restarts": lambda stage: str(stage.restarts),
}

LEAVE_OUT = ("held", "restarts", "queue", "busy", "frames/s", "workers")
"""What a narrow terminal does without, in this order, so that names stay whole."""


def overview(snapshot: Snapshot, width: int) -> list[str]:
    """Lines no longer than `width`."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(plain(f"{snapshot.name}: {snapshot.state}, {progress_of(snapshot)}"), markup=False, highlight=False)
    rows = rows_of(snapshot)
    console.print(table_of(rows, columns_for(rows, width)))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def rows_of(snapshot: Snapshot) -> list[dict[str, str]]:
    """The cells of the stages, from ingest to sink, by column."""
    sources = [stage for stage in snapshot.stages if stage.role == "ingest"]
    left_out = sorted(sources, key=has_ended)[MOST_STREAMS:]
    rows = [
        {column: cell(stage) for column, cell in COLUMNS.items()} for stage in snapshot.stages if stage not in left_out
    ]
    if left_out:
        rows.insert(MOST_STREAMS, {"stage": f"and {len(left_out)} more"})
    return rows


def columns_for(rows: list[dict[str, str]], width: int) -> list[str]:
    """As many columns as fit without breaking a cell, the most important ones."""
    needed = {
        column: max(cell_len(text) for text in (column, *(row.get(column, "") for row in rows))) for column in COLUMNS
    }
    for column in LEAVE_OUT:
        if sum(needed.values()) + GAP * (len(needed) - 1) <= width:
            break
        del needed[column]
    return list(needed)


def table_of(rows: list[dict[str, str]], columns: list[str]) -> Table:
    """The stages of a running pipeline."""
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column == "stage" else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(row.get(column, "")) for column in columns))
    return table


def has_ended(source: StageSnapshot) -> bool:
    """Whether all of the source is read."""
    return not source.wanted


def workers_of(stage: StageSnapshot) -> str:
    """`2`; `1/2` while one of them starts."""
    if stage.role == "ingest" and has_ended(stage):
        return "ended"
    ready = sum(worker.state != "starting" for worker in stage.workers)
    return f"{ready}/{stage.wanted}" if ready != stage.wanted else f"{ready}"
