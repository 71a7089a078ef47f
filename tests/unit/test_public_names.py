"""What `import zpipe` offers. A name that is added or taken away is a decision; it is made here."""

import subprocess
import sys

import pytest

import zpipe

HOMES = {
    "AlreadyRunning": "errors",
    "ConfigError": "errors",
    "Fenced": "errors",
    "FrameError": "errors",
    "ModelError": "errors",
    "NoCredit": "errors",
    "NotRunning": "errors",
    "ResultsError": "errors",
    "RunFailed": "errors",
    "Sender": "sender.sender",
    "SenderError": "errors",
    "Classification": "messages",
    "Detection": "messages",
    "Eos": "messages",
    "Failure": "messages",
    "Object": "messages",
    "Resolution": "messages",
    "Result": "messages",
    "Run": "client.run",
    "Subscription": "client.subscription",
    "ZpipeError": "errors",
    "send": "sender.sender",
    "subscribe": "client.subscription",
    "up": "client.run",
}


def test_the_public_names_and_where_they_live() -> None:
    assert zpipe.__all__ == sorted([*HOMES, "__version__"])
    assert {name: getattr(zpipe, name).__module__ for name in HOMES} == {
        name: f"zpipe.{home}" for name, home in HOMES.items()
    }
    for name in HOMES:
        assert getattr(zpipe, name).__doc__
    assert {*HOMES} <= {*dir(zpipe)}, "Edge 2: they complete"


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="module 'zpipe' has no attribute 'Pipeline'"):
        _ = zpipe.Pipeline


def test_importing_zpipe_imports_nothing_heavy() -> None:
    """A worker is replaced while frames wait for it: what it does not need costs time each time."""
    code = "import sys, zpipe; print(*(m for m in ('zmq', 'numpy', 'cv2', 'openvino', 'click') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
