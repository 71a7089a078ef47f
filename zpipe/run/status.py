"""What `zpipe status` and the progress display say of a running pipeline: one plain dictionary, made here."""

import os
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zpipe.transport.board import BUSY, IDLE

if TYPE_CHECKING:
    from zpipe.run.broker import Broker
    from zpipe.run.supervisor import Group

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
        """Its growth per second over the window."""
        (then, before), (now, after) = self._samples[0], self._samples[-1]
        grown = after.get(counter, 0.0) - before.get(counter, 0.0)
        return max(0.0, grown / (now - then)) if now > then else 0.0


def status_of(broker: "Broker") -> dict[str, Any]:
    """The pipeline as it is now. Rates are per second, memory in bytes, `busy` a share of the workers' time."""
    _measure(broker)
    rows = {worker.number: row for worker, row in broker.supervisor.rows()}
    published = sum(stream.published for stream in broker.ledger.streams)
    return {
        "name": broker.config.name,
        "run": broker.run_id,
        "pid": os.getpid(),
        "state": broker.state,
        "publish": broker.publish,
        "history": broker.history,
        "results": broker.config.sink.results,
        "elapsed_s": round(time.monotonic() - broker.began, 3),
        "frames_per_s": round(broker.meter.rate("published"), 2),
        "published": published,
        "in_flight": len(broker.ledger.frames),
        "slots": broker.ledger.slots,
        "stages": [_stage(broker, group, rows) for group in broker.supervisor.groups],
        "streams": [_stream(broker, number) for number in range(len(broker.ledger.streams))],
        "memory": _memory(broker),
        "stale": broker.ledger.stale,
        "rejected": broker.links.rejected,
    }


def counters(broker: "Broker") -> dict[str, float]:
    """What rates are made of."""
    found: dict[str, float] = {"published": sum(stream.published for stream in broker.ledger.streams)}
    for group in broker.supervisor.groups:
        found[f"{group.name}.done"] = group.done
        found[f"{group.name}.busy_ns"] = group.busy_ns
    now_ns = time.monotonic_ns()
    for worker, row in broker.supervisor.rows():
        in_work_ns = now_ns - row.since_ns if row.state == BUSY else 0
        found[f"{worker.group.name}.done"] += row.done
        found[f"{worker.group.name}.busy_ns"] += row.busy_ns + in_work_ns
    return found


def _measure(broker: "Broker") -> None:
    broker.meter.add(time.monotonic(), counters(broker))


def _stage(broker: "Broker", group: "Group", rows: dict[int, Any]) -> dict[str, Any]:
    ledger, workers = broker.ledger, []
    for worker in group.workers:
        row = rows[worker.number]
        record = ledger.workers.get(worker.number)
        state = (
            "starting"
            if not worker.ready
            else "retiring"
            if worker.retiring
            else "busy"
            if row.state == BUSY
            else "idle"
        )
        workers.append(
            {
                "worker": worker.name,
                "pid": worker.process.pid,
                "state": state,
                "held": len(record.held) if record is not None else 0,
                "done": row.done,
                "beat_s": round((time.monotonic_ns() - row.beat_ns) / 1e9, 1) if row.state == IDLE else 0.0,
            }
        )
    queue = ledger.queues[group.stage] if group.role != "ingest" else ()
    count = max(1, len(group.workers))
    counted = counters(broker)
    return {
        "stage": group.name,
        "role": group.role,
        "wanted": group.wanted,
        "workers": workers,
        "queue": len(queue),
        "held": sum(worker["held"] for worker in workers),
        "done": int(counted[f"{group.name}.done"]),
        "frames_per_s": round(broker.meter.rate(f"{group.name}.done"), 2),
        "busy": round(min(1.0, broker.meter.rate(f"{group.name}.busy_ns") / 1e9 / count), 3),
        "attempts": sum(
            f.attempts - 1 for f in ledger.frames.values() if f.stage == group.stage and group.role != "ingest"
        ),
        "restarts": group.restarts,
    }


def _stream(broker: "Broker", number: int) -> dict[str, Any]:
    account = broker.ledger.streams[number]
    return {
        "stream": broker.config.ingest[number].stream,
        "read": account.read,
        "published": account.published,
        "ok": account.ok,
        "failed": account.failed,
        "dropped": account.dropped,
        "in_flight": account.read - account.published,
        "total": account.count if account.count is not None else broker.totals[number],
        "skipped": broker.skipped[number],
        "closed": account.closed,
    }


def _memory(broker: "Broker") -> dict[str, int]:
    processes = {worker.process.pid: worker.name for worker, _ in broker.supervisor.rows()}
    slots = broker.store.total_bytes()
    return {"frames_bytes": slots, "processes_bytes": sum(_private_bytes(pid) for pid in (os.getpid(), *processes))}


def _private_bytes(pid: int) -> int:
    """Resident memory of a process that is not shared, so that sums count nothing twice."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
