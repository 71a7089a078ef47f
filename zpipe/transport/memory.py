"""How a worker waits for shared memory that others will give back; the one place where it sleeps."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from zpipe.transport.board import Heart
from zpipe.transport.store import Store, StoreFull

FIRST_NAP_S, LONGEST_NAP_S = 0.002, 0.1

T = TypeVar("T")

log = logging.getLogger(__name__)


def take_memory(
    take: Callable[[], T], give_back: Callable[[], object], heart: Heart, store: Store, most_s: float = float("inf")
) -> T:
    """What `take` returns, once there is memory for it; StoreFull if there is none for `most_s`.

    While it waits it holds nothing: `give_back` lets go of what `take` had taken, and of what lies idle here. It shows
    on the board that it waits; seeing that, the broker cuts the slots that nobody uses.
    """
    began, is_first = time.monotonic(), True
    while True:
        try:
            taken = take()
        except StoreFull as full:
            give_back()
            if time.monotonic() - began > most_s:
                raise
            if is_first:
                log.info("memory.awaited needed_mb=%.1f", full.needed_bytes / 1e6)
            _await(full.needed_bytes, give_back, heart, store, began + most_s)
        else:
            if not is_first:
                heart.resume()
            return taken
        is_first = False


def _await(needed_bytes: int, give_back: Callable[[], object], heart: Heart, store: Store, deadline: float) -> None:
    nap_s = FIRST_NAP_S
    while True:
        heart.wait()
        time.sleep(nap_s)
        if store.free_bytes >= needed_bytes or time.monotonic() > deadline:
            return
        give_back()
        nap_s = min(2 * nap_s, LONGEST_NAP_S)
