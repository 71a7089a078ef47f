"""Why frames failed, counted by stage and reason. Pure, and bounded however many reasons there are."""

import heapq
from collections import Counter

import msgspec

from zpipe import messages
from zpipe.snapshot import FailureCount

MOST_SHOWN = 3

MOST_REASONS = 1000
"""Reasons that are told apart. Where each frame has one of its own (its name is in it), the later ones are not kept."""

MOST_LETTERS = 200


class Failures:
    """The failed results of a run."""

    def __init__(self) -> None:
        self.at: Counter[str] = Counter()
        """By the stage that they come from (`detect`, `ingest`)."""
        self._reasons: Counter[tuple[str, str]] = Counter()

    def add(self, stage: str, body: bytes) -> None:
        """Count a failed result as a worker of `stage` has packed it."""
        self.at[stage] += 1
        try:
            error = messages.unpack(body).error
        except msgspec.DecodeError:
            return
        if isinstance(error, messages.Failure):
            key = error.stage, in_short(error.reason)
            if key in self._reasons or len(self._reasons) < MOST_REASONS:
                self._reasons[key] += 1

    def most_frequent(self) -> list[FailureCount]:
        """The most frequent first."""
        found = heapq.nlargest(MOST_SHOWN, self._reasons.items(), key=lambda item: item[1])
        return [FailureCount(stage, reason, count) for (stage, reason), count in found]


def in_short(reason: str) -> str:
    """A reason without what a dead worker has logged, which differs each time."""
    return reason.partition("; last log: ")[0].partition("\n")[0][:MOST_LETTERS]
