"""`zpipe status`, `scale` and `stop` where several pipelines run (Edge 12)."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from harness import Pipeline, make_config, make_frames

from zpipe.engines.local import ZPIPE
from zpipe.transport.control import Control
from zpipe.transport.run_folder import RunFolder


def zpipe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ZPIPE, *arguments], capture_output=True, text=True, timeout=60, check=False)


def complete(line: str) -> list[str]:
    """What bash is told when Tab is pressed behind it."""
    environment = {**os.environ, "_ZPIPE_COMPLETE": "bash_complete", "COMP_WORDS": line}
    environment["COMP_CWORD"] = str(len(line.split()) - 1)
    command = [sys.executable, "-c", "from zpipe.cli import main; main(prog_name='zpipe')"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment).stdout.splitlines()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Pipeline]]:
    frames = make_frames(tmp_path / "frames", 3000)
    options = {"options": {"work_ms": 20}}
    pipelines = [Pipeline(make_config(tmp_path / name, frames, detect=options)) for name in "ab"]
    for pipeline in pipelines:
        pipeline.started()
    yield pipelines
    for pipeline in pipelines:
        if pipeline.process.poll() is None:
            pipeline.process.terminate()
            assert pipeline.wait() == 0


def test_several_pipelines(two: list[Pipeline]) -> None:
    """Others may run on the machine: only ours are looked for."""
    names = {pipeline.name for pipeline in two}
    for arguments in ((), ("--all",)):
        said = zpipe("status", *arguments)
        assert said.returncode == 0, said.stderr
        assert all(name in said.stdout for name in names)
    found = json.loads(zpipe("status", "--all", "--json").stdout)
    assert names <= {status["name"] for status in found}
    assert zpipe("status", two[0].name, "--all").returncode == 2
    for command in ("stop", "status", "scale --name"):
        assert f"plain,{two[0].name}" in complete(f"zpipe {command} {two[0].name[:6]}")

    wrong = zpipe("scale", "--name", two[0].name, "detect=many")
    assert (wrong.returncode, "neither STAGE=N nor STAGE=auto" in wrong.stderr) == (2, True)
    assert "detect=1" in zpipe("scale", "--name", two[0].name, "detect=1").stdout

    stopped = zpipe("stop", two[0].name, "--wait")
    assert (stopped.returncode, stopped.stdout.strip()) == (0, "ended")
    assert two[0].name not in zpipe("status", "--all").stdout
    assert two[0].wait(10) == 0


def test_one_of_another_version_hides_no_other(two: list[Pipeline], tmp_path: Path) -> None:
    """Edge 12: what it says cannot be understood; what the others say can."""
    folder = RunFolder(f"other-{two[0].name}")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    control = Control(context, folder.path)
    control.commands["status"] = lambda request: {"name": "of tomorrow"}
    answering = threading.Thread(target=lambda: [control.answer() for _ in range(2) if control.socket.poll(60_000)])
    answering.start()
    for arguments in ((), ("--all", "--json")):
        said = zpipe("status", *arguments)
        assert said.returncode == 0
        assert all(pipeline.name in said.stdout for pipeline in two)
        assert f"'other-{two[0].name}' is of another version" in said.stderr
    answering.join()
    control.close()
    context.term()
    folder.close()


def test_without_any_of_that_name() -> None:
    for command in (["status", "nobody"], ["stop", "nobody", "--wait"], ["scale", "--name", "nobody", "detect=auto"]):
        said = zpipe(*command)
        assert said.returncode == 1
        assert "no pipeline named 'nobody'" in said.stderr
