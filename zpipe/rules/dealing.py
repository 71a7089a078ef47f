"""How many free slots each reader gets: evenly, so that none may starve another of memory. Pure.

A reader deals what it gets to its own streams; how many those are makes no difference here, nor to the cost of this.
"""

from collections.abc import Iterable, Iterator

from zpipe.rules.accounts import Reader
from zpipe.rules.credit import BURST


def deal(readers: dict[int, Reader], free: int, limit: int) -> Iterator[tuple[int, int]]:
    """(worker, slots) for each reader that is to get some of `free` slots, if `limit` are used in all."""
    reading = {worker: reader for worker, reader in readers.items() if reader.streams or reader.granted}
    if not reading:
        return
    share = max(1, limit // len(reading))
    burst = max(1, share // BURST)
    for worker in _by_share(reading):
        room = min(free, share - reading[worker].used)
        if room >= burst:
            free -= room
            yield worker, room


def _by_share(reading: dict[int, Reader]) -> Iterable[int]:
    """Who uses least comes first."""
    return reading if len(reading) == 1 else sorted(reading, key=lambda worker: reading[worker].used)
