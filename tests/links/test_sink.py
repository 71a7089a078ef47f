"""The sink over real sockets: order, the log before the publication, and going on after a crash."""

import json
import os
import random
import threading

import pytest
import zmq
from fake_broker import RUN, ask_history, essence_of, frames_of, plain_subscriber
from harness import until

from zpipe import messages, wire
from zpipe.errors import ResultsError, ZpipeError
from zpipe.messages import parse
from zpipe.results import publisher
from zpipe.results.record import Record
from zpipe.rules import history
from zpipe.stages import sink as sink_stage
from zpipe.transport import endpoints


def heard(subscriber, count):
    """So many messages, each on the topic of its stream."""
    found = []
    for _ in range(count):
        topic, line = subscriber.recv_multipart()
        assert topic == messages.topic(json.loads(line)["stream"])
        found.append(essence_of(line))
    return found


def logged(path):
    return [essence_of(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results.jsonl"


def test_results_are_published_in_order_whatever_order_they_come_in(broker, start_sink, results):
    sink = start_sink()
    with plain_subscriber(sink.publish) as subscriber:
        sink.wait_for_subscribers(1)
        sink.frames(3, 2)
        sink.frames(5)
        sink.frames(1)
        sink.frames(4, 6)
        assert heard(subscriber, 6) == frames_of("yard", 1, 6)
        broker.hears(wire.PublishedUpTo(sink.worker, 0, 3), wire.PublishedUpTo(sink.worker, 0, 6))
        sink.close_stream(0, 6)
        assert heard(subscriber, 1) == [("eos", "yard", 7)]
        broker.hears(wire.Closed(sink.worker, 0))
        sink.stop()
        sink.join()
        assert not subscriber.poll(0), "something comes after the end"
    assert logged(results) == [*frames_of("yard", 1, 6), ("eos", "yard", 7)]


def test_streams_do_not_wait_for_each_other(broker, start_sink):
    sink = start_sink("a", "b", "c")
    with plain_subscriber(sink.publish) as subscriber:
        sink.wait_for_subscribers(1)
        sink.frames((0, 2), (1, 1), (2, 2))
        assert heard(subscriber, 1) == frames_of("b", 1, 1)
        sink.close_stream(1, 1)
        assert heard(subscriber, 1) == [("eos", "b", 2)]
        sink.frames((2, 1), (0, 1))
        assert sorted(heard(subscriber, 4)) == frames_of("a", 1, 2) + frames_of("c", 1, 2)
    until(lambda: broker.listen() or len(broker.heard) == 4)
    assert {message for message in broker.heard if isinstance(message, wire.PublishedUpTo)} == {
        wire.PublishedUpTo(sink.worker, stream, seq) for stream, seq in ((1, 1), (0, 2), (2, 2))
    }  # fmt: skip


def test_what_the_sink_adds_to_a_result(broker, start_sink, results):
    sink = start_sink()
    work = sink.work(0, 1)
    broker.send(sink.worker, wire.Work(0, 1, wire.Picture(0), 3, work.body))
    broker.hears(wire.PublishedUpTo(sink.worker, 0, 1))
    result = parse(results.read_bytes())
    assert (result.run, result.stream, result.seq, result.attempts) == (RUN, "yard", 1, 3)
    assert result.timing_ms["total"] > 0


@pytest.mark.parametrize("body", [b"", b"\xc1 garbage", b"\x83\xa4type\xa5frame\xa6stream\xa1\xff", os.urandom(50)])
def test_a_frame_has_one_result_whatever_a_worker_made_of_it(broker, start_sink, results, body):
    sink = start_sink()
    broker.send(sink.worker, wire.Work(0, 1, wire.Picture(0), 1, body), sink.work(0, 2))
    broker.hears(wire.PublishedUpTo(sink.worker, 0, 2))
    bad, good = map(parse, results.read_bytes().splitlines())
    assert (bad.seq, bad.status, bad.error.stage) == (1, "failed", "sink")
    assert bad.error.reason.startswith("not a result: ")
    assert good.status == "ok"


def test_a_result_is_logged_before_it_is_published_and_published_before_it_is_acknowledged(broker, start_sink, results):
    sink = start_sink()
    order = []

    def watch():
        append, publish, say = sink.sink.file.append, sink.sink.out.publish, sink.sink._link.send
        sink.sink.file.append = lambda *args: order.append("log") or append(*args)
        sink.sink.out.publish = lambda *args: order.append("publish") or publish(*args)
        sink.sink._link.send = lambda *args: order.append("acknowledge") or say(*args)

    sink.do(watch)
    sink.frames(2, 1)
    broker.hears(wire.PublishedUpTo(sink.worker, 0, 2))
    assert order == ["log", "publish", "log", "publish", "acknowledge"]


def test_a_disk_that_is_full_ends_the_sink_with_its_error(broker, start_sink, results):
    sink = start_sink()

    def fill():
        def append(*args):
            raise ResultsError(f"results file {results}: No space left on device")

        sink.sink.file.append = append

    sink.do(fill)
    sink.frames(1)
    with pytest.raises(ResultsError, match="No space left on device"):
        sink.join()
    broker.listen()
    assert broker.heard == [], "it acknowledged what it did not log"


# ---- a crash, and another sink ---------------------------------------------------------------------------------


def test_another_sink_goes_on_at_the_same_endpoints_where_the_crashed_one_was(broker, start_sink, results):
    first = start_sink("a", "b")
    with plain_subscriber(first.publish) as subscriber:
        first.wait_for_subscribers(1)
        first.frames((0, 1), (0, 2), (1, 1), (0, 4))
        assert sorted(heard(subscriber, 3)) == frames_of("a", 1, 2) + frames_of("b", 1, 1)
        first.crash()
        second = start_sink("a", "b", published=[2, 1], endpoints=(first.publish, first.history))
        assert (second.publish, second.history) == (first.publish, first.history)
        # A SUB socket that has connected again subscribes again when its owner next looks at it.
        until(lambda: subscriber.poll(0) or second.do(lambda: second.sink.out._audience.subscribers))
        second.frames((0, 4), (1, 2), (0, 3))
        assert sorted(heard(subscriber, 3)) == frames_of("a", 3, 4) + frames_of("b", 2, 2)
        second.close_stream(0, 4)
        second.close_stream(1, 2)
        assert sorted(heard(subscriber, 2)) == [("eos", "a", 5), ("eos", "b", 3)]
    ends = [("eos", "a", 5), ("eos", "b", 3)]
    assert sorted(logged(results)) == sorted(frames_of("a", 1, 4) + frames_of("b", 1, 2) + ends)


def test_what_was_logged_but_not_acknowledged_is_published_again_and_not_logged_again(broker, start_sink, results):
    """Between the log and the acknowledgement nobody can say whether the result has left."""
    first = start_sink()
    first.frames(1, 2, 3)
    broker.hears(wire.PublishedUpTo(first.worker, 0, 3))
    before = results.read_bytes()
    first.crash()
    second = start_sink(published=[1], endpoints=(first.publish, first.history))
    with plain_subscriber(second.publish) as subscriber:
        second.wait_for_subscribers(1)
        second.frames(2, 3, 4)
        assert heard(subscriber, 3) == frames_of("yard", 2, 4)
    broker.hears(wire.PublishedUpTo(second.worker, 0, 4))
    assert results.read_bytes().startswith(before)
    assert logged(results) == frames_of("yard", 1, 4)


def test_half_a_line_of_the_crashed_one_is_written_anew(broker, start_sink, results):
    first = start_sink()
    first.frames(1)
    broker.hears(wire.PublishedUpTo(first.worker, 0, 1))
    first.crash()
    with open(results, "ab") as file:
        file.write(b'{"type":"frame","schema":1,"run":"run')
    second = start_sink(published=[1])
    second.frames(2)
    broker.hears(wire.PublishedUpTo(second.worker, 0, 2))
    assert logged(results) == frames_of("yard", 1, 2)


def test_an_end_that_was_logged_is_published_again_and_not_logged_again(broker, start_sink, results):
    first = start_sink()
    first.frames(1)
    first.close_stream(0, 1)
    broker.hears(wire.PublishedUpTo(first.worker, 0, 1), wire.Closed(first.worker, 0))
    first.crash()
    second = start_sink(published=[1])
    with plain_subscriber(second.publish) as subscriber:
        second.wait_for_subscribers(1)
        second.close_stream(0, 1)
        assert heard(subscriber, 1) == [("eos", "yard", 2)]
    broker.hears(wire.Closed(second.worker, 0))
    assert logged(results) == [("frame", "yard", 1), ("eos", "yard", 2)]


def test_an_end_of_a_drained_stream_stays_when_the_sink_is_started_again(broker, start_sink, results):
    """While the other stream is still in work: the first one's end is published, and nobody will say it again."""
    first = start_sink("a", "b")
    first.frames((0, 1))
    first.close_stream(0, 1, drained=True)
    broker.hears(wire.PublishedUpTo(first.worker, 0, 1), wire.Closed(first.worker, 0))
    first.crash()
    second = start_sink("a", "b", published=[1, 0])
    second.frames((1, 1))
    second.close_stream(1, 1, drained=True)
    broker.hears(wire.PublishedUpTo(second.worker, 1, 1), wire.Closed(second.worker, 1))
    ends = [line for line in results.read_bytes().splitlines() if essence_of(line)[0] == "eos"]
    assert [essence_of(line) for line in ends] == [("eos", "a", 2), ("eos", "b", 2)]
    assert all(parse(line).drained for line in ends)


def test_a_stream_that_begins_while_it_runs(broker, start_sink, results):
    """And that ends: nothing of it is kept but its name and its lines."""
    sink = start_sink("yard")
    broker.send(sink.worker, wire.Begin(5, "gate.alice"), wire.Begin(0, "yard"))
    sink.streams = {0: "yard", 5: "gate.alice"}
    with plain_subscriber(sink.publish) as subscriber:
        sink.wait_for_subscribers(1)
        sink.frames((5, 2), (5, 1), 1)
        sink.close_stream(5, 2)
        said = wire.PublishedUpTo(sink.worker, 5, 2), wire.PublishedUpTo(sink.worker, 0, 1), wire.Closed(sink.worker, 5)
        broker.hears(*said)
        assert heard(subscriber, 4) == [
            ("frame", "gate.alice", 1), ("frame", "gate.alice", 2), ("frame", "yard", 1), ("eos", "gate.alice", 3),
        ]  # fmt: skip
    assert list(sink.sink._waiting) == list(sink.sink._next) == list(sink.sink._topics) == [0]


def test_a_crashed_sinks_frames_are_ignored_by_the_next(broker, start_sink):
    """Its endpoint is its own: what was queued for the dead one goes with it."""
    first = start_sink()
    first.crash()
    second = start_sink()
    second.frames(1)
    broker.hears(wire.PublishedUpTo(second.worker, 0, 1))


# ---- the results file --------------------------------------------------------------------------------------------


def test_before_the_run_has_begun_the_file_is_anothers(broker, start_sink, dealer, results):
    """Edge 3: the sink is there before the models are loaded, and the finished run's results are in the file still."""
    other = b'{"type":"frame","run":"r0","stream":"yard","seq":1}\n{"type":"eos","run":"r0","stream":"yard","seq":2}\n'
    results.write_bytes(other)
    sink = start_sink(begun=False)
    dealer.connect(sink.history)
    reply = ask_history(dealer, "yard", 1)
    assert (reply.run, reply.lines, [state.published for state in reply.streams]) == (RUN, [], [0])
    assert results.read_bytes() == other
    results.write_bytes(b"")
    Record(results).begin(RUN, {})
    sink.frames(1)
    broker.hears(wire.PublishedUpTo(sink.worker, 0, 1))
    assert logged(results) == frames_of("yard", 1, 1)


@pytest.mark.parametrize("deed", ["removed", "replaced", "cut"])
def test_an_idle_sink_notices_what_befalls_the_file(start_sink, results, deed, monkeypatch):
    """Edge 22: also before the end of a stream, when no further line is written."""
    monkeypatch.setattr(sink_stage, "CHECK_S", 0.05)
    sink = start_sink()
    sink.frames(1)
    until(lambda: results.stat().st_size)
    match deed:
        case "removed":
            results.unlink()
        case "replaced":
            results.with_name("copy").write_bytes(results.read_bytes())
            results.with_name("copy").rename(results)
        case "cut":
            os.truncate(results, 5)
    with pytest.raises(ResultsError, match="continue with --resume, which makes it whole"):
        sink.join()


def test_another_sink_does_not_go_on_without_what_was_published(broker, start_sink, results):
    """Edge 22: the file was removed while no sink was there to notice."""
    first = start_sink()
    first.frames(1, 2)
    broker.hears(wire.PublishedUpTo(first.worker, 0, 2))
    first.crash()
    results.unlink()
    with pytest.raises(ResultsError, match="has 0 results of stream yard, and 2 were published"):
        start_sink(published=[2])


def test_what_killed_sinks_have_left_is_removed_by_the_next(broker):
    """Edge 28: the socket of each dead sink stayed in the run folder."""
    for number in (1, 2):
        (broker.folder / f"echo-{number}").touch()
    echo = publisher.Echo(broker.folder / "echo-3")
    assert [path.name for path in broker.folder.glob("echo-*")] == ["echo-3"]
    echo.wait()
    echo.close()
    assert list(broker.folder.glob("echo-*")) == []


# ---- endpoints ---------------------------------------------------------------------------------------------------


def test_an_endpoint_that_is_taken_says_so(start_sink, monkeypatch):
    monkeypatch.setattr(endpoints, "PATIENCE_S", 0.05)
    first = start_sink()
    with pytest.raises(ZpipeError, match=rf"cannot bind {first.publish}: .*another program, or another pipeline"):
        start_sink(endpoints=(first.publish, None))
    with pytest.raises(ZpipeError, match="cannot bind"):
        start_sink(endpoints=("tcp://127.0.0.1:*", first.history))
    with pytest.raises(ZpipeError, match="cannot bind"):
        start_sink(endpoints=("tcp://not-a-host:1", None))


def test_an_endpoint_that_is_taken_for_a_moment_is_waited_for(broker, start_sink):
    """What a killed sink has left in the kernel, or a connection that happens to have this port at its own end."""
    with broker.context.socket(zmq.PUB) as before:
        before.bind("tcp://127.0.0.1:*")
        endpoint = before.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()
        later = threading.Timer(0.2, before.unbind, [endpoint])
        later.start()
        assert start_sink(endpoints=(endpoint, None)).publish == endpoint
        later.join()  # a socket is for one thread at a time


def test_the_endpoint_of_the_sink_before_is_waited_for_however_long(broker, start_sink, monkeypatch, caplog):
    """Edge 23: whoever took the port of a dead sink for more than two seconds ended the run."""
    monkeypatch.setattr(endpoints, "PATIENCE_S", 0.05)
    with broker.context.socket(zmq.PUB) as other:
        other.bind("tcp://127.0.0.1:*")
        endpoint = other.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()
        later = threading.Timer(0.5, other.unbind, [endpoint])
        later.start()
        sink = start_sink(endpoints=(endpoint, endpoints.history_of(endpoint)), is_patient=True)
        assert sink.publish == endpoint
        later.join()
    assert f"sink.waiting {endpoint} is taken by another program" in caplog.text


def test_who_waits_for_an_endpoint_ends_when_it_is_told_to(broker, start_sink):
    """Edge 23: the wait is without end, but not deaf."""
    with broker.context.socket(zmq.PUB) as other:
        other.bind("tcp://127.0.0.1:*")
        endpoint = other.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()
        teller = threading.Thread(
            target=lambda: (until(lambda: 1 in broker.links._workers), broker.send(1, wire.Stop())), daemon=True
        )
        teller.start()
        with pytest.raises(ZpipeError, match=f"cannot bind {endpoint}"):
            start_sink(endpoints=(endpoint, endpoints.history_of(endpoint)), is_patient=True)
        teller.join()


def test_a_free_port_is_none_that_the_kernel_gives_to_outgoing_connections(broker, start_sink, monkeypatch, tmp_path):
    """A subscriber that connects again and again while nobody is there would in the end be connected to itself."""
    for _ in range(20):
        port = int(start_sink(results=tmp_path / f"{random.random()}").publish.rpartition(":")[2])
        assert port in endpoints.free_ports()
    for text, wanted in (
        ("20000 65535", range(10_000, 20_000)), ("1024 30000", range(30_001, 65_534)),
        ("1024 65535", range(10_000, 65_534)), ("", range(10_000, 32_768)),
    ):  # fmt: skip
        (tmp_path / "ports").write_text(text)
        monkeypatch.setattr(endpoints, "OUTGOING", tmp_path / "ports")
        assert endpoints.free_ports() == wanted


def test_the_history_is_beside_the_publisher(broker, start_sink):
    sink = start_sink()
    publish, history_at = (int(endpoint.rpartition(":")[2]) for endpoint in (sink.publish, sink.history))
    assert history_at == publish + 1
    path = f"ipc://{broker.folder}/results"
    other = start_sink(endpoints=(path, None))
    assert (other.publish, other.history) == (path, f"{path}.history")


# ---- waiting for those who catch up ------------------------------------------------------------------------------


def subscriber_of_zpipe(broker, sink, name):
    socket = broker.context.socket(zmq.SUB)
    socket.linger = 0
    socket.subscribe(b"results/")
    socket.subscribe(history.SUBSCRIBER + name)
    socket.connect(sink.publish)
    until(lambda: name in sink.do(lambda: set(sink.sink.out._audience.behind)))
    return socket


def test_it_lingers_until_those_who_catch_up_say_that_they_have_everything(broker, start_sink, dealer):
    sink = start_sink(linger_s=60)
    with subscriber_of_zpipe(broker, sink, b"me"):
        sink.stop()
        dealer.connect(sink.history)
        assert ask_history(dealer).run == RUN  # it still answers
        assert sink.alive
        dealer.send(history.write_request(history.LinesRequest("me", done=True)))
        sink.join()


def test_it_lingers_until_those_who_catch_up_are_gone(broker, start_sink, monkeypatch):
    """And a little longer: a connection that was cut comes back, and a cut looks like a farewell."""
    monkeypatch.setattr(publisher, "REJOIN_S", 0.1)
    sink = start_sink(linger_s=60)
    with subscriber_of_zpipe(broker, sink, b"me"):
        sink.stop()
    sink.join()


def test_it_does_not_linger_for_ever(broker, start_sink):
    sink = start_sink(linger_s=0.2)
    with subscriber_of_zpipe(broker, sink, b"me"):
        sink.stop()
        sink.join()


def test_it_does_not_linger_for_a_plain_subscriber(start_sink):
    sink = start_sink(linger_s=60)
    with plain_subscriber(sink.publish):
        sink.wait_for_subscribers(1)
        sink.stop()
        sink.join()


def test_it_waits_for_as_many_subscribers_as_it_is_told(start_sink):
    sink = start_sink()
    with plain_subscriber(sink.publish), plain_subscriber(sink.publish, b""):
        sink.do(lambda: sink.sink.await_subscribers(2))
        assert sink.do(lambda: sink.sink.out._audience.subscribers) == 2
    until(lambda: sink.do(lambda: sink.sink.out._audience.subscribers) == 0)
