"""Frames from elsewhere, whole: `zpipe send`, the class and a raw client at a pipeline that listens."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from harness import ZPIPE, Pipeline, essences, free_port, make_config, make_frames, until

import zpipe

ROOT = Path(__file__).resolve().parents[2]
COUNT = 300


@pytest.fixture
def port() -> int:
    return free_port()


def listening(folder: Path, port: int, **changes: Any) -> Path:
    """A config of a pipeline that listens."""
    entry = {"listen": f"tcp://127.0.0.1:{port}", "stream": "gate"}
    return make_config(folder, [], ingest=[entry], **changes)


def send(frames: Path, port: int, *options: str, code: int = 0) -> str:
    """Run `zpipe send`; what it says."""
    command = [*ZPIPE, "send", str(frames), "--to", f"tcp://127.0.0.1:{port}", "--timeout", "30", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == code, done.stderr
    return done.stderr


def stop(pipeline: Pipeline) -> None:
    pipeline.process.send_signal(signal.SIGINT)
    assert pipeline.wait() == 0, pipeline.said()


def of_stream(path: Path, stream: str) -> list[dict[str, Any]]:
    return [line for line in essences(path) if line["stream"] == stream]


def test_three_kinds_of_senders_at_once(tmp_path: Path, port: int) -> None:
    """Three complete, ordered, separate streams, each back at its sender as it was published."""
    frames = make_frames(tmp_path / "frames", COUNT)
    pipeline = Pipeline(listening(tmp_path, port))
    names = [f"img{seq}.png" for seq in range(1, COUNT + 1)]
    seen: dict[str, list[str]] = {}

    def with_class() -> None:
        with zpipe.send(f"tcp://127.0.0.1:{port}", name="carol", timeout_s=30) as sender:
            for name in names:
                sender.put(frames / name)
            sender.end()
            seen["carol"] = [result.name for result in sender.results()]

    def with_raw_client() -> None:
        seen["raw"] = run_raw_client(tmp_path, frames, port)

    def with_subscriber() -> None:
        for result in zpipe.subscribe(pipeline.started()["publish"], from_start=True, timeout_s=30):
            subscribed.setdefault(result.stream, []).append(result.seq)

    subscribed: dict[str, list[int]] = {}
    subscriber = threading.Thread(target=with_subscriber)
    subscriber.start()
    threads = [threading.Thread(target=work) for work in (with_class, with_raw_client)]
    for thread in threads:
        thread.start()
    said = send(frames, port, "--as", "alice", "--out", str(tmp_path / "back.jsonl"), "--strict")
    for thread in threads:
        thread.join(60)
    assert f"gate.alice: {COUNT} frames" in said
    stop(pipeline)
    subscriber.join(30)
    assert subscribed == {f"gate.{name}": list(range(1, COUNT + 1)) for name in ("alice", "bob", "carol")}
    published = [line for line in pipeline.results.read_bytes().splitlines() if b'"gate.alice"' in line]
    assert (tmp_path / "back.jsonl").read_bytes().splitlines() == published
    assert seen == {"carol": names, "raw": names}
    for stream in ("gate.alice", "gate.carol", "gate.bob"):
        lines = of_stream(pipeline.results, stream)
        assert [line["seq"] for line in lines] == list(range(1, COUNT + 2))
        assert [line["name"] for line in lines[:-1]] == names
        assert lines[-1]["type"] == "eos"
        assert lines[-1]["ok"] == COUNT


def run_raw_client(folder: Path, frames: Path, port: int) -> list[str]:
    """The client of the README for other languages, on these frames."""
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    text = next(block for block in blocks if "zmq.DEALER" in block)
    (folder / "client.py").write_text(text.replace("5570", str(port)).replace('"photos', f'"{frames}'))
    done = subprocess.run(
        [sys.executable, str(folder / "client.py")], capture_output=True, text=True, timeout=90, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return [line.split()[0] for line in done.stdout.splitlines()]


def test_the_same_command_goes_on_after_a_kill(tmp_path: Path, port: int) -> None:
    """kill -9 of `zpipe send`: the next one sends what is missing, and has all results."""
    frames = make_frames(tmp_path / "frames", COUNT)
    pipeline = Pipeline(listening(tmp_path, port, detect={"count": 1, "options": {"nap_ms": 5}}))
    out = tmp_path / "back.jsonl"
    command = [*ZPIPE, "send", str(frames), "--to", f"tcp://127.0.0.1:{port}", "--as", "alice", "--out", str(out)]
    for count in (30, 100, 200):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            pipeline.reaches(count)
            process.kill()
    said = send(frames, port, "--as", "alice", "--out", str(out))
    assert "going on with frame" in said
    assert out.read_bytes().splitlines() == pipeline.results.read_bytes().splitlines()
    assert [line["seq"] for line in essences(out)] == list(range(1, COUNT + 2))
    assert f"{COUNT} frames" in send(frames, port, "--as", "alice", "--out", str(out))  # it has been done already
    (frames / "img301.png").write_bytes((frames / "img1.png").read_bytes())
    assert "sending as gate.alice.2" in send(frames, port, "--as", "alice")  # another list is another upload
    stop(pipeline)


def test_a_file_that_cannot_be_read_is_a_failed_result(tmp_path: Path, port: int) -> None:
    frames = make_frames(tmp_path / "frames", 5)
    (frames / "img3.png").unlink()
    (frames / "img3.png").mkdir()
    (frames / "img4.png").write_bytes(b"nonsense")
    (tmp_path / "list.txt").write_text("\n".join(f"frames/img{seq}.png" for seq in range(1, 6)))
    pipeline = Pipeline(listening(tmp_path, port))
    out, drawn = tmp_path / "back.jsonl", tmp_path / "drawn"
    send(tmp_path / "list.txt", port, "--as", "a", "--out", str(out), "--draw", str(drawn), "--strict", code=1)
    lines = essences(out)
    assert [line["status"] for line in lines[:-1]] == ["ok", "ok", "failed", "failed", "ok"]
    assert lines[2]["error"] == {"stage": "ingest", "reason": "is a directory"}
    assert len(list(drawn.rglob("*.png"))) == 5
    stop(pipeline)


def test_stopping_the_pipeline_ends_who_sends(tmp_path: Path, port: int) -> None:
    """`zpipe stop` drains: what was taken has its results, and the sender is told that no more is taken."""
    frames = make_frames(tmp_path / "frames", COUNT)
    pipeline = Pipeline(listening(tmp_path, port, detect={"count": 1, "options": {"nap_ms": 10}}))
    out = tmp_path / "back.jsonl"
    command = [*ZPIPE, "send", str(frames), "--to", f"tcp://127.0.0.1:{port}", "--as", "alice", "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        pipeline.reaches(30)
        stop(pipeline)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(20) == 1
    assert "stream gate.alice was ended" in said
    assert out.read_bytes().splitlines() == pipeline.results.read_bytes().splitlines()
    assert json.loads(out.read_bytes().splitlines()[-1])["drained"] is True


@pytest.mark.test_all
def test_up_is_killed_and_resumed_while_somebody_sends(tmp_path: Path, port: int) -> None:
    frames = make_frames(tmp_path / "frames", COUNT)
    config = listening(tmp_path, port, detect={"count": 1, "options": {"nap_ms": 4}})
    pipeline = Pipeline(config)
    out = tmp_path / "back.jsonl"
    command = [*ZPIPE, "send", str(frames), "--to", f"tcp://127.0.0.1:{port}", "--as", "alice", "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for count in (40, 120):
            pipeline.reaches(count)
            pipeline.kill()
            pipeline = Pipeline(config, "--resume")
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    stop(pipeline)
    assert out.read_bytes().splitlines() == pipeline.results.read_bytes().splitlines()
    assert [line["seq"] for line in essences(out)] == list(range(1, COUNT + 2))


@pytest.mark.test_all
def test_any_process_is_killed_while_somebody_sends(tmp_path: Path, port: int) -> None:
    """Gate, sink and model workers in turn: the results are those of an undisturbed run."""
    frames = make_frames(tmp_path / "frames", COUNT)
    calm = Pipeline(listening(tmp_path / "calm", port))
    send(frames, port, "--as", "alice")
    stop(calm)
    pipeline = Pipeline(listening(tmp_path / "wild", port, detect={"count": 2, "options": {"nap_ms": 8}}))
    out = tmp_path / "back.jsonl"
    command = [*ZPIPE, "send", str(frames), "--to", f"tcp://127.0.0.1:{port}", "--as", "alice", "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for turn, worker in enumerate(["gate", "sink", "detect-0", "gate", "classify-1", "sink", "gate", "detect-1"]):
            pipeline.reaches(20 + 25 * turn)
            os.kill(pipeline.pid_of(worker), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    stop(pipeline)
    assert essences(pipeline.results) == essences(calm.results) == essences(out)


@pytest.mark.test_all
def test_a_video_is_sent(tmp_path: Path, port: int, data: Path) -> None:
    """Its frames travel as they are: the results are those of the file beside the pipeline."""
    video = min(data.glob("videos/**/*.mp4"), key=lambda path: path.stat().st_size)
    beside = Pipeline(make_config(tmp_path / "beside", [], ingest=[{"path": str(video), "stream": "v", "every": 10}]))
    assert beside.wait() == 0
    pipeline = Pipeline(listening(tmp_path, port))
    out = tmp_path / "back.jsonl"
    send(video, port, "--every", "10", "--as", "v", "--out", str(out))
    stop(pipeline)

    def without_stream(path: Path) -> list[dict[str, Any]]:
        return [{**line, "stream": ""} for line in essences(path)]

    assert without_stream(out) == without_stream(beside.results)
    assert until(lambda: len(essences(out)) > 2)
