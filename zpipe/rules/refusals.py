"""How often strangers were refused, and when that is worth a line: once each, not once a packet. Pure.

Who is refused tries again, ten times a second for weeks. So of each host and reason the 1st refusal is told, then the
10th, the 100th and so on.
"""

MOST_KEPT = 1024
"""Hosts and reasons that are counted one by one; further ones together."""

REST = "others"


class Refusals:
    """Counts them by host and reason."""

    def __init__(self) -> None:
        self.count = 0
        self._counts: dict[tuple[str, str], int] = {}

    def heard(self, host: str, reason: str) -> tuple[str, int] | None:
        """One more; if it is worth a line, the host (or `others`) and how many it were."""
        key = (host, reason)
        if key not in self._counts and len(self._counts) >= MOST_KEPT:
            key = (REST, reason)
        self.count += 1
        self._counts[key] = count = self._counts.get(key, 0) + 1
        return (key[0], count) if str(count).strip("0") == "1" else None
