"""Who may say what, and when: the table, cell by cell."""

from itertools import product
from typing import get_args

import pytest

from zpipe import wire
from zpipe.rules.conduct import MAY_SAY, Kind, Phase, kind_of

SAYINGS = get_args(wire.FromWorker)

LIVES: dict[Kind, list[tuple[type[wire.FromWorker], Phase]]] = {
    "ingest": [
        (wire.Ready, "working"),
        (wire.Open, "working"),
        (wire.Listed, "working"),
        (wire.GaveBack, "working"),
        (wire.Read, "working"),
        (wire.End, "working"),
        (wire.Read, "working"),
    ],
    "stage": [(wire.Ready, "working"), (wire.Output, "working"), (wire.Output, "working")],
    "sink": [
        (wire.Bound, "bound"),
        (wire.Ready, "working"),
        (wire.PublishedUpTo, "working"),
        (wire.Closed, "working"),
        (wire.PublishedUpTo, "working"),
    ],
}
"""What each kind of worker says in its life, and the phase that it is in then."""


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_life_of_a_worker_is_in_the_table(kind: Kind) -> None:
    phase: Phase = "starting"
    for said, following in LIVES[kind]:
        phase = MAY_SAY[kind, phase, said]
        assert phase == following


def test_nothing_else_is_in_it() -> None:
    """Edge 27: Ready twice, End from a stage, a frame before Ready, Bound from who is no sink."""
    lives = set()
    for kind, life in LIVES.items():
        phase: Phase = "starting"
        for said, following in life:
            lives.add((kind, phase, said))
            phase = following
    allowed = {cell for cell in MAY_SAY if cell[2] is not wire.Refused}
    assert allowed == lives


@pytest.mark.parametrize(("kind", "phase"), list(product(get_args(Kind), get_args(Phase))))
def test_who_cannot_go_on_may_say_so_at_any_time(kind: Kind, phase: Phase) -> None:
    assert MAY_SAY[kind, phase, wire.Refused] == "ended"


def test_every_message_can_be_said_by_somebody() -> None:
    assert {said for _, _, said in MAY_SAY} == set(SAYINGS)


@pytest.mark.parametrize(
    ("role", "kind"),
    [("ingest", "ingest"), ("detect", "stage"), ("classify", "stage"), ("track", "stage"), ("sink", "sink")],
)
def test_the_kind_of_a_role(role: str, kind: Kind) -> None:
    assert kind_of(role) == kind
