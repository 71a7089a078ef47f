"""The broken and odd files of the shared data, each with the outcome that its manifest states."""

import re
from pathlib import Path

import pytest
from harness import Pipeline, essences, make_config


def outcomes(data: Path) -> dict[str, str]:
    """File name -> DECODE WxH, REJECT, REFUSE or EITHER, from the manifest."""
    rows = re.findall(r"^\| broken/([^/|]+?) \|.*\| (DECODE \d+x\d+.*|REJECT.*|REFUSE.*|EITHER.*) \|$",
                      (data / "MANIFEST.md").read_text(), re.MULTILINE)  # fmt: skip
    return dict(rows)


def test_each_file_has_the_outcome_of_its_manifest(tmp_path: Path, data: Path) -> None:
    pipeline = Pipeline(make_config(tmp_path, data / "broken"))
    assert pipeline.wait() == 0, pipeline.said()
    lines = {line["name"]: line for line in essences(pipeline.results) if line["type"] == "frame"}
    expected = outcomes(data)
    assert len(expected) >= 45
    assert set(expected) <= set(lines), "a file has no result"
    for name, outcome in expected.items():
        found = lines[name]
        if outcome.startswith("DECODE"):
            assert found["status"] == "ok", (name, found)
            upright = re.search(r"upright size (\d+)x(\d+)", outcome) or re.search(r"(\d+)x(\d+)", outcome)
            assert upright is not None
            assert (found["resolution"]["width"], found["resolution"]["height"]) == tuple(map(int, upright.groups())), (
                name
            )
        elif not outcome.startswith("EITHER"):
            assert found["status"] == "failed", (name, found)
            assert found["error"]["stage"] in ("ingest", "detect")
            assert len(found["error"]["reason"]) > 5
    refused = [name for name, outcome in expected.items() if outcome.startswith("REFUSE")]
    assert refused
    assert all("pixels" in lines[name]["error"]["reason"] for name in refused)
    assert pipeline.events[-1]["balanced"]


@pytest.mark.test_all
def test_broken_videos_end(tmp_path: Path, data: Path) -> None:
    for video in sorted((data / "broken" / "videos").iterdir()):
        pipeline = Pipeline(make_config(tmp_path / video.stem, video, ingest=[{"path": str(video), "stream": "v"}]))
        assert pipeline.wait() == 0, pipeline.said()
        lines = essences(pipeline.results)
        assert lines[-1]["type"] == "eos"
        assert all(line["status"] == "failed" for line in lines[:-1])


@pytest.mark.test_all
def test_broken_models_stop_the_run_with_exit_code_4(tmp_path: Path, data: Path, image_folder: Path) -> None:
    for model in sorted((data / "broken" / "models").iterdir()):
        pipeline = Pipeline(make_config(tmp_path / model.stem, image_folder, detect={"model": str(model)}))
        assert pipeline.wait() == 4, pipeline.said()
        assert model.name in pipeline.said()
        assert not pipeline.results.read_bytes()
