"""Keys that a shared library or a Python class would ignore are refused: where, which, and that none is forgotten."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zpipe.config.keys import ClassifyConfig, DetectConfig
from zpipe.config.loading import load
from zpipe.config.rules import OF_MODEL_FILES
from zpipe.errors import ConfigError
from zpipe.models.opening import open_classifier, open_detector

DEMO = Path(__file__).parents[2] / "configs" / "demo"
ADVICE = ", expected it for a model file only; what a model of your own reads goes into `options`"


def complaints(folder: Path, detect: str, classify: str = "", *overrides: str) -> list[str]:
    """The lines about a config with these stages, each in a line of its own from line 3 on."""
    file = folder / "c.yaml"
    file.write_text(f"name: yard\ningest: [{{path: images}}]\ndetect: {{{detect}}}\n{classify}\n")
    try:
        load(file, list(overrides), check_files=False)
    except ConfigError as error:
        return str(error).replace(f"{folder}/", "").splitlines()
    return []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("runtime", "onnxruntime"), ("precision", "f32"), ("color", "rgb"), ("mean", 0), ("scale", 2),
        ("size", "[64, 64]"), ("format", "yolov8"), ("iou", 0.5), ("class_agnostic", "true"), ("tiles", "2x2"),
        ("tile_overlap", 0.3),
    ],
)  # fmt: skip
def test_of_a_detector(tmp_path: Path, key: str, value: object) -> None:
    """Edge 16: file, line, key and why."""
    why = "which would not be told of it" + ADVICE
    line = f"c.yaml:3: detect.{key}: libmine.so.2 is a shared library, {why}"
    assert complaints(tmp_path, f"model: lib/libmine.so.2, {key}: {value}") == [line]
    line = f"c.yaml:3: detect.{key}: my.models:Mine is a Python class, {why}"
    assert complaints(tmp_path, f"model: my.models:Mine, {key}: {value}") == [line]


def test_of_classifiers_in_a_list(tmp_path: Path) -> None:
    """Edge 16."""
    stage = "{name: b, model: a.so, normalize: imagenet, output: value, head: x, resize: square, margin: 1, batch: 2}"
    found = complaints(tmp_path, "model: m.onnx", f"classify: [{{name: a, model: m.onnx, margin: 1}}, {stage}]")
    keys = ["batch", "head", "margin", "normalize", "output", "resize"]
    assert [line.split(": ")[:2] for line in found] == [["c.yaml:4", f"classify.1.{key}"] for key in keys]


def test_the_device_is_told_to_a_library_but_not_to_a_class(tmp_path: Path) -> None:
    """Edge 16."""
    assert complaints(tmp_path, "model: a.so, device: GPU") == []
    assert complaints(tmp_path, "model: a:B, device: GPU")[0].startswith("c.yaml:3: detect.device: a:B is a Python")


def test_from_the_shell(tmp_path: Path) -> None:
    """Edge 16: a model that is exchanged for one run."""
    found = complaints(tmp_path, "model: m.onnx, iou: 0.5", "", "detect.model=a:B")
    assert [line[:23] for line in found] == ["c.yaml:3: detect.iou: a"]
    assert complaints(tmp_path, "model: m.onnx, iou: 0.45", "", "detect.model=a:B") == []


def test_options_of_a_model_file(tmp_path: Path) -> None:
    """Edge 16, the other way round."""
    text = "c.yaml:3: detect.options: m.onnx is a model file, expected them for a .so or a Python class only"
    assert complaints(tmp_path, "model: m.onnx, options: {level: 3}") == [text]
    assert complaints(tmp_path, "model: m.onnx, options: {}") == []


class Watched:
    """A config that notes which of its keys are read."""

    def __init__(self, config: DetectConfig | ClassifyConfig) -> None:
        self._config = config
        self.read: set[str] = set()

    def __getattr__(self, key: str) -> Any:
        self.read.add(key)
        return getattr(self._config, key)


@pytest.mark.parametrize("stage", ["detect", "classify"])
def test_the_rule_names_what_only_model_files_read(tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a new key that the core is given cannot be forgotten there."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    returned = {"detect": "[]", "classify": "[[(0, 0.5)]]"}[stage]
    text = f"class Mine:\n    def {stage}(self, *of):\n        return {returned}\n"
    (tmp_path / f"watched_{stage}.py").write_text(text)
    kind, open_model = (DetectConfig, open_detector) if stage == "detect" else (ClassifyConfig, open_classifier)
    arguments = [np.ones((1, 4), np.float32)] if stage == "classify" else []
    read = []
    for model in (DEMO / f"{'detector' if stage == 'detect' else 'classifier'}.onnx", f"watched_{stage}:Mine"):
        watched = Watched(kind(model=str(model)))
        opened: Any = open_model(watched, 1, folder=str(tmp_path))  # type: ignore[arg-type]
        getattr(opened, stage)(np.zeros((40, 40, 3), np.uint8), *arguments)
        read.append(watched.read)
    assert read[0] - read[1] == {key for key in (*OF_MODEL_FILES, "device") if hasattr(kind, key)}
