"""The chain is data: a copy of the package gets a third kind of stage by one file and one row; all doors know it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import harness
import pytest
from harness import Pipeline, essences, make_config, make_frames, until

from zpipe.engines.local import ZPIPE

FILE = '''"""The tally stage: says of each object how many there are in its frame."""

from zpipe.config.keys import Stage
from zpipe.messages import Classification, Result
from zpipe.pixels import Pixels
from zpipe.stages.loop import Means, View


class Tally:
    """Counts objects; needs neither model nor picture."""

    model = None

    def __init__(self, stage: Stage, means: Means) -> None:
        self.name = stage.name

    def work(self, result: Result, view: View) -> None:
        """The number of objects, as a value of each."""
        for item in result.objects:
            item.classification.append(Classification(self.name, None, 0, 1.0, value=len(result.objects)))

    def rehearse(self, image: Pixels) -> None:
        """There is no model to call."""

    def close(self) -> None:
        """There is nothing to let go of."""
'''

ROW = '    tally: Annotated[StageConfig | None, Meta(extra={"stage": "zpipe.stages.tally:Tally"})] = None\n'
NEXT = "    sink: SinkConfig"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package with the new stage; pipelines of this test run it."""
    copy = tmp_path / "copy" / "zpipe"
    shutil.copytree(ZPIPE[1], copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "stages" / "tally.py").write_text(FILE)
    keys = copy / "config" / "keys.py"
    before, found, after = keys.read_text().partition(NEXT)
    assert found
    keys.write_text(before + ROW + found + after)
    monkeypatch.setattr(harness, "ZPIPE", (sys.executable, str(copy)))
    return copy


def call(package: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of the copy."""
    return subprocess.run([sys.executable, package, *arguments], capture_output=True, text=True, timeout=60)


def tallies(line: dict[str, Any]) -> list[tuple[str, float]]:
    """What the new stage has said of each object of a frame."""
    return [(c["stage"], c["value"]) for o in line["objects"] for c in o["classification"] if c["stage"] == "tally"]


@pytest.mark.test_all
def test_a_third_kind_of_stage_is_one_file_and_one_row(tmp_path: Path, package: Path) -> None:
    frames = make_frames(tmp_path / "frames", 30)
    config = make_config(tmp_path, frames, detect={"options": {"objects": 3}}, tally={"count": 2})
    checked = call(package, "check", config)
    assert checked.returncode == 0, checked.stderr
    pipeline = Pipeline(config, "--wait-subscribers", "1")
    endpoint = pipeline.started()["publish"]
    until(lambda: [w for w in pipeline.workers() if w.startswith("tally")] == ["tally-0", "tally-1"])
    status = call(package, "status", pipeline.name)
    assert "tally" in status.stdout, status.stderr
    scaled = call(package, "scale", "--name", pipeline.name, "tally=1")
    assert scaled.returncode == 0, scaled.stderr
    until(lambda: [w for w in pipeline.workers() if w.startswith("tally")] == ["tally-0"])
    subscribed = call(package, "subscribe", endpoint)
    assert subscribed.returncode == 0, subscribed.stderr
    assert pipeline.wait() == 0, pipeline.said()
    lines = essences(pipeline.results)
    assert [line["seq"] for line in lines] == list(range(1, 32))
    assert lines[-1]["ok"] == 30
    assert all(tallies(line) == [("tally", 3)] * 3 for line in lines[:-1])
    assert [json.loads(line)["seq"] for line in subscribed.stdout.splitlines()] == list(range(1, 32))
    assert pipeline.event("ended")["balanced"]


def test_its_name_is_taken_and_its_keys_are_checked(tmp_path: Path, package: Path) -> None:
    frames = make_frames(tmp_path / "frames", 1)
    taken = make_config(tmp_path / "taken", frames, classify={"name": "tally"}, tally={})
    assert "'tally' is another stage of the pipeline" in call(package, "check", taken).stderr
    wrong = make_config(tmp_path / "wrong", frames, tally={"cuont": 2})
    assert "tally.cuont" in call(package, "check", wrong).stderr
