"""Both sides of the links over real sockets."""

import logging
import os

import pytest
import zmq
from harness import until

from zpipe import wire
from zpipe.errors import WireError
from zpipe.transport import link as links
from zpipe.transport.link import Links, WorkerLink, inbox_of, outbox_of


@pytest.fixture
def join(broker):
    """A worker's link to the broker, connected."""
    made = []

    def join():
        worker = broker.attach()
        made.append(WorkerLink(broker.context, broker.folder, worker))
        until(lambda: broker.links.connected(worker))
        return made[-1]

    yield join
    for one in made:
        one.close()


def work(seq, size=3):
    return wire.Work(0, seq, wire.Picture(0), 1, bytes(size))


def received(link, count):
    found = []
    until(lambda: found.extend(link.receive()) or len(found) >= count)
    return found


def test_each_worker_gets_what_is_sent_to_it_in_order(broker, join):
    first, second = join(), join()
    broker.links.send(first.worker, [work(1), work(2)])
    broker.links.send(second.worker, [work(3)])
    broker.links.send(first.worker, [wire.Stop()])
    assert received(first, 3) == [work(1), work(2), wire.Stop()]
    assert received(second, 1) == [work(3)]
    assert first.take() == []


def test_all_workers_push_to_one_inbox(broker, join):
    first, second = join(), join()
    first.send(wire.Listed(first.worker, 0, 12))
    broker.hears(wire.Listed(first.worker, 0, 12))
    second.send(wire.Ready(second.worker), wire.Closed(second.worker, 0))
    broker.hears(wire.Ready(second.worker), wire.Closed(second.worker, 0))


def test_what_was_put_before_goes_first(broker, join):
    link = join()
    link.put(wire.PublishedUpTo(link.worker, 0, 1), took_ns=1000)
    link.send(wire.PublishedUpTo(link.worker, 0, 2))
    broker.hears(wire.PublishedUpTo(link.worker, 0, 1), wire.PublishedUpTo(link.worker, 0, 2))


def test_outputs_of_quick_frames_go_together_and_none_waits_long(broker, join, monkeypatch):
    link = join()
    parts = []
    encode = wire.encode
    monkeypatch.setattr(wire, "encode", lambda messages: parts.append(len(messages)) or encode(messages))
    for seq in range(1, 11):
        link.put(wire.PublishedUpTo(link.worker, 0, seq), took_ns=links.MOST_WAIT_NS // 4)
    link.flush()
    assert parts == [5, 5]  # the one that passes MOST_WAIT_NS flushes
    link.put(wire.PublishedUpTo(link.worker, 0, 11), took_ns=1000)
    link.put(wire.PublishedUpTo(link.worker, 0, 12), took_ns=links.QUICK_NS + 1)
    assert parts == [5, 5, 2]
    broker.hears(*(wire.PublishedUpTo(link.worker, 0, seq) for seq in range(1, 13)))


def test_a_worker_waits_for_a_beat_and_no_longer(join, monkeypatch):
    link = join()
    link.inlet.rcvtimeo = 10
    assert link.receive() == []


def test_a_worker_is_connected_only_when_it_is(broker):
    worker = broker.attach()
    assert not broker.links.connected(worker)
    broker.links.send(worker, [work(1)])  # to nobody, and harmless
    link = WorkerLink(broker.context, broker.folder, worker)
    until(lambda: broker.links.connected(worker))
    broker.links.send(worker, [work(2)])
    assert received(link, 1) == [work(2)]
    link.close()


def test_what_was_meant_for_the_dead_reaches_nobody(broker, join):
    dead = join()
    broker.links.send(dead.worker, [work(1)])
    path = outbox_of(broker.folder, dead.worker).removeprefix("ipc://")
    assert os.path.exists(path)
    broker.links.detach(dead.worker)
    broker.links.detach(dead.worker)
    assert not os.path.exists(path)
    replacement = join()
    broker.links.send(replacement.worker, [work(2)])
    assert received(replacement, 1) == [work(2)]


def test_what_was_sent_leaves_before_the_link_is_closed(broker, join):
    link = join()
    for seq in range(1, 1001):
        link.send(wire.PublishedUpTo(link.worker, 0, seq))
    link.close()
    broker.hears(*(wire.PublishedUpTo(link.worker, 0, seq) for seq in range(1, 1001)))


def test_nothing_is_lost_however_much_is_sent_at_once(broker, join):
    """A sink that is started again is sent every frame in flight in one go: more than one part may have."""
    link = join()
    many = [work(seq) for seq in range(1, 2 * wire.MOST_IN_FLIGHT)]
    broker.links.send(link.worker, many)
    assert received(link, len(many)) == many
    heavy = [work(seq, 30 << 20) for seq in range(1, 4)]
    broker.links.send(link.worker, heavy)
    assert [message.seq for message in received(link, 3)] == [1, 2, 3]


def test_what_is_too_long_is_not_sent_and_the_link_goes_on(broker, join):
    """Edge 24: the connection ended, and what came next was lost too."""
    link = join()
    with pytest.raises(WireError, match="too long to be sent"):
        link.send(wire.Output(link.worker, 0, 1, False, bytes(wire.MAX_BYTES)))
    link.send(wire.Ready(link.worker))
    broker.hears(wire.Ready(link.worker))
    with pytest.raises(WireError, match="Work of 67 MB is too long to be sent"):
        broker.links.send(link.worker, [work(1, wire.MAX_BYTES)])
    broker.links.send(link.worker, [work(2)])
    assert received(link, 1) == [work(2)]


# ---- what is no message ------------------------------------------------------------------------------------------


def push(broker, *parts):
    socket = broker.context.socket(zmq.PUSH)
    socket.connect(inbox_of(broker.folder))
    for part in parts:
        socket.send_multipart(part if isinstance(part, list) else [part])
    return socket


def test_what_is_no_message_is_counted_logged_once_and_dropped(broker, join, caplog):
    link = join()
    garbage = [b"", b"hello", b"z\x07\x90", wire.encode([wire.Stop()]), [b"two", b"parts"], wire.PREFIX + b"\xff" * 99]
    with caplog.at_level(logging.WARNING):
        with push(broker, *garbage):
            until(lambda: broker.listen() or broker.links.rejected == len(garbage))
        link.send(wire.Ready(link.worker))
        broker.hears(wire.Ready(link.worker))
    assert len(caplog.records) == 1
    assert 'link.rejected message reason="it does not begin like a message of zpipe"' in caplog.text


def test_a_message_of_another_version_says_so(broker, caplog):
    with caplog.at_level(logging.WARNING), push(broker, b"z\x09\x91\x92\x01"):
        until(lambda: broker.listen() or broker.links.rejected)
    assert "it speaks version 9 of the wire, this is version 3" in caplog.text


def test_a_worker_drops_what_is_no_message(broker, join, caplog):
    link = join()
    broker.links._workers[link.worker].send(b"hello")
    broker.links._workers[link.worker].send(wire.encode([wire.Ready(1)]))
    broker.links.send(link.worker, [work(1)])
    assert received(link, 1) == [work(1)]
    assert caplog.text.count("link.rejected") == 2


def test_what_is_too_long_never_arrives(broker, join, monkeypatch):
    """The socket ends the connection before it reads the part: nothing is allocated for it, nobody decodes it."""
    decoded = []
    decode = wire.decode_from_worker
    monkeypatch.setattr(wire, "decode_from_worker", lambda data: decoded.append(len(data)) or decode(data))
    monitor = broker.links.inbox.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    with push(broker, wire.PREFIX + bytes(wire.MAX_BYTES)):
        assert monitor.poll(10_000), "the connection stands"
        broker.listen()
    broker.links.inbox.disable_monitor()
    monitor.close()
    assert (decoded, broker.links.rejected) == ([], 0)
    link = join()
    link.send(wire.Ready(link.worker))
    broker.hears(wire.Ready(link.worker))


def test_a_worker_reads_nothing_too_long_either(broker, join):
    link = join()
    monitor = link.inlet.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    broker.links._workers[link.worker].send(bytes(wire.MAX_BYTES + 1))
    assert monitor.poll(10_000)
    link.inlet.disable_monitor()
    monitor.close()
    assert link.take() == []


# ---- folders and files -----------------------------------------------------------------------------------------


def test_endpoints_are_files_of_the_run_folder_and_go_with_the_links(broker):
    worker = broker.attach()
    assert {"inbox", f"w-{worker}"} <= set(os.listdir(broker.folder))
    broker.links.close()
    broker.links.close()
    assert f"w-{worker}" not in os.listdir(broker.folder)


def test_a_second_broker_takes_the_inbox_of_a_dead_one(broker):
    """The file of a socket outlives a SIGKILLed process; binding again replaces it."""
    again = Links(broker.context, broker.folder)
    again.close()
