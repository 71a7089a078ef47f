"""A pipeline with keys as users have it: beyond loopback, `--key`, and nobody who has none."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from harness import Pipeline, free_port, make_config, make_frames, until

import zpipe
from zpipe.engines.local import ZPIPE
from zpipe.transport import keys as folder_of_keys


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*ZPIPE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder_of_keys.init(tmp_path / "keys")
    folder_of_keys.add(tmp_path / "keys", "alice", ["subscribe"], [], tmp_path / "alice.key")
    return tmp_path / "keys"


@pytest.mark.test_all
def test_results_beyond_this_machine(tmp_path: Path, keys: Path) -> None:
    """Bound to every address, for who has a key; a removed one is told so within seconds while the run goes on."""
    port = free_port()
    config = make_config(
        tmp_path, make_frames(tmp_path / "frames", 3000), keys=str(keys), detect={"options": {"work_ms": 20}},
        sink={"publish": f"tcp://0.0.0.0:{port}"},
    )  # fmt: skip
    pipeline = Pipeline(config)
    assert pipeline.started()["keys"] == str(keys)
    endpoint = f"tcp://127.0.0.1:{port}"
    refused = run("subscribe", endpoint, "--timeout", "20")
    assert (refused.returncode, "wants a key" in refused.stderr) == (3, True), refused.stderr
    with open(tmp_path / "out.jsonl", "wb") as out:
        alice = subprocess.Popen(
            [*ZPIPE, "subscribe", endpoint, "--from-start", "--key", tmp_path / "alice.key"],
            stdout=out, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    until(lambda: (tmp_path / "out.jsonl").stat().st_size, 20)
    assert run("keys", "remove", "alice", "--keys", keys).returncode == 0
    assert alice.wait(10) == 3
    assert alice.stderr is not None
    with alice.stderr as said:
        assert "does not let in the key of" in said.read()
    before = pipeline.count()
    pipeline.reaches(before + 20)
    pipeline.process.terminate()
    assert pipeline.wait() == 0, pipeline.said()
    got, logged = (tmp_path / "out.jsonl").read_bytes(), pipeline.results.read_bytes()
    assert logged.startswith(got)


def test_the_program_that_starts_it_needs_no_key(tmp_path: Path, keys: Path) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 20), keys=str(keys))
    with zpipe.up(config) as pipeline:
        assert len(list(pipeline.results())) == 20


def test_a_sink_that_is_killed_takes_keys_again(tmp_path: Path, keys: Path) -> None:
    """The one after it listens at the same endpoint, behind the same door; draw takes a key too."""
    config = make_config(
        tmp_path, make_frames(tmp_path / "frames", 300), keys=str(keys), detect={"options": {"work_ms": 10}}
    )
    pipeline = Pipeline(config)
    endpoint = pipeline.started()["publish"]
    options = ["--config", config, "--out", tmp_path / "drawn", "--key", tmp_path / "alice.key"]
    drawing = subprocess.Popen([*ZPIPE, "draw", endpoint, *options], stdout=subprocess.PIPE, text=True)
    pipeline.reaches(50)
    os.kill(pipeline.pid_of("sink"), signal.SIGKILL)
    assert pipeline.wait() == 0, pipeline.said()
    out, _ = drawing.communicate(timeout=30)
    assert (drawing.returncode, out.split()[0]) == (0, "300")


def test_a_bad_folder_is_one_error_before_anything_starts(tmp_path: Path, keys: Path) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 2), keys=str(keys))
    (keys / "server.key").chmod(0o644)
    done = run("up", config, "--quiet")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert f"chmod 600 {keys}/server.key" in done.stderr
    assert not (tmp_path / "results.jsonl").exists()
