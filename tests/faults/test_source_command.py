"""`zpipe source`: what is added and removed while a pipeline runs, and what of it is known after a crash."""

import json
import subprocess
from pathlib import Path

import pytest
from harness import Pipeline, essences, make_config, make_frames, until

from zpipe.engines.local import ZPIPE

FIRST = 300
"""Pictures of the first source: some seconds of them."""


def source(pipeline: Pipeline, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [*ZPIPE, "source", command, *arguments, "--name", pipeline.name]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def states(pipeline: Pipeline) -> dict[str, str]:
    said = source(pipeline, "list", "--json")
    assert said.returncode == 0, said.stderr
    return {each["stream"]: each["state"] for each in json.loads(said.stdout)}


def make(tmp_path: Path) -> Path:
    """A slow pipeline with a folder to read, so that there is time to add others."""
    one = {"count": 1}
    frames = make_frames(tmp_path / "first", FIRST)
    return make_config(tmp_path / "run", frames, detect={**one, "options": {"nap_ms": 20}}, classify=one)


def numbers(results: Path, stream: str) -> list[int]:
    return [line["seq"] for line in essences(results) if line["stream"] == stream]


def has_ended(results: Path, stream: str) -> bool:
    return any(line["type"] == "eos" for line in essences(results) if line["stream"] == stream)


def test_sources_come_and_go(tmp_path: Path) -> None:
    pipeline = Pipeline(make(tmp_path))
    pipeline.reaches(5)
    said = source(pipeline, "add", str(make_frames(tmp_path / "second", 10)))
    assert (said.returncode, said.stdout.strip()) == (0, "second"), said.stderr
    assert source(pipeline, "add", str(make_frames(tmp_path / "other", 500)), "--stream", "third").returncode == 0
    until(lambda: has_ended(pipeline.results, "second") and len(numbers(pipeline.results, "third")) > 5)
    assert states(pipeline) == {"first": "reading", "second": "published", "third": "reading"}
    listed = source(pipeline, "list").stdout.splitlines()
    assert listed[0].split() == ["stream", "state", "read", "source"]
    assert listed[3].endswith(str(tmp_path / "other"))
    for arguments, words in {
        ("add", str(tmp_path / "second")): "there is a stream second already",
        ("add", str(tmp_path / "nothing")): "no such file or directory",
        ("add", str(tmp_path / "second"), "--stream", "x", "--every", "2"): "every works for a video only",
        ("remove", "nothing"): "no stream 'nothing'",
        ("remove", "second"): "stream second has ended already",
    }.items():
        said = source(pipeline, *arguments)
        assert said.returncode in (1, 3)
        assert words in said.stderr
    assert source(pipeline, "remove", "third").returncode == 0
    until(lambda: has_ended(pipeline.results, "third"))
    assert not has_ended(pipeline.results, "first"), "the others go on"
    assert pipeline.wait() == 0, pipeline.said()
    assert pipeline.events[-1]["balanced"]
    assert numbers(pipeline.results, "first") == list(range(1, FIRST + 2))
    third = numbers(pipeline.results, "third")
    assert third == list(range(1, len(third) + 1))
    assert 5 < len(third) < 400


@pytest.mark.test_all
def test_resume_knows_what_was_added_and_what_was_removed(tmp_path: Path) -> None:
    config = make(tmp_path)
    pipeline = Pipeline(config)
    pipeline.reaches(5)
    assert source(pipeline, "add", str(make_frames(tmp_path / "second", 40))).returncode == 0
    assert source(pipeline, "add", str(make_frames(tmp_path / "third", 400))).returncode == 0
    until(lambda: numbers(pipeline.results, "second") and len(numbers(pipeline.results, "third")) > 3)
    assert source(pipeline, "remove", "third").returncode == 0
    until(lambda: has_ended(pipeline.results, "third"))
    third = numbers(pipeline.results, "third")
    pipeline.kill()
    resumed = Pipeline(config, "--resume")
    assert resumed.wait() == 0, resumed.said()
    assert numbers(resumed.results, "first") == list(range(1, FIRST + 2))
    assert numbers(resumed.results, "second") == list(range(1, 42))
    assert numbers(resumed.results, "third") == third, "nobody wants more of it"
    assert resumed.events[-1]["balanced"]
