"""Many sources in one ingest process: what befalls one of them is no other one's business."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from harness import Pipeline, essences, make_config, make_frames, run, until, with_faults

NAMES = ("quick", "poor", "slow")


def make_sources(tmp_path: Path, timeout_s: float = 60.0, **changes: Any) -> Path:
    """Three folders of 40 pictures; that of `poor` has 60, from img101 on."""
    folders = [make_frames(tmp_path / name, 60 if name == "poor" else 40) for name in NAMES]
    for seq in range(1, 61):
        (tmp_path / "poor" / f"img{seq}.png").rename(tmp_path / "poor" / f"img{100 + seq}.png")
    entries = [{"path": str(path), "stream": path.name, "timeout_s": timeout_s} for path in folders]
    one = {"count": 1}
    return make_config(tmp_path / "run", [], ingest=entries, detect={**one, **changes}, classify=one)


def by_stream(results: Path) -> dict[str, list[dict[str, Any]]]:
    lines = essences(results)
    return {name: [line for line in lines if line["stream"] == name] for name in NAMES}


def test_a_frame_that_hangs_costs_the_other_streams_nothing(tmp_path: Path) -> None:
    """Its process is killed, and from then on it is read by one of its own; the others are still read by one."""
    env = with_faults(tmp_path, {"role": "ingest", "at": "load", "seq": 120, "how": "hang", "times": 100})
    pipeline = Pipeline(make_sources(tmp_path, 0.6), env=env)
    assert pipeline.wait() == 0, pipeline.said()
    found = by_stream(pipeline.results)
    for name in NAMES:
        seqs = [line["seq"] for line in found[name]]
        assert seqs == list(range(1, len(seqs) + 1))
        assert found[name][-1]["type"] == "eos"
    (failed,) = [line for lines in found.values() for line in lines if line.get("status") == "failed"]
    assert (failed["stream"], failed["seq"], failed["error"]["stage"]) == ("poor", 20, "ingest")
    assert failed["error"]["reason"].startswith("3 attempts: timeout (busy for more than 0.6 s)")
    said = pipeline.said()
    assert said.count("source.parted stream=poor") == 1
    assert said.count("worker.lost worker=ingest ") == 1
    assert said.count("worker.lost worker=ingest-poor ") == 2


def test_a_source_that_hangs_as_it_is_opened_holds_up_no_other(tmp_path: Path) -> None:
    """A mount that is gone: nothing of it is to blame yet, but the others go on."""
    env = with_faults(tmp_path, {"role": "ingest", "at": "open", "seq": 60, "how": "hang", "times": 1})
    pipeline = Pipeline(make_sources(tmp_path, 0.6), env=env)
    assert pipeline.wait() == 0, pipeline.said()
    assert {name: len(lines) for name, lines in by_stream(pipeline.results).items()} == {
        "quick": 41, "poor": 61, "slow": 41,
    }  # fmt: skip
    assert not [line for line in essences(pipeline.results) if line.get("status") == "failed"]
    assert pipeline.said().count("source.parted stream=poor") == 1
    assert pipeline.events[-1]["balanced"]


@pytest.mark.parametrize("how", ["kill", "segfault"])
def test_an_ingest_that_is_killed_goes_on_with_all_of_its_streams(how: str, tmp_path: Path) -> None:
    env = with_faults(tmp_path, {"role": "ingest", "at": "load", "seq": 20, "how": how, "times": 2})
    pipeline = Pipeline(make_sources(tmp_path), env=env)
    assert pipeline.wait() == 0, pipeline.said()
    for name, lines in by_stream(pipeline.results).items():
        assert [line["seq"] for line in lines] == list(range(1, 62 if name == "poor" else 42))
        assert all(line.get("status") != "failed" for line in lines)
    assert "source.parted" not in pipeline.said()


def test_many_streams_survive_whatever_is_killed(tmp_path: Path) -> None:
    """Results are those of a run that nobody has disturbed."""
    folders = [make_frames(tmp_path / f"s{number}", 30) for number in range(10)]
    calm = run(make_config(tmp_path / "calm", folders, classify={"count": 1}))
    napping = {"count": 2, "options": {"nap_ms": 5}}
    pipeline = Pipeline(make_config(tmp_path / "shaken", folders, detect=napping, classify={"count": 1}))
    for number, victim in enumerate(("ingest", "sink", "ingest", "detect-0", "ingest", "sink")):
        pipeline.reaches(10 + 20 * number)
        os.kill(pipeline.pid_of(victim), signal.SIGKILL)
    assert pipeline.wait() == 0, pipeline.said()
    assert essences(pipeline.results) == calm


def test_all_are_read_by_one_process_in_turn(tmp_path: Path) -> None:
    """None is through before the others have begun."""
    pipeline = Pipeline(make_sources(tmp_path, options={"nap_ms": 5}))
    pipeline.started()
    until(lambda: pipeline.count() >= 20)
    status = pipeline.status()
    assert [stage["stage"] for stage in status["stages"]] == ["ingest", "detect", "classify", "sink"]
    assert max(s["read"] for s in status["streams"]) - min(s["read"] for s in status["streams"]) <= 1
    assert [stream["total"] for stream in status["streams"]] == [40, 60, 40]
    pipeline.process.send_signal(signal.SIGINT)
    assert pipeline.wait() == 0
    assert pipeline.events[-1]["drained"]


def test_what_is_missing_ends_the_start_with_its_name(tmp_path: Path) -> None:
    """It was there when the config was read."""
    env = with_faults(tmp_path, {"role": "ingest", "at": "vanish", "seq": 60, "how": "nap", "times": 1})
    pipeline = Pipeline(make_sources(tmp_path), env=env)
    began = time.monotonic()
    assert pipeline.wait() == 3
    assert "ingest: stream poor: ingest path" in pipeline.said()
    assert "no such file or directory" in pipeline.said()
    assert time.monotonic() - began < 20
