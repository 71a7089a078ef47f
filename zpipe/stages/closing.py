"""How a worker lets go of what it has opened."""

import logging
from typing import Protocol

log = logging.getLogger(__name__)


class Closable(Protocol):
    """What is closed at the end."""

    def close(self) -> None:
        """Let go."""


def let_go(opened: Closable) -> None:
    """Close it at the end of its work. What a model, or a library, raises then cannot hurt a result any more."""
    try:
        opened.close()
    except Exception as error:
        log.warning('worker.close_failed of=%s reason="%s: %s"', type(opened).__name__, type(error).__name__, error)
