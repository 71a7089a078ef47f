"""What `zpipe send` shows on the way: a line that changes in a terminal, a line now and then elsewhere."""

import os
import time
from pathlib import Path

from zpipe.show.outlet import Outlet
from zpipe.show.text import plain_lines

LINE_S, CHANGE_S = 5.0, 0.2


class SendProgress:
    """Of one upload. `total`: frames in it, if that is known; `quiet`: nothing is shown."""

    def __init__(self, total: int | None, quiet: bool) -> None:
        self._total = total
        self._outlet = None if quiet else Outlet(2)
        self._changes = os.isatty(2)
        self._began = self._shown = time.monotonic()
        self._stream = ""
        self._done = 0
        self.failed = 0

    def begin(self, stream: str, following: int) -> None:
        """The pipeline has said which frame it wants next."""
        self._stream = stream
        goes_on = f", going on with frame {following}" if following > 1 else ""
        self._say(f"sending as {stream}{goes_on}")

    def count(self, status: str) -> None:
        """A result has come."""
        self._done += 1
        self.failed += status != "ok"
        now = time.monotonic()
        if now - self._shown >= (CHANGE_S if self._changes else LINE_S):
            self._shown = now
            of = f"/{self._total}" if self._total is not None else ""
            self._say(f"{self._stream}: {self._done}{of} results, {self._failures}{self._rate}", passing=self._changes)

    def end(self, out: Path | None) -> None:
        """All results are here."""
        where = f"; results in {out}" if out is not None else ""
        self._say(f"{self._stream}: {self._done} frames, {self._failures}{self._rate}{where}")
        if self._outlet is not None:
            self._outlet.close()

    @property
    def _failures(self) -> str:
        return f"{self.failed} failed, " if self.failed else ""

    @property
    def _rate(self) -> str:
        return f"{self._done / max(1e-3, time.monotonic() - self._began):.1f}/s"

    def _say(self, text: str, passing: bool = False) -> None:
        if self._outlet is not None:
            begin, end = ("\r\x1b[K", "") if passing else ("\r\x1b[K" if self._changes else "", "\n")
            self._outlet.put(f"{begin}zpipe: {plain_lines(text)}{end}", passing=passing)
