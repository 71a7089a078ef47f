"""The `bench` command end to end, with models that do nothing: all figures, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from harness import make_config, make_frames, until

from zpipe.transport.run_folder import SHARED_MEMORY

pytestmark = pytest.mark.test_all


def bench(config: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "zpipe", "bench", str(config), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=config.parent,
        env={**os.environ, "TMPDIR": str(config.parent)},
        preexec_fn=confine,
    )  # fmt: skip


def confine() -> None:
    """Called in the process: one core, on which there are two settings to try instead of five; and Ctrl-C counts, which
    who runs the tests in the background may ignore, and what is ignored is inherited."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def left_behind(pid: int) -> list[str]:
    """Processes and folders of that bench."""
    found = [str(path) for path in SHARED_MEMORY.glob(f"*bench-{pid}*")]
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if f"bench-{pid}" in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


@pytest.mark.timeout(240)
def test_a_config_is_measured(tmp_path: Path) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 20), detect={"options": {"work_ms": 2}})
    process = bench(config, "--seconds", "0.5", "--json", "--plot", "report.html")
    out, said = process.communicate(timeout=220)
    assert process.returncode == 0, said
    report = json.loads(out)
    assert set(report["bare"]["cost_ms"]) == {"read", "decode", "detect", "classify"}
    assert report["bare"]["cost_ms"]["detect"] >= 2
    assert report["bound"] == pytest.approx(report["cores"] / report["bare"]["total_ms"] * 1e3)
    assert [(run["counts"], run["auto"]) for run in report["runs"]] == [
        ({"detect": 1, "classify": 1}, False), ({"detect": 1, "classify": 1}, True),
    ]  # fmt: skip
    for run in report["runs"]:
        assert run["frames_per_s"] > 0
        assert run["cpu_ms"] > 2
        assert run["latency_ms"]["p50"] <= run["latency_ms"]["p95"] <= run["latency_ms"]["p99"]
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert not left_behind(process.pid)
    assert not (tmp_path / "results.jsonl").exists(), "the config's own results file is not touched"


@pytest.mark.timeout(240)
def test_a_short_video_is_gone_through_again_and_again(tmp_path: Path) -> None:
    """Edge 10: "only 0 frames could be measured", whatever --seconds was."""
    video = tmp_path / "it's short.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for level in range(12):
        writer.write(np.full((48, 64, 3), 20 * level, np.uint8))
    writer.release()
    config = make_config(
        tmp_path, video, detect={"options": {"work_ms": 2}}, ingest=[{"path": str(video), "stream": "v"}]
    )
    process = bench(config, "--seconds", "0.5", "--json")
    out, said = process.communicate(timeout=220)
    assert process.returncode == 0, said
    assert all(run["frames"] > 12 for run in json.loads(out)["runs"])
    assert not left_behind(process.pid)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 20))
    process = bench(config, "--seconds", "1")
    until(lambda: any("worker" in line for line in left_behind(process.pid)), 60, "a run of it")
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == (-number if number == signal.SIGKILL else 130), said
    until(lambda: not [line for line in left_behind(process.pid) if "worker" in line], 10, "its workers are gone")
    if number != signal.SIGKILL:  # what that leaves, the next start clears
        assert not left_behind(process.pid)
        assert not list(tmp_path.glob("zpipe-bench-*"))


def test_a_model_that_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 3), detect={"model": "nowhere:Detect"})
    process = bench(config)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "no module nowhere" in said


def test_a_plot_of_another_kind_is_refused_at_once(tmp_path: Path) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 3))
    began = time.monotonic()
    process = bench(config, "--plot", "report.pdf")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert ".png, .svg, .html" in said
    assert time.monotonic() - began < 30
    assert os.listdir(tmp_path)
