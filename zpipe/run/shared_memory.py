"""Shared memory that is short: sees who waits for some, gives back what idle slots keep, says when that cannot help.

Knows not which frame waits: that is the worker's, whose row on the board says only that it does.
"""

from collections.abc import Sequence

from zpipe.errors import RunFailed
from zpipe.rules.ledger import Ledger
from zpipe.run.supervisor import Supervisor
from zpipe.transport.board import WAITING
from zpipe.transport.store import SHARED_MEMORY, Store

SHORT_S = 5.0
"""After somebody has waited, slots do not keep their memory for so long: it is needed again at once, most likely."""

ALONE_S = 10.0
"""Who waits for so long with no frame in flight waits for memory that other programs hold."""


class SharedMemory:
    """The memory of a run's frames, as far as it is short."""

    def __init__(self, store: Store, ledger: Ledger, supervisor: Supervisor) -> None:
        self._store = store
        self._ledger = ledger
        self._supervisor = supervisor
        self._short_until = 0.0
        self._alone_since = float("inf")

    def look(self, now: float) -> None:
        """On each tick; RunFailed if somebody waits for what nobody here can give back."""
        waiting = [worker for worker, row in self._supervisor.rows() if row.state == WAITING]
        if waiting:
            self._short_until = now + SHORT_S
            self.give_back(now, self._ledger.free)
        if not waiting or self._ledger.frames:
            self._alone_since = float("inf")
            return
        self._alone_since = min(self._alone_since, now)
        if now - self._alone_since > ALONE_S:
            last = "".join(f"\n  {line}" for line in list(waiting[0].process.tail)[-1:])
            raise RunFailed(
                f"{waiting[0].name} waits for shared memory: {SHARED_MEMORY} has {self._store.free_bytes / 1e6:.1f} MB"
                f" left, and no frame is in flight that would give any back; make it larger (Docker: --shm-size){last}"
            )

    def give_back(self, now: float, idle: Sequence[int]) -> None:
        """What these slots keep, if memory is short."""
        if now < self._short_until:
            self._store.cut(frozenset(idle))
