"""How many workers each stage gets, and how many threads each worker. Pure rules and the one fact that they need.

With `count: auto` every model stage starts with a worker per core, each of one thread: then no core can idle while a
frame waits at any stage, whichever stage that is, and the kernel shares the cores among those that have work.
"""

import os
from collections.abc import Sequence
from pathlib import Path

MOST_AUTO = 64


def cores() -> int:
    """The cores that this process may use: its affinity, less what the container's quota leaves of them."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return max(1, count)


def first_count(wanted: int | str, available: int) -> int:
    """Workers that a stage starts with."""
    return min(available, MOST_AUTO) if isinstance(wanted, str) else wanted


def threads(wanted: int | str, counts: Sequence[int], available: int) -> int:
    """Threads of one worker: the cores divided among the workers of all model stages."""
    return max(1, available // sum(counts)) if isinstance(wanted, str) else wanted
