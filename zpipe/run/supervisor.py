"""The supervisor: keeps as many workers of each group alive as are wanted.

A group is a model stage, the sink, or the ingest of one stream. One rule, applied again and again: compare what is
wanted with what is there, start or retire the difference. Why a worker is gone matters only for when its replacement
starts (restart.py) and for what is said about it. What the worker held is the ledger's business, not ours.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from zpipe.engines.local import Process, Processes, ending
from zpipe.engines.machine import cpu_seconds
from zpipe.errors import RunFailed
from zpipe.rules.restart import Restart
from zpipe.transport.board import BUSY, Board, Row
from zpipe.transport.link import Links

START_TIMEOUT_S = 600.0
"""A worker that loads its model this long is hung. Compiling for a GPU or NPU takes minutes; hours it does not."""

SILENT_S = 3.0
"""An idle worker beats once a second. So long without is hung, however little time the stage's frames may take."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Worker:
    """A started worker. `number` is its name on the wire, never used twice; `name` is what people read."""

    group: "Group"
    number: int
    index: int
    row: int
    process: Process
    ready: bool = False
    ready_ns: int = 0
    retiring: bool = False
    hung: str = ""
    start_cpu_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def name(self) -> str:
        """`detect-0`, `ingest-yard`, `sink`."""
        return self.group.name if self.group.single else f"{self.group.name}-{self.index}"


@dataclass(eq=False)
class Group:
    """Equal workers: how many are wanted, which are there. `stage` is the stage's number, or the stream's (ingest);
    `model` what its workers load."""

    role: str
    name: str
    stage: int
    wanted: int
    timeout_s: float
    single: bool = False
    model: str = ""
    workers: list[Worker] = field(default_factory=list)
    restart: Restart = field(default_factory=Restart)
    restarts: int = 0
    done: int = 0
    busy_ns: int = 0
    cpu_s: float = 0.0
    not_before: float = 0.0

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
    """A worker that is gone and reaped; `row` is what it showed last, `reason` its end in words."""

    worker: Worker
    exit_code: int
    row: Row
    reason: str


class Supervisor:
    """All groups of a run. `orders(group)` gives the arguments of a new worker beyond those that all get."""

    def __init__(self, folder: Path, links: Links, board: Board, orders: Callable[[Group], list[str]]) -> None:
        self.groups: list[Group] = []
        self._folder = folder
        self._links = links
        self._board = board
        self._orders = orders
        self._processes = Processes()
        self._workers: dict[int, Worker] = {}
        self._next_number = 1
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
        for group in self.groups:
            staying = group.staying
            if len(staying) < group.wanted and now >= group.not_before:
                for _ in range(group.wanted - len(staying)):
                    self._start(group)
            if group.single:  # ingest and sink leave when the ledger dismisses them
                continue
            for worker in staying[group.wanted :]:
                if worker.ready:
                    surplus.append(worker)
                else:
                    worker.retiring = True
                    worker.process.signal(signal.SIGKILL)
        return surplus

    def reap(self, now: float) -> list[Death]:
        """The workers that have died since the last call; RunFailed if a group can never get going."""
        deaths = []
        for process, exit_code, lines in self._processes.reap():
            for line in lines:
                log.info("%s: %s", process.name, line)
            worker = next(w for w in self._workers.values() if w.process is process)
            row = self._board.read(worker.row)
            reason = worker.hung or ending(exit_code)
            deaths.append(Death(worker, exit_code, row, reason))
        return deaths

    def bury(self, death: Death, now: float) -> None:
        """Forget a dead worker, after the ledger was told of it; its number never comes back, its row does."""
        worker, group = death.worker, death.worker.group
        del self._workers[worker.number]
        group.workers.remove(worker)
        group.done += death.row.done
        group.busy_ns += death.row.busy_ns
        group.cpu_s += worker.cpu_s
        self._free_rows.append(worker.row)
        self._links.detach(worker.number)
        if worker.retiring or not group.wanted:
            return
        group.restarts += 1
        log.warning('worker.lost worker=%s pid=%d reason="%s"', worker.name, worker.process.pid, death.reason)
        delay = group.restart.died(worker.ready, death.row.done, death.exit_code == -signal.SIGKILL)
        if delay is None:
            lines = "".join(f"\n  {line}" for line in worker.process.tail)
            what = f"{worker.name} cannot start: {death.reason}"
            raise RunFailed(what + (f", loading {group.model}" if group.model else "") + lines, exit_code=4)
        group.not_before = now + delay

    def ready(self, worker: Worker) -> None:
        """The worker says that it is ready."""
        worker.ready, worker.ready_ns = True, time.monotonic_ns()
        worker.start_cpu_s = cpu_seconds(worker.process.pid)
        worker.group.restart.ready()

    def kill_hung(self, now_ns: int) -> None:
        """Kill workers that have been on one frame, or silent, for longer than their group allows."""
        for worker in self._workers.values():
            row = self._board.read(worker.row)
            if row.state == BUSY:
                limit_s, silent_s, what = worker.group.timeout_s, row.silent_s(now_ns), "busy for more than"
            elif worker.ready:
                # The row of one that was stopped before its first beat is as old as the process.
                limit_s, what = max(worker.group.timeout_s, SILENT_S), "no sign of life for"
                silent_s = min(row.silent_s(now_ns), (now_ns - worker.ready_ns) / 1e9)
            else:
                limit_s, silent_s, what = START_TIMEOUT_S, row.silent_s(now_ns), "not ready after"
            if silent_s > limit_s and not worker.hung:
                worker.hung = f"timeout ({what} {limit_s:g} s)"
                worker.process.signal(signal.SIGKILL)

    def time_of(self, group: Group) -> tuple[float, int]:
        """Seconds in work and frames done of all workers of a group, living and dead."""
        rows = [self._board.read(worker.row) for worker in group.workers]
        return (group.busy_ns + sum(row.busy_ns for row in rows)) / 1e9, group.done + sum(row.done for row in rows)

    def work_of(self, group: Group) -> tuple[float, int]:
        """CPU seconds and frames done of a stage's workers at work, living and dead; loading models not counted."""
        cpu_s, done = group.cpu_s, group.done
        for worker in group.workers:
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

    def kill(self, number: int) -> None:
        """Kill one worker."""
        self._workers[number].process.signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill and reap all that still live; closing twice is harmless."""
        self._processes.close()
        self._workers.clear()

    def _start(self, group: Group) -> None:
        number, self._next_number = self._next_number, self._next_number + 1
        taken = {worker.index for worker in group.workers}
        index = next(i for i in range(len(taken) + 1) if i not in taken)
        row = self._free_rows.pop() if self._free_rows else self._next_row
        self._next_row = max(self._next_row, row + 1)
        self._board.clear(row)
        self._links.attach(number)
        name = group.name if group.single else f"{group.name}-{index}"
        arguments = [
            group.role, f"--folder={self._folder}", f"--parent={os.getpid()}", f"--worker={number}", f"--row={row}",
            f"--stage={group.stage}", *self._orders(group),
        ]  # fmt: skip
        process = self._processes.start(name, arguments)
        worker = Worker(group, number, index, row, process)
        group.workers.append(worker)
        self._workers[number] = worker
        log.debug("worker.started worker=%s pid=%d", name, process.pid)
