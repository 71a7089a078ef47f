"""Which worker counts are worth a run, and which to recommend. Pure."""

import math
from collections.abc import Mapping, Sequence

MOST_RUNS = 9
CLOSE = 0.03
"""Runs this close to the best are as good: what a run varies by from one time to the next."""

Counts = tuple[int, ...]
"""Workers of each model stage, in chain order."""


def propose_counts(cost: Sequence[float], cores: int) -> list[Counts]:
    """Counts to try for stages of these costs: the corners (one worker, a worker per core), and about the balance.

    In the balance each stage has the share of the cores that its cost has of all costs; rounded up and down, and with
    one to spare.
    """
    total = sum(cost) or 1.0
    shares = [cores * part / total for part in cost]
    down = tuple(max(1, math.floor(share)) for share in shares)
    up = tuple(max(1, math.ceil(share)) for share in shares)
    spare = tuple(min(max(cores, 1), count + 1) for count in up)
    corners = [tuple(1 for _ in cost), tuple(cores for _ in cost)]
    if len(cost) == 2:
        corners += [(1, cores), (cores, 1)]
    found = list(dict.fromkeys([corners[0], down, up, spare, *corners[1:]]))[:MOST_RUNS]
    return sorted(found, key=lambda counts: (sum(counts), counts))


def choose_best(reached: Mapping[Counts | None, float]) -> Counts | None:
    """The counts to recommend, by frames/s reached with them: of the fixed ones that are about as good as the best of
    them those with the fewest workers; None is `auto`, which is taken unless they were faster."""
    fixed = {counts: rate for counts, rate in reached.items() if counts is not None}
    if not fixed:
        return None
    most = max(fixed.values())
    good = [counts for counts, rate in fixed.items() if rate >= most * (1 - CLOSE)]
    chosen = min(good, key=lambda counts: (sum(counts), -fixed[counts]))
    return None if reached.get(None, 0.0) >= fixed[chosen] else chosen
