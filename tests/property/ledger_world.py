"""All processes of a pipeline as the ledger sees them, and the account that it is held against."""

from collections import Counter
from dataclasses import dataclass, field

from zpipe.rules.accounts import (
    Action,
    CloseStream,
    CondemnFrame,
    DismissWorker,
    GrantSlots,
    LeaveStream,
    RecallSlots,
    SendFrame,
)
from zpipe.rules.credit import BURST, DEPTH
from zpipe.rules.invariant import check
from zpipe.rules.ledger import Ledger
from zpipe.wire import Picture

Key = tuple[int, int]
TRIED: Counter[str] = Counter()
"""How much was tried: examples, events, and the deaths and lies among them."""


@dataclass
class Living:
    """A worker of a stage or the sink, as it sees itself. `holds` is in the order of arrival."""

    stage: int
    holds: list[Key] = field(default_factory=list)
    retiring: bool = False
    dismissed: bool = False
    told_to_close: set[int] = field(default_factory=set)


@dataclass
class Reader:
    """An ingest worker: the number of the frame that it reads next of each of its streams, the slots that it may fill.

    A stream that has ended, or that another reads now, is not in `next` any more. `told_to_leave`: streams of which it
    is to read no more. `stays`: it may be given streams while it lives.
    """

    next: dict[int, int]
    stays: bool = False
    slots: list[int] = field(default_factory=list)
    told_to_leave: set[int] = field(default_factory=set)
    dismissed: bool = False
    recalled: bool = False


@dataclass
class Known:
    """What the account knows of a frame in flight."""

    slot: int
    body: bytes
    failed: bool
    attempts: int


class World:
    """All processes of a pipeline, and the account that the ledger is held against."""

    def __init__(self, stages: int, lengths: list[int], slots: int, max_attempts: int) -> None:
        self.ledger = Ledger(stages, len(lengths), slots, max_attempts)
        self.sink = stages
        self.lengths = lengths
        self.max_attempts = max_attempts
        self.depths = [DEPTH] * stages
        self.limit = slots
        self.workers: dict[int, Living] = {}
        self.readers: dict[int, Reader] = {}
        self.dead: list[int] = []
        self.free = set(range(slots))
        self.frames: dict[Key, Known] = {}
        self.queues: list[list[Key]] = [[] for _ in range(stages + 1)]
        self.read = [0 for _ in lengths]
        self.log: list[list[int]] = [[] for _ in lengths]
        self.acknowledged = [0 for _ in lengths]
        self.counts: list[int | None] = [None for _ in lengths]
        self.closed = [False for _ in lengths]
        self.suspects: list[int] = [0 for _ in lengths]
        self.read_deaths = [0 for _ in lengths]
        self.leaving: set[int] = set()
        self.listens = False
        self.condemned: set[Key] = set()
        self.drained = [False for _ in lengths]
        self.draining = False
        self.started = False
        self.stale = 0
        self._number = 0
        self._body = 0

    # ---- actions: what the ledger tells the processes ---------------------------------------------------

    def perform(self, actions: list[Action], condemn: Key | None = None) -> None:
        """Take the actions; `condemn` is the frame that must be condemned by them, and no other."""
        condemned = [action for action in actions if isinstance(action, CondemnFrame)]
        assert [(c.frame.stream, c.frame.seq) for c in condemned] == ([condemn] if condemn else [])
        for action in actions:
            match action:
                case SendFrame(worker, frame):
                    self.sent(worker, (frame.stream, frame.seq), frame)
                case GrantSlots(worker, slots):
                    reader = self.readers[worker]
                    assert self.started
                    assert reader.next or reader.slots
                    assert not reader.dismissed
                    assert not self.draining
                    assert self.free.issuperset(slots), "a slot that is in use is granted"
                    self.free.difference_update(slots)
                    assert self.ledger.slots - len(self.free) <= self.limit, "too many in flight"
                    reader.slots += slots
                    assert self.used(reader) <= self.share(), "one source starves the others"
                case RecallSlots(worker):
                    assert self.readers[worker].slots
                    assert not self.readers[worker].recalled, "it is asked twice"
                    assert self.used(self.readers[worker]) > 1, "it has no more than it needs"
                    assert any(reader.next and not self.used(reader) for reader in self.reading()), "nobody needs it"
                    self.readers[worker].recalled = True
                case CloseStream(worker, stream, total):
                    assert self.workers[worker].stage == self.sink
                    assert not self.closed[stream]
                    assert self.counts[stream] == total == self.acknowledged[stream] == len(self.log[stream])
                    assert stream not in self.workers[worker].told_to_close, "one sink is told twice"
                    self.workers[worker].told_to_close.add(stream)
                case LeaveStream(worker, stream):
                    assert stream in self.leaving or self.counts[stream] is not None
                    self.readers[worker].told_to_leave.add(stream)
                case DismissWorker(worker):
                    if worker in self.workers:
                        assert self.workers[worker].retiring
                        assert not self.workers[worker].holds
                        assert not self.workers[worker].dismissed
                    else:
                        assert self.draining or not (self.readers[worker].next or self.readers[worker].stays)
                    (self.workers.get(worker) or self.readers[worker]).dismissed = True
                case CondemnFrame(frame):
                    frame.body = self.frames[frame.stream, frame.seq].body  # the broker writes the failure into it
        self.settled()

    def sent(self, number: int, key: Key, frame: object) -> None:
        worker, known = self.workers[number], self.frames[key]
        assert not worker.retiring, "a leaving worker gets a frame"
        assert self.queues[worker.stage].pop(0) == key, "a frame overtakes another"
        assert self.has_room(worker)
        peers = [w for w in self.workers.values() if w.stage == worker.stage and not w.retiring]
        assert len(worker.holds) == min(len(w.holds) for w in peers), "another holds fewer"
        worker.holds.append(key)
        seen = (frame.picture.slot, frame.body, frame.failed, frame.attempts)
        assert seen == (known.slot, known.body, known.failed, known.attempts)

    def settled(self) -> None:
        """What must hold after every event."""
        TRIED["events"] += 1
        ledger = self.ledger
        check(ledger)
        assert ledger.stale == self.stale
        assert set(ledger.frames) == set(self.frames)
        assert [[(f.stream, f.seq) for f in queue] for queue in ledger.queues] == self.queues
        for stage, queue in enumerate(self.queues):
            room = [w for w in self.workers.values() if w.stage == stage and not w.retiring and self.has_room(w)]
            assert not (queue and room), "a frame waits though a worker has room"
        for number, worker in self.workers.items():
            assert list(ledger.workers[number].held) == worker.holds
            if worker.retiring and not worker.holds:
                assert worker.dismissed
            if worker.stage == self.sink:
                assert worker.told_to_close >= {s for s in range(len(self.lengths)) if self.ripe(s)}
        for stream, account in enumerate(ledger.streams):
            assert (account.read, account.published) == (self.read[stream], self.acknowledged[stream])
            assert (account.count, account.closed) == (self.counts[stream], self.closed[stream])
            assert account.drained == self.drained[stream]
            assert account.dropped == 0
            assert ledger.condemned(stream) == (self.read_deaths[stream] >= self.max_attempts)
            assert account.reader == next((n for n, r in self.readers.items() if stream in r.next), None)
        granted = sum(len(reader.slots) for reader in self.readers.values())
        assert granted + len(self.frames) + len(self.free) == ledger.slots
        if self.started and not self.draining:
            left = self.limit - (ledger.slots - len(self.free))
            for reader in self.reading():
                burst = max(1, self.share() // BURST)
                assert min(left, self.share() - self.used(reader)) < burst, "a source waits for nothing"
        assert ledger.finished == (all(self.closed) and (self.draining or not self.listens))

    def has_room(self, worker: Living) -> bool:
        return worker.stage == self.sink or len(worker.holds) < self.depths[worker.stage]

    def reading(self) -> list[Reader]:
        return [reader for reader in self.readers.values() if reader.next or reader.slots]

    def used(self, reader: Reader) -> int:
        """Slots that the frames of its streams have, or may have."""
        return sum(self.read[stream] - self.acknowledged[stream] for stream in reader.next) + len(reader.slots)

    def share(self) -> int:
        return max(1, self.limit // len(self.reading()))

    def ripe(self, stream: int) -> bool:
        """All of the stream is published but its end."""
        return self.counts[stream] == self.acknowledged[stream] and not self.closed[stream]

    # ---- events: what the processes do ------------------------------------------------------------------

    def join(self, stage: int) -> None:
        self._number += 1
        self.workers[self._number] = Living(stage)
        self.started = self.started or {w.stage for w in self.workers.values()} == set(range(self.sink + 1))
        self.perform(self.ledger.join(self._number, stage))

    def join_ingest(self, streams: list[int], stays: bool = False) -> None:
        self._number += 1
        left = [stream for stream in streams if self.counts[stream] is None]
        reader = self.readers[self._number] = Reader({stream: self.read[stream] + 1 for stream in left}, stays)
        self.perform(self.ledger.join_ingest(self._number, streams, stays))
        assert reader.dismissed == (self.draining or not (left or stays))
        assert reader.dismissed or reader.told_to_leave == set(streams) - set(left)

    def add_stream(self, length: int) -> None:
        """A stream comes while the pipeline runs."""
        for of_each in (self.read, self.acknowledged, self.suspects, self.read_deaths):
            of_each.append(0)
        self.lengths.append(length)
        self.log.append([])
        self.counts.append(None)
        self.closed.append(False)
        self.drained.append(False)
        assert self.ledger.add_stream() == len(self.lengths) - 1
        self.settled()

    def read_by(self, number: int, stream: int) -> None:
        """A living ingest is given the stream."""
        for reader in self.readers.values():
            reader.next.pop(stream, None)
        self.readers[number].next[stream] = self.read[stream] + 1
        self.perform(self.ledger.read_by(number, stream))

    def leave(self, stream: int) -> None:
        """Nobody wants more of the stream."""
        self.leaving.add(stream)
        reader = next((reader for reader in self.readers.values() if stream in reader.next), None)
        if reader is None:
            self.end_stream(stream, drained=True)
        self.perform(self.ledger.leave(stream))
        assert reader is None or stream in reader.told_to_leave

    def lose(self, number: int, working: Key | None = None) -> None:
        TRIED["deaths"] += 1
        self.dead.append(number)
        if number in self.readers:
            reader = self.readers.pop(number)
            self.free.update(reader.slots)
            if working is not None and working[0] in reader.next and working[1] > self.read[working[0]]:
                stream, seq = working
                self.read_deaths[stream] = self.read_deaths[stream] + 1 if seq == self.suspects[stream] else 1
                self.suspects[stream] = seq
            for stream in reader.next:
                if self.draining or stream in self.leaving:
                    self.end_stream(stream, drained=True)
            self.perform(self.ledger.lost(number, working))
            return
        worker = self.workers.pop(number)
        back, condemn = list(worker.holds), None
        if worker.stage != self.sink and working in back:
            known = self.frames[working]
            if known.attempts == self.max_attempts:
                condemn = working
                back.remove(working)
                self.queues[self.sink].append(working)
                self.condemned.add(working)
                known.failed = True
            else:
                known.attempts += 1
        self.queues[worker.stage][:0] = back
        self.perform(self.ledger.lost(number, working), condemn)

    def retire(self, number: int) -> None:
        self.workers[number].retiring = True
        self.perform(self.ledger.retire(number))

    def take(self, number: int, stream: int, which: int, failed: bool) -> None:
        """Ingest reads the next frame of a stream into one of its slots."""
        reader = self.readers[number]
        slot, seq = reader.slots.pop(which % len(reader.slots)), reader.next[stream]
        body = self.new_body()
        attempts = 1
        if seq == self.suspects[stream]:
            attempts = min(self.read_deaths[stream] + 1, self.max_attempts)
            self.suspects[stream] = self.read_deaths[stream] = 0
        self.frames[stream, seq] = Known(slot, body, failed, attempts)
        self.queues[self.sink if failed else 0].append((stream, seq))
        self.read[stream] += 1
        reader.next[stream] += 1
        self.perform(self.ledger.read(number, stream, seq, Picture(slot, 7), body, failed))

    def give_back(self, number: int) -> None:
        """Ingest has been asked for its slots."""
        reader = self.readers[number]
        slots, reader.slots, reader.recalled = reader.slots, [], False
        self.free.update(slots)
        self.perform(self.ledger.gave_back(number, slots))

    def can_end(self, reader: Reader, stream: int) -> bool:
        return reader.dismissed or stream in reader.told_to_leave or reader.next[stream] > self.lengths[stream]

    def end(self, number: int, stream: int) -> None:
        """Ingest ends one of its streams."""
        reader = self.readers[number]
        drained = reader.next.pop(stream) <= self.lengths[stream]
        is_over = not reader.next and (self.draining or not reader.stays)
        if is_over:
            self.free.update(reader.slots)
            reader.slots.clear()
        self.end_stream(stream, drained)
        self.perform(self.ledger.end(number, stream, drained))
        assert reader.dismissed or not is_over

    def end_stream(self, stream: int, drained: bool) -> None:
        if self.counts[stream] is None:
            self.counts[stream], self.drained[stream] = self.read[stream], drained

    def finish(self, number: int, which: int, failed: bool) -> Key:
        """A worker finishes a frame."""
        worker = self.workers[number]
        key = worker.holds.pop(which % len(worker.holds))
        known = self.frames[key]
        known.body, known.failed = self.new_body(), failed
        self.queues[self.sink if failed else worker.stage + 1].append(key)
        self.perform(self.ledger.output(number, *key, known.body, failed))
        return key

    def publish(self, number: int, stream: int, most: int = 1 << 30) -> None:
        """The sink logs and publishes what is in order, unless its predecessor has; it says nothing yet."""
        seq = self.acknowledged[stream] + 1
        while (stream, seq) in self.workers[number].holds and most:
            if seq > len(self.log[stream]):
                assert seq == len(self.log[stream]) + 1, "a gap in what is published"
                self.log[stream].append(seq)
            seq, most = seq + 1, most - 1

    def acknowledge(self, number: int, stream: int, upto: int) -> None:
        """The sink acknowledges what it has published."""
        worker = self.workers[number]
        while self.acknowledged[stream] < upto:
            key = (stream, self.acknowledged[stream] + 1)
            worker.holds.remove(key)
            self.free.add(self.frames.pop(key).slot)
            self.acknowledged[stream] += 1
        self.perform(self.ledger.published(number, stream, upto))

    def publishable(self, number: int, stream: int) -> int:
        """The last number that the sink holds without a gap, and has logged."""
        seq = self.acknowledged[stream]
        while (stream, seq + 1) in self.workers[number].holds and seq < len(self.log[stream]):
            seq += 1
        return seq

    def close(self, number: int, stream: int) -> None:
        self.closed[stream] = True
        self.perform(self.ledger.closed(number, stream))

    def drain(self) -> None:
        self.draining = True
        read_by = {stream for reader in self.readers.values() for stream in reader.next}
        for stream in range(len(self.lengths)):
            if stream not in read_by:
                self.end_stream(stream, drained=True)
        self.perform(self.ledger.drain())

    def tune(self, depths: list[int], limit: int) -> None:
        self.depths, self.limit = depths, min(limit, self.ledger.slots)
        self.perform(self.ledger.tune(depths, limit))

    def nothing(self, actions: list[Action], stale: bool = True) -> None:
        """What was said is not true any more: it must change nothing."""
        TRIED["lies"] += 1
        self.stale += stale
        assert actions == []
        self.settled()

    def new_body(self) -> bytes:
        self._body += 1
        return b"%d" % self._body

    # ---- to the end --------------------------------------------------------------------------------------

    def drive(self) -> None:
        """Let every process live and work until every stream's end is published."""
        for _ in range(20 * (sum(self.lengths) + len(self.lengths) + len(self.workers) + 10)):
            if all(self.closed):
                break
            if self.listens and not self.draining and all(count is not None for count in self.counts):
                self.drain()
            self.staff()
            self.work()
        assert all(self.closed), "it does not come to its end"
        for number in list(self.workers) + list(self.readers):
            self.lose(number)
        ledger = self.ledger
        if self.listens and not self.draining:
            assert not ledger.finished
            self.drain()
        assert ledger.finished
        assert all(stream.balanced for stream in ledger.streams)
        assert sorted(ledger.free) == list(range(ledger.slots))
        assert not any(ledger.queues)
        assert not ledger.frames
        for stream, log in enumerate(self.log):
            assert log == list(range(1, self.read[stream] + 1)), "not each accepted frame once"
            assert self.draining or stream in self.leaving or self.read[stream] == self.lengths[stream]

    def staff(self) -> None:
        """One worker for what has none."""
        for stage in range(self.sink + 1):
            if not any(w.stage == stage and not w.retiring for w in self.workers.values()):
                for number, worker in list(self.workers.items()):
                    if worker.stage == stage == self.sink:
                        self.lose(number)
                self.join(stage)
        unread = self.unread()
        if unread:
            self.join_ingest(unread)

    def unread(self) -> list[int]:
        """Streams that go on, and that no living ingest reads."""
        read_by = {stream for reader in self.readers.values() for stream in reader.next}
        return [stream for stream, count in enumerate(self.counts) if count is None and stream not in read_by]

    def work(self) -> None:
        """Each process does one thing."""
        for number, reader in list(self.readers.items()):
            if reader.dismissed and not reader.next:
                self.lose(number)
                continue
            stream = min(reader.next, key=reader.next.__getitem__, default=None)
            ready = [stream for stream in reader.next if self.can_end(reader, stream)]
            if reader.recalled:
                self.give_back(number)
            elif ready:
                self.end(number, ready[0])
            elif reader.slots and stream is not None:
                self.take(number, stream, 0, failed=False)
        for number, worker in list(self.workers.items()):
            if worker.stage == self.sink:
                for stream in range(len(self.lengths)):
                    self.publish(number, stream)
                    if (upto := self.publishable(number, stream)) > self.acknowledged[stream]:
                        self.acknowledge(number, stream, upto)
                    if stream in worker.told_to_close and not self.closed[stream]:
                        self.close(number, stream)
            elif worker.holds:
                self.finish(number, 0, failed=False)
            elif worker.dismissed:
                self.lose(number)
