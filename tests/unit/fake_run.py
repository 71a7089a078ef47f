"""A run without a process, a socket or a clock: fakes for what a broker and a supervisor touch, and a test's say."""

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from zpipe import orders, wire
from zpipe.config.keys import Config
from zpipe.errors import ZpipeError
from zpipe.orders import Order
from zpipe.transport.board import BUSY, IDLE, STARTING, Row
from zpipe.transport.control import Request


class Clock:
    """Stands where `time` does; moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(self.now * 1e9)


class FakeProcess:
    """One that a test ends. SIGKILL ends it."""

    def __init__(self, name: str, order: Order) -> None:
        self.name, self.order = name, order
        self.pid = (1 << 22) + order.worker  # more than Linux gives
        self.tail: deque[str] = deque(maxlen=20)
        self.code: int | None = None

    def signal(self, number: signal.Signals) -> None:
        if self.code is None:
            self.code = -number


class FakeProcesses:
    """Starts nothing; remembers all that it was asked to start."""

    log_events = 3001

    def __init__(self) -> None:
        self.started: list[FakeProcess] = []
        self.living: list[FakeProcess] = []

    def start(self, name: str, order: str) -> FakeProcess:
        process = FakeProcess(name, orders.read(order))
        self.started.append(process)
        self.living.append(process)
        return process

    def reap(self) -> list[tuple[FakeProcess, int, list[str]]]:
        ended = [process for process in self.living if process.code is not None]
        self.living = [process for process in self.living if process.code is None]
        return [(process, process.code or 0, []) for process in ended]

    def read_logs(self) -> Iterator[tuple[FakeProcess, str]]:
        return iter(())

    def close(self) -> None:
        self.living.clear()

    @property
    def names(self) -> list[str]:
        """Of those that live, as they were started."""
        return [process.name for process in self.living]

    def find(self, name: str) -> FakeProcess:
        """The living one of this name."""
        return next(process for process in self.living if process.name == name)

    def end(self, name: str, code: int) -> None:
        """It dies, or ends; negative: by a signal."""
        self.find(name).code = code


class FakeBoard:
    """Rows that a test writes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rows: dict[int, Row] = {}

    def clear(self, row: int) -> None:
        self.rows[row] = Row(STARTING, 0, 0, 0, self._clock.monotonic_ns(), 0, 0, 0, 0)

    def read(self, row: int) -> Row:
        return self.rows[row]

    def beat(self, row: int, done: int = 0) -> None:
        """Idle, at this moment."""
        self.rows[row] = Row(IDLE, 0, 0, 0, self._clock.monotonic_ns(), done, 0, 0, 0)

    def begin(self, row: int, stream: int, seq: int) -> None:
        """At work on a frame, from this moment on."""
        now = self._clock.monotonic_ns()
        self.rows[row] = Row(BUSY, stream, seq, now, now, 0, 0, 0, 0)


class FakeLinks:
    """What the broker sends lies in `sent` by worker; what `said` holds it receives."""

    def __init__(self) -> None:
        self.inbox = object()
        self.rejected = 0
        self.attached: set[int] = set()
        self.said: list[wire.FromWorker] = []
        self.sent: dict[int, list[wire.ToWorker]] = {}

    def attach(self, worker: int) -> None:
        self.attached.add(worker)
        self.sent[worker] = []

    def detach(self, worker: int) -> None:
        self.attached.discard(worker)

    def connected(self, worker: int) -> bool:
        return worker in self.attached

    def send(self, worker: int, messages: Sequence[wire.ToWorker]) -> None:
        self.sent[worker] += messages

    def receive(self) -> Iterator[wire.FromWorker]:
        said, self.said = self.said, []
        yield from said


class FakeControl:
    """Commands come from the test."""

    commands: dict[str, Any]

    def __init__(self) -> None:
        self.socket = object()
        self.asked: list[Request] = []
        self.replies: list[Any] = []

    def answer(self) -> None:
        for request in self.asked:
            try:
                self.replies.append(self.commands[request.command](request))
            except ZpipeError as error:
                self.replies.append(error)
        self.asked = []


class FakeSignals:
    """Ctrl-C as often as the test says."""

    def __init__(self) -> None:
        self.interrupts = 0

    def fileno(self) -> int:
        return 3002

    def read(self) -> int:
        count, self.interrupts = self.interrupts, 0
        return count

    def __enter__(self) -> "FakeSignals":
        return self

    def __exit__(self, *error: object) -> None:
        pass


class NoResults:
    """A results file with nothing in it."""

    def __init__(self) -> None:
        self.streams: dict[str, Any] = {}
        self.opened: list[Any] = []
        self.news: list[Any] = []

    @property
    def removed(self) -> set[str]:
        return set()

    def keep_news(self, event: Any) -> None:
        """Something has come or gone."""
        self.news.append(event)

    def stream(self, name: str) -> Any:
        return SimpleNamespace(seq=0, ok=0, failed=0, closed=False)

    def begin(self) -> None:
        """The first frame may be read."""

    def keep_list(self, stream: str) -> None:
        """The source of the stream is open."""


class NoStore:
    """No picture can be kept."""

    def open(self, picture: wire.Picture) -> Any:
        raise OSError("no store here")


def make_config(**sections: Any) -> Config:
    """A config of one stream and one detect worker, changed by `sections`; `detect` as keys."""
    from zpipe.config.keys import DetectConfig, IngestConfig

    detect = DetectConfig(**{"model": "probe:Detect", "count": 1, **sections.pop("detect", {})})
    ingest = [IngestConfig(path="pictures", stream="yard")]
    return Config(**{"name": "test", "ingest": ingest, "detect": detect, **sections})
