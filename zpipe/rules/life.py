"""The states of a run and the moves between them, as one table. Pure.

    starting ──bound──▶ waiting ──started──▶ running ──published──▶ lingering ──left──▶ stopping ──over──▶ done
                            (for subscribers)    └─drain─▶ draining ──▲

A move that is not in the table is not made: a second `drain`, a late `started` change nothing.
"""

from typing import Literal

State = Literal["starting", "waiting", "running", "draining", "lingering", "stopping", "done"]

Move = Literal[
    "bound",  # the sink's endpoints are there
    "started",  # every stage has a ready worker: the sources may read
    "drain",  # somebody asks to read nothing more
    "published",  # every stream's end is published
    "left",  # the sink is gone: every subscriber has caught up
    "fail",  # stop at once
    "over",  # every worker is gone
]

BEFORE_THE_END: tuple[State, ...] = ("starting", "waiting", "running", "draining")

MOVES: dict[tuple[State, Move], State] = {
    ("starting", "bound"): "waiting",
    ("waiting", "started"): "running",
    **{(state, "drain"): "draining" for state in ("starting", "waiting", "running")},
    **{(state, "published"): "lingering" for state in BEFORE_THE_END},
    ("lingering", "left"): "stopping",
    **{(state, "fail"): "stopping" for state in (*BEFORE_THE_END, "lingering")},
    ("stopping", "over"): "done",
}


class Life:
    """Where a run stands."""

    def __init__(self) -> None:
        self.state: State = "starting"

    def can(self, move: Move) -> bool:
        """Whether the move is possible now."""
        return (self.state, move) in MOVES

    def move(self, move: Move) -> bool:
        """Make the move if it is possible now; whether it was."""
        possible = self.can(move)
        if possible:
            self.state = MOVES[self.state, move]
        return possible

    @property
    def is_ending(self) -> bool:
        """The last result is published, or no further one will be."""
        return self.state not in BEFORE_THE_END
