"""What is said about files and folders that a config names: missing, unreadable, of the wrong kind."""

import os
import re
from pathlib import Path

import pytest
from config_complaints import MINIMAL, complaints

from zpipe.config.loading import load
from zpipe.errors import ConfigError


def test_missing_files_name_what_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "configs"
    (folder / "models/old").mkdir(parents=True)
    (folder / "models/yolox_nano_416.onnx").touch()
    (folder / "images").mkdir()
    (tmp_path / "here.txt").touch()
    text = (
        "name: x\n"
        "ingest: [{path: imges/}, {path: images/ghost.png}]\n"
        "detect: {model: models/yolox_nano_41.onnx, labels: here.txt}\n"
        "classify:\n"
        "  - {name: a, model: modles/deep/x.onnx}\n"
        "  - {name: b, model: models/old}\n"
        "sink: {results: images}\n"
    )
    assert complaints(folder, text, check_files=True) == [
        "c.yaml:2: ingest.0.path: no such file or directory: imges; did you mean images?",
        "c.yaml:2: ingest.1.path: no such file or directory: images/ghost.png",
        "c.yaml:3: detect.model: no such file: models/yolox_nano_41.onnx; did you mean yolox_nano_416.onnx?",
        "c.yaml:3: detect.labels: no such file: here.txt; it is there from the current directory, but paths start "
        "at the config's folder",
        f"c.yaml:5: classify.0.model: no such file: modles/deep/x.onnx (no modles in {folder}); did you mean models?",
        "c.yaml:6: classify.1.model: models/old is a directory, expected a file",
        "c.yaml:7: sink.results: images is a directory, expected a file to write",
    ]


def test_results_under_a_file(tmp_path: Path) -> None:
    for name in ("images", "m.onnx"):
        (tmp_path / name).touch()
    found = complaints(tmp_path, MINIMAL + "sink: {results: m.onnx/a/b.jsonl}\n", check_files=True)
    assert found == ["c.yaml:4: sink.results: m.onnx is not a directory, so m.onnx/a/b.jsonl cannot be written"]


def test_files_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").touch()
    (tmp_path / "m.onnx").touch()
    (tmp_path / "locked").mkdir()
    # Real permissions would not stop root, who runs the tests in containers.
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).endswith("images"))
    found = complaints(tmp_path, MINIMAL + "sink: {results: locked/b.jsonl}\n", check_files=True)
    assert found == [
        "c.yaml:3: detect.model: m.onnx cannot be read: permission denied",
        "c.yaml:4: sink.results: locked cannot be written: permission denied",
    ]


def test_keys_that_do_nothing_for_the_source(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.mp4").touch()
    text = (
        "ingest:\n"
        "  - {path: images, every: 2}\n"
        "  - {path: a.mp4, recursive: true, glob: 'x'}\n"
        "  - {path: b.mp4, every: 2}\n"
        "  - {path: images, stream: x, recursive: true, glob: 'x'}\n"
    )
    assert complaints(tmp_path, text + "name: x\ndetect: {model: m.onnx}\n") == [
        "c.yaml:2: ingest.0.every: images is a directory, expected it for a video only",
        "c.yaml:3: ingest.1.recursive: a.mp4 is a file, expected it for a directory only",
        "c.yaml:3: ingest.1.glob: a.mp4 is a file, expected it for a directory only",
    ]


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").touch()
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}/dmo.yaml: no such file; did you mean ")):
        load(tmp_path / "dmo.yaml")
    with pytest.raises(ConfigError, match="is a directory, expected a YAML file"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        load(tmp_path / "demo.yaml/x.yaml")
    with pytest.raises(ConfigError, match="cannot be read: embedded null byte"):
        load("a\0b")
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        load("a" * 300)


def test_a_folder_that_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    found = complaints(folder, MINIMAL)
    assert len(found) == 3
    assert "caf\\udce9" in found[0]
    assert "is not UTF-8" in found[0]


def test_the_current_directory_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.yaml").write_text(MINIMAL)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="current directory no longer exists"):
        load(tmp_path / "c.yaml", ["name=x"])
