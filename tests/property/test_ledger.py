"""The ledger against a simple account of the same pipeline: any order of events keeps the promises.

`World` plays every process of a pipeline: it makes an event, works out for itself what must follow, and compares
that with the actions that the ledger returns. Hypothesis chooses the events; in the end all is driven to the
end of every stream, and each frame must have been published exactly once.
"""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from zpipe.rules.accounts import Action, CloseStream, CondemnFrame, DismissWorker, GrantSlots, SendFrame
from zpipe.rules.credit import BURST, DEPTH, MOST_DEPTH
from zpipe.rules.ledger import Ledger
from zpipe.wire import Picture

Key = tuple[int, int]
TRIED: Counter[str] = Counter()
"""How much was tried: examples, events, and the deaths and lies among them."""

PICKS = st.integers(0, 999)
"""Which of several: taken modulo their number, so that it shrinks towards the first."""


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
    """An ingest worker: the slots that it may fill, the number of the frame that it reads next."""

    stream: int
    seq: int
    slots: list[int] = field(default_factory=list)
    dismissed: bool = False
    ended: bool = False


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
                    assert not reader.ended
                    assert not self.draining
                    assert self.counts[reader.stream] is None
                    assert self.free.issuperset(slots), "a slot that is in use is granted"
                    self.free.difference_update(slots)
                    assert self.ledger.slots - len(self.free) <= self.limit, "too many in flight"
                    reader.slots += slots
                    assert self.used(reader) <= self.share(), "one source starves the others"
                case CloseStream(worker, stream, total):
                    assert self.workers[worker].stage == self.sink
                    assert not self.closed[stream]
                    assert self.counts[stream] == total == self.acknowledged[stream] == len(self.log[stream])
                    assert stream not in self.workers[worker].told_to_close, "one sink is told twice"
                    self.workers[worker].told_to_close.add(stream)
                case DismissWorker(worker):
                    if worker in self.workers:
                        assert self.workers[worker].retiring
                        assert not self.workers[worker].holds
                        assert not self.workers[worker].dismissed
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
        ledger.check()
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
        granted = sum(len(reader.slots) for reader in self.readers.values())
        assert granted + len(self.frames) + len(self.free) == ledger.slots
        if self.started and not self.draining:
            left = self.limit - (ledger.slots - len(self.free))
            for reader in self.reading():
                burst = max(1, self.share() // BURST)
                assert min(left, self.share() - self.used(reader)) < burst, "a source waits for nothing"
        assert ledger.finished == all(self.closed)

    def has_room(self, worker: Living) -> bool:
        return worker.stage == self.sink or len(worker.holds) < self.depths[worker.stage]

    def reading(self) -> list[Reader]:
        return [reader for reader in self.readers.values() if self.counts[reader.stream] is None]

    def used(self, reader: Reader) -> int:
        """Slots that the stream's frames have, or may have."""
        return self.read[reader.stream] - self.acknowledged[reader.stream] + len(reader.slots)

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

    def join_ingest(self, stream: int) -> None:
        self._number += 1
        self.readers[self._number] = Reader(stream, self.read[stream] + 1)
        self.perform(self.ledger.join_ingest(self._number, stream))
        assert self.readers[self._number].dismissed == (self.draining or self.counts[stream] is not None)

    def lose(self, number: int, working: Key | None = None) -> None:
        TRIED["deaths"] += 1
        self.dead.append(number)
        if number in self.readers:
            reader = self.readers.pop(number)
            self.free.update(reader.slots)
            if working is not None and working[0] == reader.stream and working[1] > self.read[reader.stream]:
                again = working[1] == self.suspects[reader.stream]
                self.read_deaths[reader.stream] = self.read_deaths[reader.stream] + 1 if again else 1
                self.suspects[reader.stream] = working[1]
            if self.draining:
                self.end_stream(reader.stream, drained=True)
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

    def take(self, number: int, which: int, failed: bool) -> None:
        """Ingest reads its next frame into one of its slots."""
        reader = self.readers[number]
        slot = reader.slots.pop(which % len(reader.slots))
        key, body = (reader.stream, reader.seq), self.new_body()
        attempts = 1
        if reader.seq == self.suspects[reader.stream]:
            attempts = min(self.read_deaths[reader.stream] + 1, self.max_attempts)
            self.suspects[reader.stream] = self.read_deaths[reader.stream] = 0
        self.frames[key] = Known(slot, body, failed, attempts)
        self.queues[self.sink if failed else 0].append(key)
        self.read[reader.stream] += 1
        reader.seq += 1
        self.perform(self.ledger.read(number, key[1], Picture(slot, 7), body, failed))

    def end(self, number: int) -> None:
        reader = self.readers[number]
        reader.ended = True
        self.free.update(reader.slots)
        reader.slots.clear()
        drained = reader.dismissed or reader.seq <= self.lengths[reader.stream]
        self.end_stream(reader.stream, drained)
        self.perform(self.ledger.end(number, drained))
        assert reader.dismissed

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
        reading = {reader.stream for reader in self.readers.values()}
        for stream in range(len(self.lengths)):
            if stream not in reading:
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
            self.staff()
            self.work()
        assert all(self.closed), "it does not come to its end"
        for number in list(self.workers) + list(self.readers):
            self.lose(number)
        ledger = self.ledger
        assert ledger.finished
        assert all(stream.balanced for stream in ledger.streams)
        assert sorted(ledger.free) == list(range(ledger.slots))
        assert not any(ledger.queues)
        assert not ledger.frames
        for stream, log in enumerate(self.log):
            assert log == list(range(1, self.read[stream] + 1)), "not each accepted frame once"
            assert self.draining or self.read[stream] == self.lengths[stream]

    def staff(self) -> None:
        """One worker for what has none."""
        for stage in range(self.sink + 1):
            if not any(w.stage == stage and not w.retiring for w in self.workers.values()):
                for number, worker in list(self.workers.items()):
                    if worker.stage == stage == self.sink:
                        self.lose(number)
                self.join(stage)
        for stream, count in enumerate(self.counts):
            if count is None and not any(r.stream == stream for r in self.readers.values()):
                self.join_ingest(stream)

    def work(self) -> None:
        """Each process does one thing."""
        for number, reader in list(self.readers.items()):
            if reader.ended:
                self.lose(number)
            elif reader.dismissed or reader.seq > self.lengths[reader.stream]:
                self.end(number)
            elif reader.slots:
                self.take(number, 0, failed=False)
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


class LedgerMachine(RuleBasedStateMachine):
    """Events in any order. Rules that are lies (stale, repeated, from the dead) must change nothing."""

    world: World | None = None

    @initialize(
        stages=st.integers(1, 3),
        lengths=st.lists(st.integers(0, 30), min_size=1, max_size=3),
        more_slots=st.integers(0, 16),
        max_attempts=st.integers(1, 3),
        resumed=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=3),
        staff=st.lists(st.integers(0, 3), min_size=3, max_size=3),
        staffed=st.sampled_from([True, True, True, False]),
    )
    def start(self, stages, lengths, more_slots, max_attempts, resumed, staff, staffed):
        world = self.world = World(stages, lengths, len(lengths) + more_slots, max_attempts)
        for stream, (published, failed, closed) in enumerate(resumed[: len(lengths)]):
            published = min(published, lengths[stream])
            failed = min(published, failed)
            closed = closed and published == lengths[stream]
            world.ledger.resume(stream, published, published - failed, failed, closed)
            world.log[stream] = list(range(1, published + 1))
            world.read[stream] = world.acknowledged[stream] = published
            world.closed[stream] = closed
            world.counts[stream] = published if closed else None
        world.settled()
        for stage, count in enumerate(staff[:stages]):
            for _ in range(count):
                world.join(stage)
        if staffed:
            world.staff()

    @invariant()
    def settled(self):
        if self.world is not None:
            self.world.settled()

    def teardown(self):
        if self.world is not None:
            TRIED["examples"] += 1
            self.world.drive()

    # ---- workers come and go -----------------------------------------------------------------------------

    @rule(stage=PICKS)
    def a_worker_joins(self, stage):
        stage %= self.world.sink
        if sum(worker.stage == stage for worker in self.world.workers.values()) < 4:
            self.world.join(stage)

    @precondition(lambda self: not self.of_sink())
    @rule()
    def the_sink_joins(self):
        self.world.join(self.world.sink)

    @rule(pick=PICKS)
    def an_ingest_joins(self, pick):
        """Also one whose stream has ended meanwhile: it was being started then."""
        world = self.world
        read_by = {reader.stream for reader in world.readers.values()}
        unread = [stream for stream in range(len(world.lengths)) if stream not in read_by]
        if unread:
            world.join_ingest(unread[pick % len(unread)])

    @precondition(lambda self: self.world.workers)
    @rule(pick=PICKS, frame=PICKS, at_work=st.integers(0, 3))
    def a_worker_dies(self, pick, frame, at_work):
        number, worker = self.pick(self.world.workers, pick)
        working = worker.holds[0] if worker.holds and at_work else None
        if at_work == 3:  # what it worked on has left its hands already, and its output was heard
            others = [key for key in self.world.frames if key not in worker.holds]
            working = others[frame % len(others)] if others else (0, 10_000)
        self.world.lose(number, working)

    @precondition(lambda self: self.world.readers)
    @rule(pick=PICKS, at_work=st.sampled_from([None, 0, -1, 1, 2]))
    def an_ingest_dies(self, pick, at_work):
        """At its next frame, after it, or at a later one (what it had read before that was not sent yet)."""
        number, reader = self.pick(self.world.readers, pick)
        self.world.lose(number, None if at_work is None else (reader.stream, reader.seq + at_work))

    @precondition(lambda self: self.world.frames)
    @rule(pick=PICKS, deaths=st.integers(1, 4), replaced=st.booleans())
    def a_frame_kills_who_works_on_it(self, pick, deaths, replaced):
        world = self.world
        key, _ = self.pick(world.frames, pick)
        for _ in range(deaths):
            holders = {n: w for n, w in world.workers.items() if key in w.holds}
            for number, worker in holders.items():
                world.lose(number, key)
                if replaced or worker.stage == world.sink:
                    world.join(worker.stage)

    @rule(pick=PICKS)
    def a_worker_retires(self, pick):
        staying = {n: w for n, w in self.world.workers.items() if not w.retiring and w.stage != self.world.sink}
        if staying:
            self.world.retire(self.pick(staying, pick)[0])

    # ---- frames go on ------------------------------------------------------------------------------------

    @rule(pick=PICKS, slot=PICKS, failed=st.sampled_from([False, False, False, True]), count=st.integers(1, 8))
    def ingest_reads(self, pick, slot, failed, count):
        world = self.world
        for _ in range(count):
            reading = {
                n: r for n, r in world.readers.items() if r.slots and r.seq <= world.lengths[r.stream] and not r.ended
            }
            if not reading:
                return
            number, reader = self.pick(reading, pick)
            condemned = world.ledger.condemned(reader.stream) and reader.seq == world.suspects[reader.stream]
            world.take(number, slot, failed or condemned)

    @rule(pick=PICKS, again=st.booleans())
    def ingest_ends(self, pick, again):
        """`again`: a replacement was being started meanwhile; it is sent home, and says that it has ended too."""
        world = self.world
        ready = {
            n: r
            for n, r in world.readers.items()
            if not r.ended and (r.dismissed or r.seq > world.lengths[r.stream])
        }
        if ready:
            number, reader = self.pick(ready, pick)
            world.end(number)
            if again:
                world.lose(number)
                world.join_ingest(reader.stream)
                world.end(max(world.readers))

    @rule(pick=PICKS, frame=PICKS, fails=st.lists(st.booleans(), min_size=1, max_size=5), again=st.booleans())
    def a_worker_finishes(self, pick, frame, fails, again):
        world = self.world
        for failed in fails:
            working = {n: w for n, w in world.workers.items() if w.holds and w.stage != world.sink}
            if not working:
                return
            number, _ = self.pick(working, pick)
            key = world.finish(number, frame, failed)
            if again and key not in world.workers[number].holds:
                world.nothing(world.ledger.output(number, *key, b"again", failed))

    @rule(times=st.integers(1, 2))
    def everybody_works(self, times):
        for _ in range(times):
            self.world.work()

    @rule(stream=PICKS, most=st.integers(1, 5), acknowledged=st.integers(0, 5))
    def the_sink_publishes(self, stream, most, acknowledged):
        world, stream = self.world, stream % len(self.world.lengths)
        for number in self.of_sink():
            world.publish(number, stream, most)
            upto = min(world.publishable(number, stream), world.acknowledged[stream] + acknowledged)
            if upto > world.acknowledged[stream]:
                world.acknowledge(number, stream, upto)

    @rule(stream=PICKS)
    def the_sink_closes(self, stream):
        world, stream = self.world, stream % len(self.world.lengths)
        for number in self.of_sink():
            if stream in world.workers[number].told_to_close and not world.closed[stream]:
                world.close(number, stream)

    @rule(depths=st.lists(st.integers(DEPTH, MOST_DEPTH), min_size=3, max_size=3), limit=st.integers(0, 20))
    def all_is_tuned(self, depths, limit):
        world = self.world
        world.tune(depths[: world.sink], len(world.lengths) + limit)

    @precondition(lambda self: not self.world.draining)
    @rule(really=st.integers(0, 9))
    def all_is_drained(self, really):
        if not really:
            self.world.drain()

    # ---- lies: they change nothing -----------------------------------------------------------------------

    @precondition(lambda self: self.world.dead)
    @rule(pick=PICKS, key=PICKS, kind=st.integers(0, 5))
    def the_dead_speak(self, pick, key, kind):
        world = self.world
        dead = world.dead[pick % len(world.dead)]
        stream, seq = list(world.frames)[key % len(world.frames)] if world.frames else (0, 1)
        ledger = world.ledger
        match kind:
            case 0:
                world.nothing(ledger.output(dead, stream, seq, b"late", failed=False))
            case 1:
                world.nothing(ledger.published(dead, stream, seq))
            case 2:
                world.nothing(ledger.closed(dead, stream))
            case 3:
                world.nothing(ledger.end(dead, drained=False))
            case 4:
                world.nothing(ledger.read(dead, world.read[stream] + 1, Picture(0, 1), b"late", failed=False))
            case _:
                world.nothing(ledger.lost(dead, (stream, seq)), stale=False)

    @precondition(lambda self: self.world.workers)
    @rule(pick=PICKS, key=PICKS, in_flight=st.booleans(), kind=st.integers(0, 2))
    def a_worker_speaks_of_what_it_does_not_hold(self, pick, key, in_flight, kind):
        world = self.world
        number, worker = self.pick(world.workers, pick)
        stream, seq = key % len(world.lengths), key % 21 + 1
        if in_flight and world.frames:
            stream, seq = list(world.frames)[key % len(world.frames)]
        is_sink = worker.stage == world.sink
        if in_flight and is_sink and worker.holds:
            stream, seq = worker.holds[key % len(worker.holds)]
        if kind == 0 and (is_sink or (stream, seq) not in worker.holds):
            world.nothing(world.ledger.output(number, stream, seq, b"not its own", failed=False))
        elif kind == 1 and not is_sink:
            world.nothing(world.ledger.published(number, stream, seq))
        elif kind == 1 and (stream, world.acknowledged[stream] + 1) not in worker.holds:
            repeated = seq <= world.acknowledged[stream]
            world.nothing(world.ledger.published(number, stream, seq), stale=not repeated)
        elif kind == 2 and stream not in worker.told_to_close:
            world.nothing(world.ledger.closed(number, stream))

    @precondition(lambda self: self.world.readers)
    @rule(pick=PICKS, seq=st.integers(1, 22), slot=st.integers(0, 20))
    def an_ingest_speaks_out_of_turn(self, pick, seq, slot):
        world = self.world
        number, reader = self.pick(world.readers, pick)
        if seq != reader.seq or slot not in reader.slots:
            world.nothing(world.ledger.read(number, seq, Picture(slot, 1), b"out of turn", failed=False))

    # ---- which -------------------------------------------------------------------------------------------

    def of_sink(self):
        return [n for n, w in self.world.workers.items() if w.stage == self.world.sink] if self.world else []

    @staticmethod
    def pick(among, which):
        return list(among.items())[which % len(among)]


def explore(examples: int, steps: int) -> None:
    TRIED.clear()
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
    print(*(f"{what}={count}" for what, count in TRIED.items()))


def test_any_order_of_events_keeps_the_promises() -> None:
    explore(examples=200, steps=40)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_any_order_of_events_keeps_the_promises_10_000_times() -> None:
    explore(examples=10_000, steps=60)
