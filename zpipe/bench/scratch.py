"""Folders in /tmp for what a bench writes: each is of the process that made it, and cleared when that is gone."""

import os
import shutil
import tempfile
from pathlib import Path

from zpipe.engines import machine

SCRATCH = "zpipe-bench-"
"""What our folders are called, then the process that they are of."""


def make_scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder of our own for as long as it is needed; clears those of benches that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        owner = left.name.removeprefix(SCRATCH).partition("-")[0]
        if owner.isdecimal() and not machine.exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-")
