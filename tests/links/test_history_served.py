"""The history over real sockets: it answers while results come in, and what is no question does no harm."""

import zmq
from fake_broker import RUN, ask_history, essence_of, frames_of
from harness import until

from zpipe import wire
from zpipe.rules import history, limits


def test_the_history_answers_while_results_come_in(broker, start_sink, dealer):
    sink = start_sink("a", "b")
    dealer.connect(sink.history)
    for seq in range(1, 51):
        sink.frames((0, seq))
    until(lambda: broker.listen() or broker.heard[-1:] == [wire.PublishedUpTo(sink.worker, 0, 50)])
    reply = ask_history(dealer, "a", 40)
    assert reply.run == RUN
    assert reply.streams == [history.StreamState("a", 50, False), history.StreamState("b", 0, False)]
    assert [essence_of(line) for line in reply.lines] == frames_of("a", 40, 50)
    assert ask_history(dealer).lines == []


def test_what_is_no_question_is_not_answered_and_does_no_harm(start_sink, dealer):
    sink = start_sink()
    dealer.connect(sink.history)
    for garbage in (
        b"",
        b"\xc1",
        b"hello",
        history.write_request(history.LinesRequest("me", "ab")).replace(b"ab", b"\xff\xfe"),
    ):
        dealer.send(garbage)
    dealer.send_multipart([b"several", b"", b"parts"])
    assert ask_history(dealer).run == RUN


def test_a_question_that_is_too_long_ends_its_connection_only(start_sink, dealer, broker):
    sink = start_sink()
    with broker.context.socket(zmq.DEALER) as greedy:
        greedy.linger = 0
        monitor = greedy.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        greedy.connect(sink.history)
        greedy.send(bytes(limits.MAX_REQUEST_BYTES + 1))
        assert monitor.poll(10_000)
        greedy.disable_monitor()
        monitor.close()
    dealer.connect(sink.history)
    assert ask_history(dealer).run == RUN


def test_an_asker_who_does_not_listen_holds_nobody_up(broker, start_sink, dealer):
    sink = start_sink()
    for seq in range(1, 21):
        sink.frames(seq, pad="x" * 100_000)
    until(lambda: broker.listen() or broker.heard[-1:] == [wire.PublishedUpTo(sink.worker, 0, 20)])
    broker.heard.clear()
    with broker.context.socket(zmq.DEALER) as deaf:
        deaf.linger = 0
        deaf.rcvhwm = 1
        deaf.connect(sink.history)
        for _ in range(200):
            deaf.send(history.write_request(history.LinesRequest("deaf", "yard", 1)))
        dealer.connect(sink.history)
        assert [len(ask_history(dealer, "yard", 15).lines) for _ in range(2)] == [
            1,
            2,
        ]  # replies grow with what is read
        sink.frames(21)
        broker.hears(wire.PublishedUpTo(sink.worker, 0, 21))
