"""A gate on a thread, between a broker and a sink that are nothing but their sockets, for the tests of senders.

Frames that the gate has read have their results as soon as `Pipeline.hold` allows. What is "published" is a list of
lines, which the history answers from; live lines are lost as often as a test wants.
"""

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import zmq
from fake_broker import FakeBroker
from harness import free_port, until

from zpipe import messages, wire
from zpipe.config.keys import Config, DetectConfig, IngestConfig
from zpipe.gate.entrances import Entrances
from zpipe.gate.gate import Gate
from zpipe.messages import Eos, Result
from zpipe.rules import history
from zpipe.transport.board import Heart
from zpipe.transport.endpoints import wait_for
from zpipe.transport.link import WorkerLink
from zpipe.transport.store import Store

RUN = "run-1"


class Pipeline:
    """Broker, stages and sink in one: what a gate meets. Turned on a thread of its own."""

    def __init__(self, slots: int = 8, keys: str | None = None, **entry: Any) -> None:
        self.broker = FakeBroker()
        self.port = free_port()
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.config = Config(
            name="test",
            ingest=[IngestConfig(path="", listen=self.endpoint, stream="gate", **entry)],
            detect=DetectConfig(model="none"),
            keys=keys,
        )
        self.slots = slots
        self.streams: list[tuple[str, str]] = []
        self.ended: dict[int, tuple[int, bool]] = {}
        self.lines: dict[str, list[bytes]] = {}
        self.reads: list[wire.Read] = []
        self.pictures: dict[tuple[str, int], bytes] = {}
        self.waiting: deque[wire.Read] = deque()
        self.is_held = False
        self.lose_live = lambda: False
        self.worker = 0
        self.gate: RunningGate | None = None
        self._lock = threading.Lock()
        self._over = False
        self._store = Store(self.broker.folder)
        self.live, self.history = self.broker.context.socket(zmq.XPUB), self.broker.context.socket(zmq.ROUTER)
        for socket, name in ((self.live, "live"), (self.history, "history")):
            socket.linger = 0
            socket.bind(f"ipc://{self.broker.folder}/{name}")
        self.start_gate()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def start_gate(self) -> None:
        with self._lock:
            self.worker = self.broker.attach()
            self.gate = RunningGate(self)
            ends = [s.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode() for s in (self.live, self.history)]
            self.broker.send(self.worker, wire.Publishing(*ends), wire.Grant(list(range(self.slots))))

    def kill_gate(self) -> None:
        """It is gone between two turns. The frames that it had read go on; its slots are granted anew."""
        assert self.gate is not None
        self.gate.crash()
        with self._lock:
            self._take()
            self.broker.links.detach(self.worker)
            self._publish_all()

    def stop(self) -> None:
        self.broker.send(self.worker, wire.Stop())

    def release(self) -> None:
        """Frames get their results (again)."""
        self.is_held = False

    def results(self, stream: str) -> list[Any]:
        return [messages.parse(line) for line in self.lines.get(stream, [])]

    def close(self) -> None:
        self._over = True
        self._thread.join()
        assert self.gate is not None
        self.gate.crash()
        for socket in (self.live, self.history):
            socket.close()
        self._store.close()
        self.broker.close()

    # ---- on the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._over:
            with self._lock:
                self._take()
                if not self.is_held:
                    self._publish_all()
                self._answer()
            time.sleep(0.001)

    def _take(self) -> None:
        for message in self.broker.links.receive():
            if message.worker != self.worker:
                continue
            match message:
                case wire.Open(_, _, name, upload):
                    self._open(name, upload)
                case wire.Read():
                    self._read(message)
                case wire.End(_, stream, count, _, drained):
                    assert stream not in self.ended
                    self.ended[stream] = count, drained

    def _open(self, name: str, upload: str) -> None:
        if (name, upload) not in self.streams:
            self.streams.append((name, upload))
        stream = self.streams.index((name, upload))
        seq = len({read.seq for read in self.reads if read.stream == stream}) + 1
        said = wire.Opened(stream, self.name_of(stream), seq, stream in self.ended)
        self.broker.links.send(self.worker, [said])

    def name_of(self, stream: int) -> str:
        name, _ = self.streams[stream]
        before = [other for other, _ in self.streams[:stream]].count(name)
        return f"gate.{name}" + (f".{before + 1}" if before else "")

    def _read(self, read: wire.Read) -> None:
        expected = 1 + sum(other.stream == read.stream for other in self.reads)
        assert read.seq == expected, "the gate reads out of order"
        self.reads.append(read)
        self.waiting.append(read)
        if not read.failed:
            slot = self._store.open(read.picture)
            result = messages.unpack(read.body)
            content = slot.content(result.resolution)
            self.pictures[result.stream, read.seq] = bytes(memoryview(content).cast("B"))

    def _publish_all(self) -> None:
        while self.waiting:
            read = self.waiting.popleft()
            result: Result = messages.unpack(read.body)
            result.run = RUN
            self._publish(result.stream, msgspec.json.encode(result))
            with contextlib.suppress(KeyError):
                self.broker.links.send(self.worker, [wire.Grant([read.picture.slot])])
        for stream, (count, drained) in self.ended.items():
            name = self.name_of(stream)
            if len(self.lines.get(name, [])) == count:
                eos = Eos(run=RUN, stream=name, seq=count + 1, ok=count, failed=0, dropped=0, drained=drained)
                self._publish(name, msgspec.json.encode(eos))

    def _publish(self, stream: str, line: bytes) -> None:
        self.lines.setdefault(stream, []).append(line)
        if not self.lose_live():
            self.live.send_multipart([messages.topic(stream), line])

    def _answer(self) -> None:
        while self.live.poll(0):
            self.live.recv()
        while self.history.poll(0):
            peer, data = self.history.recv_multipart()
            request = history.read_request(data)
            lines = self.lines.get(request.stream or "", [])[request.first - 1 :][:20]
            self.history.send_multipart([peer, history.write_reply(history.Reply(RUN, [], lines))])


class RunningGate:
    """A gate that runs on a thread until it is stopped, or crashed: then it is gone between two turns, unheard."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._ended = threading.Event()
        self.error: BaseException | None = None
        self._pipeline = pipeline
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(20)

    def _run(self, ready: threading.Event) -> None:
        pipeline = self._pipeline
        folder, worker = pipeline.broker.folder, pipeline.worker
        link, heart, store = WorkerLink(zmq.Context.instance(), folder, worker), Heart(folder, worker), Store(folder)
        try:
            entrances = Entrances(pipeline.config, wait_for(10))
            gate = Gate(link, heart, store, pipeline.config, entrances)
            self.gate = gate
            ready.set()
            while not self._ended.is_set() and not gate._sessions.draining:
                gate.turn(20)
            if not self._ended.is_set():
                gate.run()
            gate.close()
            entrances.close()
        except BaseException as error:
            self.error = error
            raise
        finally:
            ready.set()
            for opened in (link, heart, store):
                opened.close()

    def crash(self) -> None:
        self._ended.set()
        self.join()

    def join(self, timeout_s: float = 20) -> None:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the gate does not end"
        if self.error is not None:
            raise self.error

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()


def settled(pipeline: Pipeline, stream: str, count: int) -> None:
    until(lambda: len(pipeline.lines.get(stream, [])) >= count, 20, f"{count} lines of {stream}")
