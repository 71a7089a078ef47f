"""Which worker may say what, and when, as one table. Pure.

A worker that says anything else is broken (a bug, memory that it has overwritten) or is not ours; what it said does not
count, and it is replaced.
"""

from typing import Literal

from zpipe.wire import (
    Bound,
    Closed,
    End,
    FromWorker,
    GaveBack,
    Listed,
    Open,
    Output,
    PublishedUpTo,
    Read,
    Ready,
    Refused,
)

Kind = Literal["ingest", "stage", "sink"]
"""Of workers: all model stages are alike here."""

Phase = Literal["starting", "bound", "working", "ended"]

MAY_SAY: dict[tuple[Kind, Phase, type[FromWorker]], Phase] = {
    ("ingest", "starting", Ready): "working",
    ("ingest", "working", Listed): "working",
    ("ingest", "working", Open): "working",
    ("ingest", "working", Read): "working",
    ("ingest", "working", GaveBack): "working",
    ("ingest", "working", End): "working",  # of one of its streams
    ("stage", "starting", Ready): "working",
    ("stage", "working", Output): "working",
    ("sink", "starting", Bound): "bound",
    ("sink", "bound", Ready): "working",
    ("sink", "working", PublishedUpTo): "working",
    ("sink", "working", Closed): "working",
}
"""The phase that a worker is in once it has said it."""

for _kind in ("ingest", "stage", "sink"):
    for _phase in ("starting", "bound", "working", "ended"):
        MAY_SAY[_kind, _phase, Refused] = "ended"  # whatever it was at, it may find that it cannot go on


def kind_of(role: str) -> Kind:
    """The kind of a worker of this role."""
    return "ingest" if role in ("ingest", "gate") else "sink" if role == "sink" else "stage"
