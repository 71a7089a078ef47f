"""Each process of a pipeline × each way to go: the results are those of the undisturbed run, and exit code 0."""

import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from harness import Pipeline, essences, make_config, until, with_faults

WORKERS = {"ingest": "ingest", "detect": "detect-0", "classify": "classify-0", "sink": "sink"}
ROLES = list(WORKERS)

PLACES = {"ingest": "load", "detect": "detect", "classify": "classify", "sink": "log"}
"""Where a process of the role is in the middle of a frame."""


def busy_config(folder: Path, frames: Path, timeout_s: float = 60.0) -> Path:
    """A config whose run takes a second or two, so that there is a middle."""
    return make_config(
        folder,
        frames,
        ingest=[{"path": str(frames), "stream": "frames", "timeout_s": timeout_s}],
        detect={"options": {"nap_ms": 8}, "timeout_s": timeout_s},
        classify={"count": 1, "options": {"nap_ms": 4}, "timeout_s": timeout_s},
        sink={"timeout_s": timeout_s},
        frames={"in_flight": 16},  # so that ingest is there until nearly the end
    )


def restarts(pipeline: Pipeline, role: str) -> int:
    """Restarts of the stage so far."""
    return sum(stage["restarts"] for stage in pipeline.status()["stages"] if stage["role"] == role)


def check(pipeline: Pipeline, calm: list[dict[str, Any]]) -> None:
    """It ends well, with the results of the undisturbed run."""
    assert pipeline.wait() == 0, pipeline.said()
    assert essences(pipeline.results) == calm
    ledger = pipeline.events[-1]
    assert ledger["balanced"]
    assert [(s["read"], s["ok"], s["failed"], s["dropped"]) for s in ledger["streams"]] == [(200, 200, 0, 0)]


@pytest.mark.parametrize("role", ROLES)
def test_killed_in_the_middle(role: str, frames: Path, calm: list[dict[str, Any]], tmp_path: Path) -> None:
    pipeline = Pipeline(busy_config(tmp_path, frames))
    pipeline.reaches(40)
    os.kill(pipeline.pid_of(WORKERS[role]), signal.SIGKILL)
    until(lambda: restarts(pipeline, role) == 1)
    check(pipeline, calm)
    assert "SIGKILL" in pipeline.said()


@pytest.mark.parametrize("role", ROLES)
def test_stopped_for_longer_than_its_timeout(
    role: str, frames: Path, calm: list[dict[str, Any]], tmp_path: Path
) -> None:
    """SIGSTOP; what it would say when it is continued comes too late."""
    pipeline = Pipeline(busy_config(tmp_path, frames, timeout_s=1.0))
    pipeline.reaches(40)
    pid = pipeline.pid_of(WORKERS[role])
    os.kill(pid, signal.SIGSTOP)
    until(lambda: restarts(pipeline, role) == 1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    check(pipeline, calm)
    assert "timeout" in pipeline.said()


def test_a_freeze_of_all_costs_nothing(frames: Path, calm: list[dict[str, Any]], tmp_path: Path) -> None:
    """Edge 28: a closed laptop lid; every worker had been silent for too long, and its frame was blamed."""
    pipeline = Pipeline(busy_config(tmp_path, frames, timeout_s=1.0))
    pipeline.reaches(40)
    everybody = [pipeline.process.pid, *pipeline.workers().values()]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 4.0)  # as long as an idle worker may be silent, and more
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    check(pipeline, calm)
    assert "worker.lost" not in pipeline.said()
    assert {json.loads(line).get("attempts", 1) for line in pipeline.results.read_text().splitlines()} == {1}


def test_continued_at_the_very_moment_of_its_timeout(frames: Path, calm: list[dict[str, Any]], tmp_path: Path) -> None:
    """Killed or not: either way each result is there once."""
    pipeline = Pipeline(busy_config(tmp_path, frames, timeout_s=1.0))
    pipeline.reaches(20)
    workers = pipeline.workers()
    timers = []
    for number, name in enumerate(("detect-0", "detect-1", "classify-0", "sink")):
        os.kill(workers[name], signal.SIGSTOP)
        timers.append(threading.Timer(0.8 + 0.15 * number, go_on, [workers[name]]))
        timers[-1].start()
    check(pipeline, calm)
    for timer in timers:
        timer.join()


def go_on(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("role", ROLES)
def test_exits_in_the_middle_of_a_frame(role: str, frames: Path, calm: list[dict[str, Any]], tmp_path: Path) -> None:
    faults = [{"role": role, "at": PLACES[role], "seq": seq, "how": "exit"} for seq in (1, 60, 61, 200)]
    pipeline = Pipeline(busy_config(tmp_path, frames), env=with_faults(tmp_path, *faults))
    check(pipeline, calm)
    assert pipeline.said().count("worker.lost") == 4
    assert pipeline.said().count("exit code 7") == 4


@pytest.mark.parametrize("role", ROLES)
def test_killed_while_starting(role: str, frames: Path, calm: list[dict[str, Any]], tmp_path: Path) -> None:
    """Three times before anything has begun, and again while replacing one that was killed at work."""
    first = {"role": role, "at": "start", "seq": 0, "how": "kill", "times": 3}
    pipeline = Pipeline(busy_config(tmp_path, frames), env=with_faults(tmp_path, first))
    pipeline.reaches(40)
    (tmp_path / "faults" / "fault-0-0").unlink()  # once more
    os.kill(pipeline.pid_of(WORKERS[role]), signal.SIGKILL)
    check(pipeline, calm)
    assert pipeline.said().count("worker.lost") == 5


@pytest.mark.parametrize(("at", "where"), [("log", "half"), ("log", "after"), ("publish", "after")])
def test_the_sink_dies_between_its_steps(
    at: str, where: str, frames: Path, calm: list[dict[str, Any]], tmp_path: Path
) -> None:
    faults = [{"role": "sink", "at": at, "where": where, "seq": seq, "how": "kill"} for seq in (1, 50, 200, 201)]
    pipeline = Pipeline(busy_config(tmp_path, frames), env=with_faults(tmp_path, *faults))
    check(pipeline, calm)
    assert pipeline.said().count("worker.lost") == 4


def test_every_process_at_once(frames: Path, calm: list[dict[str, Any]], tmp_path: Path) -> None:
    pipeline = Pipeline(busy_config(tmp_path, frames))
    pipeline.reaches(40)
    for pid in pipeline.workers().values():
        os.kill(pid, signal.SIGKILL)
    check(pipeline, calm)


def test_an_idle_worker_is_not_taken_for_a_hung_one(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    """The timeout of a stage is for its frames; who waits for one shows a heartbeat a second, whatever the timeout."""
    config = make_config(
        tmp_path, frames,
        detect={"count": 1, "options": {"start_ms": 2500}, "timeout_s": 0.3},
        classify={"count": 1, "timeout_s": 0.3}, sink={"timeout_s": 0.3},
    )  # fmt: skip
    pipeline = Pipeline(config)
    began = time.monotonic()
    check(pipeline, calm)
    assert time.monotonic() - began > 2.5
    assert "worker.lost" not in pipeline.said()
