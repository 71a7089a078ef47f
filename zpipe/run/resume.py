"""What a run begins with: a new results file and record, or those of an earlier run that is continued.

A new run touches nothing before its first frame can be read: until then the results of the run before it are as they
were. What would be lost by starting, or mixed by going on, is refused here.
"""

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from zpipe.config.keys import Config, IngestConfig
from zpipe.errors import ResultsError
from zpipe.results.file import (
    ResultsFile,
    StreamLog,
    Successor,
    check_unlocked,
    heads,
    lock_file,
    open_file,
    run_in,
)
from zpipe.results.news import Event, SourceAdded, StreamOpened, StreamRemoved
from zpipe.results.record import Record
from zpipe.run.fingerprint import differences
from zpipe.run.streams import Streams, listens
from zpipe.source import Source

Resume = bool | Literal["anyway"]
"""Whether an earlier run is continued; `anyway`: although its results would differ from now on."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """How sources are opened and compared with their list: `sources/opening.py`, `sources/changes.py`."""

    open: Callable[[IngestConfig, int], Source]
    check_kept: Callable[[IngestConfig, int, bytes, list[str]], None]


class RunResults:
    """The results of a run as `up` holds them: locked, and with the account of what is in them.

    `kept`: where the finished run before this one goes, empty if nowhere.
    """

    def __init__(self, config: Config, run: str, decides: dict[str, Any], folder: Path) -> None:
        self.path = Path(config.sink.results)
        self.run = run
        self.kept = ""
        self.streams: dict[str, StreamLog] = {}
        self._decides = decides
        self._folder = folder
        self._record = Record(self.path)
        self._names = [str(entry.stream) for entry in config.ingest]
        self._news: list[Event] = []
        self._lock = -1
        self._begun = False

    def stream(self, name: str) -> StreamLog:
        """The account of a stream; an empty one if there is nothing of it."""
        return self.streams.get(name, StreamLog())

    @property
    def opened(self) -> list[StreamOpened]:
        """The streams that senders have opened so far."""
        return [event for event in self._news if isinstance(event, StreamOpened)]

    @property
    def removed(self) -> set[str]:
        """The streams of which nobody wants more."""
        return {event.stream for event in self._news if isinstance(event, StreamRemoved)}

    def keep_news(self, event: Event) -> None:
        """Something has come or gone: part of the record once the run has begun."""
        self._news.append(event)
        if self._begun:
            self._record.keep_news(event)

    def begin(self) -> None:
        """The first frame is about to be read: from now on the file is this run's. Only the first call counts."""
        if self._begun:
            return
        self._begun = True
        try:
            if self.kept:
                self._keep_other()
            else:
                self._record.clear()
                os.ftruncate(self._lock, 0)
        except OSError as error:
            raise ResultsError(f"results file {self.path}: {error.strerror}") from None
        self._record.begin(self.run, self._decides)
        self._record.keep_news(*self._news)
        for path in self._folder.glob("*.list"):
            self.keep_list(path.stem)

    def keep_list(self, stream: str) -> None:
        """The source of this stream is open: its list becomes part of the record, where it is not yet."""
        path = self._folder / f"{stream}.list"
        if self._begun and path.exists() and self._record.list_of(stream) is None:
            self._record.keep_list(stream, path.read_bytes())

    def close(self) -> None:
        """Let go of the lock; closing twice is harmless."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def lock(self) -> None:
        """Nobody else may write the file from now on."""
        self._lock = open_file(self.path)
        try:
            lock_file(self._lock, self.path)
        except ResultsError:
            self.close()
            raise

    def go_on(self) -> None:
        """This run has begun already; take the account of what it has."""
        self._news = self._record.news.read() if self._record.is_of(self.run) else []
        file = ResultsFile(self.path, fresh=False, undrain=True, lock=True, stay=self.removed)
        self._lock, self.streams = file.detach(), file.streams
        self._begun = True
        if not self._record.is_of(self.run):
            self._record.begin(self.run, self._decides)
        for name in self._names:
            if (listing := self._record.list_of(name)) is not None:
                (self._folder / f"{name}.list").write_bytes(listing)

    def _keep_other(self) -> None:
        self._record.move(Path(self.kept))  # first: a record without its results would be continued
        with Successor(self.path) as anew:
            os.rename(os.path.realpath(self.path), self.kept)
        self.close()
        self._lock = anew.number
        log.warning("results.kept the finished run before this one is now in %s", self.kept)


def removed_from(record: Record) -> set[str]:
    """The streams of which nobody wanted more."""
    return {event.stream for event in record.news.read() if isinstance(event, StreamRemoved)}


def with_added(config: Config) -> Config:
    """The config with the sources that were added to the run which is continued."""
    news = Record(Path(config.sink.results)).news.read()
    names = {entry.stream for entry in config.ingest}
    added = [event.source for event in news if isinstance(event, SourceAdded) and event.source.stream not in names]
    return replace(config, ingest=[*config.ingest, *added]) if added else config


def open_results(
    config: Config, sources: Sources, decides: dict[str, Any], run: str, folder: Path,
    resume: Resume = False, overwrite: bool = False,
) -> RunResults:  # fmt: skip
    """The results that a run begins with; ResultsError if it would lose or mix some.

    `run`: the id of a new run; `decides`: what decides its results; `folder`: the run folder.
    """
    path = Path(config.sink.results)
    check_unlocked(path)
    if resume:
        run = check_continuable(config, sources, decides, resume == "anyway") or run
        results = RunResults(config, run, decides, folder)
        results.go_on()
        return results
    results = RunResults(config, run, decides, folder)
    if not overwrite and path.exists():
        names = [str(entry.stream) for entry in config.ingest if not listens(entry)]
        results.kept = place_for_finished(path, names)
    results.lock()
    return results


def place_for_finished(path: Path, streams: list[str]) -> str:
    """Where the results of the finished run in this file are kept; empty if there are none.

    ResultsError if they are of a run that can be continued, or are no results.
    """
    run, is_finished = run_in(path, streams)
    if run is None:
        return ""
    if not is_finished:
        raise ResultsError(
            f"{path} holds the results of a run that did not come to its end: "
            "continue it with --resume, or start anew with --overwrite"
        )
    real = Path(os.path.realpath(path))
    name = f"{real.stem}-{re.sub(r'[^A-Za-z0-9._-]', '_', run)[:40]}"
    places = (real.with_name(f"{name}{again}{real.suffix}") for again in ["", *(f"-{n}" for n in range(2, 1000))])
    return str(next(place for place in places if not os.path.lexists(place)))


def check_undamaged(path: Path, record: Record, anyway: bool) -> None:
    """ResultsError if the file does not hold what this run wrote to it; with `anyway` it is cut there instead."""
    damaged = record.sums.first_damaged(path)
    if damaged is None:
        return
    begin, end = damaged
    if not anyway:
        raise ResultsError(
            f"{path}, bytes {begin} to {end}: not what was written there (its checksum differs): put back a good copy, "
            "compute again what is from there on (--resume=anyway), or start anew with --overwrite"
        )
    log.warning("results.cut %s at byte %d, where it is damaged: what follows is computed again", path, begin)
    os.truncate(path, begin)


def check_continuable(config: Config, sources: Sources, decides: dict[str, Any], anyway: bool) -> str | None:
    """Refuse to continue if the results would not be those of one run; the run's id, None where there is none yet."""
    path = Path(config.sink.results)
    record = Record(path)
    begun = record.read()
    first = next(heads(path), None) if path.exists() else None
    if begun is not None and (first is None or first.run == begun.run):
        check_undamaged(path, record, anyway)
        different = differences(begun.decides, decides)
        if different and not anyway:
            raise ResultsError(
                f"{path} was begun with other settings: {'; '.join(different)}. Put them back, continue with these "
                "(--resume=anyway), or start anew with --overwrite"
            )
    elif first is not None:
        log.warning("results.unrecorded %s has no record of its run: models and settings are not compared", path)
        record.clear()
    check_sources(config, sources, path, record)
    if first is not None:
        return first.run
    return begun.run if begun is not None else None


def check_sources(config: Config, sources: Sources, path: Path, record: Record) -> None:
    """Refuse to continue if a stream would not go on with the frames that it began with."""
    names: dict[str, list[str]] = {}
    for head in heads(path) if path.exists() else ():
        if head.type == "frame":
            names.setdefault(head.stream, []).append(head.name)
    streams, removed = Streams(config), removed_from(record)
    for entry in config.ingest:
        if listens(entry) or entry.stream in removed:
            continue
        done = names.pop(str(entry.stream), [])
        kept = record.list_of(str(entry.stream))
        if kept is None:
            check_source(config, entry, sources, done)
        else:
            sources.check_kept(entry, config.frames.max_pixels, kept, done)
    unknown = [name for name in names if name not in removed and streams.below(name) is None]
    if unknown:
        raise ResultsError(f"{path} has results of a stream that the config does not have: {', '.join(unknown)}")


def check_source(config: Config, entry: IngestConfig, sources: Sources, done: list[str]) -> None:
    """Refuse to continue if a source of which there is no list would not give the frames again that have results."""
    source = sources.open(entry, config.frames.max_pixels)
    now = source.names()
    if now is not None:
        for seq, (was, is_now) in enumerate(zip_longest(done, (n for n, _ in zip(now, done, strict=False))), 1):
            if was != is_now:
                raise ResultsError(
                    f"{entry.path} has changed since the run began: frame {seq} of stream {entry.stream} "
                    f"was {was!r} and is now {is_now!r}; put the files back, or start anew with --overwrite"
                )
    source.close()
