"""The account of a connection, and who is cut off (edge 23)."""

import pytest

from zpipe.rules import limits
from zpipe.rules.limits import Limits, PeerAccount, Sent, Share, Topics, Traffic, choose_over

BOUNDS = Limits(burst_bytes=1000, bytes_per_s=100, all_bytes=2500, waiting_bytes=10_000)


def account(*looks, most_waiting=10, sent=Sent()):  # noqa: B008  immutable
    made = PeerAccount(BOUNDS, most_waiting, 0.0, sent)
    for now, traffic, sent_by_then in looks:
        made.look(now, Traffic(*traffic), sent_by_then)
    return made


def said(count):
    return account((0.0, (count, 0, 0), Sent()))


def waits(count):
    return account((0.0, (0, 0, 1), Sent(count, 1)), most_waiting=1)


def test_what_is_said_is_forgiven_with_time():
    """Edge 23."""
    assert said(1000).debt == 1000
    assert not said(1000).is_over
    assert said(1001).is_over
    slow = account(*((float(second), (100 * second, 0, 0), Sent()) for second in range(100)))
    assert slow.debt <= 100
    assert account((0.0, (900, 0, 0), Sent()), (5.0, (1000, 0, 0), Sent())).debt == 500


def test_what_waits_is_what_was_sent_less_what_was_taken_since_nothing_was_under_way():
    """Edge 23."""
    before = Sent(5000, 5)
    assert account((1.0, (0, 0, 0), Sent(9000, 9)), sent=before).waiting == 0
    assert account((1.0, (0, 1000, 500), Sent(9000, 9)), sent=before).waiting == 3000
    read = account((1.0, (0, 1000, 500), Sent(9000, 9)), (2.0, (0, 4000, 0), Sent(9000, 9)), sent=before)
    assert read.waiting == 0
    read.look(3.0, Traffic(0, 4000, 1), Sent(9700, 10))
    assert read.waiting == 700


def test_no_more_waits_than_its_queue_holds():
    """Edge 23: 1,000 messages of 100 bytes were sent, 10 are kept."""
    assert account((1.0, (0, 0, 1), Sent(100_000, 1000))).waiting == 1000


def test_who_is_over_alone_is_cut_off_and_the_others_are_not():
    assert choose_over([(1, said(1001)), (2, said(10))], BOUNDS) == {1: "it says too much"}


def test_while_all_together_are_over_those_that_cost_most_are_cut_off():
    """Edge 23: many who are each within the limit."""
    assert choose_over([(1, said(900)), (2, said(950)), (3, said(900)), (4, said(5))], BOUNDS) == {
        2: "all together say too much"
    }
    assert choose_over([(1, waits(4000)), (2, waits(7000)), (3, waits(0))], BOUNDS) == {2: "it does not read"}
    assert choose_over([(1, waits(4000)), (2, waits(6000))], BOUNDS) == {}


def subscribe(topics, connection, *events, address="here:1"):
    return [topics.change(connection, address, event) for event in events]


def test_a_topic_that_is_said_twice_is_one():
    """Edge 23."""
    topics = Topics()
    assert subscribe(topics, 1, b"\1a", b"\1a", b"\1b", b"\0a", b"\0a") == [True, False, True, True, False]
    assert subscribe(topics, 2, b"\1a", b"\0b") == [True, False]


def test_topics_are_counted_by_connection(monkeypatch):
    """Edge 23: 180,000 topics took 1.5 GB."""
    monkeypatch.setattr(limits, "MAX_TOPICS", 2)
    topics = Topics()
    subscribe(topics, 1, b"\1a", b"\1b", b"\1b", b"\0a", b"\1c")
    subscribe(topics, 2, b"\1a")
    assert topics.choose_over(1) is None
    subscribe(topics, 1, b"\1d")
    assert topics.choose_over(1) == (1, "it has too many topics")
    assert topics.choose_over(2) is None


def test_topics_of_all_are_counted_together(monkeypatch):
    """Edge 23."""
    monkeypatch.setattr(limits, "MAX_TOPICS_BYTES", 100 + 2 * limits.TOPIC_BYTES)
    topics = Topics()
    subscribe(topics, 1, b"\1" + b"x" * 90)
    subscribe(topics, 2, b"\1" + b"x" * 11)
    assert topics.choose_over(2) == (1, "all together have too many topics")
    topics.end(1)
    assert topics.choose_over(2) is None


def test_what_a_connection_has_said_before_its_end_counts_and_nothing_of_it_for_the_next():
    topics = Topics()
    assert subscribe(topics, 1, b"\1a") == [True]
    topics.end(1)
    assert subscribe(topics, 1, b"\1a", b"\0a") == [False, True]
    assert subscribe(topics, 1, b"\1a") == [True]
    assert subscribe(topics, 1, b"\1a", address="here:2") == [True]


def test_of_what_is_sent_to_one_alone_nothing_is_guessed():
    """Edge 23: what the sink had not given to the kernel yet counted as read."""
    made = PeerAccount(BOUNDS, 10, 0.0, None)
    made.look(0.0, Traffic(0, 100, 0), None)  # the handshake
    made.owe(1000)
    assert made.waiting == 1000
    made.look(1.0, Traffic(0, 100, 0), None)
    assert made.waiting == 1000
    made.look(2.0, Traffic(0, 700, 400), None)
    assert made.waiting == 400
    made.look(3.0, Traffic(0, 1110, 0), None)
    assert made.waiting == 0
    made.owe(50)
    assert made.waiting == 50


def test_replies_get_shorter_before_there_is_no_room():
    """Edge 23: 400 who never read held 1 MB each, or left nothing for those who do."""
    room = limits.HISTORY.waiting_bytes
    lengths = []
    while room > limits.MIN_REPLY_BYTES:
        lengths.append(limits.reply_bytes(room, room))
        room -= lengths[-1]
    assert lengths[0] == limits.MAX_REPLY_BYTES
    assert lengths[-1] == limits.MIN_REPLY_BYTES
    assert len(lengths) > 60


def test_replies_get_longer_with_what_was_taken():
    """Edge 23."""
    taken = [0, 10 << 10, 100 << 10, 300 << 10, 10 << 20]
    assert [limits.reply_bytes(1 << 30, size) >> 10 for size in taken] == [64, 64, 100, 300, 1024]


def test_what_strangers_cause_rests_in_proportion():
    pace = Share(0.1)
    assert pace.due == 0.0
    pace.spend(1.0, 2.0)
    assert pace.due == pytest.approx(11 + 9 * limits.TURN_S)


def test_who_comes_after_others_were_cut_off_may_say_less_at_once():
    bursts = [limits.for_newcomers(limits.PUBLISHER, cuts).burst_bytes for cuts in range(9)]
    assert bursts[0] == limits.PUBLISHER.burst_bytes
    assert bursts == sorted(bursts, reverse=True)
    assert bursts[-1] == limits.MIN_BURST_BYTES
