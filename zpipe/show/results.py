"""`zpipe subscribe`: prints the results of a pipeline as they come, or those of a results file. Owns no socket."""

import io
import os
import sys
from collections.abc import Iterator

from zpipe.client.recorded import read_recorded
from zpipe.client.subscription import Subscription
from zpipe.errors import ResultsError
from zpipe.messages import Published
from zpipe.show.outlet import say
from zpipe.show.tables import WRITERS


def print_results(
    source: str, stream: str | None, first: int | None, form: str, timeout_s: float | None, key: str | None = None
) -> None:
    """Print the results of an endpoint (live) or a file, in a form of `WRITERS`, until their end."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # JSON is UTF-8; the rest is what the terminal can show of it
        sys.stdout.reconfigure(encoding="utf-8" if form == "json" else None, errors="backslashreplace")
    write = WRITERS[form](sys.stdout)
    is_live = "://" in source
    lines = _read_live(source, stream, first, timeout_s, key) if is_live else _read_file(source, stream, first)
    for line, message in lines:
        write(line, message)


def _read_live(
    endpoint: str, stream: str | None, first: int | None, timeout_s: float | None, key: str | None
) -> Iterator[tuple[bytes, Published]]:
    waiting = "waiting; --timeout S gives up" if timeout_s is None else f"waiting for {timeout_s:g} s"

    def say_silent(was_there: bool) -> None:
        what = "any more: its pipeline has died, or its sink is being restarted" if was_there else "yet"
        if results.is_turned_away:
            what += " to this key: it knows another server's" if key is not None else ": who is there turns us away"
        say(f"nobody answers on {endpoint} {what} ({waiting})")

    with Subscription(endpoint, stream, first, timeout_s, ends=True, on_silence=say_silent, key=key) as results:
        while True:
            try:
                found = results.next_line()
            except StopIteration:
                return
            yield found


def _read_file(path: str, stream: str | None, first: int | None) -> Iterator[tuple[bytes, Published]]:
    if not os.path.exists(path):
        raise ResultsError(f"{path}: no such results file, and no endpoint either (those begin with tcp:// or ipc://)")
    is_there = stream is None
    for found in read_recorded(path, stream, first):
        is_there = True
        yield found
    if not is_there:
        raise ResultsError(f"{path}: nothing of stream {stream!r} in it")
