"""Streams that others open while a pipeline runs, through real processes: the gate's is tests/models/gate.py."""

import json
import os
import signal
from pathlib import Path

import pytest
from harness import MODELS, Pipeline, essences, make_config, make_frames, until

NAMES = ("gate.alice", "gate.bob", "gate.alice.2")


def make(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A config that listens, and reads a folder too; the environment in which three uploads are opened."""
    uploads = [
        ("alice", "A", make_frames(tmp_path / "a", 60)),
        ("bob", "A", make_frames(tmp_path / "b", 80)),
        ("alice", "B", make_frames(tmp_path / "c", 40)),
    ]
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text((MODELS / "gate.py").read_text())
    (site / "uploads.json").write_text(json.dumps([(*rest, str(folder)) for *rest, folder in uploads]))
    entries = [
        {"path": str(make_frames(tmp_path / "own", 20)), "stream": "own"},
        {"path": str(tmp_path), "stream": "gate"},
    ]
    detect = {"count": 2, "options": {"nap_ms": 5}}
    config = make_config(tmp_path / "run", [], ingest=entries, detect=detect, classify={"count": 1})
    return config, {"PYTHONPATH": str(site)}


def ends(results: Path) -> int:
    return results.read_bytes().count(b'"type":"eos"') if results.exists() else 0


def is_complete(results: Path) -> None:
    """Each stream is there whole, in order, with its own frames."""
    lines = essences(results)
    for name, count in {"own": 20, "gate.alice": 60, "gate.bob": 80, "gate.alice.2": 40}.items():
        found = [line for line in lines if line["stream"] == name]
        assert [line["seq"] for line in found] == list(range(1, count + 2)), name
        assert [line["name"] for line in found[:-1]] == [f"img{seq}.png" for seq in range(1, count + 1)]
        assert (found[-1]["type"], found[-1]["ok"], "drained" in found[-1]) == ("eos", count, False)


@pytest.mark.parametrize("victims", [(), ("gate", "sink", "gate", "detect-0", "sink", "gate")])
def test_streams_that_others_open(victims: tuple[str, ...], tmp_path: Path) -> None:
    """The run goes on when all have ended, until it is stopped; whoever is killed, nothing is lost or doubled."""
    config, env = make(tmp_path)
    pipeline = Pipeline(config, env=env)
    for number, victim in enumerate(victims):
        pipeline.reaches(15 + 20 * number)
        os.kill(pipeline.pid_of(victim), signal.SIGKILL)
    until(lambda: ends(pipeline.results) == 4, what="four ends")
    status = pipeline.status()
    assert status["state"] == "running"
    assert {stream["stream"] for stream in status["streams"]} == {"own", *NAMES}
    pipeline.process.send_signal(signal.SIGINT)
    assert pipeline.wait() == 0, pipeline.said()
    assert pipeline.events[-1]["balanced"]
    is_complete(pipeline.results)


def test_after_a_crash_each_upload_goes_on_with_its_own_stream(tmp_path: Path) -> None:
    config, env = make(tmp_path)
    for count in (30, 90):
        pipeline = Pipeline(config, *(["--resume"] if count > 30 else []), env=env)
        pipeline.reaches(count)
        pipeline.kill()
    pipeline = Pipeline(config, "--resume", env=env)
    until(lambda: ends(pipeline.results) == 4, what="four ends")
    pipeline.process.send_signal(signal.SIGINT)
    assert pipeline.wait() == 0, pipeline.said()
    is_complete(pipeline.results)


def test_a_subscriber_sees_streams_that_begin_later_and_stays_until_the_run_ends(tmp_path: Path) -> None:
    import zpipe

    config, env = make(tmp_path)
    pipeline = Pipeline(config, "--wait-subscribers", "1", env=env)
    seen: dict[str, list[int]] = {}
    for number, result in enumerate(zpipe.subscribe(pipeline.started()["publish"], from_start=True, timeout_s=30), 1):
        seen.setdefault(result.stream, []).append(result.seq)
        if number == 200:
            pipeline.process.send_signal(signal.SIGINT)
    assert {name: len(seqs) for name, seqs in seen.items()} == {
        "own": 20, "gate.alice": 60, "gate.bob": 80, "gate.alice.2": 40,
    }  # fmt: skip
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in seen.values())
    assert pipeline.wait() == 0
