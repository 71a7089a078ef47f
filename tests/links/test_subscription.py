"""zpipe's own subscriber against a real sink: every result once and in order, whatever happens on the way."""

import gc
import time

import pytest
from fake_broker import frames_of
from harness import free_port, until
from reading import YARD, end, publish

import zpipe
from zpipe.client import subscription as client
from zpipe.client.subscription import Subscription
from zpipe.errors import NotRunning, ZpipeError
from zpipe.messages import Eos, Result
from zpipe.results import publisher
from zpipe.rules.catch_up import HOW_FAR

pytestmark = pytest.mark.usefixtures("impatient")


# ---- joining -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("joined_after", [0, 10, 30])
def test_from_the_start_however_late(broker, start_sink, read, joined_after) -> None:
    sink = start_sink()
    if joined_after:
        publish(broker, sink, *range(1, joined_after + 1))
    reader = read(sink.publish)
    if joined_after < 30:
        publish(broker, sink, *range(joined_after + 1, 31))
    end(sink, 30)
    assert reader.ended() == YARD


def test_after_the_end_while_the_sink_lingers_for_somebody_else(broker, start_sink, read) -> None:
    sink = start_sink(linger_s=60)
    with Subscription(sink.publish, first=1) as slow:
        until(lambda: sink.do(lambda: len(sink.sink.out._audience.behind)) == 1)
        publish(broker, sink, *range(1, 31))
        end(sink, 30)
        sink.stop()
        assert read(sink.publish).ended() == YARD
        assert sink.alive
        assert [result.seq for result in slow] == list(range(1, 31))
        sink.join()


@pytest.mark.parametrize(
    ("first", "expected"),
    [(0, YARD), (-5, YARD), (1, YARD), (17, YARD[16:]), (30, YARD[29:]), (31, YARD[30:]), (99, YARD[30:])],
)
def test_from_a_number(broker, start_sink, read, first, expected) -> None:
    """A number that the stream does not reach: its end comes all the same."""
    sink = start_sink()
    publish(broker, sink, *range(1, 21))
    reader = read(sink.publish, first=first)
    until(lambda: reader.subscription.catch_up.next)
    publish(broker, sink, *range(21, 31))
    end(sink, 30)
    assert reader.ended() == expected
    assert read(sink.publish, first=first).ended() == expected


def test_with_what_comes_next(broker, start_sink, read) -> None:
    sink = start_sink()
    publish(broker, sink, *range(1, 21))
    reader = read(sink.publish, first=None)
    until(lambda: reader.subscription.catch_up.next)
    publish(broker, sink, *range(21, 31))
    end(sink, 30)
    assert reader.ended() == YARD[20:]
    assert read(sink.publish, first=None).ended() == YARD[30:]


def test_before_the_sink_is_there(broker, start_sink, read) -> None:
    endpoint = free_endpoint()
    reader = read(endpoint)
    sink = start_sink(endpoints=(endpoint, None))
    publish(broker, sink, *range(1, 31))
    end(sink, 30)
    assert reader.ended() == YARD


def free_endpoint() -> str:
    """An endpoint where nobody is."""
    return f"tcp://127.0.0.1:{free_port()}"


# ---- what a live subscriber misses -------------------------------------------------------------------------


def test_reading_too_slowly_misses_nothing(broker, start_sink, read, monkeypatch) -> None:
    """Past the high-water mark the publisher drops what is for this subscriber; the numbers show it."""
    monkeypatch.setattr(publisher, "MOST_WAITING", 2)
    sink = start_sink()
    reader = read(sink.publish)
    sink.wait_for_subscribers(1)
    publish(broker, sink, 1)
    reader.wait_for(1)
    reader.may_read.clear()
    pad = "x" * 10_000
    for seq in range(2, 4001, 100):
        publish(broker, sink, *range(seq, seq + 100), pad=pad)
    reader.may_read.set()
    publish(broker, sink, *range(4002, 4011))
    end(sink, 4010)
    assert reader.ended() == [*frames_of("yard", 1, 4010), ("eos", "yard", 4011)]
    assert reader.fetched > 5, "nothing was missed: the test tests nothing"
    assert reader.most_ready <= 1000


def test_what_was_published_comes_byte_for_byte(broker, start_sink, read, tmp_path) -> None:
    sink = start_sink()
    publish(broker, sink, *range(1, 11))
    reader = read(sink.publish)
    publish(broker, sink, *range(11, 21))
    end(sink, 20)
    reader.ended()
    assert reader.lines == (tmp_path / "results.jsonl").read_bytes().splitlines()


def test_a_sink_that_crashes_and_comes_back_shows_no_gap_and_no_repeat(broker, start_sink, read) -> None:
    sink = start_sink()
    reader = read(sink.publish)
    publish(broker, sink, *range(1, 11))
    reader.wait_for(10)
    for begin in (11, 21, 31):
        sink.crash()
        # Its predecessor's last acknowledgements were lost: these come again.
        sink = start_sink(published=[begin - 6], endpoints=(sink.publish, sink.history))
        publish(broker, sink, *range(begin - 5, begin + 10))
        reader.wait_for(begin + 9)
    end(sink, 40)
    assert reader.ended() == [*frames_of("yard", 1, 40), ("eos", "yard", 41)]


def test_results_published_while_nobody_was_connected_are_fetched(broker, start_sink, read) -> None:
    sink = start_sink()
    reader = read(sink.publish)
    publish(broker, sink, *range(1, 11))
    reader.wait_for(10)
    sink.crash()
    elsewhere = start_sink(published=[10])
    publish(broker, elsewhere, *range(11, 26))
    elsewhere.crash()
    again = start_sink(published=[25], endpoints=(sink.publish, sink.history))
    publish(broker, again, *range(26, 31))
    end(again, 30)
    assert reader.ended() == YARD


def test_an_end_that_was_missed_is_fetched(broker, start_sink, read) -> None:
    """After the last message no gap shows: silence makes it ask."""
    sink = start_sink()
    reader = read(sink.publish)
    publish(broker, sink, 1)
    reader.wait_for(1)
    sink.do(lambda: setattr(sink.sink, "_publish", lambda *args: None))  # logged, and lost on its way
    publish(broker, sink, *range(2, 31))
    end(sink, 30)
    assert reader.ended() == YARD


def test_a_history_that_does_not_answer_for_a_while(broker, start_sink, read, monkeypatch) -> None:
    monkeypatch.setattr(client, "LAST_REPLY_MS", 50)
    sink = start_sink()
    publish(broker, sink, *range(1, 11))
    unheard: list[int] = []
    answer = sink.sink.out.answer
    sink.do(
        lambda: setattr(
            sink.sink.out, "answer", lambda *_: unheard.append(len(sink.sink.out.requests.recv_multipart()))
        )
    )
    reader = read(sink.publish)
    publish(broker, sink, *range(11, 21))
    until(lambda: len(unheard) > client.MOST_QUESTIONS, what="more questions than may wait")
    assert reader.seen == []
    sink.do(lambda: setattr(sink.sink.out, "answer", answer))
    publish(broker, sink, *range(21, 31))
    end(sink, 30)
    assert reader.ended() == YARD


def test_a_sink_that_is_away_for_long_is_not_flooded_with_questions_when_it_is_back(
    broker, start_sink, monkeypatch
) -> None:
    monkeypatch.setattr(client, "FIRST_REPLY_MS", 1)
    monkeypatch.setattr(client, "LAST_REPLY_MS", 1)
    endpoint = free_endpoint()
    with Subscription(endpoint, first=1) as subscription:
        for _ in range(200):
            subscription._fetch([HOW_FAR])
        subscription._patience_ms = 5000
        questions = []
        answer = publisher.reply_to
        monkeypatch.setattr(publisher, "reply_to", lambda data, *rest: questions.append(data) or answer(data, *rest))
        start_sink(endpoints=(endpoint, None))
        until(lambda: subscription._fetch([HOW_FAR]) or subscription.catch_up.open)
        assert len(questions) <= 2 * client.MOST_QUESTIONS + 5


def test_a_gap_that_nobody_can_fill_does_not_keep_the_cores_busy(broker, start_sink, monkeypatch) -> None:
    """The results file was cut by somebody: the history says that there are 30, and has no line."""
    sink = start_sink()
    publish(broker, sink, *range(1, 31))
    questions = []
    answer = publisher.reply_to
    monkeypatch.setattr(publisher, "reply_to", lambda data, *rest: questions.append(data) or answer(data, *rest))
    sink.do(lambda: setattr(sink.sink.file, "lines", lambda *args: []))
    with Subscription(sink.publish, first=1, timeout_s=0.5) as results:
        began = time.monotonic()
        with pytest.raises(NotRunning):
            next(results)
        assert len(questions) <= 4 + 2 * (time.monotonic() - began) / (client.QUIET_MS / 1000)


# ---- several streams, several runs -------------------------------------------------------------------------


def test_many_streams_each_in_order(broker, start_sink, read) -> None:
    names = [f"cam{number}" for number in range(40)]
    sink = start_sink(*names)
    early = read(sink.publish)
    for begin in (1, 11):
        for stream in range(len(names)):
            sink.frames(*((stream, seq) for seq in range(begin + 9, begin - 1, -1)))
        late = read(sink.publish)
    end(sink, *(20 for _ in names))
    for reader in (early, late):
        seen = reader.ended()
        assert len(seen) == 40 * 21
        for name in names:
            assert [key for key in seen if key[1] == name] == [*frames_of(name, 1, 20), ("eos", name, 21)]


def test_one_of_several_streams_and_the_others_do_not_matter(broker, start_sink, read) -> None:
    """`ab` begins like `a`, so ZeroMQ delivers it too; nothing must be asked because of it."""
    sink = start_sink("a", "ab", "b")
    reader = read(sink.publish, "a")
    publish(broker, sink, 1)
    reader.wait_for(1)
    until(lambda: sink.do(lambda: sink.sink.out._audience.subscribers))
    asked = reader.fetched
    publish(broker, sink, *range(1, 101), stream=1)
    publish(broker, sink, *range(1, 11), stream=2)
    publish(broker, sink, 2)
    reader.wait_for(2)
    assert reader.fetched < asked + 10, "it asks at each of them"
    end(sink, 2)
    assert reader.ended() == [*frames_of("a", 1, 2), ("eos", "a", 3)]


def test_a_stream_that_there_is_not(start_sink) -> None:
    sink = start_sink("a", "b")
    subscription = Subscription(sink.publish, "yard")
    with pytest.raises(ZpipeError, match=rf"{sink.publish} has no stream 'yard': a, b"):
        next(subscription)
    assert subscription._context.closed


@pytest.mark.parametrize("first", [1, None])
def test_another_run_on_the_same_endpoint_begins_anew(broker, start_sink, read, tmp_path, first) -> None:
    """A run that was stopped in the middle, and one after it: the second is seen from its first result on."""
    sink = start_sink()
    reader = read(sink.publish, first=first)
    until(lambda: reader.subscription.catch_up.next)
    publish(broker, sink, *range(1, 21))
    reader.wait_for(20)
    sink.crash()
    second = start_sink(run="run-2", endpoints=(sink.publish, sink.history), results=tmp_path / "second.jsonl")
    publish(broker, second, *range(1, 16))
    reader.wait_for(35)
    publish(broker, second, *range(16, 31))
    end(second, 30)
    assert reader.ended() == YARD[:20] + YARD


# ---- leaving -----------------------------------------------------------------------------------------------


def test_who_has_everything_says_so_and_the_sink_ends_at_once(broker, start_sink, read) -> None:
    sink = start_sink("a", "b", linger_s=600)
    readers = [read(sink.publish), read(sink.publish, "a"), read(sink.publish, "b", first=None)]
    until(lambda: len(sink.do(lambda: set(sink.sink.out._audience.behind))) == 3)
    sink.frames((0, 1), (1, 1), (0, 2))
    end(sink, 2, 1)
    sink.stop()
    sink.join(10)
    for reader in readers:
        reader.ended()


def test_who_leaves_early_does_not_hold_the_sink(broker, start_sink) -> None:
    sink = start_sink(linger_s=600)
    subscription = Subscription(sink.publish, first=1)
    publish(broker, sink, *range(1, 11))
    assert next(subscription).seq == 1
    assert sink.do(lambda: len(sink.sink.out._audience.behind)) == 1
    end(sink, 10)
    sink.stop()
    subscription.close()
    subscription.close()
    sink.join(10)


def test_breaking_out_of_a_loop_leaves(broker, start_sink) -> None:
    sink = start_sink(linger_s=600)
    publish(broker, sink, *range(1, 11))
    for found in zpipe.subscribe(sink.publish, from_start=True):
        if found.seq == 3:
            break
    gc.collect()
    end(sink, 10)
    sink.stop()
    sink.join(10)


def test_results_only_unless_ends_are_asked_for(broker, start_sink) -> None:
    sink = start_sink()
    publish(broker, sink, *range(1, 6))
    end(sink, 5)
    found = list(zpipe.subscribe(sink.publish, from_start=True, timeout_s=10))
    assert [(type(one), one.seq) for one in found] == [(Result, seq) for seq in range(1, 6)]
    assert [one.seq for one in zpipe.subscribe(sink.publish, first=4, timeout_s=10)] == [4, 5]
    with Subscription(sink.publish, first=5, ends=True, timeout_s=10) as results:
        assert [type(one) for one in results] == [Result, Eos]
    with pytest.raises(StopIteration):
        next(results)


# ---- nobody there ------------------------------------------------------------------------------------------


def test_nothing_for_too_long_is_not_running(broker, start_sink) -> None:
    endpoint = free_endpoint()
    with Subscription(endpoint, timeout_s=0.2) as results, pytest.raises(NotRunning, match=r"nothing .* for 0\.2 s"):
        next(results)
    sink = start_sink()
    with Subscription(sink.publish, timeout_s=0.2) as results, pytest.raises(NotRunning, match=sink.publish):
        next(results)


@pytest.mark.parametrize("endpoint", ["nonsense", "tcp://", "tcp://127.0.0.1", "udp://x:1", ""])
def test_what_is_no_endpoint_says_so(endpoint: str) -> None:
    with pytest.raises(ZpipeError, match=f"{endpoint!r}"):
        Subscription(endpoint)


def test_a_history_elsewhere(broker, start_sink, read) -> None:
    elsewhere = free_endpoint()
    sink = start_sink(endpoints=("tcp://127.0.0.1:*", elsewhere))
    publish(broker, sink, *range(1, 31))
    end(sink, 30)
    assert read(sink.publish, history_endpoint=elsewhere).ended() == YARD


def test_over_ipc(broker, start_sink, read) -> None:
    sink = start_sink(endpoints=(f"ipc://{broker.folder}/results", None))
    publish(broker, sink, *range(1, 31))
    end(sink, 30)
    assert read(sink.publish).ended() == YARD
