"""A snapshot as lines for people: a title, and a table of its stages that fits the width it is given. Pure."""

import io
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from zpipe.show.display import progress_of
from zpipe.show.text import plain
from zpipe.snapshot import Snapshot, StageSnapshot

MOST_STREAMS = 8
"""Rows for sources: those that still run come first. The others are only counted."""

MOST_WIDTH = 10_000
"""Nothing is wider, so a table shows in it what width it would like."""

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
    title = f"{snapshot.name}: {snapshot.state}, {progress_of(snapshot)}"
    console = Console(file=io.StringIO(), width=width, color_system=None)
    unlimited = console.options.update(max_width=MOST_WIDTH)
    columns = list(COLUMNS)
    for column in LEAVE_OUT:
        if console.measure(table_of(snapshot, columns), options=unlimited).maximum <= width:
            break
        columns.remove(column)
    console.print(plain(title), markup=False, highlight=False)
    console.print(table_of(snapshot, columns))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def table_of(snapshot: Snapshot, columns: list[str]) -> Table:
    """The stages of a running pipeline, from ingest to sink."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), collapse_padding=True)
    for column in columns:
        table.add_column(column, justify="left" if column == "stage" else "right", overflow="fold")
    sources = [stage for stage in snapshot.stages if stage.role == "ingest"]
    shown = sorted(sources, key=has_ended)[:MOST_STREAMS]
    for stage in sources:
        if stage in shown:
            table.add_row(*(COLUMNS[column](stage) for column in columns))
    if len(sources) > len(shown):
        table.add_row(f"and {len(sources) - len(shown)} more")
    for stage in snapshot.stages:
        if stage.role != "ingest":
            table.add_row(*(COLUMNS[column](stage) for column in columns))
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
