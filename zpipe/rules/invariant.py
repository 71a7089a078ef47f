"""The ledger's invariant, as assertions for the tests: nothing of a run calls it."""

from collections import Counter, defaultdict

from zpipe.rules.credit import MOST_DEPTH
from zpipe.rules.ledger import Ledger


def check(ledger: Ledger) -> None:
    """Assert that each accepted and unpublished frame is in exactly one place, and owns exactly one slot; that what is
    counted is what there is. O(frames in flight + streams)."""
    check_places(ledger)
    check_slots(ledger)
    check_streams(ledger)


def check_places(ledger: Ledger) -> None:
    """Each frame in flight is in one queue, or one living worker's hands."""
    places: Counter[tuple[int, int]] = Counter()
    for stage, queue in enumerate(ledger.queues):
        for frame in queue:
            assert frame.stage == stage
            assert frame.holder is None
            places[frame.stream, frame.seq] += 1
    for worker, record in ledger.workers.items():
        assert len(record.held) <= max(record.depth, MOST_DEPTH)  # `tune` may have lowered it
        for key, frame in record.held.items():
            assert key == (frame.stream, frame.seq)
            assert (frame.holder, frame.stage) == (worker, record.stage)
            places[key] += 1
    assert places == dict.fromkeys(ledger.frames, 1), "a frame is in no place or in two"


def check_slots(ledger: Ledger) -> None:
    """Each slot is free, granted, or a frame's."""
    slots = [frame.picture.slot for frame in ledger.frames.values()] + ledger.free
    slots += [slot for reader in ledger.ingests.values() for slot in reader.granted]
    assert sorted(slots) == list(range(ledger.slots)), "a slot is lost or owned twice"


def check_streams(ledger: Ledger) -> None:
    """The accounts of the streams are those of their frames, and of who reads them."""
    in_flight = defaultdict[int, list[int]](list)
    for owner, seq in ledger.frames:
        in_flight[owner].append(seq)
    for number, stream in enumerate(ledger.streams):
        assert stream.published == stream.ok + stream.failed
        assert sorted(in_flight[number]) == list(range(stream.published + 1, stream.read + 1))
        if stream.reader is not None:
            assert stream.count is None
            assert number in ledger.ingests[stream.reader].streams
    for worker, reader in ledger.ingests.items():
        assert {ledger.streams[number].reader for number in reader.streams} <= {worker}
        assert reader.in_flight == sum(ledger.streams[number].in_flight for number in reader.streams)
    assert ledger.published_in_all == sum(stream.published for stream in ledger.streams)
    assert ledger.finished == (
        all(stream.closed for stream in ledger.streams) and (ledger.draining or not ledger.listens)
    )
