"""The list of a source against what is there now: what changed is refused by name, what is new is reported.

`up` does this itself, before it goes on with a run. A mount that hangs must not hang it for ever: so it asks on a
thread, and does not wait for longer than ANSWER_S.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from zpipe.config.keys import IngestConfig
from zpipe.errors import ConfigError, ResultsError
from zpipe.source import Source
from zpipe.sources.listing import UNSEEN, Listing, change_of_video, look_at, read_listing
from zpipe.sources.opening import open_source

SHOWN = 3
"""So many names are enough to know what is meant."""

ANSWER_S = 600.0
"""A hundred thousand files over a slow network take minutes. As long as an ingest may take to list them."""

T = TypeVar("T")

log = logging.getLogger(__name__)


def open_in_time(entry: IngestConfig, max_pixels: int) -> Source:
    """Open a source of which there is no list."""
    return in_time(entry.path, lambda: open_source(entry, max_pixels))


def check_in_time(entry: IngestConfig, max_pixels: int, kept: bytes, done: list[str]) -> None:
    """Compare a source with its list (`check_kept`)."""
    in_time(entry.path, lambda: check_kept(entry, max_pixels, kept, done))


def in_time(path: str, work: Callable[[], T]) -> T:
    """What `work` gives or raises; ResultsError if it has not come back after ANSWER_S."""
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(ANSWER_S)
    except TimeoutError:
        raise ResultsError(
            f"{path} does not answer: nothing came back in {ANSWER_S:g} s (a mount that hangs?)"
        ) from None


def check_kept(entry: IngestConfig, max_pixels: int, kept: bytes, done: list[str]) -> None:
    """Compare a source with its list as it was kept. `done`: the names of the frames that have results.

    ResultsError if those are not the list's, or if a file still to be read has changed. What is gone becomes a failed
    result when its turn comes; what has its result already may be moved away. What is new is said.
    """
    listing = read_listing(kept)
    if listing.digest:
        if change := change_of_video(entry.path, listing):
            raise ResultsError(f"{entry.path} {change}; put it back, or start anew with --overwrite")
        return
    for seq, (was, listed) in enumerate(zip(done, listing.names(), strict=False), 1):
        if was != listed:
            raise ResultsError(
                f"frame {seq} of stream {entry.stream} was {was!r}, and is {listed!r} on the list that the run began "
                "with: the results are of another run, or damaged; start anew with --overwrite"
            )
    changed = list(changed_files(listing, len(done)))
    if changed:
        raise ResultsError(
            f"{entry.path} has changed since the run began: {shown(changed)} {'is' if len(changed) == 1 else 'are'} "
            "not as listed then (other size or time); put back what was there, or start anew with --overwrite"
        )
    new = list(new_files(entry, max_pixels, listing))
    if new:
        log.warning(
            "source.new stream=%s %d new since the run began, not read: %s (a new run reads them)",
            entry.stream, len(new), shown(new),
        )  # fmt: skip


def changed_files(listing: Listing, start: int) -> Iterator[str]:
    """The files from an index on that are there and are not what they were."""
    for file, *seen in zip(listing.files[start:], listing.sizes[start:], listing.times_ns[start:], strict=True):
        path = os.fsdecode(file)
        now = look_at(os.path.join(listing.folder, path))
        if UNSEEN not in (now, tuple(seen)) and now != tuple(seen):
            yield path


def new_files(entry: IngestConfig, max_pixels: int, listing: Listing) -> Iterator[str]:
    """The files that are there now and are not on the list."""
    try:
        source = open_source(entry, max_pixels)
    except ConfigError:  # it is gone: its frames say so
        return
    listed = set(listing.files)
    for file in getattr(source, "files", []):
        if os.fsencode(file) not in listed:
            yield file
    source.close()


def shown(names: list[str]) -> str:
    """The first of them, and how many more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
