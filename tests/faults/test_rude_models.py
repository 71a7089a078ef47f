"""Models that leave things behind, and models that do not leave well: the run does not mind."""

from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import Pipeline, essences, make_config, until

from zpipe.transport.control import Request, ask

pytestmark = pytest.mark.test_all

RUDE = """
import os, subprocess
from pathlib import Path
import probe

HERE = Path(__file__).parent


class Starts(probe.Detect):
    def open(self, options, threads):
        super().open(options, threads)
        for apart in (False, True):
            child = subprocess.Popen(["sleep", "600"], start_new_session=apart)
            (HERE / f"child-{child.pid}").touch()


class Complains(probe.Detect):
    def close(self):
        (HERE / f"closed-{os.getpid()}").touch()
        raise RuntimeError("there is something left in the queue")
"""


def rude(folder: Path, frames: Path, name: str, **detect: Any) -> Path:
    """A config whose detector is one of the above."""
    (folder / "rude.py").write_text(RUDE)
    return make_config(folder, frames, detect={"model": f"rude:{name}", **detect})


def children(folder: Path) -> list[psutil.Process]:
    """The living processes that the model has started."""
    numbers = [int(path.name.removeprefix("child-")) for path in folder.glob("child-*")]
    return [psutil.Process(number) for number in numbers if psutil.pid_exists(number)]


def test_what_a_model_starts_does_not_outlive_the_run(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    """Edge 25: children of a model lived on after its worker, the run and `up`, in its group or out of it."""
    pipeline = Pipeline(rude(tmp_path, frames, "Starts", options={"nap_ms": 8}))
    pipeline.reaches(40)
    before = children(tmp_path)
    assert len(before) == 4
    psutil.Process(pipeline.pid_of("detect-0")).kill()
    until(lambda: sum(child.is_running() for child in before) == 3, what="the end of the one in its worker's group")
    assert pipeline.wait() == 0, pipeline.said()
    assert essences(pipeline.results) == calm
    assert children(tmp_path) == []
    assert len(list(tmp_path.glob("child-*"))) == 6


def test_a_close_that_raises_costs_nothing(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    """Edge 26: it aborted the run when a worker retired, and gave exit code 4 at a complete end."""
    pipeline = Pipeline(rude(tmp_path, frames, "Complains", options={"nap_ms": 8}))
    pipeline.reaches(40)
    ask(pipeline.name, Request("scale", counts={"detect": 1}))
    until(lambda: len(pipeline.status()["stages"][0]["workers"]) == 1, what="a retired worker's end")
    assert pipeline.wait() == 0, pipeline.said()
    assert essences(pipeline.results) == calm
    assert len(list(tmp_path.glob("closed-*"))) == 2
