"""What other programs use: a subscription to results, and a run started from Python."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zpipe.client.run import Run, up
    from zpipe.client.subscription import Subscription, subscribe

__all__ = ["Run", "Subscription", "subscribe", "up"]


def __getattr__(name: str) -> Any:
    """Import on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'zpipe.client' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"zpipe.client.{'run' if name in ('Run', 'up') else 'subscription'}"), name)
