"""zpipe: images through a detector and a classifier, in a ZeroMQ pipeline of worker processes.

with zpipe.up("config.yaml") as run:
    for result in run.results():
        ...

for result in zpipe.subscribe("tcp://127.0.0.1:5560"):
    ...
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zpipe.client.run import Run, up
    from zpipe.client.subscription import Subscription, subscribe
    from zpipe.errors import (
        AlreadyRunning,
        ConfigError,
        Fenced,
        FrameError,
        ModelError,
        NoCredit,
        NotRunning,
        ResultsError,
        RunFailed,
        SenderError,
        ZpipeError,
    )
    from zpipe.messages import Classification, Detection, Eos, Failure, Object, Resolution, Result
    from zpipe.sender.sender import Sender, send

__version__ = "0.1.0"

__all__ = [
    "AlreadyRunning",
    "Classification",
    "ConfigError",
    "Detection",
    "Eos",
    "Failure",
    "Fenced",
    "FrameError",
    "ModelError",
    "NoCredit",
    "NotRunning",
    "Object",
    "Resolution",
    "Result",
    "ResultsError",
    "Run",
    "RunFailed",
    "Sender",
    "SenderError",
    "Subscription",
    "ZpipeError",
    "__version__",
    "send",
    "subscribe",
    "up",
]

_HOMES = {
    "client.run": {"Run", "up"},
    "client.subscription": {"Subscription", "subscribe"},
    "errors": {
        *("AlreadyRunning", "ConfigError", "Fenced", "FrameError", "ModelError", "NoCredit"),
        *("NotRunning", "ResultsError", "RunFailed", "SenderError", "ZpipeError"),
    },
    "sender.sender": {"Sender", "send"},
}


def __getattr__(name: str) -> Any:
    """Import on first use: a worker that needs none of this must not wait for it (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'zpipe' has no attribute {name!r}")
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), "messages")
    return getattr(import_module(f"zpipe.{home}"), name)


def __dir__() -> list[str]:
    """The public names, so that they complete before they are imported."""
    return sorted(__all__)
