"""The run's record: a failed start costs nothing, a run goes on from what it began with, damage is noticed."""

import json
import os
import shutil
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from harness import Pipeline, essences, make_config, make_frames, run

pytestmark = pytest.mark.test_all

SLOW = {"count": 1, "options": {"nap_ms": 8}}
"""A detector that leaves time to lay hands on things."""


def slow_config(folder: Path, frames: Path, **changes: Any) -> Path:
    return make_config(
        folder, frames, detect=SLOW, classify={"count": 1}, frames={"in_flight": 4}, **changes
    )  # fmt: skip


def linked(frames: Path, folder: Path) -> Path:
    """A copy of the frames' folder, to be changed."""
    shutil.copytree(frames, folder / "frames", copy_function=os.link)
    return folder / "frames"


def fails(config: Path, *options: str, code: int = 1) -> str:
    """What is said when it does not start; the results file stays as it was, byte for byte."""
    results = Path(json.loads(config.read_text())["sink"]["results"])
    before = results.read_bytes()
    pipeline = Pipeline(config, *options)
    assert pipeline.wait() == code, pipeline.said()
    assert results.read_bytes() == before
    return pipeline.said()


def drained(config: Path, count: int) -> Pipeline:
    """A run that was stopped after about so many results."""
    pipeline = Pipeline(config)
    pipeline.reaches(count)
    pipeline.process.send_signal(signal.SIGINT)
    assert pipeline.wait() == 0, pipeline.said()
    return pipeline


# ---- a start that fails, a finished run ----------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_a_start_that_fails_leaves_the_results_of_the_run_before_it(options: list[str], tmp_path: Path) -> None:
    """Edge 3: a model that does not load, a port that is taken."""
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 3))
    run(config)
    ours = {"broken.py", "__pycache__"}  # of which one is written now, the other whenever Python likes
    files = {path.name for path in tmp_path.iterdir()} - ours
    (tmp_path / "broken.py").write_text(
        "class Detect:\n    def __init__(self, **options): raise OSError('no weights')\n"
    )
    fails(config, *options, "--set", "detect.model=broken:Detect", code=4)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        fails(config, *options, "--set", f"sink.publish={endpoint}")
    assert {path.name for path in tmp_path.iterdir()} - ours == files


def test_a_finished_run_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    """Edge 3: it was replaced without a word."""
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 3))
    results = tmp_path / "results.jsonl"
    run(config)
    first = results.read_bytes()
    os.chmod(results, 0o600)
    pipeline = Pipeline(config)
    assert pipeline.wait() == 0
    kept = tmp_path / f"results-{json.loads(first.splitlines()[0])['run']}.jsonl"
    assert pipeline.started()["kept"] == str(kept)
    assert kept.read_bytes() == first
    assert f"is now in {kept}" in pipeline.said()
    assert Path(f"{kept}.record", "run.json").exists()
    assert stat.S_IMODE(results.stat().st_mode) == 0o600
    assert results.read_bytes() != first
    again = Pipeline(config, "--overwrite")
    assert again.wait() == 0
    assert again.started()["kept"] == ""
    assert len(list(tmp_path.glob("results-*.jsonl"))) == 1


# ---- what decides results ------------------------------------------------------------------------------------


def test_other_settings_are_refused_unless_anyway(tmp_path: Path, frames: Path) -> None:
    """Edge 4: thresholds and models were exchanged in the middle of a file without a word."""
    config = slow_config(tmp_path, frames)
    drained(config, 10)
    going_on = Pipeline(config, "--resume", "--set", "max_attempts=5", "--detect", "2")  # decide nothing
    going_on.started()
    going_on.kill()
    said = fails(config, "--resume", "--set", "detect.confidence=0.7")
    assert "detect.confidence was 0.25, is 0.7" in said
    assert "--resume=anyway" in said
    with open(tmp_path / "probe.py", "a") as file:
        file.write("\n# changed\n")
    said = fails(config, "--resume")
    assert "classify.model is another file; detect.model is another file" in said
    assert run(config, "--resume=anyway", "--set", "detect.options.nap_ms=0")[-1]["ok"] == 200


# ---- the list of a source ------------------------------------------------------------------------------------


def test_what_is_new_is_reported_and_not_read(tmp_path: Path, frames: Path, calm: list[Any]) -> None:
    """Edge 4 and 18: also where it would shift the others, and in a run that is finished."""
    copy = linked(frames, tmp_path)
    config = slow_config(tmp_path, copy)
    drained(config, 10)
    shutil.copy(copy / "img1.png", copy / "a-new.png")
    for _ in range(2):
        pipeline = Pipeline(config, "--resume")
        assert pipeline.wait() == 0
        assert essences(pipeline.results) == calm
        assert "1 new since the run began, not read: 'a-new.png'" in pipeline.said()
        pipeline.stderr.unlink()


def test_a_restarted_ingest_reads_the_list_of_the_first(tmp_path: Path, frames: Path, calm: list[Any]) -> None:
    """Edge 18: a file added in front and an ingest killed gave one picture two results."""
    copy = linked(frames, tmp_path)
    pipeline = Pipeline(slow_config(tmp_path, copy))
    pipeline.reaches(5)
    shutil.copy(copy / "img1.png", copy / "a-new.png")
    (copy / "img150.png").unlink()
    (copy / "img160.png").unlink()
    shutil.copy(frames / "img1.png", copy / "img160.png")
    os.kill(pipeline.pid_of("ingest"), signal.SIGKILL)
    assert pipeline.wait() == 0
    lines = essences(pipeline.results)
    assert [line["name"] for line in lines[:-1]] == [line["name"] for line in calm[:-1]]
    failed = {line["name"]: line["error"]["reason"] for line in lines[:-1] if line["status"] == "failed"}
    assert failed.keys() == {"img150.png", "img160.png"}
    assert failed["img150.png"] == "is gone: it was there when the run began"
    assert failed["img160.png"].startswith("has changed since the run began")


def test_a_list_is_resumed_as_it_was(tmp_path: Path, frames: Path, calm: list[Any]) -> None:
    """Edge 18: a list file in another order was accepted; a file that changed is refused, one that is gone fails."""
    copy = linked(frames, tmp_path)
    entries = [f"frames/img{seq}.png" for seq in range(1, 101)]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(entries))
    config = slow_config(tmp_path, listed, ingest=[{"path": str(listed), "stream": "listed"}])
    drained(config, 10)
    listed.write_text("\n".join(reversed(entries)))
    os.utime(copy / "img90.png", (1, 1))
    assert "'frames/img90.png' is not as listed then" in fails(config, "--resume")
    (copy / "img90.png").unlink()
    (copy / "img1.png").unlink()  # has its result already
    lines = run(config, "--resume")
    assert [line["name"] for line in lines[:-1]] == entries
    assert [line["seq"] for line in lines if line.get("status") == "failed"] == [90]


def write_video(path: Path, shift: int = 0) -> Path:
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 32))
    for number in range(200):
        video.write(np.full((32, 32, 3), (number + shift) % 256, np.uint8))
    video.release()
    return path


def test_a_video_that_was_exchanged_is_not_gone_on_with(tmp_path: Path) -> None:
    """Edge 18: after 612 results of one video another one was resumed, balanced."""
    video, other = write_video(tmp_path / "film.avi"), write_video(tmp_path / "other.avi", 100)
    config = slow_config(tmp_path, video, ingest=[{"path": str(video), "stream": "film"}])
    drained(config, 10)
    shutil.copy(video, tmp_path / "good.avi")
    os.replace(other, video)
    assert "film.avi has changed since the run began: it is another video" in fails(config, "--resume")
    shutil.copy(tmp_path / "good.avi", video)
    other = write_video(tmp_path / "other.avi", 100)
    pipeline = Pipeline(config, "--resume")
    pipeline.reaches(30)
    os.replace(other, video)
    os.kill(pipeline.pid_of("ingest"), signal.SIGKILL)
    assert pipeline.wait() == 0
    last, eos = [json.loads(line) for line in pipeline.results.read_bytes().splitlines()[-2:]]
    assert last["error"]["reason"] == "has changed since the run began: it is another video"
    assert (eos["failed"], eos["seq"]) == (1, last["seq"] + 1)


# ---- the results file in hostile hands -----------------------------------------------------------------------


@pytest.mark.parametrize("deed", ["removed", "rotated", "exchanged", "cut", "emptied"])
def test_what_befalls_the_file_ends_the_run_and_resume_makes_it_whole(
    deed: str, tmp_path: Path, frames: Path, calm: list[Any]
) -> None:
    """Edge 22: exit code 0, and 932 of 1,500 lines."""
    config = slow_config(tmp_path, frames)
    pipeline = Pipeline(config)
    pipeline.reaches(20)
    results = pipeline.results
    match deed:
        case "removed":
            results.unlink()
        case "rotated":
            results.rename(tmp_path / "results.jsonl.1")
        case "exchanged":
            shutil.copy(results, tmp_path / "copy")
            os.replace(tmp_path / "copy", results)
        case "cut":
            os.truncate(results, 1000)
        case "emptied":
            os.truncate(results, 0)
    assert pipeline.wait() == 1
    assert "continue with --resume, which makes it whole" in pipeline.said()
    assert run(config, "--resume") == calm


def test_a_sink_that_is_started_again_misses_what_was_published(tmp_path: Path, frames: Path, calm: list[Any]) -> None:
    """Edge 22: removed, and the sink killed before it could notice: the next one began a file of its own."""
    config = slow_config(tmp_path, frames)
    pipeline = Pipeline(config)
    pipeline.reaches(20)
    sink = pipeline.pid_of("sink")
    os.kill(sink, signal.SIGSTOP)
    pipeline.results.unlink()
    os.kill(sink, signal.SIGKILL)
    assert pipeline.wait() == 1
    assert "were published: continue with --resume" in pipeline.said()
    assert run(config, "--resume") == calm


def test_a_link_and_a_mode_stay(tmp_path: Path, frames: Path, calm: list[Any]) -> None:
    """Edge 22: going on after a drain replaced the link by a file, and 0600 by 0644."""
    config = slow_config(tmp_path, frames)
    real = tmp_path / "elsewhere" / "real.jsonl"
    real.parent.mkdir()
    real.touch(0o600)
    (tmp_path / "results.jsonl").symlink_to(real)
    drained(config, 10)
    assert run(config, "--resume") == calm
    assert (tmp_path / "results.jsonl").readlink() == real
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert sorted(path.name for path in real.parent.iterdir()) == ["real.jsonl", "real.jsonl.record"]


def test_what_is_no_results_file_is_refused(tmp_path: Path) -> None:
    """Edge 22: half a line of a diary was cut off as half a line of ours; a FIFO was waited for."""
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 3))
    results = tmp_path / "results.jsonl"
    results.write_text("Dear diary")
    for options in ([], ["--resume"]):
        assert "not a line of a results file" in fails(config, *options)
    results.unlink()
    os.mkfifo(results)
    for path, what in ((results, "a FIFO"), ("/dev/full", "a device"), (tmp_path, "is a directory")):
        for options in ([], ["--overwrite"], ["--resume"]):
            pipeline = Pipeline(config, *options, "--set", f"sink.results={path}")
            assert pipeline.wait(20) in (1, 3)
            assert what in pipeline.said()


def test_a_flipped_bit_is_found(tmp_path: Path, frames: Path, calm: list[Any]) -> None:
    """Edge 22: a digit that became another one in the file was not noticed."""
    config = slow_config(tmp_path, frames)
    results = drained(config, 10).results
    whole = bytearray(results.read_bytes())
    whole[whole.index(b'"confidence":') + len(b'"confidence":') + 2] ^= 1
    results.write_bytes(whole)
    assert "its checksum differs" in fails(config, "--resume")
    assert run(config, "--resume=anyway") == calm
