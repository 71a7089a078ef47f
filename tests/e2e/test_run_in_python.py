"""`zpipe.up` in a program: the loop over results ends or raises whatever happens to the run (Edge 2)."""

import os
import signal
from pathlib import Path

import pytest
from harness import make_config, make_frames, until

import zpipe
from zpipe.transport.run_folder import clear_dead_runs, folder_of

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A config of more frames than a test waits for."""
    frames = make_frames(tmp_path / "frames", 3000)
    return make_config(tmp_path, frames, detect={"options": {"work_ms": 20}})


def lines_of(folder: Path) -> int:
    return (folder / "results.jsonl").read_bytes().count(b"\n")


def test_a_second_loop_gives_the_same_again(tmp_path: Path) -> None:
    """Edge 2: it waited for ever."""
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 50))
    with zpipe.up(config) as run:
        first = [result.seq for result in run.results()]
        assert [result.seq for result in run.results()] == first == list(range(1, 51))
    assert [result.seq for result in run.results()] == first
    assert [result.seq for result in run.results("frames")] == first
    assert run.wait()["balanced"]


def test_a_run_that_cannot_start_raises(tmp_path: Path) -> None:
    """Edge 2: the endpoints are bound before the model is loaded."""
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 5), detect={"model": "nowhere:Detect"})
    with pytest.raises(zpipe.RunFailed, match="nowhere") as raised, zpipe.up(config) as run:
        list(run.results())
    assert raised.value.exit_code == 4


def test_a_run_that_is_killed_raises_each_time(slow: Path) -> None:
    """Edge 2: `kill -9` of `run.pid`."""
    run, seen = zpipe.up(slow), []

    def read() -> None:
        with run:
            for result in run.results():
                seen.append(result.seq)
                if result.seq == 5:
                    os.kill(run.pid, signal.SIGKILL)

    with pytest.raises(zpipe.RunFailed, match="SIGKILL"):
        read()
    assert seen == list(range(1, len(seen) + 1))
    for ask in (run.wait, lambda: list(run.results())):
        with pytest.raises(zpipe.RunFailed, match="SIGKILL"):
            ask()
    until(lambda: clear_dead_runs() or not folder_of(run.started["name"]).exists())


def test_a_loop_that_is_broken_off_stops_the_run(slow: Path) -> None:
    """Edge 2: leaving the block waited for all of it."""
    with zpipe.up(slow) as run:
        for result in run.results():
            if result.seq == 5:
                break
    assert run.ended["drained"]
    assert run.ended["balanced"]
    assert 5 <= lines_of(slow.parent) < 3000
    assert len(list(run.results())) == lines_of(slow.parent) - 1


def test_results_of_a_file_that_somebody_replaced_are_not_given(tmp_path: Path) -> None:
    config = make_config(tmp_path, make_frames(tmp_path / "frames", 5))
    with zpipe.up(config) as run:
        pass
    with zpipe.up(config, overwrite=True) as other:
        pass
    assert len(list(other.results())) == 5
    with pytest.raises(zpipe.ResultsError, match="does not hold all"):
        list(run.results())
