"""Scaling a running pipeline, asking how it does, and stopping it."""

import json
import os
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import Pipeline, essences, make_config, role_of, until, workers_of

from zpipe.engines.local import ZPIPE
from zpipe.errors import NotRunning, ZpipeError
from zpipe.transport.control import Request, ask


def zpipe(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line."""
    return subprocess.run([*ZPIPE, *arguments], capture_output=True, text=True, timeout=30)


@pytest.mark.test_all
def test_up_and_down_at_random_together_with_kills(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    seed = int(os.environ.get("SCALE_SEED", random.randrange(1 << 30)))
    print(f"SCALE_SEED={seed}")
    rng = random.Random(seed)
    config = make_config(
        tmp_path, frames, detect={"options": {"nap_ms": 30}}, classify={"options": {"work_ms": 15}}, max_attempts=50
    )
    pipeline = Pipeline(config)
    pipeline.reaches(5)
    scaled = 0
    while pipeline.count() < 190 and pipeline.process.poll() is None:
        try:
            counts = {stage: rng.randint(1, 4) for stage in rng.sample(["detect", "classify"], rng.randint(1, 2))}
            now = ask(pipeline.name, Request("scale", counts))
            assert now.items() >= counts.items()
            scaled += 1
        except (NotRunning, ZpipeError):
            break  # the end has come meanwhile
        done = pipeline.count()
        if rng.random() < 0.3:
            workers = [process for process in workers_of(pipeline.process.pid) if role_of(process)]
            if workers:
                rng.choice(workers).send_signal(signal.SIGKILL)
        until(lambda: pipeline.count() >= done + 8 or pipeline.process.poll() is not None)  # noqa: B023
    assert pipeline.wait() == 0, pipeline.said()
    assert scaled > 5
    assert essences(pipeline.results) == calm
    assert pipeline.events[-1]["balanced"]


def test_more_are_ready_soon_and_fewer_drain(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    config = make_config(tmp_path, frames, detect={"count": 1, "options": {"nap_ms": 20}}, classify={"count": 1})
    pipeline = Pipeline(config)
    pipeline.reaches(5)

    def ready() -> list[str]:
        return [w["worker"] for w in pipeline.status()["stages"][1]["workers"] if w["state"] in ("busy", "idle")]

    done = zpipe("scale", "detect=3", "classify=1", "--name", pipeline.name)
    assert (done.returncode, done.stdout) == (0, "detect=3 classify=1\n")
    until(lambda: ready() == ["detect-0", "detect-1", "detect-2"], timeout_s=10)
    assert zpipe("scale", "detect=1", "--name", pipeline.name).returncode == 0
    until(lambda: len(pipeline.status()["stages"][1]["workers"]) == 1, timeout_s=10)
    assert pipeline.wait() == 0, pipeline.said()
    assert essences(pipeline.results) == calm
    assert "worker.lost" not in pipeline.said()


def test_status_says_all(tmp_path: Path, frames: Path) -> None:
    # Slow enough that the run outlives every question, on a busy machine too.
    config = make_config(tmp_path, frames, detect={"options": {"nap_ms": 80}}, frames={"in_flight": 16})
    pipeline = Pipeline(config)
    pipeline.reaches(40)
    os.kill(pipeline.pid_of("detect-1"), signal.SIGKILL)
    until(lambda: pipeline.status()["stages"][1]["restarts"] == 1)
    answer = zpipe("status", pipeline.name, "--json")
    status = json.loads(answer.stdout)
    assert (status["name"], status["pid"], status["state"]) == (pipeline.name, pipeline.process.pid, "running")
    assert status["results"] == str(pipeline.results)
    assert status["published"] >= 40
    assert status["frames_per_s"] > 0
    assert [stage["stage"] for stage in status["stages"]] == ["ingest", "detect", "classify", "sink"]
    for stage in status["stages"]:
        assert stage["done"] >= 40 - 16
        assert 0 <= stage["busy"] <= 1
        assert {"queue", "held", "frames_per_s", "attempts", "restarts", "wanted"} <= stage.keys()
        for worker in stage["workers"]:
            assert worker["state"] in ("starting", "idle", "busy")
            assert worker["pid"] in pipeline.children()
            assert {"held", "done"} <= worker.keys()
    assert status["stages"][1]["busy"] > 0.3
    (stream,) = status["streams"]
    assert stream["read"] - stream["published"] == stream["in_flight"] <= 16
    assert (stream["stream"], stream["total"], stream["failed"], stream["dropped"]) == ("frames", 200, 0, 0)
    assert status["memory"]["frames_bytes"] > 0
    assert status["memory"]["processes_bytes"] > 10 << 20
    text = zpipe("status", pipeline.name).stdout
    for word in (pipeline.name, "detect-0", "ingest", "frames"):
        assert word in text
    assert zpipe("stop", pipeline.name).returncode == 0
    assert pipeline.wait() == 0


def test_stop_drains(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    detect = {"count": 1, "options": {"nap_ms": 60}}
    pipeline = Pipeline(make_config(tmp_path, frames, detect=detect, classify={"count": 1}, frames={"in_flight": 8}))
    pipeline.reaches(10)
    done = zpipe("stop", pipeline.name)
    assert (done.returncode, done.stdout) == (0, "draining\n")
    assert pipeline.wait() == 0, pipeline.said()
    ledger = pipeline.events[-1]
    assert ledger["drained"]
    assert ledger["balanced"]
    lines = essences(pipeline.results)
    assert 10 <= len(lines) <= 40
    assert lines[:-1] == calm[: len(lines) - 1]
    assert lines[-1]["drained"] is True
    gone = zpipe("stop", pipeline.name)
    assert gone.returncode == 1
    assert f"no pipeline named '{pipeline.name}' is running" in gone.stderr


@pytest.mark.parametrize(
    ("pairs", "code", "message"),
    [
        (["detect=0"], 1, "a stage has 1 to 256 workers"),
        (["detect=257"], 1, "a stage has 1 to 256 workers"),
        (["detekt=2"], 1, "no stage 'detekt': this pipeline has detect, classify"),
        (["sink=2"], 1, "no stage 'sink'"),
        (["detect=2", "sink=2"], 1, "no stage 'sink'"),
        (["detect"], 2, "'detect' is neither STAGE=N nor STAGE=auto"),
        (["detect=two"], 2, "'detect=two' is neither STAGE=N nor STAGE=auto"),
        (["detect=-1"], 2, "'detect=-1' is neither STAGE=N nor STAGE=auto"),
    ],
)
def test_scale_errors(pairs: list[str], code: int, message: str, waiting: Pipeline) -> None:
    done = zpipe("scale", *pairs, "--name", waiting.name)
    assert done.returncode == code
    assert message in done.stderr
    assert [stage["wanted"] for stage in waiting.status()["stages"]] == [1, 1, 1, 1]


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory, frames: Path) -> Any:
    """A pipeline that waits for a subscriber."""
    config = make_config(tmp_path_factory.mktemp("waiting"), frames, detect={"count": 1}, classify={"count": 1})
    pipeline = Pipeline(config, "--wait-subscribers", "1")
    Pipeline.living.remove(pipeline)  # it lives for several tests
    pipeline.started()
    until(lambda: pipeline.status()["state"] == "waiting")
    yield pipeline
    pipeline.process.send_signal(signal.SIGTERM)
    assert pipeline.wait() == 0, pipeline.said()
    assert essences(pipeline.results)[-1]["drained"]


def test_several_are_told_apart_by_name(waiting: Pipeline, tmp_path: Path, frames: Path) -> None:
    config = make_config(tmp_path, frames, detect={"count": 1}, classify={"count": 1})
    other = Pipeline(config, "--wait-subscribers", "1")
    other.started()
    until(lambda: other.status()["state"] == "waiting")
    both = zpipe("status").stdout
    assert other.name in both
    assert waiting.name in both
    for command in (["scale", "detect=2"], ["stop"]):
        unclear = zpipe(*command)
        assert unclear.returncode == 1
        assert "several pipelines are running: say which" in unclear.stderr
        assert other.name in unclear.stderr
        assert waiting.name in unclear.stderr
    assert json.loads(zpipe("status", other.name, "--json").stdout)["pid"] == other.process.pid
    assert zpipe("stop", other.name).returncode == 0
    assert other.wait() == 0
    assert waiting.status()["state"] == "waiting"


def test_scaling_at_the_end_is_refused(tmp_path: Path, frames: Path) -> None:
    """While the sink lets a subscriber catch up there is nothing to scale, and no worker is started for it."""
    import zmq

    config = make_config(tmp_path, frames, detect={"count": 1}, classify={"count": 1}, sink={"linger_s": 1.5})
    pipeline = Pipeline(config)
    context = zmq.Context()
    slow = context.socket(zmq.SUB)
    slow.subscribe(b"results/")
    slow.subscribe(b"subscriber/somebody who never says that it is done")
    slow.connect(pipeline.started()["publish"])
    until(lambda: pipeline.status()["state"] == "stopping")
    with pytest.raises(ZpipeError, match="is ending"):
        ask(pipeline.name, Request("scale", {"detect": 3}))
    assert pipeline.wait() == 0
    context.destroy(linger=0)
