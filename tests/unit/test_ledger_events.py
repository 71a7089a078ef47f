"""The ledger, case by case; any order of events is tests/property/test_ledger.py."""

import pytest

from zpipe.rules.accounts import (
    CloseStream,
    CondemnFrame,
    DismissWorker,
    GrantSlots,
    LeaveStream,
    RecallSlots,
    SendFrame,
)
from zpipe.rules.credit import DEPTH, FILL_S, MOST_DEPTH, depth_for, limit_for
from zpipe.rules.invariant import check
from zpipe.rules.ledger import Ledger
from zpipe.wire import Picture

DETECT, CLASSIFY, SINK, INGEST = 10, 20, 30, 40


def ledger(*, stages=2, streams=1, slots=8, max_attempts=3, start=True):
    """A ledger with a worker of each stage (10, 20), the sink (30) and an ingest of each stream (40, 41)."""
    made = Ledger(stages, streams, slots, max_attempts)
    if start:
        for stage in range(stages):
            made.join(10 * (stage + 1), stage)
        made.join(SINK, stages)
        for stream in range(streams):
            made.join_ingest(INGEST + stream, [stream])
    return made


def read(made, count, ingest=INGEST, failed=False):
    """Ingest reads so many frames; the actions of all."""
    actions = []
    for _ in range(count):
        reader = made.ingests[ingest]
        slot, stream = min(reader.granted), min(reader.streams)
        seq = made.streams[stream].read + 1
        actions += made.read(ingest, stream, seq, Picture(slot, 100), b"read", failed)
        check(made)
    return actions


def sends(actions):
    return [(a.worker, a.frame.stream, a.frame.seq) for a in actions if isinstance(a, SendFrame)]


def test_a_frame_goes_from_stage_to_stage_and_its_slot_is_granted_again():
    made = ledger(slots=1)
    assert sends(made.read(INGEST, 0, 1, Picture(0, 100), b"read", failed=False)) == [(DETECT, 0, 1)]
    (send,) = made.output(DETECT, 0, 1, b"detected", failed=False)
    assert (send.worker, send.frame.body, send.frame.picture) == (CLASSIFY, b"detected", Picture(0, 100))
    (send,) = made.output(CLASSIFY, 0, 1, b"classified", failed=False)
    assert (send.worker, send.frame.body, send.frame.failed) == (SINK, b"classified", False)
    assert made.published(SINK, 0, 1) == [GrantSlots(INGEST, [0])]
    account = made.streams[0]
    assert (account.read, account.published, account.ok, account.failed) == (1, 1, 1, 0)
    check(made)


def test_nothing_is_read_before_every_stage_has_a_worker():
    made = ledger(start=False)
    assert made.join_ingest(INGEST, [0]) == []
    assert made.join(DETECT, 0) == []
    assert made.join(SINK, 2) == []
    assert made.join(CLASSIFY, 1) == [GrantSlots(INGEST, list(range(8)))]


def test_the_idlest_worker_is_next_and_none_holds_more_than_its_depth():
    made = ledger(stages=1)
    made.join(11, 0)
    assert sends(read(made, 5)) == [(10, 0, 1), (11, 0, 2), (10, 0, 3), (11, 0, 4)]
    assert [frame.seq for frame in made.queues[0]] == [5]
    assert sends(made.output(11, 0, 2, b"", failed=False)) == [(SINK, 0, 2), (11, 0, 5)]


def test_a_frame_that_failed_goes_to_the_sink_past_all_stages():
    made = ledger()
    assert sends(read(made, 1, failed=True)) == [(SINK, 0, 1)]
    read(made, 1)
    assert sends(made.output(DETECT, 0, 2, b"cannot be decoded", failed=True)) == [(SINK, 0, 2)]
    made.published(SINK, 0, 2)
    assert (made.streams[0].ok, made.streams[0].failed) == (0, 2)


# ---- workers die ---------------------------------------------------------------------------------------------


def test_what_a_dead_worker_held_comes_first_in_its_order_and_only_the_frame_in_work_is_blamed():
    made = ledger(stages=1)
    read(made, 4)
    assert made.lost(DETECT, working=(0, 1)) == []
    assert [(frame.seq, frame.attempts) for frame in made.queues[0]] == [(1, 2), (2, 1), (3, 1), (4, 1)]
    assert sends(made.join(11, 0)) == [(11, 0, 1), (11, 0, 2)]
    check(made)


def test_nobody_is_blamed_for_a_worker_that_died_between_two_frames():
    made = ledger(stages=1)
    read(made, 2)
    made.output(DETECT, 0, 1, b"", failed=False)
    made.lost(DETECT, working=(0, 1))
    assert [(frame.seq, frame.attempts) for frame in made.queues[0]] == [(2, 1)]
    assert made.lost(DETECT, working=(0, 2)) == []  # it is known


def test_what_the_dead_said_is_stale():
    made = ledger(stages=1)
    read(made, 1)
    made.lost(DETECT)
    made.join(11, 0)
    assert made.output(DETECT, 0, 1, b"too late", failed=False) == []
    assert made.stale == 1
    assert made.frames[0, 1].body == b"read"
    assert sends(made.output(11, 0, 1, b"in time", failed=False)) == [(SINK, 0, 1)]
    assert made.output(11, 0, 1, b"again", failed=False) == []
    assert made.stale == 2


@pytest.mark.parametrize("max_attempts", [1, 2, 3, 7])
def test_a_frame_is_condemned_at_exactly_max_attempts_deaths(max_attempts):
    made = ledger(max_attempts=max_attempts)
    read(made, 1)
    made.output(DETECT, 0, 1, b"detected", failed=False)
    worker = CLASSIFY
    for death in range(1, max_attempts):
        assert not [a for a in made.lost(worker, (0, 1)) if isinstance(a, CondemnFrame)]
        worker += 1
        (send,) = made.join(worker, 1)
        assert (send.frame.attempts, send.frame.failed) == (death + 1, False)
    condemn, send = made.lost(worker, (0, 1))
    assert (type(condemn), condemn.stage, condemn.frame) == (CondemnFrame, 1, send.frame)
    assert (send.worker, send.frame.failed, send.frame.attempts) == (SINK, True, max_attempts)
    check(made)


def test_attempts_of_all_stages_count_together():
    made = ledger(max_attempts=2)
    read(made, 1)
    made.lost(DETECT, (0, 1))
    made.join(11, 0)
    made.output(11, 0, 1, b"detected", failed=False)
    condemn, _ = made.lost(CLASSIFY, (0, 1))
    assert condemn.stage == 1


def test_the_sinks_death_is_no_frames_fault():
    made = ledger(stages=1, max_attempts=1)
    read(made, 2)
    for seq in (2, 1):
        made.output(DETECT, 0, seq, b"", failed=False)
    assert made.lost(SINK, working=(0, 1)) == []
    assert sends(made.join(31, 1)) == [(31, 0, 2), (31, 0, 1)]
    assert {frame.attempts for frame in made.frames.values()} == {1}
    assert made.published(SINK, 0, 2) == []
    assert made.streams[0].published == 0
    made.published(31, 0, 2)
    assert made.streams[0].published == 2


def test_an_ingest_that_dies_gives_its_slots_back_and_the_next_goes_on_where_it_was():
    made = ledger(slots=3)
    read(made, 1)
    assert made.lost(INGEST, working=(0, 2)) == []
    assert len(made.free) == 2
    assert made.join_ingest(50, [0]) == [GrantSlots(50, [1, 2])]
    assert made.read(INGEST, 0, 2, Picture(1, 100), b"late", failed=False) == []
    assert made.read(50, 0, 1, Picture(1, 100), b"read already", failed=False) == []
    assert made.stale == 2
    assert sends(made.read(50, 0, 2, Picture(1, 100), b"read", failed=False)) == [(DETECT, 0, 2)]
    assert made.frames[0, 2].attempts == 2
    check(made)


def test_a_frame_that_kills_ingest_is_condemned_before_it_is_read_again():
    made = ledger(max_attempts=3)
    read(made, 4)
    worker = INGEST
    for _ in range(3):
        assert not made.condemned(0)
        made.lost(worker, working=(0, 5))
        worker += 1
        made.join_ingest(worker, [0])
    assert made.condemned(0)
    read(made, 1, worker, failed=True)
    assert made.frames[0, 5].attempts == 3
    assert not made.condemned(0)
    read(made, 1, worker)
    assert made.frames[0, 6].attempts == 1


# ---- workers leave -------------------------------------------------------------------------------------------


def test_a_retired_worker_finishes_what_it_holds_and_gets_nothing_new():
    made = ledger(stages=1)
    read(made, 3)
    assert made.retire(DETECT) == []
    assert sends(made.output(DETECT, 0, 1, b"", failed=False)) == [(SINK, 0, 1)]
    assert made.output(DETECT, 0, 2, b"", failed=False)[-1] == DismissWorker(DETECT)
    assert sends(made.join(11, 0)) == [(11, 0, 3)]
    assert made.retire(11) == []
    made.join(12, 0)
    assert made.retire(12) == [DismissWorker(12)]
    check(made)


def test_deeper_workers_take_more_and_the_limit_bounds_what_is_in_flight():
    made = ledger(stages=1, slots=16, start=False)
    made.tune([DEPTH], 4)
    made.join(DETECT, 0)
    made.join(SINK, 1)
    assert made.join_ingest(INGEST, [0]) == [GrantSlots(INGEST, [0, 1, 2, 3])]
    read(made, 4)
    assert len(made.workers[DETECT].held) == DEPTH
    actions = made.tune([3], 6)
    assert sends(actions) == [(DETECT, 0, 3)]
    assert actions[-1] == GrantSlots(INGEST, [4, 5])
    assert made.tune([DEPTH], 1) == []  # what it holds it keeps
    check(made)
    assert sends(made.output(DETECT, 0, 1, b"", failed=False)) == [(SINK, 0, 1)]
    assert made.published(SINK, 0, 1) == []


def test_slots_are_granted_by_the_quarter():
    made = ledger(stages=1, slots=8)
    read(made, 8)
    for seq in (1, 2, 3):
        made.output(DETECT, 0, seq, b"", failed=False)
    assert made.published(SINK, 0, 1) == []  # one of eight is not worth a message
    (grant,) = made.published(SINK, 0, 2)
    assert (grant.worker, len(grant.slots)) == (INGEST, 2)
    assert made.published(SINK, 0, 3) == []
    check(made)


# ---- the end -------------------------------------------------------------------------------------------------


def test_the_end_comes_after_the_last_result_and_closes_the_books():
    made = ledger(stages=1)
    read(made, 2)
    made.output(DETECT, 0, 2, b"", failed=True)
    assert made.end(INGEST, 0, drained=False) == [DismissWorker(INGEST)]
    assert made.published(SINK, 0, 2) == []  # 1 is not there yet
    made.output(DETECT, 0, 1, b"", failed=False)
    assert made.published(SINK, 0, 2) == [CloseStream(SINK, 0, 2)]
    assert not made.finished
    assert not made.streams[0].balanced
    assert made.published(SINK, 0, 2) == []
    made.closed(SINK, 0)
    assert made.finished
    assert made.streams[0].balanced
    check(made)


def test_a_stream_without_frames_has_an_end_too():
    made = ledger()
    assert made.end(INGEST, 0, drained=False) == [CloseStream(SINK, 0, 0), DismissWorker(INGEST)]


def test_each_sink_is_told_the_end_once_and_only_who_was_told_may_say_that_it_is_published():
    made = ledger()
    assert made.closed(SINK, 0) == []
    assert not made.streams[0].closed
    made.end(INGEST, 0, drained=False)
    assert made.end(INGEST, 0, drained=True) == [DismissWorker(INGEST)]
    assert not made.streams[0].drained
    made.lost(SINK)
    assert made.join(31, 2) == [CloseStream(31, 0, 0)]
    made.closed(SINK, 0)
    assert not made.streams[0].closed
    assert made.stale == 2
    made.closed(31, 0)
    assert made.streams[0].closed
    made.lost(31)
    assert made.join(32, 2) == []


def test_an_acknowledgement_of_what_the_sink_does_not_hold_is_stale():
    made = ledger(stages=1)
    read(made, 1)
    assert made.published(SINK, 0, 1) == []
    assert made.published(DETECT, 0, 1) == []
    assert made.closed(DETECT, 0) == []
    assert made.output(SINK, 0, 1, b"", failed=False) == []
    assert made.stale == 4
    assert made.streams[0].published == 0


def test_draining_ends_every_stream_where_it_stands():
    made = ledger(stages=1, streams=2, slots=4)
    read(made, 1)
    made.lost(INGEST + 1)
    assert made.drain() == [DismissWorker(INGEST), CloseStream(SINK, 1, 0)]
    assert made.streams[1].drained
    read(made, 1)  # it was reading this one
    assert made.end(INGEST, 0, drained=True) == [DismissWorker(INGEST)]
    assert (made.streams[0].count, made.streams[0].drained) == (2, True)
    made.output(DETECT, 0, 1, b"", failed=False)
    assert made.published(SINK, 0, 1) == []  # nothing is granted any more


def test_an_ingest_that_dies_while_draining_has_read_its_last():
    made = ledger()
    made.drain()
    assert made.lost(INGEST, working=(0, 1)) == [CloseStream(SINK, 0, 0)]


def test_an_ingest_that_comes_too_late_is_sent_home():
    made = ledger(streams=2)
    made.end(INGEST, 0, drained=False)
    made.lost(INGEST)
    assert made.join_ingest(50, [0]) == [DismissWorker(50)]
    made.lost(INGEST + 1)
    made.drain()
    assert made.join_ingest(51, [1]) == [DismissWorker(51)]
    assert made.end(51, 1, drained=True) == [DismissWorker(51)]


def test_a_resumed_stream_goes_on_after_what_is_published():
    made = ledger(streams=2, start=False)
    made.resume(0, published=7, ok=5, failed=2, closed=False)
    made.resume(1, published=3, ok=3, failed=0, closed=True)
    check(made)
    for worker, stage in ((DETECT, 0), (CLASSIFY, 1), (SINK, 2)):
        made.join(worker, stage)
    made.join_ingest(INGEST, [0])
    assert sends(made.read(INGEST, 0, 8, Picture(min(made.ingests[INGEST].granted), 1), b"", failed=True)) == [
        (SINK, 0, 8)
    ]
    made.published(SINK, 0, 8)
    assert made.end(INGEST, 0, drained=False) == [CloseStream(SINK, 0, 8), DismissWorker(INGEST)]
    made.closed(SINK, 0)
    assert made.finished
    assert (made.streams[0].ok, made.streams[0].failed) == (5, 3)


def test_slots_are_dealt_evenly_among_the_sources_that_still_read():
    made = ledger(streams=3, slots=7, start=False)
    for worker, stage in ((DETECT, 0), (CLASSIFY, 1)):
        made.join(worker, stage)
    for stream in range(3):
        made.join_ingest(INGEST + stream, [stream])
    grants = made.join(SINK, 2)
    assert [(grant.worker, len(grant.slots)) for grant in grants] == [(40, 2), (41, 2), (42, 2)]
    made.end(41, 1, drained=False)
    assert [len(made.ingests[worker].granted) for worker in (40, 42)] == [3, 3]
    check(made)


# ---- streams come and go -------------------------------------------------------------------------------------


def many(streams, *, slots=8):
    """A ledger whose one ingest reads all streams."""
    made = ledger(stages=1, streams=0, slots=slots)
    for _ in range(streams):
        made.add_stream()
    made.join_ingest(INGEST, range(streams))
    return made


def through(made, stream, seq, ingest=INGEST):
    """A frame from its source to its end; the actions of the last event."""
    made.read(ingest, stream, seq, Picture(min(made.ingests[ingest].granted), 1), b"", failed=False)
    made.output(DETECT, stream, seq, b"", failed=False)
    return made.published(SINK, stream, seq)


def test_an_ingest_of_several_streams_stays_until_the_last_has_ended():
    made = many(3)
    for stream in (1, 0, 2):
        through(made, stream, 1)
        check(made)
    assert made.end(INGEST, 1, drained=False) == [CloseStream(SINK, 1, 1)]
    assert made.read(INGEST, 1, 2, Picture(min(made.ingests[INGEST].granted), 1), b"", failed=False) == []
    assert made.stale == 1, "a frame behind the end of its stream"
    through(made, 2, 2)
    assert made.end(INGEST, 2, drained=False) == [CloseStream(SINK, 2, 2)]
    assert made.end(INGEST, 0, drained=False) == [CloseStream(SINK, 0, 1), DismissWorker(INGEST)]
    check(made)


def test_the_loss_of_an_ingest_blames_the_frame_in_work_in_its_own_stream_only():
    made = many(3)
    through(made, 0, 1)
    for worker in (INGEST, 41, 42):
        made.lost(worker, working=(1, 1))
        check(made)
        made.join_ingest(worker + 1, range(3))
    assert [made.condemned(stream) for stream in range(3)] == [False, True, False]
    assert [made.streams[stream].suspect for stream in range(3)] == [0, 1, 0]
    through(made, 0, 2, ingest=43)
    assert made.lost(43, working=(2, 0)) == []  # it was opening that source: no frame is to blame
    assert made.streams[2].suspect == 0


def test_two_processes_share_the_streams_and_the_slots():
    made = many(3, slots=12)
    assert made.lost(INGEST, working=(1, 1)) == []
    assert made.join_ingest(50, [0, 2]) == [GrantSlots(50, list(range(12)))]
    made.lost(50)
    made.tune([DEPTH], 8)
    made.join_ingest(51, [0, 2])
    assert made.join_ingest(52, [1]) == [RecallSlots(51)]  # the first has all of them still, and uses them
    for seq in range(1, 5):
        through(made, 0, seq, ingest=51)
    assert len(made.ingests[52].granted) == 4, "half of them, however many streams the other one reads"
    check(made)


def test_a_stream_may_come_to_a_living_ingest_that_stays():
    made = ledger(stages=1, streams=0)
    made.listens = True
    assert made.join_ingest(INGEST, stays=True) == []
    stream = made.add_stream()
    (grant,) = made.read_by(INGEST, stream)
    assert (grant.worker, len(grant.slots)) == (INGEST, 8)
    through(made, stream, 1)
    assert made.end(INGEST, stream, drained=False) == [CloseStream(SINK, stream, 1)]
    made.closed(SINK, stream)
    assert not made.finished, "another one may come"
    assert made.read_by(INGEST, made.add_stream()) == []
    assert made.streams[1].reader == INGEST
    assert made.drain() == [DismissWorker(INGEST)]
    assert made.end(INGEST, 1, drained=True) == [CloseStream(SINK, 1, 0), DismissWorker(INGEST)]
    made.closed(SINK, 1)
    assert made.finished
    check(made)


def test_a_stream_that_is_left_ends_where_it_stands_and_the_others_go_on():
    made = many(3)
    through(made, 1, 1)
    assert made.leave(1) == [LeaveStream(INGEST, 1)]
    through(made, 1, 2)  # it was reading this one
    assert made.end(INGEST, 1, drained=True) == [CloseStream(SINK, 1, 2)]
    made.leave(0)
    assert made.lost(INGEST, working=(0, 1)) == [CloseStream(SINK, 0, 0)]  # nobody starts to read it again
    assert made.leave(1) == []
    assert made.join_ingest(41, range(3)) == [
        LeaveStream(41, 0), LeaveStream(41, 1), GrantSlots(41, list(range(8))),
    ]  # fmt: skip
    assert [stream.drained for stream in made.streams] == [True, True, False]
    check(made)


def test_who_has_no_slot_gets_what_lies_idle_with_another():
    """A gate whose senders are silent must not keep all memory from a source that comes."""
    made = ledger(stages=1, streams=0, slots=8)
    made.join_ingest(INGEST, stays=True)
    assert made.read_by(INGEST, made.add_stream()) == [GrantSlots(INGEST, list(range(8)))]
    assert made.join_ingest(41, [made.add_stream()]) == [RecallSlots(INGEST)]
    assert made.gave_back(INGEST, [0, 1, 77]) == []
    assert made.stale == 1
    assert [(grant.worker, len(grant.slots)) for grant in made.gave_back(INGEST, range(1, 8))] == [(41, 4), (INGEST, 3)]
    through(made, 1, 1, ingest=41)
    check(made)


def test_only_its_reader_can_end_a_stream():
    made = many(2)
    made.join_ingest(41, stays=True)
    assert made.end(41, 0, drained=False) == []
    assert made.end(41, 7, drained=False) == []
    assert made.stale == 2
    assert made.streams[0].count is None


# ---- how many ------------------------------------------------------------------------------------------------


def test_depth_covers_a_round_trip():
    assert depth_for(1.0) == DEPTH
    assert depth_for(FILL_S) == DEPTH
    assert depth_for(FILL_S / 4) == 5
    assert depth_for(0.0) == MOST_DEPTH


@pytest.mark.parametrize(("counts", "depths", "streams"), [([1], [2], 1), ([2, 3], [2, 2], 1), ([4, 1], [2, 16], 3)])
def test_the_limit_lets_every_worker_hold_all_that_it_may(counts, depths, streams):
    limit = limit_for(counts, depths, streams)
    made = Ledger(len(counts), streams, limit)
    made.tune(depths, limit)
    made.join(1, made.sink)
    for stage, count in enumerate(counts):
        for number in range(count):
            made.join(100 * (stage + 1) + number, stage)
    for stream in range(streams):
        made.join_ingest(1000 + stream, [stream])
    while any(ingest.granted for ingest in made.ingests.values()):
        read(made, 1, max(made.ingests, key=lambda worker: len(made.ingests[worker].granted)))
        for worker, record in list(made.workers.items()):  # each frame goes as far as there is room
            following = [other for other in made.workers.values() if other.stage == record.stage + 1 < made.sink]
            while record.held and any(len(other.held) < other.depth for other in following):
                made.output(worker, *next(iter(record.held)), b"", failed=False)
    held = [len(record.held) for record in made.workers.values() if record.stage < made.sink]
    assert held == [depth for count, depth in zip(counts, depths, strict=True) for _ in range(count)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda made: made.queues[1].append(made.frames[0, 1]),
        lambda made: made.workers[DETECT].held.clear(),
        lambda made: made.free.append(made.frames[0, 1].picture.slot),
        lambda made: made.ingests[INGEST].granted.pop(),
        lambda made: setattr(made.streams[0], "read", 5),
        lambda made: setattr(made.streams[0], "ok", 1),
        lambda made: setattr(made.frames[0, 1], "holder", 99),
    ],
)
def test_check_sees_what_is_wrong(damage):
    made = ledger()
    read(made, 2)
    check(made)
    damage(made)
    with pytest.raises(AssertionError):
        check(made)
