"""When a dead worker is replaced. A pure rule: what happened goes in, a delay or the advice to give up comes out.

Dying while starting is another event than dying at work: a model that crashes as it is loaded will do so
again, so the run stops with that error, soon. A worker that has finished frames is replaced at once. One that dies
on its first frame each time is replaced more and more slowly, so that a model that kills its worker on every frame
does not turn the machine into a fork bomb.
"""

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 2.0

STARTS = 3
"""Deaths while starting, one after the other, before a stage gives up. A crash of the model repeats itself."""

KILLED_STARTS = 20
"""The same for SIGKILL, which comes from outside: what kills (an operator, the kernel out of memory) may stop."""


class Restart:
    """The history of one stage's deaths."""

    def __init__(self) -> None:
        self._unproductive = 0
        self._failed_starts = 0

    def ready(self) -> None:
        """A worker has started well."""
        self._failed_starts = 0

    def died(self, was_ready: bool, done: int, sigkill: bool) -> float | None:
        """Seconds to wait before a replacement; None: give up. `done`: frames that the worker finished."""
        if was_ready and done:
            self._unproductive = 0
            return 0.0
        self._unproductive += 1
        if not was_ready:
            self._failed_starts += 1
            if self._failed_starts >= (KILLED_STARTS if sigkill else STARTS):
                return None
        doublings = min(self._unproductive - 1, 16)  # a float has an end, deaths need not have one
        return min(FIRST_DELAY_S * 2.0**doublings, LONGEST_DELAY_S)
