"""A sink as the process that it is in a run, for tests that measure what it takes."""

import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from fake_broker import RUN, FakeBroker
from harness import until

from zpipe import messages, orders, wire
from zpipe.config.keys import Config, DetectConfig, IngestConfig, SinkConfig
from zpipe.config.loading import dump
from zpipe.engines.local import ZPIPE
from zpipe.messages import Result
from zpipe.orders import Order, SinkTask, SoFar
from zpipe.results.record import Record

WINDOW = 200
"""Results that are under way to it at most, as of a run whose models are faster than any."""


class SinkProcess:
    """Serves one stream, `yard`, until it is closed."""

    def __init__(self, broker: FakeBroker, results: Path) -> None:
        self.broker, self.number, self.next = broker, broker.attach(), 1
        config = Config(
            name="test",
            ingest=[IngestConfig(path="yard", stream="yard")],
            detect=DetectConfig(model="none"),
            sink=SinkConfig(results=str(results), linger_s=0),
        )
        (broker.folder / "config.json").write_bytes(dump(config))
        Record(results).begin(RUN, {})
        task = SinkTask(RUN, [SoFar(0, "yard", 0)])
        order = Order("sink", "sink", str(broker.folder), os.getpid(), self.number, self.number, task)
        self._process = subprocess.Popen([*ZPIPE, "worker", orders.write(order)])
        self.process = psutil.Process(self._process.pid)
        until(lambda: broker.listen() or len(broker.heard) == 2, 20, "the sink to be ready")
        bound: Any = broker.heard[0]
        self.publish, self.history = bound.publish, bound.history
        broker.heard.clear()

    def publish_more(self, count: int, pad: str = "") -> None:
        """Publish so many more results; returns while the last WINDOW of them are under way still."""
        works = [self._work(seq, pad) for seq in range(self.next, self.next + count)]
        self.broker.send(self.number, *works)
        self.next += count
        until(partial(self.has_published, self.next - 1 - WINDOW), 20, "results to be published")

    def publish_all(self) -> None:
        """Wait until all of it is published."""
        until(partial(self.has_published, self.next - 1), 20, "all results to be published")

    def has_published(self, seq: int) -> bool:
        self.broker.listen()
        last = max((said.seq for said in self.broker.heard), default=0)
        del self.broker.heard[:-1]
        return last >= seq

    def memory_mb(self) -> float:
        return self.process.memory_info().rss / 1e6

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _work(self, seq: int, pad: str) -> wire.Work:
        result = Result(stream="yard", seq=seq, name=f"img{seq}{pad}", timestamp=1)
        return wire.Work(0, seq, wire.Picture(0), 1, messages.pack(result))
