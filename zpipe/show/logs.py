"""Where log records of `zpipe up` go: to its display, each in one line, whatever workers print."""

import logging
from collections.abc import Callable

from zpipe.show.text import plain


class OneLine(logging.Formatter):
    """The message alone, without what steers a terminal. (A traceback has lines of its own.)"""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """Called by `format`."""
        record.message = plain(record.message)
        return super().formatMessage(record)


class ToDisplay(logging.Handler):
    """Hands each record to a display as text."""

    def __init__(self, say: Callable[[str], object], form: OneLine) -> None:
        super().__init__()
        self.setFormatter(form)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Show it."""
        self._say(self.format(record))
