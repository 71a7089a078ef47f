"""The ledger: who holds which frame. A pure state machine: events in, actions out.

No socket, process, file or clock is in here. The broker turns what arrives into the events below and performs
the actions that they return, in order. One frame's life:

    read ──▶ queue 0 ──▶ held by a detect worker ──▶ queue 1 ──▶ … ──▶ queue S ──▶ held by the sink ──▶ published
                 ▲                 │ lost                                                 (its slot is free again)
                 └──── in front ◀──┘

The invariant, which every event keeps (rules/invariant.py states it, the property tests attack it): each accepted and
unpublished frame is in exactly one place, a queue or one living worker's hands, and owns exactly one slot.
From it follow the promises. *One result per frame*: nothing but `published` removes a frame. *Exactly once*: an
output counts only if it comes from the worker that holds the frame now, so what a dead worker sent too late is
ignored. *Memory*: a slot is freed only when no worker can still read it. *Bounded*: a source can put no frame
in flight without a slot that was granted to it.

Streams come and go, an ingest worker reads any number of them. What a frame costs does not depend on how many there
are: only what happens once to a worker, or once to a run, goes through streams.
"""

from collections import deque
from collections.abc import Collection, Sequence

from zpipe.rules.accounts import (
    Action,
    CloseStream,
    CondemnFrame,
    DismissWorker,
    Frame,
    GrantSlots,
    Holder,
    LeaveStream,
    Reader,
    RecallSlots,
    SendFrame,
    Stream,
)
from zpipe.rules.credit import DEPTH, SINK_DEPTH
from zpipe.rules.dealing import deal
from zpipe.wire import Picture


class Ledger:
    """All frames in flight of a pipeline with `stages` model stages, `streams` at first, and `slots` frame slots.

    Workers are numbers that are never used twice: a message from a number that is not here any more is stale. So are
    streams. Stages count from 0; number `stages` is the sink. `listens`: streams may come as long as it is not drained.
    """

    def __init__(self, stages: int, streams: int, slots: int, max_attempts: int = 3) -> None:
        self.sink = stages
        self.streams = [Stream() for _ in range(streams)]
        self.frames: dict[tuple[int, int], Frame] = {}
        self.queues: list[deque[Frame]] = [deque() for _ in range(stages + 1)]
        self.workers: dict[int, Holder] = {}
        self.ingests: dict[int, Reader] = {}
        self.free = list(range(slots - 1, -1, -1))
        self.slots = slots
        self.max_attempts = max_attempts
        self.limit = slots
        self.draining = False
        self.started = False
        self.listens = False
        self.stale = 0
        self.published_in_all = 0
        self._unclosed = streams
        self._stages: list[list[Holder]] = [[] for _ in range(stages + 1)]
        self._ids: list[list[int]] = [[] for _ in range(stages + 1)]
        self._depths = [DEPTH] * stages + [SINK_DEPTH]

    # ---- workers come and go ------------------------------------------------------------------------------

    def join(self, worker: int, stage: int) -> list[Action]:
        """A worker of a model stage, or the sink, is ready. The first of every stage lets the sources start."""
        record = Holder(stage, self._depths[stage])
        self.workers[worker] = record
        self._stages[stage].append(record)
        self._ids[stage].append(worker)
        actions = self._dispatch(stage)
        if stage == self.sink:
            for number in range(len(self.streams)):
                self._close(number, actions)
        if not self.started and all(self._stages):
            self.started = True
        return self._grant(actions)

    def join_ingest(self, worker: int, streams: Collection[int] = (), stays: bool = False) -> list[Action]:
        """An ingest worker is ready; it starts each of its streams at `streams[stream].read + 1`.

        `stays`: more streams may come to it (`read_by`), so it is not sent home when it has none.
        """
        reader = self.ingests[worker] = Reader(stays)
        actions: list[Action] = []
        for number in streams:
            if self.streams[number].count is None:
                self._give(number, worker)
            else:  # it has ended while the worker was started
                actions.append(LeaveStream(worker, number))
        if self.draining or not (reader.streams or stays):
            return [DismissWorker(worker)]
        return self._grant(actions)

    def add_stream(self) -> int:
        """One more stream, that nobody reads yet; its number."""
        self.streams.append(Stream())
        self._unclosed += 1
        return len(self.streams) - 1

    def read_by(self, worker: int, stream: int) -> list[Action]:
        """The living ingest worker reads this stream too from now on, and whoever has read it does not any more."""
        self._take(stream)
        self._give(stream, worker)
        return self._grant([])

    def lost(self, worker: int, working: tuple[int, int] | None = None) -> list[Action]:
        """The worker's process is dead and reaped. `working` is the frame that it was working on, if any.

        What it held goes to others ahead of the queue, in the order in which it held it. Only the frame in
        work is blamed. The sink is never a reason to fail a frame: it runs no model.
        """
        reader = self.ingests.pop(worker, None)
        if reader is not None:
            return self._ingest_lost(reader, working)
        record = self.workers.pop(worker, None)
        if record is None:
            return []
        place = self._ids[record.stage].index(worker)
        del self._ids[record.stage][place], self._stages[record.stage][place]
        actions: list[Action] = []
        blamed = record.held.get(working) if working is not None and record.stage != self.sink else None
        for frame in reversed(record.held.values()):
            frame.holder = None
            if frame is blamed and frame.attempts >= self.max_attempts:
                frame.failed = True
                actions.append(CondemnFrame(frame, frame.stage))
                frame.stage = self.sink
                self.queues[self.sink].append(frame)
                continue
            if frame is blamed:
                frame.attempts += 1
            self.queues[record.stage].appendleft(frame)
        actions += self._dispatch(self.sink)
        if record.stage != self.sink:
            actions += self._dispatch(record.stage)
        return actions

    def tune(self, depths: Sequence[int], limit: int) -> list[Action]:
        """How many frames a worker of each model stage may hold, and how many may be in flight, from now on."""
        self._depths[: self.sink] = depths
        self.limit = min(limit, self.slots)
        actions: list[Action] = []
        for stage, depth in enumerate(depths):
            for record in self._stages[stage]:
                record.depth = depth
            actions += self._dispatch(stage)
        return self._grant(actions)

    def retire(self, worker: int) -> list[Action]:
        """The worker is to leave: it gets nothing new and stops when its last frame has left."""
        record = self.workers[worker]
        record.retiring = True
        return [] if record.held else [DismissWorker(worker)]

    # ---- frames go on -------------------------------------------------------------------------------------

    def read(self, worker: int, stream: int, seq: int, picture: Picture, body: bytes, failed: bool) -> list[Action]:
        """Ingest has put the picture of frame `seq` of a stream into a slot (or found that it is unreadable)."""
        reader = self.ingests.get(worker)
        if reader is None or picture.slot not in reader.granted or stream not in reader.streams:
            self.stale += 1
            return []
        account = self.streams[stream]
        if seq != account.read + 1:
            self.stale += 1
            return []
        reader.granted.discard(picture.slot)
        reader.in_flight += 1
        account.read += 1
        attempts = 1
        if seq == account.suspect:
            attempts, account.suspect, account.attempts = min(account.attempts, self.max_attempts), 0, 1
        stage = self.sink if failed else 0
        frame = Frame(stream, seq, picture, body, failed, stage, None, attempts)
        self.frames[stream, seq] = frame
        self.queues[stage].append(frame)
        return self._dispatch(stage)

    def end(self, worker: int, stream: int, drained: bool) -> list[Action]:
        """Ingest has come to the end of a source, or has stopped reading it because it was asked to (`drained`)."""
        reader = self.ingests.get(worker)
        is_its_own = reader is not None and stream in reader.streams
        if reader is None or not (is_its_own or self.has_ended(stream)):
            self.stale += 1
            return []
        actions: list[Action] = []
        if is_its_own:
            self._take(stream)
            actions += self._end_stream(stream, drained)
        if not reader.streams and (self.draining or not reader.stays):
            self.free += sorted(reader.granted, reverse=True)
            reader.granted.clear()
            actions.append(DismissWorker(worker))
        return self._grant(actions)

    def gave_back(self, worker: int, slots: Collection[int]) -> list[Action]:
        """Ingest has given back slots that it was granted and has not filled."""
        reader = self.ingests.get(worker)
        if reader is None or not reader.granted.issuperset(slots):
            self.stale += 1
            return []
        self.free += sorted(reader.granted.intersection(slots), reverse=True)
        reader.granted.difference_update(slots)
        return self._grant([])

    def output(self, worker: int, stream: int, seq: int, body: bytes, failed: bool) -> list[Action]:
        """A worker has finished a frame; it counts only if it is the one that holds it now."""
        key = (stream, seq)
        record = self.workers.get(worker)
        if record is None or record.stage == self.sink or key not in record.held:
            self.stale += 1
            return []
        frame = record.held.pop(key)
        frame.holder = None
        frame.body = body
        frame.failed = failed
        done_at, frame.stage = frame.stage, self.sink if failed else frame.stage + 1
        self.queues[frame.stage].append(frame)
        actions = self._dispatch(frame.stage)
        if record.retiring:
            if not record.held:
                actions.append(DismissWorker(worker))
            return actions
        if self.queues[done_at]:
            actions += self._dispatch(done_at)
        return actions

    def published(self, worker: int, stream: int, seq: int) -> list[Action]:
        """The sink has logged and published all results of the stream up to `seq`."""
        record = self.workers.get(worker)
        if record is None or record.stage != self.sink:
            self.stale += 1
            return []
        account = self.streams[stream]
        before = account.published
        while account.published < seq:
            frame = record.held.pop((stream, account.published + 1), None)
            if frame is None:
                self.stale += 1
                break
            del self.frames[stream, frame.seq]
            account.published += 1
            account.ok += not frame.failed
            account.failed += frame.failed
            self.free.append(frame.picture.slot)
        self.published_in_all += account.published - before
        if account.reader is not None:
            self.ingests[account.reader].in_flight -= account.published - before
        actions: list[Action] = []
        self._close(stream, actions)
        return self._grant(actions)

    def closed(self, worker: int, stream: int) -> list[Action]:
        """The sink has logged and published the stream's end of stream."""
        record = self.workers.get(worker)
        if record is None or self.streams[stream].closing != worker:
            self.stale += 1
        else:
            self._unclosed -= not self.streams[stream].closed
            self.streams[stream].closed = True
        return []

    def leave(self, stream: int) -> list[Action]:
        """Read nothing more of this stream; finish what is in flight of it, and close it where it stands."""
        account = self.streams[stream]
        account.leaving = True
        if account.reader is not None:
            return [LeaveStream(account.reader, stream)]
        return self._end_stream(stream, drained=True) if account.count is None else []

    def drain(self) -> list[Action]:
        """Read nothing more; finish what is in flight; close every stream where it stands."""
        self.draining = True
        actions: list[Action] = [DismissWorker(worker) for worker in self.ingests]
        for number, stream in enumerate(self.streams):
            if stream.reader is None and stream.count is None:
                actions += self._end_stream(number, drained=True)
        return actions

    # ---- what the broker asks -----------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Every stream's end is published, and no further one can come."""
        return not self._unclosed and (self.draining or not self.listens)

    def has_ended(self, stream: int) -> bool:
        """There is such a stream, and all of it is read."""
        return stream < len(self.streams) and self.streams[stream].count is not None

    def resume(self, stream: int, published: int, ok: int, failed: int, closed: bool) -> None:
        """Start the stream's account where an earlier run's results file ends."""
        account = self.streams[stream]
        self.published_in_all += published - account.published
        self._unclosed += account.closed - closed
        account.read = account.published = published
        account.ok, account.failed, account.closed = ok, failed, closed
        account.count = published if closed else None

    def condemned(self, stream: int) -> bool:
        """The stream's suspect has killed ingest so often that a new ingest must not read it."""
        return self.streams[stream].attempts > self.max_attempts

    # ---- inside -------------------------------------------------------------------------------------------

    def _give(self, number: int, worker: int) -> None:
        stream, reader = self.streams[number], self.ingests[worker]
        stream.reader = worker
        reader.streams.add(number)
        reader.in_flight += stream.in_flight

    def _take(self, number: int) -> None:
        """Nobody reads the stream any more."""
        stream = self.streams[number]
        if stream.reader is not None:
            reader = self.ingests[stream.reader]
            reader.streams.discard(number)
            reader.in_flight -= stream.in_flight
            stream.reader = None

    def _ingest_lost(self, reader: Reader, working: tuple[int, int] | None) -> list[Action]:
        self.free += sorted(reader.granted, reverse=True)
        if working is not None and working[0] in reader.streams:
            stream = self.streams[working[0]]
            if working[1] > stream.read:
                if working[1] != stream.suspect:
                    stream.suspect, stream.attempts = working[1], 1
                stream.attempts += 1
        actions: list[Action] = []
        for number in sorted(reader.streams):
            stream = self.streams[number]
            stream.reader = None
            if self.draining or stream.leaving:
                actions += self._end_stream(number, drained=True)
        return self._grant(actions)

    def _end_stream(self, number: int, drained: bool) -> list[Action]:
        stream = self.streams[number]
        if stream.count is None:
            stream.count, stream.drained = stream.read, drained
        actions: list[Action] = []
        self._close(number, actions)
        return actions

    def _close(self, number: int, actions: list[Action]) -> None:
        stream = self.streams[number]
        if stream.count is None or stream.published != stream.count or stream.closed:
            return
        for sink in self._ids[self.sink]:
            if stream.closing != sink:  # each sink is told once
                stream.closing = sink
                actions.append(CloseStream(sink, number, stream.count))

    def _dispatch(self, stage: int) -> list[Action]:
        """Hand queued frames to the workers that hold fewest, as long as one has room."""
        queue, actions = self.queues[stage], list[Action]()
        while queue:
            worker = self._idlest(stage)
            if worker is None:
                break
            frame = queue.popleft()
            frame.holder = worker
            self.workers[worker].held[frame.stream, frame.seq] = frame
            actions.append(SendFrame(worker, frame))
        return actions

    def _idlest(self, stage: int) -> int | None:
        best, fewest = None, 1 << 31
        for worker, record in zip(self._ids[stage], self._stages[stage], strict=True):
            held = len(record.held)
            if held < fewest and held < record.depth and not record.retiring:
                best, fewest = worker, held
        return best

    def _grant(self, actions: list[Action]) -> list[Action]:
        """Deal the free slots to the readers; where one has none, who has more than its share gives back what idles."""
        room_for = self.limit - (self.slots - len(self.free))
        if not self.started or self.draining:
            return actions
        for worker, count in deal(self.ingests, room_for, self.limit) if room_for > 0 else ():
            slots, reader = [self.free.pop() for _ in range(count)], self.ingests[worker]
            reader.granted.update(slots)
            reader.recalled = False
            actions.append(GrantSlots(worker, slots))
        if len(self.ingests) > 1 and any(reader.streams and not reader.used for reader in self.ingests.values()):
            share = max(1, self.limit // len(self.ingests))
            for worker, reader in self.ingests.items():
                if reader.granted and reader.used > share and not reader.recalled:
                    reader.recalled = True
                    actions.append(RecallSlots(worker))
        return actions
