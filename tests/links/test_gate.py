"""Senders at a gate: each frame read once and in order, each result back, whoever dies or talks nonsense."""

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq
from gate_world import Pipeline, settled
from harness import png, until
from proxy import Proxy

from zpipe import upload
from zpipe.errors import Fenced, FrameError, KeysError, NoCredit, NotRunning, SenderError
from zpipe.messages import Eos, Result
from zpipe.sender.frames import Parcel
from zpipe.sender.sender import Sender
from zpipe.transport.keys import add, init, remove

PICTURE = png((1, 2, 3))


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline()
    yield made
    made.close()


def names(results: list[Result]) -> list[str]:
    return [result.name for result in results]


def expected(first: int, last: int) -> list[str]:
    return [f"img{seq}" for seq in range(first, last + 1)]


def put(sender: Sender, first: int, last: int) -> None:
    for seq in range(first, last + 1):
        assert sender.put(PICTURE, f"img{seq}") == seq


def test_frames_in_and_results_out(pipeline: Pipeline) -> None:
    with Sender(pipeline.endpoint, "alice") as sender:
        assert sender.stream == "gate.alice"
        assert sender.next == 1
        put(sender, 1, 100)
        results = list(sender.results())
        assert names(results) == expected(1, 100)
        put(sender, 101, 200)
        sender.end()
        lines = list(sender.lines())
    assert names([message for _, message in lines[:-1]]) == expected(101, 200)
    assert isinstance(lines[-1][1], Eos)
    assert [line for line, _ in lines] == pipeline.lines["gate.alice"][100:]
    assert pipeline.ended == {0: (200, False)}
    assert pipeline.pictures["gate.alice", 17] == PICTURE


def test_leaving_the_block_ends_the_stream(pipeline: Pipeline) -> None:
    with Sender(pipeline.endpoint, "alice") as sender:
        put(sender, 1, 10)
    assert pipeline.ended == {0: (10, False)}
    assert names(list(sender.results())) == expected(1, 10)


def test_a_failed_block_leaves_the_stream_as_it_is(pipeline: Pipeline) -> None:
    def fail() -> None:
        with Sender(pipeline.endpoint, "alice", upload_id="x") as sender:
            put(sender, 1, 10)
            assert len(list(sender.results())) == 10
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with Sender(pipeline.endpoint, "alice", upload_id="x") as sender:
        assert sender.next == 11
        put(sender, 11, 20)
        sender.end()
        assert names(list(sender.results())) == expected(1, 20)
    assert pipeline.ended == {0: (20, False)}


def test_what_a_picture_may_be(pipeline: Pipeline, tmp_path) -> None:
    pixels = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3)
    (tmp_path / "here.png").write_bytes(PICTURE)
    with Sender(pipeline.endpoint, "alice") as sender:
        sender.put(pixels, "raw")
        sender.put(pixels, "small", jpeg=90)
        sender.put(tmp_path / "here.png")
        sender.put(bytearray(PICTURE), "bytes")
        sender.put_frame(Parcel("none", b"", reason="cannot be read: gone"))
        with pytest.raises(FrameError, match="No such file"):
            sender.put(tmp_path / "absent.png")
        with pytest.raises(FrameError, match="expected \\(height, width, 3\\)"):
            sender.put(np.zeros((4, 4), np.uint8), "gray")
        results = list(sender.results())
    assert names(results) == ["raw", "small", "here.png", "bytes", "none"]
    assert pipeline.pictures["gate.alice", 1] == pixels.tobytes()
    assert results[0].resolution is not None
    assert (results[0].resolution.width, results[0].resolution.height) == (5, 7)
    assert pipeline.pictures["gate.alice", 2][:3] == b"\xff\xd8\xff"
    assert pipeline.pictures["gate.alice", 3] == pipeline.pictures["gate.alice", 4] == PICTURE
    assert results[4].status == "failed"
    assert results[4].error.reason == "cannot be read: gone"


def test_credit_is_used_up(pipeline: Pipeline) -> None:
    pipeline.is_held = True
    with Sender(pipeline.endpoint, "alice") as sender:
        put(sender, 1, 64)
        with pytest.raises(NoCredit, match="as many as may be"):
            sender.put(PICTURE, "img65", wait=False)
        pipeline.release()
        sender.put(PICTURE, "img65")
    assert names(list(sender.results())) == expected(1, 65)


def test_the_gate_is_killed_again_and_again(pipeline: Pipeline) -> None:
    with Sender(pipeline.endpoint, "alice") as sender:
        for kill in range(5):
            put(sender, 20 * kill + 1, 20 * kill + 20)
            pipeline.kill_gate()
            pipeline.start_gate()
        sender.end()
        assert names(list(sender.results())) == expected(1, 100)
    assert pipeline.ended == {0: (100, False)}


def test_the_network_is_cut(pipeline: Pipeline) -> None:
    with Proxy(pipeline.endpoint) as network, Sender(network.endpoint, "alice") as sender:
        writer = threading.Thread(target=lambda: (put(sender, 1, 300), sender.end()))
        writer.start()
        results = []
        for result in sender.results() if sender.next else ():
            results.append(result)
            if result.seq % 60 == 0:
                network.pause()
                network.resume(cut=True)
        writer.join()
        while len(results) < 300:
            results += sender.results()
    assert names(results) == expected(1, 300)


def test_live_results_are_lost(pipeline: Pipeline) -> None:
    """Every third is not heard; the last neither."""
    count = iter(range(1, 10_000))
    pipeline.lose_live = lambda: next(count) % 3 == 0
    with Sender(pipeline.endpoint, "alice") as sender:
        put(sender, 1, 60)
        sender.end()
        assert names(list(sender.results())) == expected(1, 60)


def test_many_senders_at_once(pipeline: Pipeline) -> None:
    seen: dict[str, list[str]] = {}

    def work(name: str) -> None:
        with Sender(pipeline.endpoint, name) as sender:
            put(sender, 1, 50)
            sender.end()
            seen[name] = names(list(sender.results()))

    threads = [threading.Thread(target=work, args=(f"s{number}",)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == {f"s{number}": expected(1, 50) for number in range(10)}


def test_a_newer_sender_fences_the_older_one_off(pipeline: Pipeline) -> None:
    with Sender(pipeline.endpoint, "alice", upload_id="x") as older:
        assert older.next == 1  # it is welcome; before that nobody knows which of two comes first
        newer = Sender(pipeline.endpoint, "alice", upload_id="x")
        until(lambda: older._talk._error is not None)
        with pytest.raises(Fenced, match="newer sender has connected as alice"):
            older.put(PICTURE, "img1")
        put(newer, 1, 5)
        newer.close()
        older.close()


def test_another_upload_is_another_stream(pipeline: Pipeline) -> None:
    for number, stream in enumerate(["gate.alice", "gate.alice.2", "gate.alice.3"], 1):
        with Sender(pipeline.endpoint, "alice", upload_id=f"u{number}") as sender:
            assert sender.stream == stream
            put(sender, 1, number)
    with Sender(pipeline.endpoint, "alice", upload_id="u2") as again:
        assert (again.stream, again.next) == ("gate.alice.2", 3)
        again.end()
        assert names(list(again.results())) == expected(1, 2)


def test_stopping_tells_the_senders(pipeline: Pipeline) -> None:
    sender = Sender(pipeline.endpoint, "alice")
    put(sender, 1, 10)
    settled(pipeline, "gate.alice", 10)
    pipeline.stop()
    assert pipeline.gate is not None
    pipeline.gate.join()
    assert names(list(sender.results())) == expected(1, 10)
    with pytest.raises(SenderError, match=r"gate\.alice was ended"):
        sender.put(PICTURE, "img11")
    sender.close()
    assert pipeline.ended == {0: (10, True)}
    pipeline.start_gate()


def test_nobody_is_there() -> None:
    with (
        pytest.raises(NotRunning, match="nobody has answered"),
        Sender("tcp://127.0.0.1:9", "alice", timeout_s=0.5) as sender,
    ):
        sender.put(PICTURE, "img1")


@pytest.mark.parametrize("name", ["a.b", "", "x" * 41, "a b"])
def test_names_have_no_dots(name: str) -> None:
    with pytest.raises(SenderError, match="a name has up to 40"):
        Sender("tcp://127.0.0.1:9", name)


@pytest.fixture
def keys(tmp_path) -> Path:
    """A folder of keys, with one of alice's to send and one of eve's to subscribe."""
    folder = tmp_path / "keys"
    init(folder)
    add(folder, "alice", ["send"], ["alice", "yard"], tmp_path / "alice.key")
    add(folder, "eve", ["subscribe"], [], tmp_path / "eve.key")
    return folder


def test_with_keys_only_who_has_one_may_send(keys: Path) -> None:
    pipeline = Pipeline(keys=str(keys))
    own, others = keys.parent / "alice.key", keys.parent / "eve.key"

    def send(name: str, key: Path | None) -> None:
        with Sender(pipeline.endpoint, name, key=key, timeout_s=10) as sender:
            put(sender, 1, 20)

    try:
        send("alice", own)
        send("yard", own)
        assert {stream: len(lines) for stream, lines in pipeline.lines.items()} == {"gate.alice": 21, "gate.yard": 21}
        with pytest.raises(SenderError, match="your key is not for the name bob"):
            send("bob", own)
        with pytest.raises(KeysError, match="wants a key"):
            send("alice", None)
        with pytest.raises(KeysError, match="does not let in the key"):
            send("eve", others)
        with Sender(pipeline.endpoint, "alice", key=own) as sender:
            put(sender, 1, 5)
            assert len(list(sender.results())) == 5
            remove(keys, "alice")
            until(lambda: sender._talk._error is not None, 3, "the loss of access")
            with pytest.raises(KeysError, match="does not let in the key"):
                sender.put(PICTURE, "img6")
            sender.close()
    finally:
        pipeline.close()


@pytest.fixture
def stranger(pipeline: Pipeline) -> Iterator["zmq.Socket[bytes]"]:
    """A socket that says what it likes."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(pipeline.endpoint)
        yield socket


def hears(socket: "zmq.Socket[bytes]") -> upload.ToSender:
    assert socket.poll(10_000)
    return upload.decode_to_sender(socket.recv())


def test_a_gap_is_refused_with_the_number_expected(pipeline: Pipeline, stranger: "zmq.Socket[bytes]") -> None:
    stranger.send(upload.encode(upload.Hello(1, "bob", "x")))
    assert isinstance(welcome := hears(stranger), upload.Welcome)
    assert welcome.next == 1
    for seq in (3, 4):
        stranger.send_multipart([upload.encode(upload.NewFrame(seq, f"img{seq}")), PICTURE])
    assert hears(stranger) == upload.SendFrom(1)
    for seq in (1, 2, 2, 1, 3):  # what was accepted is answered by its result, not taken
        stranger.send_multipart([upload.encode(upload.NewFrame(seq, f"img{seq}")), PICTURE])
    settled(pipeline, "gate.bob", 3)
    assert [read.seq for read in pipeline.reads] == [1, 2, 3]


def test_who_says_no_hello_is_asked_to(stranger: "zmq.Socket[bytes]") -> None:
    stranger.send_multipart([upload.encode(upload.NewFrame(1, "x")), PICTURE])
    assert hears(stranger) == upload.WhoAreYou()


def test_another_version_is_refused(stranger: "zmq.Socket[bytes]") -> None:
    stranger.send(upload.encode(upload.Hello(7, "bob", "x")))
    assert isinstance(refused := hears(stranger), upload.TurnedAway)
    assert "version 7" in refused.reason


@pytest.mark.parametrize(
    "parts",
    [
        [b""], [b"nonsense"], [msgspec.msgpack.encode(["frame", 0, "x"]), b"x"], [b"x" * 9000],
        [msgspec.msgpack.encode(["frame", 1, "x"])], [msgspec.msgpack.encode(["end", 1]), b"x"],
        [msgspec.msgpack.encode(["hello", 1, "a.b", "x"])], [b"a", b"b", b"c", b"d"] * 100,
    ],
)  # fmt: skip
def test_nonsense_is_cut_off(pipeline: Pipeline, stranger: "zmq.Socket[bytes]", parts: list[bytes]) -> None:
    """And nobody else notices."""
    monitor = stranger.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    stranger.send_multipart(parts)
    is_cut = monitor.poll(10_000)
    stranger.disable_monitor()
    monitor.close()
    assert is_cut
    with Sender(pipeline.endpoint, "alice") as sender:
        put(sender, 1, 3)


def test_pictures_meet_the_limits_of_files(pipeline: Pipeline) -> None:
    """What cannot be a picture is a failed frame of its own stream."""
    with Sender(pipeline.endpoint, "alice") as sender:
        sender.put_frame(Parcel("empty", b""))
        sender.put_frame(Parcel("short", b"xx", 10, 10))
        sender.put_frame(Parcel("huge", b"xx", 1 << 20, 1 << 20))
        sender.put_frame(Parcel("text", b"<html>" * 4_000_000))
        put_ok = sender.put(PICTURE, "good")
        results = list(sender.results())
    assert [result.status for result in results] == ["failed"] * 4 + ["ok"]
    reasons = [result.error.reason for result in results[:-1]]
    assert "empty" in reasons[0]
    assert "bytes of pixels" in reasons[1]
    assert "megapixels" in reasons[2]
    assert "HTML" in reasons[3]
    assert put_ok == 5
