"""The second runtime: devices and what is missing. That it gives the same answers is tested with the formats."""

import builtins
from pathlib import Path

import pytest

from zpipe.config.keys import DetectConfig
from zpipe.errors import ModelError
from zpipe.models.onnxruntime import choose_providers
from zpipe.models.opening import open_detector

CPU = ["AzureExecutionProvider", "CPUExecutionProvider"]
GPU = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("device", "available", "chosen"),
    [
        ("CPU", CPU, ["CPUExecutionProvider"]),
        ("cpu", GPU, ["CPUExecutionProvider"]),
        ("cuda", GPU, ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("GPU", GPU, ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("cuda:1", GPU, [("CUDAExecutionProvider", {"device_id": "1"}), "CPUExecutionProvider"]),
        ("tensorrt", GPU, ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("azure", CPU, ["AzureExecutionProvider", "CPUExecutionProvider"]),
    ],
)
def test_devices_become_providers(device: str, available: list[str], chosen: list[object]) -> None:
    assert choose_providers(device, available) == chosen


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cuda", "the installed onnxruntime has no cuda; it has azure, cpu"),
        ("toaster", "has no toaster"),
        ("cuda:x", "expected a number behind the colon of 'cuda:x'"),
    ],
)
def test_devices_that_are_not_there(device: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        choose_providers(device, CPU)


def test_a_missing_extra_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: object, **keys: object) -> object:
        if name == "onnxruntime":
            raise ImportError(name)
        return original(name, *arguments, **keys)  # type: ignore[arg-type]

    (tmp_path / "m.onnx").write_bytes(b"x")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match=r"onnxruntime is not installed; `pip install 'zpipe\[onnxruntime\]'`"):
        open_detector(DetectConfig(model=str(tmp_path / "m.onnx"), runtime="onnxruntime"), 1)


def test_precision_cannot_be_changed(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(ModelError, match="precision: onnxruntime computes in the model's own precision, not in bf16"):
        open_detector(DetectConfig(model=str(tmp_path / "m.onnx"), runtime="onnxruntime", precision="bf16"), 1)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"hello")
    with pytest.raises(ModelError, match=r"m\.onnx: onnxruntime cannot load it: .*Protobuf parsing failed"):
        open_detector(DetectConfig(model=str(tmp_path / "m.onnx"), runtime="onnxruntime"), 1)
