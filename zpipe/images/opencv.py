"""How zpipe uses OpenCV in its workers: one thread, and not a word on stderr."""

import functools
import os
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@functools.cache
def limit_threads() -> None:
    """One thread for OpenCV in this process: cores are divided among workers, not inside one."""
    import cv2

    cv2.setNumThreads(1)


_capture = threading.Lock()


@contextmanager
def capture_stderr() -> Iterator[list[str]]:
    """Takes what C libraries print on file descriptor 2 meanwhile; its lines are there after the block.

    libpng, libtiff and OpenCV explain themselves nowhere else, and a folder of PNGs with a slightly wrong
    colour profile would print a line each. One block at a time; what other threads print in the milliseconds
    of a block is lost, and a process started in it would inherit the wrong stderr: workers start none.
    """
    lines: list[str] = []
    with _capture, ExitStack() as stack:
        try:
            saved = os.dup(2)
        except OSError:  # stderr is closed: nothing to take, nothing to restore
            yield lines
            return
        stack.callback(os.close, saved)
        taken = os.memfd_create("zpipe-stderr")
        stack.callback(os.close, taken)
        os.dup2(taken, 2)
        try:
            yield lines
        finally:
            os.dup2(saved, 2)
            lines += os.pread(taken, 1 << 16, 0).decode(errors="replace").splitlines()


DAMAGED = "the data is damaged or incomplete"

REASONS = (
    (
        re.compile(r"end of \w* ?(file|stream|data)|premature|not enough|truncat|(seek|read) error|too short", re.I),
        "the data ends before the picture does",
    ),
    (
        re.compile(r"support|not configured|not implemented|unknown compression|unrecognized|unhandled", re.I),
        "it uses a feature of its format that zpipe does not read",
    ),
    (re.compile(r"memory|alloc", re.I), "there is not enough memory for it"),
)
"""What the C libraries say, to what we say of it. Theirs is about their functions and changes with their versions."""


def explain(said: str) -> str:
    """Why a picture cannot be decoded, in words for its owner, of what C libraries printed or raised."""
    return next((reason for pattern, reason in REASONS if pattern.search(said)), DAMAGED)


_ERROR = re.compile(r"^\[ *ERROR:|^libpng error: ")  # [ERROR:0@0.02] global grfmt_png.cpp:8 read_chunk ...
_WHERE = re.compile(r"^\[[^\]]*\] global \S+ \w+ |^libpng error: ")


def reason_in(lines: list[str]) -> str:
    """The reason among captured lines: that of the first error that says more than that there is one."""
    errors = [explain(_WHERE.sub("", line)) for line in lines if _ERROR.match(line)]
    return next((reason for reason in errors if reason != DAMAGED), DAMAGED)
