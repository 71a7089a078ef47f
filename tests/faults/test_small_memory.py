"""A small /dev/shm, such as Docker's of 64 MB: memory is waited for, and what can never fit is said."""

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from harness import Pipeline, essences, make_config

MAY_MOUNT = subprocess.run(
    ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/dev/shm"], stderr=subprocess.DEVNULL
).returncode
pytestmark = [pytest.mark.test_all, pytest.mark.skipif(MAY_MOUNT != 0, reason="this container may not mount")]


def photos(folder: Path, count: int, width: int, height: int) -> Path:
    """JPEGs that differ, with as many bytes as a camera's."""
    folder.mkdir()
    noise = np.random.default_rng(5).integers(0, 90, (height // 4, width // 4, 3), np.uint8)
    for seq in range(1, count + 1):
        picture = cv2.resize(noise + np.uint8(seq * 10), (width, height), interpolation=cv2.INTER_LINEAR)
        assert cv2.imwrite(str(folder / f"img{seq}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return folder


def test_twelve_photos_of_12_megapixels_in_64_mb(tmp_path: Path) -> None:
    """Edge 5: ten of them were `failed`, exit code 0."""
    frames = photos(tmp_path / "photos", 12, 4000, 3000)
    calm = make_config(tmp_path / "calm", frames)
    Pipeline(calm).wait()
    pipeline = Pipeline(make_config(tmp_path / "small", frames), shared="64m")
    assert pipeline.wait() == 0, pipeline.said()
    (ledger,) = pipeline.events[-1]["streams"]
    assert (ledger["ok"], ledger["failed"]) == (12, 0)
    assert essences(pipeline.results) == essences(tmp_path / "calm" / "results.jsonl")
    assert "worker.lost" not in pipeline.said()


def test_two_streams_share_what_there_is(tmp_path: Path) -> None:
    """Edge 5: who waits holds nothing that another waits for."""
    sources = [photos(tmp_path / name, 6, 4000, 3000) for name in ("left", "right")]
    pipeline = Pipeline(make_config(tmp_path, sources), shared="64m")
    assert pipeline.wait() == 0, pipeline.said()
    assert [(s["ok"], s["failed"]) for s in pipeline.events[-1]["streams"]] == [(6, 0), (6, 0)]


def test_a_worker_may_die_meanwhile(tmp_path: Path) -> None:
    frames = photos(tmp_path / "photos", 6, 4000, 3000)
    pipeline = Pipeline(make_config(tmp_path, frames, detect={"options": {"nap_ms": 200}}), shared="64m")
    pipeline.reaches(2)
    for child in pipeline.children():
        subprocess.run(["kill", "-9", str(child)])
    assert pipeline.wait() == 0, pipeline.said()
    (ledger,) = pipeline.events[-1]["streams"]
    assert (ledger["ok"], ledger["failed"]) == (6, 0)


def test_what_can_never_fit_stops_the_run_and_says_how_much_it_needs(tmp_path: Path) -> None:
    """Edge 5: found when its header is read."""
    frames = photos(tmp_path / "photos", 2, 6000, 4000)
    pipeline = Pipeline(make_config(tmp_path, frames), shared="64m")
    assert pipeline.wait() == 1
    assert "ingest: a frame needs 7" in pipeline.said()
    assert "MB of shared memory, and /dev/shm has 67.1 MB in all" in pipeline.said()
    assert "--shm-size" in pipeline.said()
