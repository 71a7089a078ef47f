"""`zpipe subscribe` as a user has it: a file, nobody there, a pipeline that dies (Edge 15)."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from harness import Pipeline, free_port, make_config, make_frames, until

from zpipe.engines.local import ZPIPE
from zpipe.transport.run_folder import clear_dead_runs


def subscribe(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **options}
    command = [*ZPIPE, "subscribe", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, check=False)


class Listener:
    """The command, and what it says while it runs."""

    def __init__(self, out: Path, *arguments: str) -> None:
        with open(out, "wb") as file:
            self.process = subprocess.Popen(
                [*ZPIPE, "subscribe", *arguments], stdout=file, stderr=subprocess.PIPE, text=True
            )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.said.append(line)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        self._reader.join(10)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    pipeline = Pipeline(make_config(tmp_path, make_frames(tmp_path / "frames", 20)))
    assert pipeline.wait() == 0, pipeline.said()
    return pipeline.results


def test_a_file(results: Path, tmp_path: Path) -> None:
    done = subscribe(str(results))
    assert (done.returncode, done.stdout) == (0, results.read_text()), done.stderr
    done = subscribe(str(results), "--format", "csv", "--from", "19", "--stream", "frames", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[1] for line in done.stdout.splitlines()] == ["seq", "19", "20"]
    assert "classify: " in done.stdout
    for arguments, words in (
        ((str(results), "--stream", "other"), "nothing of stream 'other'"),
        ((str(tmp_path / "frames" / "img1.png"),), "img1.png:1: not a result"),
        (("127.0.0.1:5560",), "no such results file, and no endpoint either"),
    ):
        done = subscribe(*arguments)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_nobody_there_is_said(tmp_path: Path) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    began = time.monotonic()
    listener = Listener(tmp_path / "out", endpoint)
    until(lambda: listener.said, 20)
    assert f"nobody answers on {endpoint} yet (waiting; --timeout S gives up)" in listener.said[0]
    assert time.monotonic() - began < 15
    listener.end()
    done = subscribe(endpoint, "--timeout", "1.5")
    assert done.returncode == 1
    assert "yet (waiting for 1.5 s)" in done.stderr
    assert f"nothing was published on {endpoint} for 1.5 s" in done.stderr


def test_a_pipeline_that_died_is_said(tmp_path: Path) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 3000), detect={"options": {"work_ms": 20}})
    pipeline = Pipeline(config)
    listener = Listener(tmp_path / "out", pipeline.started()["publish"], "--from-start")
    until(lambda: (tmp_path / "out").stat().st_size, 20)
    pipeline.kill()
    until(lambda: any("any more: its pipeline has died" in line for line in listener.said), 20)
    listener.end()
    until(lambda: not pipeline.children())
    clear_dead_runs()


def test_a_full_disk_is_one_error(results: Path, tmp_path: Path) -> None:
    """Edge 23, smaller remarks: `check`, `status` and `subscribe` ended with a traceback."""
    config = make_config(tmp_path / "long", make_frames(tmp_path / "more", 3000), detect={"options": {"work_ms": 20}})
    pipeline = Pipeline(config)
    pipeline.started()
    for arguments in (
        ["subscribe", results],
        ["status", pipeline.name],
        ["status", "--all", "--json"],
        ["check", config],
    ):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([*ZPIPE, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == 1, (arguments, done.stderr)
        assert done.stderr.splitlines()[-1] == "zpipe: cannot print: No space left on device"
        assert "Traceback" not in done.stderr
    pipeline.kill()
    until(lambda: not pipeline.children())
    clear_dead_runs()
