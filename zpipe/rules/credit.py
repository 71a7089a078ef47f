"""How many frames a worker may hold, and how many may be in flight: the numbers that bound memory and latency."""

from collections.abc import Sequence

DEPTH = 2
"""Most frames a worker may hold: one in work, one waiting, so that it never idles for the length of a round trip.
Where frames take less than a round trip (`depth_for`) it may hold more."""

MOST_DEPTH = 16
FILL_S = 0.002
"""A worker should hold work for two milliseconds: the longest that a busy machine takes for a round trip."""

BURST = 4
"""A source gets slots again when it may fill a quarter of its share: then its frames travel together, in one message
instead of four, and what wakes the broker for each costs more than all that it does with it."""

SINK_DEPTH = 1 << 30
"""The sink orders each stream, so it must be able to take every frame in flight; the slots bound their number."""


def depth_for(work_s: float) -> int:
    """How many frames a worker may hold that takes so long for one."""
    return max(DEPTH, min(MOST_DEPTH, int(FILL_S / max(work_s, 1e-6)) + 1))


def limit_for(counts: Sequence[int], depths: Sequence[int], readers: int) -> int:
    """Enough frames in flight that no worker waits: what all may hold, one being read per ingest worker, and as many
    again as there are workers for the results that wait for an earlier one of their stream."""
    return sum(count * (depth + 1) for count, depth in zip(counts, depths, strict=True)) + 2 * readers
