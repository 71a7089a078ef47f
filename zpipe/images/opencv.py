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
def captured_stderr() -> Iterator[list[str]]:
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


_LOG_LINE = re.compile(
    r"^\[ *(?P<level>[A-Z]+):\d+@[\d.]+\] global \S+ \w+ "  # [ WARN:0@0.02] global grfmt_png.cpp:8 read_chunk
    r"|^libpng (?P<png>error|warning): "
)
_NOISE = re.compile(
    r"imdecode_\(''\): |can't read \w+: |OpenCV\([\w.-]+\) \S+ error: |\(-\d+:[^)]*\) | in function '\w+'$"
)


def reason_in(lines: list[str]) -> str:
    """The first error among captured lines; without time stamps and source lines, so alike in each run."""
    matches = [(match, line) for line in lines if (match := _LOG_LINE.match(line))]
    errors = [pair for pair in matches if pair[0]["level"] == "ERROR" or pair[0]["png"] == "error"]
    for match, line in errors or matches:
        return _NOISE.sub("", line[match.end() :]).strip()[:200]
    return "the data is damaged or incomplete"
