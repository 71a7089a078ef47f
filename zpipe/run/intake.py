"""What comes and goes while a run lives: senders' streams, sources that people add and remove, processes that read.

A stream that hangs gets a process of its own, so that those which were read with it go on.

Decides who reads what, and says what follows; reads nothing itself.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from zpipe import wire
from zpipe.config.keys import Config, IngestConfig
from zpipe.errors import ZpipeError
from zpipe.results.news import SourceAdded, StreamOpened, StreamRemoved
from zpipe.rules.accounts import Action, Stream
from zpipe.rules.ledger import Ledger
from zpipe.rules.restart import Restart
from zpipe.run.plan import Plan
from zpipe.run.resume import RunResults
from zpipe.run.streams import SENDER, StreamOrigin, listens
from zpipe.run.supervisor import Death, StageWorkers, Worker
from zpipe.snapshot import SourceState

log = logging.getLogger(__name__)

Send = Callable[[int, wire.ToWorker], object]


class Intake:
    """The sources of a running pipeline. `send(worker, message)` is how workers are told."""

    def __init__(
        self, plan: Plan, ledger: Ledger, results: RunResults, send: Send, keep_config: Callable[[Config], object]
    ) -> None:
        self._plan = plan
        self._streams = plan.streams
        self._ledger = ledger
        self._results = results
        self._send = send
        self._keep_config = keep_config
        self._first = len(plan.streams)
        self._where: wire.Publishing | None = None

    # ---- streams of senders -------------------------------------------------------------------------------

    def open(self, worker: Worker, asked: wire.Open) -> Sequence[Action]:
        """Somebody opens a stream: find it or begin it, and say which it is. The worker reads it from now on."""
        if worker.number not in self._ledger.ingests:  # it is answered when it takes part: its socket may not be there
            worker.asked.append(asked)
            return ()
        try:
            number = self._stream_for(asked)
        except ZpipeError as error:
            self._send(worker.number, wire.Opened(0, asked.name, 1, False, str(error)))
            return ()
        has_ended = self._ledger.has_ended(number)
        actions = () if has_ended else self._ledger.read_by(worker.number, number)
        wanted = self._ledger.streams[number].read + 1
        self._send(worker.number, wire.Opened(number, self._streams.name(number), wanted, has_ended))
        return actions

    def tell_where(self, publish: str, history: str) -> None:
        """The sink publishes there: senders get their results through the gate."""
        self._where = wire.Publishing(publish, history)
        for stage in self._plan.sources:
            for worker in stage.workers:
                if stage.stays and worker.number in self._ledger.ingests:
                    self._send(worker.number, self._where)

    def join(self, worker: Worker) -> Sequence[Action]:
        """An ingest takes part from now on: also with what it has opened already."""
        stage = worker.stage
        if stage.stays and self._where is not None:
            self._send(worker.number, self._where)
        actions = self._ledger.join_ingest(worker.number, stage.streams, stage.stays)
        for asked in worker.asked:
            actions += self.open(worker, asked)
        worker.asked.clear()
        return actions

    def _stream_for(self, asked: wire.Open) -> int:
        """The same upload goes on where it stopped. One that does not say which it is goes on with the sender's newest
        stream, as long as that has not ended; so does one of which nobody knows any more which that was of."""
        streams, entry = self._streams, asked.entry
        if entry not in streams.listening:
            raise ZpipeError(f"entry {entry} of ingest does not listen")
        if not SENDER.fullmatch(asked.name):
            raise ZpipeError(f"{asked.name!r} is no name for a sender: expected at most 40 of A-Z a-z 0-9 _ -")
        if asked.upload and (number := streams.of_upload(entry, asked.name, asked.upload)) is not None:
            return number
        newest = streams.newest_of(entry, asked.name)
        goes_on = newest is not None and not self._ledger.has_ended(newest)
        if newest is not None and goes_on and streams[newest].upload is None and asked.upload:
            self._keep_opened(streams.claim(newest, asked.upload))
            return newest
        if newest is not None and goes_on and not asked.upload:
            return newest
        if self._ledger.draining:
            raise ZpipeError("the pipeline is ending: it begins no stream any more")
        return self._begin(streams.next_origin(entry, asked.name, asked.upload))

    def _begin(self, origin: StreamOrigin) -> int:
        """A stream that was not there before; the sink, which is told before its first frame, is told now."""
        number = self._streams.add(origin)
        also = self._ledger.add_stream()
        assert also == number
        if origin.sender:
            self._keep_opened(origin)
        for sink in self._plan.sink.workers:
            if sink.ready:
                self._send(sink.number, wire.Begin(number, origin.name))
        log.info("stream.opened stream=%s", origin.name)
        return number

    def _keep_opened(self, origin: StreamOrigin) -> None:
        entry = str(self._streams.entries[origin.entry].stream)
        self._results.keep_news(StreamOpened(origin.name, entry, origin.sender, origin.upload))

    def greet_sink(self, worker: Worker) -> None:
        """A sink takes part from now on: tell it of the streams that may have come since it was started."""
        for number in range(self._first, len(self._streams)):
            if not self._ledger.streams[number].closed:
                self._send(worker.number, wire.Begin(number, self._streams.name(number)))

    # ---- sources ------------------------------------------------------------------------------------------

    def add(self, fields: dict[str, Any]) -> str:
        """Read one more source, in a process of its own; the name of its stream. ZpipeError if that cannot be."""
        try:
            entry = msgspec.convert(fields, IngestConfig)
        except msgspec.ValidationError as error:
            raise ZpipeError(f"no source that could be added: {error}") from None
        name = str(entry.stream)
        if entry.stream is None or listens(entry):
            raise ZpipeError("a source that is added needs a path and a stream")
        if name in (str(each.stream) for each in self._streams.entries) or self._streams.find(name) is not None:
            raise ZpipeError(f"there is a stream {name} already: give this one another name (--stream)")
        self._streams.entries.append(entry)
        self._keep_config(replace(self._plan.config, ingest=self._streams.entries))
        self._results.keep_news(SourceAdded(entry))
        number = self._begin(StreamOrigin(name, len(self._streams.entries) - 1))
        self._plan.start_apart(number, was_added=True)
        return name

    def remove(self, name: str) -> Sequence[Action]:
        """Read nothing more of a stream: it ends where it stands."""
        number = self._streams.find(name)
        if number is None:
            known = ", ".join(self._streams.name(n) for n in range(min(len(self._streams), 20)))
            raise ZpipeError(f"no stream {name!r}: this pipeline has {known}")
        if self._ledger.has_ended(number):
            raise ZpipeError(f"stream {name} has ended already")
        self._results.keep_news(StreamRemoved(name))
        log.info("source.removed stream=%s", name)
        return self._leave(number)

    def list(self) -> list[SourceState]:
        """Each stream, and each entry that listens: where it comes from, and how it is."""
        names = [str(self._streams.entries[number].stream) for number in self._streams.listening]
        found = [SourceState(name, "senders", "listening", 0) for name in names]
        for number, account in enumerate(self._ledger.streams):
            entry, origin = self._streams.source_of(number), self._streams[number]
            source = entry.path if entry is not None else f"sender {origin.sender}"
            found.append(SourceState(origin.name, source, state_of(account), account.read))
        return found

    # ---- processes ----------------------------------------------------------------------------------------

    def learn(self, death: Death) -> None:
        """An ingest is dead. If it hung on one of several streams, that one is read by a process of its own."""
        stage, row = death.worker.stage, death.row
        going_on = [number for number in stage.streams if not self._ledger.has_ended(number)]
        if death.worker.hung and row.working is not None and row.stream in going_on and len(going_on) > 1:
            name = self._streams.name(row.stream)
            log.warning("source.parted stream=%s: it hangs, so it has a process of its own from now on", name)
            del stage.streams[row.stream]
            stage.restart = Restart()  # what it died of is gone
            self._plan.start_apart(row.stream)
        self.settle(stage)

    def settle(self, stage: StageWorkers) -> None:
        """Nobody is wanted any more who has nothing to read."""
        if stage.streams and all(self._ledger.has_ended(number) for number in stage.streams):
            stage.wanted = 0

    def give_up(self, stage: StageWorkers, reason: str) -> Sequence[Action]:
        """A source that was added cannot be read: that is no reason to end the run."""
        actions: list[Action] = []
        for number in stage.streams:
            log.warning("source.refused stream=%s %s", self._streams.name(number), reason)
            actions += self._leave(number)
        stage.wanted = 0
        return actions

    def _leave(self, number: int) -> Sequence[Action]:
        actions = self._ledger.leave(number)
        for stage in self._plan.sources:
            if number in stage.streams:
                self.settle(stage)
        return actions


def state_of(account: Stream) -> str:
    """How a stream is, in a word."""
    if account.count is not None:
        return "published" if account.closed else "read"
    if account.leaving:
        return "leaving"
    return "reading" if account.reader is not None else "waiting"
