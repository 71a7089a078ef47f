"""The ledger: who holds which frame. A pure state machine: events in, actions out.

No socket, process, file or clock is in here. The broker turns what arrives into the events below and performs
the actions that they return, in order. One frame's life:

    read ──▶ queue 0 ──▶ held by a detect worker ──▶ queue 1 ──▶ … ──▶ queue S ──▶ held by the sink ──▶ published
                 ▲                 │ lost                                                 (its slot is free again)
                 └──── in front ◀──┘

The invariant, which every event keeps (`check` states it, the property tests attack it): each accepted and
unpublished frame is in exactly one place, a queue or one living worker's hands, and owns exactly one slot.
From it follow the promises. *One result per frame*: nothing but `published` removes a frame. *Exactly once*: an
output counts only if it comes from the worker that holds the frame now, so what a dead worker sent too late is
ignored. *Memory*: a slot is freed only when no worker can still read it. *Bounded*: a source can put no frame
in flight without a slot that was granted to it.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from zpipe.rules.accounts import (
    Action,
    CloseStream,
    CondemnFrame,
    DismissWorker,
    Frame,
    GrantSlots,
    Holder,
    Reader,
    SendFrame,
    Stream,
)
from zpipe.rules.credit import BURST, DEPTH, MOST_DEPTH, SINK_DEPTH
from zpipe.wire import Picture


class Ledger:
    """All frames in flight of a pipeline with `stages` model stages, `streams` streams and `slots` frame slots.

    Workers are numbers that are never used twice: a message from a number that is not here any more is stale.
    Stages count from 0; number `stages` is the sink.
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
        self.stale = 0
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

    def join_ingest(self, worker: int, stream: int) -> list[Action]:
        """The ingest worker of a stream is ready; it starts at `streams[stream].read + 1`."""
        self.ingests[worker] = Reader(stream)
        if self.draining or self.streams[stream].count is not None:
            return [DismissWorker(worker)]
        return self._grant([])

    def lost(self, worker: int, working: tuple[int, int] | None = None) -> list[Action]:
        """The worker's process is dead and reaped. `working` is the frame that it was working on, if any.

        What it held goes to others ahead of the queue, in the order in which it held it. Only the frame in
        work is blamed. The sink is never a reason to fail a frame: it runs no model.
        """
        ingest = self.ingests.pop(worker, None)
        if ingest is not None:
            return self._ingest_lost(ingest, working)
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

    def read(self, worker: int, seq: int, picture: Picture, body: bytes, failed: bool) -> list[Action]:
        """Ingest has put the picture of frame `seq` of its stream into a slot (or found that it is unreadable)."""
        ingest = self.ingests.get(worker)
        if ingest is None or picture.slot not in ingest.granted or seq != self.streams[ingest.stream].read + 1:
            self.stale += 1
            return []
        stream = self.streams[ingest.stream]
        ingest.granted.discard(picture.slot)
        stream.read += 1
        attempts = 1
        if seq == stream.suspect:
            attempts, stream.suspect, stream.attempts = min(stream.attempts, self.max_attempts), 0, 1
        stage = self.sink if failed else 0
        frame = Frame(ingest.stream, seq, picture, body, failed, stage, None, attempts)
        self.frames[ingest.stream, seq] = frame
        self.queues[stage].append(frame)
        return self._dispatch(stage)

    def end(self, worker: int, drained: bool) -> list[Action]:
        """Ingest has come to the end of its source, or has stopped because it was asked to (`drained`)."""
        ingest = self.ingests.get(worker)
        if ingest is None:
            self.stale += 1
            return []
        self.free += sorted(ingest.granted, reverse=True)
        ingest.granted.clear()
        actions = self._end_stream(ingest.stream, drained)
        actions.append(DismissWorker(worker))
        return self._grant(actions)

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
        actions: list[Action] = []
        self._close(stream, actions)
        return self._grant(actions)

    def closed(self, worker: int, stream: int) -> list[Action]:
        """The sink has logged and published the stream's end of stream."""
        record = self.workers.get(worker)
        if record is None or self.streams[stream].closing != worker:
            self.stale += 1
        else:
            self.streams[stream].closed = True
        return []

    def drain(self) -> list[Action]:
        """Read nothing more; finish what is in flight; close every stream where it stands."""
        self.draining = True
        actions: list[Action] = [DismissWorker(worker) for worker in self.ingests]
        reading = {ingest.stream for ingest in self.ingests.values()}
        for number, stream in enumerate(self.streams):
            if number not in reading and stream.count is None:
                actions += self._end_stream(number, drained=True)
        return actions

    # ---- what the broker asks -----------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Every stream's end is published."""
        return all(stream.closed for stream in self.streams)

    def resume(self, stream: int, published: int, ok: int, failed: int, closed: bool) -> None:
        """Start the stream's account where an earlier run's results file ends."""
        account = self.streams[stream]
        account.read = account.published = published
        account.ok, account.failed, account.closed = ok, failed, closed
        account.count = published if closed else None

    def condemned(self, stream: int) -> bool:
        """The stream's suspect has killed ingest so often that a new ingest must not read it."""
        return self.streams[stream].attempts > self.max_attempts

    def check(self) -> None:
        """Assert the invariant of this module; O(frames in flight)."""
        places: dict[tuple[int, int], int] = {}
        for stage, queue in enumerate(self.queues):
            for frame in queue:
                assert frame.stage == stage
                assert frame.holder is None
                places[frame.stream, frame.seq] = places.get((frame.stream, frame.seq), 0) + 1
        for worker, record in self.workers.items():
            assert len(record.held) <= max(record.depth, MOST_DEPTH)  # `tune` may have lowered it
            for key, frame in record.held.items():
                assert key == (frame.stream, frame.seq)
                assert (frame.holder, frame.stage) == (worker, record.stage)
                places[key] = places.get(key, 0) + 1
        assert places == dict.fromkeys(self.frames, 1), "a frame is in no place or in two"
        slots = [frame.picture.slot for frame in self.frames.values()] + self.free
        slots += [slot for ingest in self.ingests.values() for slot in ingest.granted]
        assert sorted(slots) == list(range(self.slots)), "a slot is lost or owned twice"
        for number, stream in enumerate(self.streams):
            assert stream.published == stream.ok + stream.failed
            in_flight = sorted(seq for owner, seq in self.frames if owner == number)
            assert in_flight == list(range(stream.published + 1, stream.read + 1))

    # ---- inside -------------------------------------------------------------------------------------------

    def _ingest_lost(self, ingest: Reader, working: tuple[int, int] | None) -> list[Action]:
        self.free += sorted(ingest.granted, reverse=True)
        stream = self.streams[ingest.stream]
        if working is not None and working[0] == ingest.stream and working[1] > stream.read:
            if working[1] != stream.suspect:
                stream.suspect, stream.attempts = working[1], 1
            stream.attempts += 1
        actions: list[Action] = []
        if self.draining and stream.count is None:
            actions = self._end_stream(ingest.stream, drained=True)
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
        """Deal the free slots to the sources, evenly: none may starve another of memory."""
        room_for = self.limit - (self.slots - len(self.free))
        if not self.started or self.draining or room_for <= 0:
            return actions
        reading = {w: i for w, i in self.ingests.items() if self.streams[i.stream].count is None}
        if not reading:
            return actions
        share = max(1, self.limit // len(reading))
        burst = max(1, share // BURST)
        grants: dict[int, list[int]] = {}
        for worker in self._by_share(reading):
            account, ingest = self.streams[reading[worker].stream], reading[worker]
            room = min(room_for, share - (account.read - account.published) - len(ingest.granted))
            for _ in range(room if room >= burst else 0):
                slot = self.free.pop()
                ingest.granted.add(slot)
                grants.setdefault(worker, []).append(slot)
                room_for -= 1
        actions += (GrantSlots(worker, slots) for worker, slots in grants.items())
        return actions

    def _by_share(self, reading: dict[int, Reader]) -> Iterator[int]:
        if len(reading) == 1:
            return iter(reading)

        def taken(worker: int) -> int:
            account = self.streams[reading[worker].stream]
            return account.read - account.published + len(reading[worker].granted)

        return iter(sorted(reading, key=taken))
