"""The supervisor: keeps as many workers of each stage alive as are wanted.

The sink is a stage of one worker here, and so is each process that reads streams. One rule, applied again and again:
compare what is wanted with what is there, start or retire the difference. Why a worker is gone matters only for when
its replacement starts (rules/restart.py) and for what is said about it. What the worker held is the ledger's business,
not ours.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from zpipe import orders
from zpipe.engines.local import Process, Processes, ending
from zpipe.engines.machine import OutOfMemory, cpu_seconds
from zpipe.errors import RunFailed
from zpipe.orders import Order, Task
from zpipe.rules.conduct import Kind, Phase, kind_of
from zpipe.rules.restart import Restart
from zpipe.transport.board import BUSY, Board, Row
from zpipe.transport.link import Links
from zpipe.wire import Open

START_TIMEOUT_S = 600.0
"""A worker that loads its model this long is hung. Compiling for a GPU or NPU takes minutes; hours it does not."""

SILENT_S = 3.0
"""An idle worker beats once a second. So long without is hung, however little time the stage's frames may take."""

FROZEN_S = 1.0
"""We look at the workers five times a second. So long without a look, and all stood still: a closed laptop, say."""

OUTSIDE = frozenset((signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT))
"""Signals that people and programs send to others; a process's own making are SIGSEGV, SIGABRT and the like."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Worker:
    """A started worker. `number` is its name on the wire, never used twice; `name` is what people read.

    `asked`: streams that it has opened before it took part.
    """

    stage: "StageWorkers"
    number: int
    index: int
    row: int
    process: Process
    phase: Phase = "starting"
    ready: bool = False
    ready_ns: int = 0
    retiring: bool = False
    hung: str = ""
    asked: list[Open] = field(default_factory=list)
    start_cpu_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def name(self) -> str:
        """`detect-0`, `ingest`, `sink`."""
        return self.stage.name if self.stage.single else f"{self.stage.name}-{self.index}"


@dataclass(eq=False)
class StageWorkers:
    """The workers of a stage: how many are wanted, which are there.

    `number` is the stage's in the chain; `model` what they load. Of ingest: the `streams` that they read, by number,
    and how long a frame of each may take; `was_added`: those came while the pipeline ran; `stays`: others may come to
    its worker.
    """

    role: str
    name: str
    number: int
    wanted: int
    timeout_s: float
    single: bool = False
    model: str = ""
    streams: dict[int, float] = field(default_factory=dict)
    was_added: bool = False
    stays: bool = False
    workers: list[Worker] = field(default_factory=list)
    restart: Restart = field(default_factory=Restart)
    restarts: int = 0
    done: int = 0
    busy_ns: int = 0
    cpu_s: float = 0.0
    not_before: float = 0.0

    def __post_init__(self) -> None:
        self.kind: Kind = kind_of(self.role)
        """Which messages its workers may send."""

    @property
    def staying(self) -> list[Worker]:
        """The workers that are not on their way out."""
        return [worker for worker in self.workers if not worker.retiring]

    @property
    def ready(self) -> int:
        """How many are ready for frames."""
        return sum(worker.ready and not worker.retiring for worker in self.workers)


@dataclass(frozen=True)
class Death:
    """A worker that is gone and reaped; `row` is what it showed last, `reason` its end in words.

    `by_itself`: it has crashed or left, it took all memory, or it hung or talked nonsense and so was killed by us. Else
    somebody outside has killed it, and nothing that it did is a reason.
    """

    worker: Worker
    exit_code: int
    row: Row
    reason: str
    by_itself: bool

    @property
    def blamed(self) -> tuple[int, int] | None:
        """The frame that it died on, or right after; the ledger knows whether its output had left."""
        return self.row.last if self.by_itself else None


class Supervisor:
    """All workers of a run. `task_of(stage)` is what a new worker of the stage is to do."""

    def __init__(
        self,
        stages: list[StageWorkers],
        folder: Path,
        links: Links,
        board: Board,
        processes: Processes,
        task_of: Callable[[StageWorkers], Task],
    ) -> None:
        self.stages = stages
        self._folder = folder
        self._links = links
        self._board = board
        self._task_of = task_of
        self._processes = processes
        self._workers: dict[int, Worker] = {}
        self._next_number = 1
        self._out_of_memory = OutOfMemory()
        self._looked_ns = self._awake_ns = 0
        self._free_rows: list[int] = []
        self._next_row = 0

    @property
    def log_events(self) -> int:
        """A file descriptor that is readable when a worker has logged something."""
        return self._processes.log_events

    def find(self, number: int) -> Worker | None:
        """The living worker with this number."""
        return self._workers.get(number)

    def reconcile(self, now: float) -> list[Worker]:
        """Start what is missing and may start now; returns the workers that are too many, ready ones only."""
        surplus: list[Worker] = []
        for stage in self.stages:
            staying = stage.staying
            if len(staying) < stage.wanted and now >= stage.not_before:
                for _ in range(stage.wanted - len(staying)):
                    self._start(stage)
            if stage.single:  # ingest and sink leave when the ledger dismisses them
                continue
            for worker in staying[stage.wanted :]:
                if worker.ready:
                    surplus.append(worker)
                else:
                    worker.retiring = True
                    worker.process.signal(signal.SIGKILL)
        return surplus

    def reap(self, now: float) -> list[Death]:
        """The workers that have died since the last call; RunFailed if a stage can never get going."""
        deaths = []
        self._out_of_memory.look(now)
        for process, exit_code, lines in self._processes.reap():
            for line in lines:
                log.info("%s: %s", process.name, line)
            worker = next(w for w in self._workers.values() if w.process is process)
            deaths.append(self._death_of(worker, exit_code, now))
        return deaths

    def _death_of(self, worker: Worker, exit_code: int, now: float) -> Death:
        row = self._board.read(worker.row)
        if worker.hung:
            return Death(worker, exit_code, row, worker.hung, by_itself=True)
        if exit_code == -signal.SIGKILL and self._out_of_memory.has_struck(now):
            return Death(worker, exit_code, row, "out of memory: the kernel has killed it", by_itself=True)
        return Death(worker, exit_code, row, ending(exit_code), by_itself=-exit_code not in OUTSIDE)

    def bury(self, death: Death, now: float) -> None:
        """Forget a dead worker, after the ledger was told of it; its number never comes back, its row does."""
        worker, stage = death.worker, death.worker.stage
        del self._workers[worker.number]
        stage.workers.remove(worker)
        stage.done += death.row.done
        stage.busy_ns += death.row.busy_ns
        stage.cpu_s += worker.cpu_s
        self._free_rows.append(worker.row)
        self._links.detach(worker.number)
        if worker.retiring or not stage.wanted:
            return
        stage.restarts += 1
        log.warning('worker.lost worker=%s pid=%d reason="%s"', worker.name, worker.process.pid, death.reason)
        stage.not_before = now + self._delay_after(death)

    def _delay_after(self, death: Death) -> float:
        """How long to wait for the replacement; RunFailed if there should be none."""
        worker, stage, done = death.worker, death.worker.stage, death.row.done
        if not death.by_itself:
            return stage.restart.killed(done)
        if not worker.ready:
            delay = stage.restart.failed_to_start()
        else:
            at_work_s = (time.monotonic_ns() - worker.ready_ns) / 1e9
            frame = None if stage.kind == "sink" else death.blamed  # no frame is ever given up because of the sink
            delay = stage.restart.crashed(frame, done, at_work_s, stage.wanted)
        if delay is None:
            lines = "".join(f"\n  {line}" for line in worker.process.tail)
            model = f", loading {stage.model}" if stage.model else ""
            what = "keeps dying, whatever the frame" if worker.ready else "cannot start"
            raise RunFailed(
                f"{worker.name} {what}: {death.reason}{'' if worker.ready else model}{lines}",
                exit_code=1 if worker.ready else 4,
            )
        return delay

    def ready(self, worker: Worker) -> None:
        """The worker says that it is ready."""
        worker.ready, worker.ready_ns = True, time.monotonic_ns()
        worker.start_cpu_s = cpu_seconds(worker.process.pid)
        worker.stage.restart.ready()

    def kill_hung(self, now_ns: int) -> None:
        """Kill workers that have been on one frame, or silent, for longer than their stage allows.

        If we have not looked for long, they could not move either, perhaps: then it counts from now.
        """
        if now_ns - self._looked_ns > FROZEN_S * 1e9:
            self._awake_ns = now_ns
        self._looked_ns = now_ns
        for worker in self._workers.values():
            row = self._board.read(worker.row)
            if row.state == BUSY:
                limit_s = worker.stage.streams.get(row.stream, worker.stage.timeout_s)
                silent_s, what = row.silent_s(now_ns), "busy for more than"
            elif worker.ready:
                # The row of one that was stopped before its first beat is as old as the process.
                limit_s, what = max(worker.stage.timeout_s, SILENT_S), "no sign of life for"
                silent_s = min(row.silent_s(now_ns), (now_ns - worker.ready_ns) / 1e9)
            else:
                limit_s, silent_s, what = START_TIMEOUT_S, row.silent_s(now_ns), "not ready after"
            if min(silent_s, (now_ns - self._awake_ns) / 1e9) > limit_s and not worker.hung:
                worker.hung = f"timeout ({what} {limit_s:g} s)"
                worker.process.signal(signal.SIGKILL)

    def time_of(self, stage: StageWorkers) -> tuple[float, int]:
        """Seconds in work and frames done of all workers of a stage, living and dead."""
        rows = [self._board.read(worker.row) for worker in stage.workers]
        return (stage.busy_ns + sum(row.busy_ns for row in rows)) / 1e9, stage.done + sum(row.done for row in rows)

    def work_of(self, stage: StageWorkers) -> tuple[float, int]:
        """CPU seconds and frames done of a stage's workers at work, living and dead; loading models not counted."""
        cpu_s, done = stage.cpu_s, stage.done
        for worker in stage.workers:
            if worker.ready:
                worker.cpu_s = max(worker.cpu_s, cpu_seconds(worker.process.pid) - worker.start_cpu_s)
                cpu_s += worker.cpu_s
                done += self._board.read(worker.row).done
        return cpu_s, done

    def rows(self) -> Iterator[tuple[Worker, Row]]:
        """What every living worker shows."""
        for worker in self._workers.values():
            yield worker, self._board.read(worker.row)

    def read_logs(self) -> None:
        """Pass on what the workers have logged."""
        for process, line in self._processes.read_logs():
            log.info("%s: %s", process.name, line)

    @property
    def alive(self) -> int:
        """How many workers live, whatever their state."""
        return len(self._workers)

    def kill(self, number: int, why: str = "") -> None:
        """Kill one worker; `why` is said of its death then."""
        worker = self._workers[number]
        worker.hung = worker.hung or why
        worker.process.signal(signal.SIGKILL)

    def dismiss_all(self) -> list[Worker]:
        """No worker is wanted from now on; those that live."""
        for stage in self.stages:
            stage.wanted = 0
        for worker in self._workers.values():
            worker.retiring = True
        return list(self._workers.values())

    def close(self) -> None:
        """Kill and reap all that still live; closing twice is harmless."""
        self._processes.close()
        self._workers.clear()

    def _start(self, stage: StageWorkers) -> None:
        number, self._next_number = self._next_number, self._next_number + 1
        taken = {worker.index for worker in stage.workers}
        index = next(i for i in range(len(taken) + 1) if i not in taken)
        row = self._free_rows.pop() if self._free_rows else self._next_row
        self._next_row = max(self._next_row, row + 1)
        self._board.clear(row)
        self._links.attach(number)
        name = stage.name if stage.single else f"{stage.name}-{index}"
        order = Order(name, stage.role, str(self._folder), os.getpid(), number, row, self._task_of(stage))
        process = self._processes.start(name, orders.write(order))
        worker = Worker(stage, number, index, row, process)
        stage.workers.append(worker)
        self._workers[number] = worker
        log.debug("worker.started worker=%s pid=%d", name, process.pid)
