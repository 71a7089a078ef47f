"""How a run is doing: rates from its counters, and the snapshot that `zpipe status` and the progress display show.

Rates are sampled on the broker's tick; taking a snapshot changes nothing.
"""

import os
import time
from collections import deque
from collections.abc import Callable

from zpipe.config.keys import Config
from zpipe.engines.machine import private_bytes
from zpipe.rules.eta import Eta
from zpipe.rules.failures import Failures
from zpipe.rules.ledger import Ledger
from zpipe.run.streams import Streams
from zpipe.run.supervisor import StageWorkers, Supervisor, Worker
from zpipe.snapshot import (
    Account,
    MemorySnapshot,
    Snapshot,
    StageSnapshot,
    StreamAccount,
    StreamSnapshot,
    WorkerSnapshot,
)
from zpipe.transport.board import BUSY, IDLE, Row

WINDOW_S = 5.0
"""Rates are over the last so many seconds: long enough to be steady, short enough to show a change."""


class Meter:
    """Rates from counters: remembers their values of the last WINDOW_S seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[str, float]]] = deque()

    def add(self, now: float, counters: dict[str, float]) -> None:
        """Take the counters as they are now."""
        self._samples.append((now, counters))
        while len(self._samples) > 2 and self._samples[1][0] < now - WINDOW_S:
            self._samples.popleft()

    def rate(self, counter: str) -> float:
        """Its growth per second over the window; 0 as long as nothing is known."""
        if not self._samples:
            return 0.0
        (then, before), (now, after) = self._samples[0], self._samples[-1]
        grown = after.get(counter, 0.0) - before.get(counter, 0.0)
        return max(0.0, grown / (now - then)) if now > then else 0.0


class Status:
    """What can be said of a run. The broker writes the fields that nobody else knows."""

    def __init__(
        self, config: Config, run: str, streams: Streams, ledger: Ledger, supervisor: Supervisor,
        frames_bytes: Callable[[], int],
    ) -> None:  # fmt: skip
        self.publish = self.history = ""
        self.began: float | None = None
        self.failures = Failures()
        self.totals: dict[int, int | None] = {}
        self.skipped: dict[int, int] = {}
        self.rejected = 0
        self.kept = ""
        self._config = config
        self._run = run
        self._streams = streams
        self._ledger = ledger
        self._supervisor = supervisor
        self._frames_bytes = frames_bytes
        self._meter = Meter()
        self._eta = Eta()

    def sample(self, now: float) -> None:
        """Take the counters, for the rates."""
        counters = self._counters()
        self._meter.add(now, counters)
        self._eta.sample(now, int(counters["published"]))

    def count_failure(self, stage: str, frame: tuple[int, int], body: bytes) -> None:
        """A worker of `stage` says that a frame failed. Counted if that was accepted: it is the frame's body now."""
        accepted = self._ledger.frames.get(frame)
        if accepted is not None and accepted.body is body:
            self.failures.add(stage, body)

    def snapshot(self, state: str) -> Snapshot:
        """The run as it is now."""
        rows = {worker.number: row for worker, row in self._supervisor.rows()}
        counters = self._counters()
        streams = [self._stream(number) for number in range(len(self._ledger.streams))]
        stages = sorted(self._supervisor.stages, key=lambda stage: ("ingest", "stage", "sink").index(stage.kind))
        return Snapshot(
            name=self._config.name,
            run=self._run,
            pid=os.getpid(),
            state=state,
            publish=self.publish,
            history=self.history,
            results=self._config.sink.results,
            keys=self._config.keys,
            wait_subscribers=self._config.sink.wait_subscribers,
            elapsed_s=self._elapsed_s(),
            frames_per_s=round(self._meter.rate("published"), 2),
            published=int(counters["published"]),
            in_flight=len(self._ledger.frames),
            slots=self._ledger.slots,
            stages=[self._stage(stage, rows, counters) for stage in stages],
            streams=streams,
            memory=self._memory(),
            stale=self._ledger.stale,
            rejected=self.rejected,
            kept=self.kept,
            eta_s=self._seconds_left(streams),
            failures=self.failures.most_frequent(),
        )

    def account(self) -> Account:
        """The account at the end, by stream, and whether it balances."""
        streams = self._ledger.streams
        return Account(
            name=self._config.name,
            run=self._run,
            results=self._config.sink.results,
            elapsed_s=self._elapsed_s(),
            streams=[
                StreamAccount(
                    self._streams.name(number),
                    stream.read,
                    stream.ok,
                    stream.failed,
                    stream.dropped,
                    self.skipped.get(number, 0),
                )
                for number, stream in enumerate(streams)
            ],
            drained=any(stream.drained for stream in streams),
            balanced=all(stream.balanced for stream in streams),
            failures=self.failures.most_frequent(),
        )

    def _elapsed_s(self) -> float:
        return round(time.monotonic() - self.began, 3) if self.began is not None else 0.0

    def _seconds_left(self, streams: list[StreamSnapshot]) -> int | None:
        totals = [stream.total for stream in streams]
        known = None if None in totals else sum(total for total in totals if total is not None)
        return self._eta.seconds_left(known, self._meter.rate("published"))

    def _counters(self) -> dict[str, float]:
        """What rates are made of."""
        found: dict[str, float] = {"published": self._ledger.published_in_all}
        for stage in self._supervisor.stages:
            found[f"{stage.name}.done"] = stage.done
            found[f"{stage.name}.busy_ns"] = stage.busy_ns
        now_ns = time.monotonic_ns()
        for worker, row in self._supervisor.rows():
            in_work_ns = now_ns - row.since_ns if row.state == BUSY else 0
            found[f"{worker.stage.name}.done"] += row.done
            found[f"{worker.stage.name}.busy_ns"] += row.busy_ns + in_work_ns
        return found

    def _stage(self, stage: StageWorkers, rows: dict[int, Row], counters: dict[str, float]) -> StageSnapshot:
        is_ingest = stage.kind == "ingest"
        workers = [self._worker(worker, rows[worker.number]) for worker in stage.workers]
        busy_ns = self._meter.rate(f"{stage.name}.busy_ns")
        frames = () if is_ingest else (f for f in self._ledger.frames.values() if f.stage == stage.number)
        return StageSnapshot(
            stage=stage.name,
            role=stage.role,
            wanted=stage.wanted,
            workers=workers,
            queue=0 if is_ingest else len(self._ledger.queues[stage.number]),
            held=sum(worker.held for worker in workers),
            done=int(counters[f"{stage.name}.done"]),
            failed=self.failures.at[stage.name],
            frames_per_s=round(self._meter.rate(f"{stage.name}.done"), 2),
            busy=round(min(1.0, busy_ns / 1e9 / max(1, len(stage.workers))), 3),
            attempts=sum(frame.attempts - 1 for frame in frames),
            restarts=stage.restarts,
        )

    def _worker(self, worker: Worker, row: Row) -> WorkerSnapshot:
        record = self._ledger.workers.get(worker.number)
        if not worker.ready:
            state = "starting"
        elif worker.retiring:
            state = "retiring"
        else:
            state = "busy" if row.state == BUSY else "idle"
        silent_s = (time.monotonic_ns() - row.beat_ns) / 1e9 if row.state == IDLE else 0.0
        held = len(record.held) if record is not None else 0
        return WorkerSnapshot(worker.name, worker.process.pid, state, held, row.done, round(silent_s, 1))

    def _stream(self, number: int) -> StreamSnapshot:
        account = self._ledger.streams[number]
        return StreamSnapshot(
            stream=self._streams.name(number),
            read=account.read,
            published=account.published,
            ok=account.ok,
            failed=account.failed,
            dropped=account.dropped,
            in_flight=account.read - account.published,
            total=account.count if account.count is not None else self.totals.get(number),
            skipped=self.skipped.get(number, 0),
            closed=account.closed,
        )

    def _memory(self) -> MemorySnapshot:
        pids = [os.getpid(), *(worker.process.pid for worker, _ in self._supervisor.rows())]
        return MemorySnapshot(self._frames_bytes(), sum(private_bytes(pid) for pid in pids))
