"""Whole runs: the same results whatever the counts, the end is the end, nothing left behind."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Pipeline, essences, make_config, make_frames, run, until

from zpipe.engines.local import ZPIPE
from zpipe.errors import NotRunning

RAW_SUBSCRIBER = """
import json, sys, zmq
sub = zmq.Context().socket(zmq.SUB)
sub.subscribe(b"results/")
sub.connect(sys.argv[1])
while (message := json.loads(sub.recv_multipart()[1]))["type"] != "eos" or print(json.dumps(message)):
    print(json.dumps(message), flush=True)
"""


def test_results_do_not_depend_on_the_counts(tmp_path: Path) -> None:
    streams = [make_frames(tmp_path / "a", 120), make_frames(tmp_path / "b", 45)]
    runs = [
        run(
            make_config(
                tmp_path / f"{detect}x{classify}", streams, detect={"count": detect}, classify={"count": classify}
            )
        )
        for detect, classify in ((1, 1), (2, 3), (4, 2))
    ]
    assert runs[0] == runs[1] == runs[2]
    for stream, count in (("a", 120), ("b", 45)):
        lines = [line for line in runs[0] if line["stream"] == stream]
        assert [line["seq"] for line in lines] == list(range(1, count + 2))
        assert lines[-1] == {
            "type": "eos", "schema": 1, "stream": stream, "seq": count + 1, "ok": count, "failed": 0, "dropped": 0,
        }  # fmt: skip
        assert [line["name"] for line in lines[:-1]] == [f"img{seq}.png" for seq in range(1, count + 1)]


def test_one_frame(tmp_path: Path) -> None:
    lines = run(make_config(tmp_path, make_frames(tmp_path / "one", 1) / "img1.png"))
    assert [line["type"] for line in lines] == ["frame", "eos"]


def test_no_frames(tmp_path: Path) -> None:
    pipeline = Pipeline(make_config(tmp_path, make_frames(tmp_path / "none", 0)))
    assert pipeline.wait() == 0
    (eos,) = essences(pipeline.results)
    assert (eos["seq"], eos["ok"]) == (1, 0)


def test_three_thousand_frames(tmp_path: Path) -> None:
    lines = run(make_config(tmp_path, make_frames(tmp_path / "many", 3000)))
    assert [line["seq"] for line in lines] == list(range(1, 3002))


def test_without_a_classify_stage(tmp_path: Path) -> None:
    lines = run(make_config(tmp_path, make_frames(tmp_path / "frames", 5), classify=None))
    assert all(o["classification"] == [] for line in lines[:-1] for o in line["objects"])


def test_a_raw_subscriber_in_six_lines_gets_everything(tmp_path: Path) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 300))
    pipeline = Pipeline(config, "--wait-subscribers", "1")
    endpoint = pipeline.started()["publish"]
    subscriber = subprocess.Popen([sys.executable, "-c", RAW_SUBSCRIBER, endpoint], stdout=subprocess.PIPE, text=True)
    said, _ = subscriber.communicate(timeout=60)
    assert pipeline.wait() == 0, pipeline.said()
    assert said.splitlines() == [json.dumps(json.loads(line)) for line in pipeline.results.read_text().splitlines()]


def test_several_classify_stages(tmp_path: Path) -> None:
    stages = [{"name": "colour", "model": "probe:Classify"}, {"name": "kind", "model": "probe:Classify"}]
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 20), classify=stages)
    for line in run(config)[:-1]:
        assert [c["stage"] for c in line["objects"][0]["classification"]] == ["colour", "kind"]


def test_every_published_line_is_valid(tmp_path: Path) -> None:
    import jsonschema

    schema = json.loads((Path(ZPIPE[1]) / "results.schema.json").read_text())
    (tmp_path / "frames").mkdir()
    frames = make_frames(tmp_path / "frames", 5)
    (frames / "broken.png").write_bytes(b"no picture")
    pipeline = Pipeline(make_config(tmp_path, frames))
    assert pipeline.wait() == 0
    for line in pipeline.results.read_text().splitlines():
        jsonschema.validate(json.loads(line), schema)


def test_strict_turns_a_failed_frame_into_exit_code_1(tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 3)
    (frames / "broken.png").write_bytes(b"no picture")
    assert Pipeline(make_config(tmp_path / "kind", frames)).wait() == 0
    assert Pipeline(make_config(tmp_path / "strict", frames), "--strict").wait() == 1


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c(tmp_path: Path, signals: int) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 3000), detect={"options": {"work_ms": 5}})
    pipeline = Pipeline(config)
    pipeline.started()
    until(lambda: pipeline.results.read_bytes().count(b"\n") > 50)
    for number in range(signals):
        pipeline.process.send_signal(2)
        if number + 1 < signals:
            until(lambda: pipeline.status()["state"] == "draining")
    assert pipeline.wait() == signals - 1
    lines = essences(pipeline.results)
    assert len(lines) < 3000
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1].get("drained", False) is (signals == 1)


def test_a_slow_start_is_waited_for(tmp_path: Path) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 5), classify={"options": {"start_ms": 1500}})
    pipeline = Pipeline(config)
    pipeline.started()
    assert pipeline.status()["streams"][0]["read"] == 0
    assert pipeline.wait() == 0


def test_as_few_frames_are_in_flight_as_the_workers_need(tmp_path: Path) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 600), detect={"options": {"work_ms": 10}})
    pipeline = Pipeline(config)
    pipeline.started()
    most = 0
    while pipeline.process.poll() is None and len(pipeline.results.read_bytes()) < 50_000:
        with contextlib.suppress(NotRunning):
            most = max(most, pipeline.status()["in_flight"])
    assert 0 < most <= 2 * 3 + 2 * 17 + 2  # two workers of two frames and one more, two that are quick, one being read
    pipeline.process.terminate()
    assert pipeline.wait() == 0
