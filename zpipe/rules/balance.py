"""How many workers each stage gets, and how many threads each worker. Pure rules.

With `count: auto` a worker has one thread, and there are a few more workers than cores: then no core can idle while a
frame waits at any stage, and the kernel deals the cores to those that have work. Which stage needs how many
follows from what a frame costs there, measured while running. Threads inside a worker would have to be balanced too,
and two on one frame are slower than one each on two frames.
"""

import math
from collections.abc import Sequence

SPARE = 1
"""Workers of a stage beyond its share of the cores: for rounding, and for frames dearer than the average."""

FIRST_FRAMES = 20
"""Frames that a stage must have done before its cost is believed."""


def first_counts(wanted: Sequence[int | str], available: int) -> list[int]:
    """Workers that the model stages start with: what is configured; for `auto` an even share of the cores."""
    share = min(available, math.ceil(available / len(wanted)) + SPARE)
    return [share if isinstance(count, str) else count for count in wanted]


def counts_for(cost: Sequence[float], available: int) -> list[int]:
    """Workers that stages of these costs (CPU seconds a frame) keep busy together on so many cores."""
    total = sum(cost)
    if total <= 0:
        return [1 for _ in cost]
    return [max(1, min(available, math.ceil(available * part / total) + SPARE)) for part in cost]


def threads(wanted: int | str, counts: Sequence[int], available: int) -> int:
    """Threads of one worker: the cores divided among the workers of all model stages."""
    return max(1, available // sum(counts)) if isinstance(wanted, str) else wanted


class Balance:
    """Watches what frames cost in each stage and says how many workers that calls for.

    A proposal counts only when two measurements in a row agree: starting a worker costs a second of a core.
    """

    def __init__(self, automatic: Sequence[bool], available: int) -> None:
        self.automatic = list(automatic)
        self._available = available
        self._before: list[tuple[float, int]] | None = None
        self._proposed: list[int] | None = None

    def measure(self, cpu_s: Sequence[float], done: Sequence[int]) -> list[int | None]:
        """Takes each stage's total CPU seconds and frames done; returns workers wanted (None: as they are)."""
        unchanged: list[int | None] = [None for _ in done]
        if self._before is None:
            self._before = list(zip(cpu_s, done, strict=True))
            return unchanged
        frames = [now - before for now, (_, before) in zip(done, self._before, strict=True)]
        if min(frames) < FIRST_FRAMES:
            return unchanged
        spent = [now - before for now, (before, _) in zip(cpu_s, self._before, strict=True)]
        self._before = list(zip(cpu_s, done, strict=True))
        proposal = counts_for([max(0.0, s) / n for s, n in zip(spent, frames, strict=True)], self._available)
        agreed, self._proposed = proposal == self._proposed, proposal
        if not agreed:
            return unchanged
        return [count if automatic else None for count, automatic in zip(proposal, self.automatic, strict=True)]
