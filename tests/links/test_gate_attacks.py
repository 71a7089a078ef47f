"""Strangers at the gate: who floods, never reads, never ends a message or is a crowd. Others do not notice."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
import zmq
from attacker import GREETING, connect, frame
from gate_world import Pipeline
from harness import png, until

from zpipe import upload
from zpipe.gate import entrance
from zpipe.gate import gate as gate_module
from zpipe.rules import limits
from zpipe.sender.sender import Sender

PICTURE = png((1, 2, 3))


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline(max_bytes=1 << 20)
    yield made
    made.close()


def serves(pipeline: Pipeline, name: str = "alice") -> None:
    """Somebody else sends as ever."""
    with Sender(pipeline.endpoint, name, timeout_s=10) as sender:
        for seq in range(1, 31):
            sender.put(PICTURE, f"img{seq}")
        sender.end()
        assert [result.seq for result in sender.results()] == list(range(1, 31))


def is_cut(sock: socket.socket) -> bool:
    """The other side has ended the connection."""
    with contextlib.suppress(TimeoutError):
        try:
            while sock.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        return True
    return False


@pytest.mark.parametrize(
    "says",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(64),
        os.urandom(100), GREETING[:20],
    ],
    ids=["http", "tls", "random", "half a handshake"],
)  # fmt: skip
def test_what_is_no_handshake_is_ended(pipeline: Pipeline, says: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "HELLO_S", 1.0)
    with socket.create_connection(("127.0.0.1", pipeline.port), 10) as sock:
        sock.settimeout(10)
        sock.sendall(says)
        serves(pipeline)
        assert is_cut(sock)


@pytest.mark.test_all
def test_a_message_that_never_ends(pipeline: Pipeline) -> None:
    """It takes no more memory than is set, and its connection is ended."""
    before = psutil.Process().memory_info().rss
    sock = connect("127.0.0.1", pipeline.port, "DEALER")
    with sock, contextlib.suppress(OSError):
        sock.settimeout(5)
        part = frame(bytes(1 << 16), 1)
        for _ in range(4000):
            sock.sendall(part)
        pytest.fail("256 MB of one message were taken")
    serves(pipeline)
    assert psutil.Process().memory_info().rss - before < 120 << 20


def test_a_part_that_is_too_large(pipeline: Pipeline) -> None:
    with connect("127.0.0.1", pipeline.port, "DEALER") as sock:
        sock.settimeout(5)
        sock.sendall(bytes([2]) + (1 << 30).to_bytes(8) + b"x")
        assert is_cut(sock)
    serves(pipeline)


def test_a_crowd(pipeline: Pipeline) -> None:
    """Whoever comes when all places are taken is turned away; who was there goes on."""
    with Sender(pipeline.endpoint, "alice", timeout_s=20) as sender, contextlib.ExitStack() as crowd:
        sender.put(PICTURE, "img1")
        for _ in range(limits.MAX_PEERS + 100):
            with contextlib.suppress(OSError):
                crowd.enter_context(socket.create_connection(("127.0.0.1", pipeline.port), 5))
        for seq in range(2, 21):
            sender.put(PICTURE, f"img{seq}")
        sender.end()
        assert len(list(sender.results())) == 20


def test_who_never_reads_is_cut_off(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its results wait within bounds, and then it is gone; its upload can go on with another connection."""
    monkeypatch.setattr(gate_module, "STUCK_S", 1.0)
    name = "x" * 7900
    assert pipeline.gate is not None
    peers = pipeline.gate.gate._sessions.peers
    with zmq.Context() as context, context.socket(zmq.DEALER) as deaf:
        deaf.linger = 0
        deaf.set_hwm(1)
        deaf.setsockopt(zmq.RCVBUF, 4096)
        deaf.connect(pipeline.endpoint)
        deaf.send(upload.encode(upload.Hello(1, "deaf", "u")))
        deaf.recv()
        seq, deadline = 0, time.monotonic() + 20
        while peers and time.monotonic() < deadline:
            if seq - len(pipeline.lines.get("gate.deaf", [])) < 4 and deaf.poll(10, zmq.POLLOUT):
                seq += 1
                deaf.send_multipart([upload.encode(upload.NewFrame(seq, name)), PICTURE])
        assert not peers, "it is still there"
    serves(pipeline)
    count = len(pipeline.lines["gate.deaf"])
    with Sender(pipeline.endpoint, "deaf", upload_id="u", timeout_s=10) as again:
        assert again.next == count + 1
        assert len(list(again.results())) == count


def test_a_flood_of_nonsense(pipeline: Pipeline) -> None:
    """From somebody who connects again and again."""
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), connect("127.0.0.1", pipeline.port, "DEALER") as sock:
                for _ in range(50):
                    sock.sendall(frame(os.urandom(200)))

    attackers = [threading.Thread(target=flood) for _ in range(2)]
    for attacker in attackers:
        attacker.start()
    serves(pipeline)
    over.set()
    for attacker in attackers:
        attacker.join()
    assert pipeline.gate is not None
    until(lambda: pipeline.gate.gate._entrances[0].rejected > 0)


def test_frames_beyond_the_credit_are_dropped_and_asked_for(pipeline: Pipeline) -> None:
    """Who sends more than it may is no danger, and loses nothing by it."""
    pipeline.is_held = True
    with zmq.Context() as context, context.socket(zmq.DEALER) as greedy:
        greedy.linger = 0
        greedy.connect(pipeline.endpoint)
        greedy.send(upload.encode(upload.Hello(1, "greedy", "u")))
        assert isinstance(upload.decode_to_sender(greedy.recv()), upload.Welcome)
        for seq in range(1, 301):
            greedy.send_multipart([upload.encode(upload.NewFrame(seq, f"img{seq}")), PICTURE])
        until(lambda: len(pipeline.reads) == pipeline.slots)
        pipeline.release()
        following = 301
        while len(pipeline.lines.get("gate.greedy", [])) < 300:
            if greedy.poll(100):
                match upload.decode_to_sender(greedy.recv()):
                    case upload.SendFrom(following):
                        for seq in range(following, 301):
                            greedy.send_multipart([upload.encode(upload.NewFrame(seq, f"img{seq}")), PICTURE])
        assert following < 301
    assert [read.seq for read in pipeline.reads] == list(range(1, 301))
