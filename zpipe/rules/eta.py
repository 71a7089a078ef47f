"""How long a run is likely to take still: nothing is said before it means something. Pure."""

STEADY_S = 5.0
"""How long results must have come: what the first ones took says little (models warm up, queues fill)."""

ENOUGH = 10
"""So many results within STEADY_S give a rate; fewer are too few, so all of this run count then."""


class Eta:
    """Watches results come."""

    def __init__(self) -> None:
        self._at_start: int | None = None
        self._first: tuple[float, int] | None = None
        self._last = (0.0, 0)

    def sample(self, now: float, published: int) -> None:
        """So many are published by now."""
        if self._at_start is None:
            self._at_start = published
        if self._first is None and published > self._at_start:
            self._first = (now, published)
        self._last = (now, published)

    def seconds_left(self, total: int | None, rate: float) -> int | None:
        """Until `total` are published, if results go on as lately, at `rate` per second; None where that is unknown."""
        if self._first is None or total is None or self._last[0] - self._first[0] < STEADY_S:
            return None
        (then, before), (now, published) = self._first, self._last
        if rate * STEADY_S < ENOUGH:
            rate = (published - before) / (now - then)
        return max(0, round((total - published) / rate)) if rate > 0 else None
