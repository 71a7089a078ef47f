"""`zpipe up` itself dies: nobody is left behind, the next start clears what is, and `--resume` loses nothing."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import Pipeline, essence, essences, make_config, make_frames, run, until

from zpipe.engines.local import ZPIPE
from zpipe.transport.run_folder import folder_of


def test_its_workers_end_with_it_though_they_compute(tmp_path: Path, frames: Path) -> None:
    config = make_config(
        tmp_path, frames, detect={"options": {"work_ms": 60_000}}, classify={"options": {"work_ms": 60_000}}
    )
    pipeline = Pipeline(config)
    pipeline.started()
    until(lambda: [w["state"] for stage in pipeline.status()["stages"] for w in stage["workers"]].count("busy") == 2)
    assert len(pipeline.children()) == 6
    pipeline.kill()
    until(lambda: not pipeline.children(), timeout_s=2)
    left = folder_of(pipeline.name)
    assert left.exists()  # nobody was there to clear it
    other = Pipeline(make_config(tmp_path / "other", make_frames(tmp_path / "few", 3)))
    assert other.wait() == 0
    assert not left.exists()


def test_its_workers_end_with_it_while_they_start(tmp_path: Path, frames: Path) -> None:
    """Killed before they could ask the kernel to be killed with it."""
    config = make_config(tmp_path, frames, detect={"options": {"start_ms": 60_000}})
    for moment_s in (0.0, 0.05, 0.1, 0.2):
        pipeline = Pipeline(config)
        until(pipeline.children)
        time.sleep(moment_s)  # not a wait for anything: a moment
        pipeline.kill()
        until(lambda: not pipeline.children(), timeout_s=2)  # noqa: B023
    shutil.rmtree(folder_of(pipeline.name))


@pytest.mark.parametrize("results", [0, 1])
def test_stopped_workers_end_with_it(results: int, tmp_path: Path, frames: Path) -> None:
    """Stopped at work, or as soon as they are there: before they could ask to be killed with it."""
    pipeline = Pipeline(make_config(tmp_path, frames, detect={"options": {"nap_ms": 1000}}))
    pipeline.reaches(results)
    until(pipeline.children)
    workers = [psutil.Process(pid) for pid in pipeline.children()]
    for worker in workers:
        worker.suspend()
    until(lambda: all(worker.status() == psutil.STATUS_STOPPED for worker in workers))
    pipeline.kill()
    until(lambda: not pipeline.children(), timeout_s=2)
    shutil.rmtree(folder_of(pipeline.name))


def test_two_pipelines_do_not_disturb_each_other(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    """One is killed and started again and again; each start clears dead runs; the other one's is not dead."""
    steady = Pipeline(make_config(tmp_path / "steady", frames, detect={"count": 1, "options": {"nap_ms": 12}}))
    steady.reaches(1)
    config = make_config(tmp_path / "shaky", frames, detect={"count": 1}, classify={"count": 1})
    while steady.count() < 150:
        shaky = Pipeline(config, "--overwrite")
        shaky.started()
        shaky.kill()
    shaky = Pipeline(config, "--overwrite")
    assert shaky.wait() == 0
    assert steady.wait() == 0
    assert essences(steady.results) == essences(shaky.results) == calm


def test_the_same_name_or_results_file_twice_is_refused(
    tmp_path: Path, frames: Path, calm: list[dict[str, Any]]
) -> None:
    """Whatever the options; and the one that runs loses nothing of its results file."""
    detect = {"count": 1, "options": {"nap_ms": 100}}
    config = make_config(tmp_path, frames, detect=detect, classify={"count": 1}, frames={"in_flight": 4})
    pipeline = Pipeline(config)
    pipeline.reaches(5)
    other_name = make_config(tmp_path / "other", frames, sink={"results": str(pipeline.results)})
    refusals = {
        config: f"a pipeline named '{pipeline.name}' is already running",
        other_name: f"{pipeline.results} is being written by another pipeline",
    }
    for again, message in refusals.items():
        for options in ([], ["--overwrite"], ["--resume"]):
            done = subprocess.run([*ZPIPE, "up", again, *options], capture_output=True, text=True, timeout=30)
            assert done.returncode == 1
            assert message in done.stderr
    assert pipeline.process.poll() is None  # it has not ended meanwhile
    pipeline.process.send_signal(signal.SIGINT)
    assert pipeline.wait() == 0
    lines = essences(pipeline.results)
    assert lines[:-1] == calm[: len(lines) - 1]


@pytest.mark.test_all
def test_twenty_kills_each_resumed(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    seed = int(os.environ.get("UP_SEED", random.randrange(1 << 30)))
    print(f"UP_SEED={seed}")
    rng = random.Random(seed)
    detect = {"count": 1, "options": {"nap_ms": 10}}
    config = make_config(tmp_path, frames, detect=detect, classify={"count": 1}, frames={"in_flight": 8})
    progress = []
    for _ in range(20):
        pipeline = Pipeline(config, "--resume")
        if rng.random() < 0.3:  # while it starts
            until(lambda: pipeline.children() or pipeline.process.poll() is not None)  # noqa: B023
        else:
            pipeline.reaches(progress[-1] + 1 if progress else 1)
        time.sleep(rng.uniform(0, 0.05))  # not a wait for anything: a moment
        pipeline.kill()
        until(lambda: not pipeline.children(), timeout_s=2)  # noqa: B023
        progress.append(pipeline.count())
    print(f"results after each kill: {progress}")
    pipeline = Pipeline(config, "--resume")
    assert pipeline.wait() == 0, pipeline.said()
    assert essences(pipeline.results) == calm
    assert len({json.loads(line)["run"] for line in pipeline.results.read_text().splitlines()}) == 1
    assert pipeline.events[-1]["balanced"]


# ---- resuming -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory, frames: Path) -> Path:
    """The results file of a run that was killed in the middle; to be copied."""
    folder = tmp_path_factory.mktemp("half")
    config = make_config(
        folder, frames, detect={"count": 1, "options": {"nap_ms": 5}}, classify={"count": 1}, frames={"in_flight": 8}
    )
    pipeline = Pipeline(config)
    pipeline.reaches(60)
    pipeline.kill()
    until(lambda: not pipeline.children(), timeout_s=2)
    shutil.rmtree(folder_of(pipeline.name))
    return pipeline.results


def small_config(folder: Path, frames: Path, half: Path) -> Path:
    """A config whose results file is that of the killed run."""
    config = make_config(folder, frames, detect={"count": 1}, classify={"count": 1})
    shutil.copy(half, folder / "results.jsonl")
    return config


def refused(config: Path, *options: str) -> str:
    """What is said when it does not start; nothing was changed."""
    pipeline = Pipeline(config, *options)
    before = pipeline.results.read_bytes()
    assert pipeline.wait() == 1
    assert pipeline.results.read_bytes() == before
    return pipeline.said()


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path, frames: Path, half: Path, calm: list[Any]) -> None:
    config = small_config(tmp_path, frames, half)
    said = refused(config)
    assert "did not come to its end" in said
    assert "--resume" in said
    assert "--overwrite" in said
    old = json.loads(half.read_text().splitlines()[0])["run"]
    assert run(config, "--overwrite") == calm
    assert old not in (tmp_path / "results.jsonl").read_text()


def test_a_finished_run_is_replaced_and_can_be_resumed(tmp_path: Path, frames: Path, calm: list[Any]) -> None:
    config = make_config(tmp_path, frames, detect={"count": 1}, classify={"count": 1})
    assert run(config) == calm
    first = (tmp_path / "results.jsonl").read_bytes()
    assert run(config, "--resume") == calm
    assert (tmp_path / "results.jsonl").read_bytes() == first
    assert run(config) == calm
    assert (tmp_path / "results.jsonl").read_bytes() != first


@pytest.mark.parametrize("tail", [b'{"schema": 1, "type": "fra', b"\0" * 100])
def test_half_a_line_at_the_end(tail: bytes, tmp_path: Path, frames: Path, half: Path, calm: list[Any]) -> None:
    config = small_config(tmp_path, frames, half)
    with open(tmp_path / "results.jsonl", "ab") as file:
        file.write(tail)
    assert run(config, "--resume") == calm


def test_damage_before_the_end_is_refused(tmp_path: Path, frames: Path, half: Path) -> None:
    config = small_config(tmp_path, frames, half)
    lines = (tmp_path / "results.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_bytes(b"".join([*lines[:10], b"what is this?\n", *lines[10:]]))
    assert "not a line of a results file" in refused(config, "--resume")
    (tmp_path / "results.jsonl").write_bytes(b"".join([*lines[:10], *lines[12:]]))
    assert "frame 11 of stream frames was 'img13.png' and is now 'img11.png'" in refused(config, "--resume")


def linked(frames: Path, folder: Path) -> Path:
    """A copy of the frames' folder, to be changed."""
    shutil.copytree(frames, folder / "frames", copy_function=os.link)
    return folder / "frames"


def test_a_stream_that_had_not_begun_is_part_of_the_run(tmp_path: Path, frames: Path, calm: list[Any]) -> None:
    """One stream has come to its end, nothing of the other is in the file: that is no finished run."""
    few = make_frames(tmp_path / "few", 3)
    config = make_config(tmp_path, [few, frames], detect={"count": 1}, classify={"count": 1})
    done = run(make_config(tmp_path / "one", few, detect={"count": 1}, classify={"count": 1}))
    shutil.copy(tmp_path / "one" / "results.jsonl", tmp_path)
    assert "did not come to its end" in refused(config)
    assert run(config, "--resume") == done + calm


@pytest.mark.parametrize("change", ["in front", "removed", "renamed", "exchanged"])
def test_other_frames_are_refused(change: str, tmp_path: Path, frames: Path, half: Path) -> None:
    copy = linked(frames, tmp_path)
    config = small_config(tmp_path, copy, half)
    match change:
        case "in front":
            (copy / "a-new.png").write_bytes((copy / "img1.png").read_bytes())
        case "removed":
            (copy / "img20.png").unlink()
        case "renamed":
            (copy / "img20.png").rename(copy / "img20b.png")
        case "exchanged":
            (copy / "img3.png").rename(copy / "img3.jpg")
    said = refused(config, "--resume")
    assert "has changed since the run began" in said
    assert {"in front": "'a-new.png'", "exchanged": "'img3.jpg'"}.get(change, "'img20.png'") in said


def test_what_is_new_at_the_end_is_read(tmp_path: Path, frames: Path, half: Path, calm: list[Any]) -> None:
    copy = linked(frames, tmp_path)
    config = small_config(tmp_path, copy, half)
    for seq in (201, 202):
        (copy / f"img{seq}.png").write_bytes((copy / f"img{seq - 200}.png").read_bytes())
    lines = run(config, "--resume")
    assert lines[:200] == calm[:200]
    assert [line["name"] for line in lines[200:202]] == ["img201.png", "img202.png"]
    assert lines[200]["objects"] == calm[0]["objects"]
    assert lines[202]["ok"] == 202


def test_another_stream_is_refused(tmp_path: Path, frames: Path, half: Path) -> None:
    config = small_config(tmp_path, frames, half)
    said = refused(config, "--resume", "--set", "ingest.0.stream=yard")
    assert "has results of a stream that the config does not have: frames" in said


# ---- drained --------------------------------------------------------------------------------------------------


def test_drained_then_resumed(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    config = make_config(
        tmp_path, frames, detect={"count": 1, "options": {"nap_ms": 5}}, classify={"count": 1}, frames={"in_flight": 8}
    )
    for count in (20, 60, 100):
        pipeline = Pipeline(config, "--resume")
        pipeline.reaches(count)
        pipeline.process.send_signal(signal.SIGINT)
        assert pipeline.wait() == 0, pipeline.said()
        ledger = pipeline.events[-1]
        assert ledger["balanced"]
        assert ledger["drained"]
        lines = pipeline.results.read_bytes().splitlines()
        assert [essence(line) for line in lines[:-1]] == calm[: len(lines) - 1]
        eos = json.loads(lines[-1])
        assert (eos["type"], eos["seq"], eos["drained"]) == ("eos", len(lines), True)
    assert "did not come to its end" in refused(config)
    assert run(config, "--resume") == calm
