"""When a dead worker is replaced. A pure rule: what happened goes in, a delay or the advice to give up comes out.

Who is killed from outside (SIGKILL and the like, neither ours nor the out-of-memory killer's) has done nothing wrong:
it is replaced for as long as somebody kills, at once if it had finished a frame, else more and more slowly.

Who dies by itself (an exit code, a crash, hanging, the memory that it took) will do so again, sooner or later:

- While starting: a model that crashes as it is loaded. After STARTS of these in a row the run stops with that error.
- At work, again and again on the same frame: that frame is given up in the end (rules/ledger.py), and nothing is wrong
  with the worker. It is replaced more and more slowly all the same, so that a model that dies of every frame does not
  turn the machine into a fork bomb.
- At work, and never twice on the same frame: nobody is to blame but the model. Replacements come more and more slowly,
  and the run stops in the end. A worker that has lasted, in frames or in time, wipes the slate clean.
"""

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 2.0

STARTS = 3
"""Deaths by itself while starting, one after the other, before a stage gives up."""

CRASHES = 20
"""Deaths by itself at work, of which no frame was found guilty, before a stage gives up: half a minute of them. One
more for each worker of the stage: each may be at a guilty frame."""

LASTING_FRAMES, LASTING_S = 100, 10.0
"""Who has done so much before it dies is no sign of a model that cannot work."""

Key = tuple[int, int]
"""(stream, seq) of a frame."""


class Restart:
    """The history of one stage's deaths."""

    def __init__(self) -> None:
        self._failed_starts = 0
        self._kills = 0
        self._crashes = 0
        self._slower = 0
        self._was_explained = False
        self._suspects: set[Key] = set()

    @property
    def has_crashed(self) -> bool:
        """Whether a worker has died by itself lately."""
        return self._slower > 0

    def ready(self) -> None:
        """A worker has started well."""
        self._failed_starts = 0

    def killed(self, done: int) -> float:
        """Seconds to wait for the replacement of a worker that was killed from outside after so many frames."""
        self._kills = 0 if done else self._kills + 1
        return _delay(self._kills)

    def failed_to_start(self) -> float | None:
        """The same for one that died by itself before it was ready; None: give up."""
        self._failed_starts += 1
        return None if self._failed_starts >= STARTS else _delay(self._failed_starts)

    def crashed(self, frame: Key | None, done: int, at_work_s: float, peers: int) -> float | None:
        """The same for one of `peers` that died by itself on `frame`, or right after it, with `done` finished."""
        if done >= LASTING_FRAMES or at_work_s >= LASTING_S:
            self._forgive()
        if done and self._was_explained:
            self._slower, self._was_explained = 0, False
        self._slower += 1
        if frame is None or frame not in self._suspects:
            self._crashes += 1
        if frame is not None:
            self._suspects.add(frame)
        if self._crashes >= CRASHES + peers:
            return None
        return 0.0 if done and self._slower == 1 else _delay(self._slower)

    def condemned(self, frame: Key) -> None:
        """The frame was found guilty: what it has done to workers says nothing about others."""
        if frame in self._suspects:
            self._suspects.remove(frame)
            self._crashes -= 1
            self._was_explained = True

    def _forgive(self) -> None:
        self._crashes = self._slower = 0
        self._suspects.clear()


def _delay(times: int) -> float:
    doublings = min(times - 1, 16)  # a float has an end, deaths need not have one
    return min(FIRST_DELAY_S * 2.0**doublings, LONGEST_DELAY_S) if times else 0.0
