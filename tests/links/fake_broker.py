"""A broker without a ledger, for tests that talk to one side of a link: it sends what it is told to and remembers
what it hears. And a sink on a thread, which can be crashed."""

import contextlib
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import zmq
from harness import until

from zpipe import messages, wire
from zpipe.config.keys import Config, DetectConfig, IngestConfig, SinkConfig
from zpipe.messages import Result
from zpipe.orders import SinkTask, SoFar
from zpipe.results.record import Record
from zpipe.rules import history
from zpipe.stages.sink import Sink
from zpipe.transport.board import Board, Heart
from zpipe.transport.link import Links, WorkerLink

RUN = "run-1"


class FakeBroker:
    """The broker's sockets in a short folder (a socket's path has 107 bytes at most)."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="zp-", dir="/tmp")
        self.folder = Path(self._temporary.name)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.links = Links(self.context, self.folder)
        self.board = Board(self.folder)
        self.heard: list[Any] = []
        self._next_worker = 1

    def attach(self) -> int:
        """The number of a new worker, its endpoint bound."""
        worker, self._next_worker = self._next_worker, self._next_worker + 1
        self.links.attach(worker)
        self.board.clear(worker)
        return worker

    def send(self, worker: int, *messages: wire.ToWorker) -> None:
        """Send to a worker, once it is connected."""
        until(lambda: self.links.connected(worker), what=f"worker {worker} to connect")
        self.links.send(worker, messages)

    def hears(self, *expected: Any) -> None:
        """Listen until all of these were heard, in this order, and nothing else."""
        until(lambda: self.listen() or len(self.heard) >= len(expected), 10, what=f"{expected}, heard {self.heard}")
        assert self.heard == list(expected)
        self.heard.clear()

    def listen(self) -> None:
        self.heard += self.links.receive()

    def close(self) -> None:
        self.links.close()
        self.board.close()
        self.context.destroy(linger=0)
        self._temporary.cleanup()


class RunningSink:
    """A sink that runs on a thread until it is stopped, or crashed: then it is gone between two turns, unheard."""

    def __init__(self, broker: FakeBroker, results: Path, streams: list[str], **options: Any) -> None:
        self.broker = broker
        self.worker = broker.attach()
        self.streams = streams
        self.results = results
        run = options.get("run", RUN)
        if options.pop("begun", True) and not Record(results).is_of(run):  # as `up` does
            Record(results).begin(run, {})
        self.sink: Sink | None = None
        self.error: BaseException | None = None
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._ended = threading.Event()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready, options), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        if self.error is not None:
            self._thread.join()
            raise self.error
        assert self.sink is not None
        self.publish, self.history = self.sink.out.endpoints

    def _run(self, ready: threading.Event, options: dict[str, Any]) -> None:
        link = heart = None
        try:
            link = WorkerLink(zmq.Context.instance(), self.broker.folder, self.worker)
            heart = Heart(self.broker.folder, self.worker)
            self.sink = sink = make_sink(link, heart, self.results, self.streams, **options)
            ready.set()
            while not (sink._stopping or self._ended.is_set()):
                sink.turn(20)
                with contextlib.suppress(queue.Empty):
                    self._orders.get_nowait()()
            if not self._ended.is_set():
                sink.run()
                sink.close()
        except BaseException as error:
            self.error = error
            ready.set()
        finally:
            if self.error is not None and self.sink is not None:
                self.sink.close()
            if link is not None:
                link.close()
            if heart is not None:
                heart.close()

    def frames(self, *numbers: tuple[int, int] | int, pad: str = "") -> None:
        """Give it these frames: numbers of stream 0, or (stream, number)."""
        keys = [key if isinstance(key, tuple) else (0, key) for key in numbers]
        self.broker.send(self.worker, *(self.work(stream, seq, pad) for stream, seq in keys))

    def work(self, stream: int, seq: int, pad: str = "") -> wire.Work:
        result = Result(stream=self.streams[stream], seq=seq, name=f"img{seq}{pad}", timestamp=1)
        return wire.Work(stream, seq, wire.Picture(0), 1, messages.pack(result))

    def close_stream(self, stream: int, count: int, drained: bool = False) -> None:
        self.broker.send(self.worker, wire.Close(stream, count, drained))

    def do(self, order: Callable[[], Any]) -> Any:
        """Do something between two turns, on the sink's own thread; what it returns."""
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._orders.put(lambda: answers.put(order()))
        return answers.get(timeout=10)

    def wait_for_subscribers(self, count: int) -> None:
        until(lambda: self.do(lambda: self.sink.out._audience.subscribers) >= count, 10, f"{count} subscribers")

    def crash(self) -> None:
        """Nothing of what is still in its sockets leaves."""

        def end() -> None:
            self._ended.set()
            if self.sink._door is not None:
                self.sink._door.close()
            for guard in (self.sink.out._live_guard, self.sink.out._requests_guard):
                guard.close()
            for socket in (self.sink.out.live, self.sink.out.requests):
                socket.close(linger=0)
            self.sink.file.close()

        if self._thread.is_alive():
            self.do(end)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.broker.links.detach(self.worker)

    def stop(self) -> None:
        self.broker.send(self.worker, wire.Stop())

    def join(self, timeout_s: float = 10) -> None:
        """Wait for its end."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the sink does not end"
        if self.error is not None:
            raise self.error

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()


def make_sink(
    link: WorkerLink,
    heart: Heart,
    results: Path,
    streams: list[str],
    published: list[int] | None = None,
    endpoints: tuple[str, str] | None = None,
    run: str = RUN,
    linger_s: float = 5,
    is_patient: bool = False,
    keys: Path | None = None,
) -> Sink:
    config = Config(
        name="test",
        ingest=[IngestConfig(path=stream, stream=stream) for stream in streams],
        detect=DetectConfig(model="none"),
        sink=SinkConfig(results=str(results), linger_s=linger_s),
        keys=None if keys is None else str(keys),
    )
    so_far = [SoFar(*each) for each in zip(range(len(streams)), streams, published or [0] * len(streams), strict=True)]
    task = SinkTask(run, so_far, endpoints=endpoints, is_patient=is_patient)
    return Sink(config, link, heart, task)


def essence_of(line: bytes) -> tuple[str, str, int]:
    """(type, stream, seq) of a published line."""
    message = msgspec.json.decode(line)
    return message["type"], message["stream"], message["seq"]


def frames_of(stream: str, first: int, last: int) -> list[tuple[str, str, int]]:
    return [("frame", stream, seq) for seq in range(first, last + 1)]


@contextlib.contextmanager
def plain_subscriber(endpoint: str, topic: bytes = b"results/") -> Iterator["zmq.Socket[bytes]"]:
    """A SUB socket as anybody would open it."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.subscribe(topic)
    socket.rcvtimeo = 10_000
    socket.connect(endpoint)
    try:
        yield socket
    finally:
        socket.close(linger=0)
        context.term()


def ask_history(socket: "zmq.Socket[bytes]", *request: Any) -> history.Reply:
    """One question, and its reply."""
    socket.send(history.write_request(history.LinesRequest("me", *request)))
    assert socket.poll(10_000), "the history does not answer"
    return history.read_reply(socket.recv())
