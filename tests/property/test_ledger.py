"""The ledger against a simple account of the same pipeline: any order of events keeps the promises.

`World` plays every process of a pipeline: it makes an event, works out for itself what must follow, and compares
that with the actions that the ledger returns. Hypothesis chooses the events; in the end all is driven to the
end of every stream, and each frame must have been published exactly once.
"""

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
from ledger_world import TRIED, World

from zpipe.rules.credit import DEPTH, MOST_DEPTH
from zpipe.wire import Picture

PICKS = st.integers(0, 999)
"""Which of several: taken modulo their number, so that it shrinks towards the first."""


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
        listens=st.booleans(),
    )
    def start(self, stages, lengths, more_slots, max_attempts, resumed, staff, staffed, listens):
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
        world.listens = world.ledger.listens = listens
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

    @rule(pick=PICKS, most=st.integers(0, 4), stays=st.booleans())
    def an_ingest_joins(self, pick, most, stays):
        """Also one whose streams, or some of them, have ended meanwhile: it was being started then."""
        world = self.world
        read_by = {stream for reader in world.readers.values() for stream in reader.next}
        unread = [stream for stream in range(len(world.lengths)) if stream not in read_by]
        if (unread or stays) and len(world.readers) < min(4, world.limit - 1):
            at = pick % (len(unread) or 1)
            world.join_ingest(unread[at : at + most], stays)

    @precondition(lambda self: len(self.world.lengths) < 6 and not self.world.draining)
    @rule(length=st.integers(0, 20))
    def a_stream_comes(self, length):
        self.world.add_stream(length)

    @precondition(lambda self: self.world.readers and not self.world.draining)
    @rule(pick=PICKS, stream=PICKS)
    def an_ingest_is_given_a_stream(self, pick, stream):
        """One that nobody reads, or that another one has read until now."""
        world = self.world
        reading = {n: r for n, r in world.readers.items() if not r.dismissed}
        going_on = [s for s, count in enumerate(world.counts) if count is None and s not in world.leaving]
        if reading and going_on:
            number, reader = self.pick(reading, pick)
            stream = going_on[stream % len(going_on)]
            if reader.stays and stream not in reader.next:
                world.read_by(number, stream)

    @rule(stream=PICKS, really=st.integers(0, 4))
    def a_stream_is_left(self, stream, really):
        if not really:
            self.world.leave(stream % len(self.world.lengths))

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
    @rule(pick=PICKS, stream=PICKS, at_work=st.sampled_from([None, 0, -1, 1, 2]))
    def an_ingest_dies(self, pick, stream, at_work):
        """At its next frame, after it, or at a later one (what it had read before that was not sent yet)."""
        number, reader = self.pick(self.world.readers, pick)
        if at_work is None or not reader.next:
            self.world.lose(number, None)
        else:
            stream, seq = self.pick(reader.next, stream)
            self.world.lose(number, (stream, seq + at_work))

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
                (number, stream): seq
                for number, reader in world.readers.items()
                for stream, seq in reader.next.items()
                if reader.slots and seq <= world.lengths[stream]
            }
            if not reading:
                return
            (number, stream), seq = self.pick(reading, pick)
            condemned = world.ledger.condemned(stream) and seq == world.suspects[stream]
            world.take(number, stream, slot, failed or condemned)

    @rule(pick=PICKS)
    def an_ingest_gives_back(self, pick):
        recalled = {number: reader for number, reader in self.world.readers.items() if reader.recalled}
        if recalled:
            self.world.give_back(self.pick(recalled, pick)[0])

    @rule(pick=PICKS, again=st.booleans())
    def ingest_ends(self, pick, again):
        """`again`: a replacement was being started meanwhile; it is told so, and says that it has ended too."""
        world = self.world
        ready = {
            (number, stream): reader
            for number, reader in world.readers.items()
            for stream in reader.next
            if world.can_end(reader, stream)
        }
        if ready:
            (number, stream), reader = self.pick(ready, pick)
            world.end(number, stream)
            if again and not reader.next:
                world.lose(number)
                world.join_ingest([stream])
                assert world.readers[max(world.readers)].dismissed
                world.perform(world.ledger.end(max(world.readers), stream, drained=True))

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
        world.tune(depths[: world.sink], max(len(world.lengths), len(world.readers) + 1) + limit)

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
                world.nothing(ledger.end(dead, stream, drained=False))
            case 4:
                world.nothing(ledger.read(dead, stream, world.read[stream] + 1, Picture(0, 1), b"late", failed=False))
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
    @rule(pick=PICKS, stream=st.integers(0, 7), seq=st.integers(1, 22), slot=st.integers(0, 20))
    def an_ingest_speaks_out_of_turn(self, pick, stream, seq, slot):
        world = self.world
        number, reader = self.pick(world.readers, pick)
        if seq != reader.next.get(stream) or slot not in reader.slots:
            world.nothing(world.ledger.read(number, stream, seq, Picture(slot, 1), b"out of turn", failed=False))

    @precondition(lambda self: self.world.readers)
    @rule(pick=PICKS, stream=st.integers(0, 7))
    def an_ingest_ends_what_it_does_not_read(self, pick, stream):
        world = self.world
        number, reader = self.pick(world.readers, pick)
        is_anothers = stream >= len(world.lengths) or world.counts[stream] is None
        if stream not in reader.next and is_anothers:
            world.nothing(world.ledger.end(number, stream, drained=False))

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
