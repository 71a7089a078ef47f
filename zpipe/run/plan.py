"""What a run begins with, as its config says: the workers of each stage, the ledger, and what each worker is told."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from zpipe.config.keys import Config, ModelConfig
from zpipe.errors import ZpipeError
from zpipe.orders import Condemned, GateTask, IngestTask, Reading, SinkTask, SoFar, StageTask, Subscribers, Task
from zpipe.rules import balance
from zpipe.rules.credit import DEPTH, limit_for
from zpipe.rules.ledger import Ledger
from zpipe.run.resume import RunResults
from zpipe.run.streams import StreamOrigin, Streams
from zpipe.run.supervisor import Death, StageWorkers
from zpipe.wire import MOST_IN_FLIGHT

OTHER_FILES = 128
"""Files that a process has open beside the slots of frames: sockets, libraries' own, what a model opens."""


@dataclass(frozen=True)
class Place:
    """Where a run takes place: its id, the cores it may use, the folders of Python models and of compiled ones, how
    many files a process may have open."""

    run: str
    cores: int
    models: str
    cache: str
    files: int


@dataclass
class Handover:
    """What a new worker must know of those before it.

    `condemned`: by stream, the frames that no ingest must touch any more. `deaths`: why workers died on a frame, by
    (stream, seq). Of the sinks: their endpoints, the subscribers of the last one, and by stream the number that one was
    last at when it died; whether the run is drained, so that its sink waits for no port without end.
    """

    condemned: dict[int, list[Condemned]] = field(default_factory=dict)
    deaths: dict[tuple[int, int], str] = field(default_factory=dict)
    endpoints: tuple[str, str] | None = None
    audience: Subscribers | None = None
    under_way: dict[int, int] = field(default_factory=dict)
    is_drained: bool = False

    def learn(self, death: Death, ledger: Ledger) -> None:
        """Keep what the dead worker's successor must know."""
        worker, working = death.worker, death.row.working
        if worker.stage.kind == "sink":
            if working is not None:  # it works in order: what was under way before has passed
                self.under_way[working[0]] = working[1]
            if worker.ready:  # one that was not has not met all that its predecessor had
                self.audience = Subscribers(death.row.subscribers, death.row.behind)
        elif death.blamed is not None:
            tail = list(worker.process.tail)[-5:]
            streams = ledger.streams
            self.deaths = {(n, seq): said for (n, seq), said in self.deaths.items() if seq > streams[n].published}
            self.deaths[death.blamed] = death.reason + (f"; last log: {' | '.join(tail)}" if tail else "")


class Plan:
    """The workers of a run as they are wanted at first: of the chain's `stages`, the `sink`, the `sources`."""

    def __init__(self, config: Config, place: Place) -> None:
        self.config = config
        self.place = place
        chain = config.stages
        counts = balance.first_counts([stage.config.count for stage in chain], place.cores)
        self.stages = [
            StageWorkers(
                stage.role, stage.name, stage.number, count, stage.config.timeout_s,
                model=stage.config.model if isinstance(stage.config, ModelConfig) else "",
            )
            for stage, count in zip(chain, counts, strict=True)
        ]  # fmt: skip
        self.sink = StageWorkers("sink", "sink", len(chain), 1, config.sink.timeout_s, single=True)
        self.streams = Streams(config)
        self.sources: list[StageWorkers] = []
        if self.streams:
            self._start_source("ingest", range(len(self.streams)))
        if self.streams.listening:
            self._start_gate()
        self.all = [self.sink, *self.stages, *self.sources]
        """All of them, in the order in which they are started: the slowest to be ready last."""

    def start_apart(self, stream: int, was_added: bool = False) -> None:
        """Have a stream read by a process of its own."""
        stage = self._start_source(f"ingest-{self.streams.name(stream)}", [stream])
        stage.was_added = was_added
        self.all.append(stage)

    def _start_source(self, name: str, streams: Iterable[int]) -> StageWorkers:
        limits = {number: self.streams.entries[self.streams[number].entry].timeout_s for number in streams}
        stage = StageWorkers("ingest", name, 0, 1, max(limits.values()), single=True, streams=limits)
        self.sources.append(stage)
        return stage

    def _start_gate(self) -> None:
        """One for all entries that listen."""
        timeout_s = max(self.streams.entries[number].timeout_s for number in self.streams.listening)
        self.sources.append(StageWorkers("gate", "gate", 0, 1, timeout_s, single=True, stays=True))

    def ledger(self, results: RunResults) -> Ledger:
        """The ledger, going on where the results end. A source whose end is in there is not started."""
        slots = self.config.frames.in_flight
        most = self._most_slots()
        self._find_streams(results)
        ledger = Ledger(len(self.stages), len(self.streams), most, self.config.max_attempts)
        ledger.listens = bool(self.streams.listening)
        if isinstance(slots, str):
            counts = [stage.wanted for stage in self.stages]
            ledger.limit = limit_for(counts, [DEPTH for _ in counts], len(self.sources))
        for number in range(len(self.streams)):
            account = results.stream(self.streams.name(number))
            ledger.resume(number, account.seq, account.ok, account.failed, account.closed)
            if self.streams.name(number) in results.removed and not account.closed:
                ledger.leave(number)
        for stage in self.sources:
            if stage.streams and all(ledger.has_ended(number) for number in stage.streams):
                stage.wanted = 0
        return ledger

    def _find_streams(self, results: RunResults) -> None:
        """The streams that senders have opened in the run that is continued."""
        entries = {str(self.streams.entries[number].stream): number for number in self.streams.listening}
        for news in results.opened:
            known = self.streams.find(news.stream)
            if known is not None and news.upload is not None:
                self.streams.claim(known, news.upload)
            elif known is None and news.entry in entries:
                self.streams.add(StreamOrigin(news.stream, entries[news.entry], news.sender, news.upload))
        for name in results.streams:
            if self.streams.find(name) is None and (origin := self.streams.below(name)) is not None:
                self.streams.add(origin)

    def _most_slots(self) -> int:
        """Frames that may be in flight: each is an open file in each process. ZpipeError if it allows not so many."""
        room, slots = self.place.files - OTHER_FILES, self.config.frames.in_flight
        wanted = len(self.sources) if isinstance(slots, str) else slots
        if wanted > room:
            raise ZpipeError(
                f"{wanted} frames in flight (frames.in_flight) are as many open files in each process, and this "
                f"machine allows {self.place.files} (`ulimit -Hn`), {OTHER_FILES} of them for other things: "
                f"expected at most {max(0, room)}"
            )
        return min(MOST_IN_FLIGHT, room) if isinstance(slots, str) else slots

    def automatic(self) -> list[bool]:
        """Which stages of the chain have their workers counted for them.

        What a frame costs on another device is not seen in CPU time, so there it is as configured.
        """
        return [
            stage.config.count == "auto"
            and not (isinstance(stage.config, ModelConfig) and stage.config.device.upper() != "CPU")
            for stage in self.config.stages
        ]

    def task_of(self, workers: StageWorkers, ledger: Ledger, handover: Handover) -> Task:
        """What a new worker is to do, at this moment."""
        match workers.kind:
            case "ingest" if workers.stays:
                return GateTask()
            case "ingest":
                return self._ingest_task(workers, ledger, handover)
            case "sink":
                so_far = [
                    SoFar(number, self.streams.name(number), stream.published)
                    for number, stream in enumerate(ledger.streams)
                    if not stream.closed
                ]
                under_way = [(n, seq) for n, seq in handover.under_way.items() if seq > ledger.streams[n].published]
                patient = not handover.is_drained
                return SinkTask(
                    self.place.run, so_far, under_way, handover.endpoints, patient, handover.audience, ledger.listens
                )
            case "stage":
                config = self.config.stages[workers.number].config
                wanted = config.threads if isinstance(config, ModelConfig) else "auto"
                threads = balance.threads(wanted, [stage.wanted for stage in self.stages], self.place.cores)
                careful = workers.restart.has_crashed
                return StageTask(workers.number, threads, self.place.models, self.place.cache, careful)

    def _ingest_task(self, workers: StageWorkers, ledger: Ledger, handover: Handover) -> IngestTask:
        going_on = [number for number in workers.streams if not ledger.has_ended(number)]
        return IngestTask([self._reading(number, workers, ledger, handover) for number in going_on])

    def _reading(self, number: int, workers: StageWorkers, ledger: Ledger, handover: Handover) -> Reading:
        stream, condemned = ledger.streams[number], handover.condemned.setdefault(number, [])
        if ledger.condemned(number) and stream.suspect not in [frame.seq for frame in condemned]:
            reason = handover.deaths.get((number, stream.suspect), "ingest died")
            condemned.append(Condemned(stream.suspect, f"{stream.attempts - 1} attempts: {reason}"))
            workers.restart.condemned((number, stream.suspect))
        return Reading(number, self.streams[number].entry, stream.read + 1, list(condemned))
