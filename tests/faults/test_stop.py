"""Ctrl-C, a second one, runs that cannot start or cannot go on: how they end, and that nothing is left."""

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Pipeline, essences, free_port, make_config, run, until, workers_of

from zpipe.transport.endpoints import PATIENCE_S


def slow_config(folder: Path, frames: Path, **changes: Any) -> Path:
    """A config whose run takes long enough to be interrupted."""
    return make_config(
        folder,
        frames,
        **{
            "detect": {"count": 1, "options": {"nap_ms": 10}},
            "classify": {"count": 1},
            "frames": {"in_flight": 8},
            **changes,
        },
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_drains(number: signal.Signals, tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    pipeline = Pipeline(slow_config(tmp_path, frames))
    pipeline.reaches(20)
    pipeline.process.send_signal(number)
    assert pipeline.wait() == 0, pipeline.said()
    lines = essences(pipeline.results)
    assert 20 < len(lines) < 60
    assert lines[:-1] == calm[: len(lines) - 1]
    assert lines[-1]["type"] == "eos"
    assert pipeline.events[-1]["drained"]


@pytest.fixture
def without_its_port(tmp_path: Path, frames: Path) -> Iterator[tuple[Pipeline, socket.socket]]:
    """A run whose sink was killed, and another program that has taken its port."""
    port = free_port()
    pipeline = Pipeline(slow_config(tmp_path, frames, sink={"publish": f"tcp://127.0.0.1:{port}"}))
    pipeline.reaches(20)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sink = pipeline.pid_of("sink")
        pipeline.process.send_signal(signal.SIGSTOP)  # so that it does not start the next one before we are there
        os.kill(sink, signal.SIGKILL)
        until(lambda: bind(other, port))
        other.listen()
        pipeline.process.send_signal(signal.SIGCONT)
        until(lambda: pipeline.workers().get("sink", sink) != sink, 8, "the next sink")
        yield pipeline, other


def bind(one: socket.socket, port: int) -> bool:
    with contextlib.suppress(OSError):
        one.bind(("127.0.0.1", port))
        return True
    return False


def test_a_port_that_is_taken_while_the_sink_restarts_is_waited_for(
    without_its_port: tuple[Pipeline, socket.socket], calm: list[dict[str, Any]]
) -> None:
    """Edge 23: it was an error after two seconds."""
    pipeline, other = without_its_port
    waiting, until_s = pipeline.pid_of("sink"), time.monotonic() + 1.2 * PATIENCE_S
    until(lambda: pipeline.pid_of("sink") != waiting or time.monotonic() > until_s)
    assert pipeline.pid_of("sink") == waiting, "it did not wait"
    other.close()
    assert pipeline.wait() == 0, pipeline.said()
    assert essences(pipeline.results) == calm


def test_ctrl_c_ends_the_wait_for_a_port(without_its_port: tuple[Pipeline, socket.socket]) -> None:
    """Edge 23: it is said why the run cannot be brought to its end."""
    pipeline, _ = without_its_port
    pipeline.process.send_signal(signal.SIGINT)
    assert pipeline.wait(20) == 1, pipeline.said()
    assert "cannot bind" in pipeline.said()


def test_more_frames_in_flight_than_open_files_are_refused(tmp_path: Path, frames: Path) -> None:
    """Edge 28: workers ended with "too many open files". A soft limit is raised, a hard one is said."""
    pipeline = Pipeline(make_config(tmp_path, frames, frames={"in_flight": 1000}), limits="-n 512")
    assert pipeline.wait(20) == 1
    assert "allows 512 (`ulimit -Hn`)" in pipeline.said()
    pipeline = Pipeline(make_config(tmp_path, frames, frames={"in_flight": 150}), "--overwrite", limits="-Sn 100")
    assert pipeline.wait() == 0, pipeline.said()


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    pipeline = Pipeline(slow_config(tmp_path, frames, detect={"count": 1, "options": {"nap_ms": 500}}))
    pipeline.reaches(1)
    pipeline.process.send_signal(signal.SIGINT)
    until(lambda: pipeline.status()["state"] == "draining")
    pipeline.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert pipeline.wait() == 1
    assert time.monotonic() - began < 2
    assert "stopped before its end (continue with --resume)" in pipeline.said()
    assert not pipeline.events[-1]["balanced"]
    assert run(slow_config(tmp_path, frames, detect={"count": 2}), "--resume=anyway") == calm


def test_ctrl_c_while_models_load(tmp_path: Path, frames: Path) -> None:
    """Nothing was read yet: the run ends at once, with the end of a stream of no frames."""
    config = slow_config(tmp_path, frames, detect={"count": 1, "options": {"start_ms": 60_000}})
    pipeline = Pipeline(config)
    pipeline.started()
    pipeline.process.send_signal(signal.SIGINT)
    assert pipeline.wait(20) == 0, pipeline.said()
    (eos,) = essences(pipeline.results)
    assert (eos["seq"], eos["drained"]) == (1, True)


def test_ctrl_c_while_it_waits_for_a_subscriber(tmp_path: Path, frames: Path) -> None:
    pipeline = Pipeline(slow_config(tmp_path, frames), "--wait-subscribers", "1")
    pipeline.started()
    until(lambda: pipeline.status()["state"] == "waiting")
    pipeline.process.send_signal(signal.SIGINT)
    assert pipeline.wait(20) == 0, pipeline.said()
    (eos,) = essences(pipeline.results)
    assert (eos["seq"], eos["drained"]) == (1, True)


def test_ctrl_c_at_any_moment_of_the_start(tmp_path: Path, frames: Path) -> None:
    """From the very first moment on: whatever it says, nothing is left behind."""
    config = slow_config(tmp_path, frames)
    for delay_s in (0.02, 0.15, 0.3, 0.6):
        pipeline = Pipeline(config, "--overwrite")
        time.sleep(delay_s)  # not a wait for anything: a moment
        pipeline.process.send_signal(signal.SIGINT)
        code = pipeline.wait(20)
        assert code in (0, 1, -signal.SIGINT), pipeline.said()


def test_a_model_that_dies_as_it_is_loaded(tmp_path: Path, frames: Path) -> None:
    config = slow_config(tmp_path, frames, detect={"count": 2, "options": {"dies_at_start": True}})
    pipeline = Pipeline(config)
    began = time.monotonic()
    assert pipeline.wait(20) == 4
    assert time.monotonic() - began < 10
    said = pipeline.said()
    assert "detect-0 cannot start: signal SIGSEGV (crash in native code)" in said or "detect-1 cannot start" in said
    assert "probe: about to die while it starts" in said


def test_models_that_all_die_as_they_are_loaded(tmp_path: Path, frames: Path) -> None:
    """The run ends though, when one stage gives up, the other has no living worker that could tell of its end."""
    options = {"count": 1, "options": {"dies_at_start": True}}
    pipeline = Pipeline(make_config(tmp_path, frames, detect=options, classify=options))
    assert pipeline.wait(20) == 4
    assert "cannot start: signal SIGSEGV" in pipeline.said()


def test_a_model_that_raises_as_it_is_loaded(tmp_path: Path, frames: Path) -> None:
    config = slow_config(tmp_path, frames, classify={"count": 1, "options": {"raises_at_start": True}})
    pipeline = Pipeline(config)
    assert pipeline.wait(20) == 4
    assert "classify-0: " in pipeline.said()
    assert "no such weights" in pipeline.said()


def test_a_model_that_cannot_start_again(tmp_path: Path, frames: Path) -> None:
    """It started once, worked, died, and cannot any more: the run stops with its error and can be resumed."""
    marker = tmp_path / "gone"
    options = {"count": 1, "options": {"nap_ms": 10, "dies_at_start": str(marker)}}
    pipeline = Pipeline(slow_config(tmp_path, frames, detect=options))
    pipeline.reaches(10)
    marker.touch()
    os.kill(pipeline.pid_of("detect-0"), signal.SIGKILL)
    assert pipeline.wait(20) == 4
    assert "detect-0 cannot start: signal SIGSEGV" in pipeline.said()
    marker.unlink()
    pipeline = Pipeline(slow_config(tmp_path, frames, detect={"count": 1}), "--resume=anyway")
    assert pipeline.wait() == 0, pipeline.said()


def test_a_bad_config(tmp_path: Path, frames: Path) -> None:
    config = slow_config(tmp_path, frames, detect={"cuont": 2})
    pipeline = Pipeline(config)
    assert pipeline.wait(20) == 3
    assert "count" in pipeline.said()
    assert not pipeline.results.exists()


def test_too_few_slots_for_the_streams(tmp_path: Path, frames: Path) -> None:
    streams = [{"path": str(frames), "stream": name} for name in ("a", "b", "c")]
    pipeline = Pipeline(make_config(tmp_path, frames, ingest=streams, frames={"in_flight": 2}))
    assert pipeline.wait(20) == 3
    assert "frames.in_flight: 2 is less than the 3 streams" in pipeline.said()


def test_the_disk_is_full(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    """The results file cannot grow: a clear error, only whole lines in the file, and it goes on when there is room."""
    config = slow_config(tmp_path, frames, detect={"count": 1})
    pipeline = Pipeline(config, limits="-f 140")  # blocks of 512 bytes: room for the board, not for all results
    code = pipeline.wait(30)
    assert code == 1, pipeline.said()
    assert f"results file {pipeline.results}: File too large" in pipeline.said()
    assert run(config, "--resume") == calm


def test_a_port_that_is_taken(tmp_path: Path, frames: Path) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        pipeline = Pipeline(slow_config(tmp_path, frames, sink={"publish": f"tcp://127.0.0.1:{port}"}))
        assert pipeline.wait(20) == 1
    assert f"cannot bind tcp://127.0.0.1:{port}" in pipeline.said()
    assert "listens there" in pipeline.said()


@pytest.mark.test_all
def test_the_sink_is_killed_faster_than_it_can_start(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    """When all is published and only the sink is left, killing it again and again does not keep the run from ending."""
    import zmq

    config = make_config(tmp_path, frames, detect={"count": 1}, classify={"count": 1}, sink={"linger_s": 0.5})
    pipeline = Pipeline(config)
    with zmq.Context() as context, context.socket(zmq.SUB) as slow:
        slow.subscribe(b"results/")
        slow.subscribe(b"subscriber/one who never says that it has everything")
        slow.connect(pipeline.started()["publish"])
        pipeline.reaches(201)
        began = time.monotonic()
        while pipeline.process.poll() is None:
            for process in workers_of(pipeline.process.pid):
                process.send_signal(signal.SIGKILL)
            time.sleep(0.05)  # the killer's pace
            assert time.monotonic() - began < 30
    assert pipeline.wait() == 0, pipeline.said()
    assert essences(pipeline.results) == calm
    assert json.loads(pipeline.results.read_text().splitlines()[-1])["type"] == "eos"


def test_logs_without_end_do_not_stop_a_worker(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    """A model that prints much, and without line ends: its pipe is read, and memory stays bounded."""
    detect = {"count": 1, "options": {"chatter_bytes": 300_000}}
    assert run(make_config(tmp_path, frames, detect=detect, classify={"count": 1})) == calm
