"""A frame that kills its worker hurts only itself: it is tried again, then it is a failed result; the run goes on."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from harness import BLUE, GREEN, RED, Pipeline, essences, make_config, make_frames, run, with_faults

FRAMES = 500


@pytest.mark.test_all
def test_five_among_five_hundred(tmp_path: Path) -> None:
    """Three segfault, one hangs, one exits: these five fail, each for its reason; the others are as ever."""
    places = random.Random(5).sample(range(1, FRAMES + 1), 5)
    poison = dict(zip(places, (RED, RED, RED, GREEN, BLUE), strict=True))
    frames = make_frames(tmp_path / "frames", FRAMES, poison)
    calm = run(make_config(tmp_path / "calm", frames))
    config = make_config(tmp_path / "deadly", frames, detect={"options": {"deadly": True}, "timeout_s": 0.6})
    pipeline = Pipeline(config)
    assert pipeline.wait() == 0, pipeline.said()
    assert pipeline.events[-1]["balanced"]
    (ledger,) = pipeline.events[-1]["streams"]
    assert (ledger["read"], ledger["ok"], ledger["failed"]) == (FRAMES, FRAMES - 5, 5)
    lines = essences(pipeline.results)
    assert [line["seq"] for line in lines] == list(range(1, FRAMES + 2))
    assert [line for line in lines if line.get("status") == "ok"] == [
        line for line in calm if line["seq"] not in poison and line["type"] == "frame"
    ]
    reasons = {line["seq"]: line["error"] for line in lines if line.get("status") == "failed"}
    assert reasons.keys() == poison.keys()
    for seq, error in reasons.items():
        assert error["stage"] == "detect"
        assert error["reason"].startswith("3 attempts: ")
        if poison[seq] == RED:
            assert "signal SIGSEGV (crash in native code); last log: " in error["reason"]
            assert "probe: about to touch address 0" in error["reason"]
        elif poison[seq] == GREEN:
            assert "timeout (busy for more than 0.6 s)" in error["reason"]
        else:
            assert "exit code 7" in error["reason"]
    results = pipeline.results.read_text().splitlines()
    attempts = {line["seq"]: line["attempts"] for line in map(json.loads, results) if "attempts" in line}
    assert {seq for seq, count in attempts.items() if count > 1} == poison.keys()  # nobody else is blamed
    quarantine = tmp_path / "deadly" / "quarantine"
    kept = {f"frames-{seq}-img{seq}.png" for seq in poison}
    assert {path.name for path in quarantine.iterdir()} == kept | {f"{name}.json" for name in kept}
    for seq in poison:
        assert (quarantine / f"frames-{seq}-img{seq}.png").read_bytes() == (frames / f"img{seq}.png").read_bytes()
        about = json.loads((quarantine / f"frames-{seq}-img{seq}.png.json").read_text())
        assert (about["seq"], about["name"], about["error"]) == (seq, f"img{seq}.png", reasons[seq])


def test_poison_for_a_later_stage(tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 30, {7: RED, 30: BLUE})
    config = make_config(
        tmp_path, frames, detect={"count": 1}, classify={"count": 2, "options": {"deadly": True}}, max_attempts=2
    )
    lines = run(config)
    failed = [line for line in lines if line.get("status") == "failed"]
    assert [(line["seq"], line["error"]["stage"], line["objects"]) for line in failed] == [
        (7, "classify", []),
        (30, "classify", []),
    ]
    assert "2 attempts: signal SIGSEGV" in failed[0]["error"]["reason"]
    assert "2 attempts: exit code 7" in failed[1]["error"]["reason"]
    assert (lines[-1]["ok"], lines[-1]["failed"]) == (28, 2)


@pytest.mark.parametrize(("seq", "how"), [(1, "segfault"), (60, "exit"), (200, "hang")])
def test_poison_for_ingest(seq: int, how: str, tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    """A file whose reading kills ingest: it is read by nobody any more; the first, one in the middle, the last."""
    env = with_faults(tmp_path, {"role": "ingest", "at": "load", "seq": seq, "how": how, "times": 100})
    config = make_config(
        tmp_path,
        [],
        ingest=[{"path": str(frames), "stream": "frames", "timeout_s": 0.6}],
        detect={"count": 1},
        classify={"count": 1},
    )
    lines = run(config, env=env)
    (failed,) = [line for line in lines if line.get("status") == "failed"]
    assert (failed["seq"], failed["name"], failed["error"]["stage"]) == (seq, f"img{seq}.png", "ingest")
    words = {"segfault": "signal SIGSEGV", "exit": "exit code 7", "hang": "timeout (busy for more than 0.6 s)"}
    assert failed["error"]["reason"].startswith(f"3 attempts: {words[how]}")
    assert [line for line in lines[:-1] if line["seq"] != seq] == [line for line in calm[:-1] if line["seq"] != seq]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["close_files", "abort_sending"])
def test_a_frame_whose_worker_dies_as_it_passes_it_on(
    how: str, tmp_path: Path, frames: Path, calm: list[dict[str, Any]]
) -> None:
    """Edge 20: the model closes file descriptors, or overwrites memory: the worker is through with the frame, and dies
    as it sends."""
    fault = {"role": "detect", "at": "detect", "where": "after", "seq": 60, "how": how, "times": 1000}
    pipeline = Pipeline(make_config(tmp_path, frames), env=with_faults(tmp_path, fault))
    assert pipeline.wait() == 0, pipeline.said()
    lines = essences(pipeline.results)
    (failed,) = [line for line in lines if line.get("status") == "failed"]
    assert (failed["seq"], failed["error"]["stage"]) == (60, "detect")
    assert failed["error"]["reason"].startswith("3 attempts: ")
    assert [line for line in lines[:-1] if line["seq"] != 60] == [line for line in calm[:-1] if line["seq"] != 60]
    assert pipeline.said().count("worker.lost") <= 6  # before the first is careful, neighbours may be suspected once


@pytest.mark.nightly
def test_a_model_that_crashes_after_every_frame_ends_the_run(tmp_path: Path, frames: Path) -> None:
    """Edge 20: a thread of the model crashes a moment after each frame; it was 753 restarts in 40 s, without end."""
    fault = {"role": "detect", "at": "detect", "where": "after", "seq": 0, "how": "segfault_soon", "times": 1000}
    config = make_config(tmp_path, frames, detect={"count": 1, "options": {"nap_ms": 5}})
    pipeline = Pipeline(config, env=with_faults(tmp_path, fault))
    assert pipeline.wait() == 1, pipeline.said()
    assert "detect-0 keeps dying, whatever the frame: signal SIGSEGV" in pipeline.said()
    assert pipeline.said().count("worker.lost") < 40


def test_strict_says_that_frames_failed(tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 5, {3: BLUE})
    options = {"count": 1, "options": {"deadly": True}}
    pipeline = Pipeline(make_config(tmp_path, frames, detect=options, classify={"count": 1}), "--strict")
    assert pipeline.wait() == 1
    assert pipeline.events[-1]["balanced"]


def test_every_frame_is_poison(tmp_path: Path) -> None:
    """The run comes to its end all the same, and does not become a fork bomb on the way."""
    frames = make_frames(tmp_path / "frames", 3, dict.fromkeys(range(1, 4), BLUE))
    options = {"count": 1, "options": {"deadly": True}}
    pipeline = Pipeline(make_config(tmp_path, frames, detect=options, classify={"count": 1}, max_attempts=2))
    assert pipeline.wait() == 0, pipeline.said()
    (ledger,) = pipeline.events[-1]["streams"]
    assert (ledger["read"], ledger["ok"], ledger["failed"]) == (3, 0, 3)
    assert pipeline.said().count("worker.lost") == 6
