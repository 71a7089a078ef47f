"""The account of a connection, and who is cut off (edge 23)."""

import pytest

from zpipe.rules import limits
from zpipe.rules.limits import Limits, PeerAccount, Sent, Topics, Traffic, choose_over

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


def test_topics_are_counted_by_connection(monkeypatch):
    """Edge 23: 180,000 topics took 1.5 GB."""
    monkeypatch.setattr(limits, "MAX_TOPICS", 2)
    topics = Topics()
    assert [topics.heard(1, event) for event in (b"\1a", b"\1b", b"\0a", b"\1c")] == [None] * 4
    assert topics.heard(2, b"\1a") is None
    assert topics.heard(1, b"\1d") == (1, "it has too many topics")
    topics.forget(1)
    assert topics.heard(1, b"\1d") is None


def test_topics_of_all_are_counted_together(monkeypatch):
    """Edge 23."""
    monkeypatch.setattr(limits, "MAX_TOPICS_BYTES", 100)
    topics = Topics()
    assert topics.heard(1, b"\1" + b"x" * 90) is None
    assert topics.heard(2, b"\1" + b"x" * 11) == (1, "all together have too many topics")
    topics.forget(1)
    assert topics.heard(2, b"\1" + b"x" * 11) is None


@pytest.mark.parametrize("event", [b"", b"hello", b"\2results/"])
def test_what_is_no_subscription_is_said_by_nobody_who_means_well(event):
    assert Topics().heard(1, event) == (1, "it says what is no subscription")
