"""Kinds of model files that are neither plain ONNX nor f32, tiles, and how a broken file is told."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import openvino
import pytest
from core_exports import export
from core_reference import DATA, MODELS, assert_same, image, letterbox, marks, overlaps, session, tensor, yolox
from damage import KINDS, damaged
from onnxruntime import quantization

from zpipe.config.keys import DetectConfig
from zpipe.errors import ModelError
from zpipe.models.interface import Detector
from zpipe.models.opening import open_detector

pytestmark = marks

YOLOX = MODELS / "detectors/yolox_nano_416.onnx"
IMAGE_73 = "coco/000000000073.jpg"
LABELS = str(DATA / "labels/coco_80.txt")


def opened(file: Path | str, **keys: object) -> Detector:
    return open_detector(DetectConfig(model=str(file), labels=LABELS, **{"precision": "f32", **keys}), 2)


def test_openvino_ir(tmp_path: Path) -> None:
    model = openvino.Core().read_model(YOLOX)
    openvino.save_model(model, tmp_path / "yolox.xml", compress_to_fp16=False)
    pixels = image("darknet/dog.jpg")
    one, other = (opened(file).detect(pixels) for file in (YOLOX, tmp_path / "yolox.xml"))
    assert all(np.allclose(a, b, atol=1e-3) for a, b in zip(one, other, strict=True))


def test_the_labels_in_an_ir(tmp_path: Path) -> None:
    model = openvino.Core().read_model(YOLOX)
    names = [name.replace(" ", "_") for name in Path(LABELS).read_text().splitlines()]
    model.set_rt_info(" ".join(names), ["model_info", "labels"])
    openvino.save_model(model, tmp_path / "yolox.xml")
    detector = open_detector(DetectConfig(model=str(tmp_path / "yolox.xml")), 1)
    assert list(detector.labels) == Path(LABELS).read_text().splitlines()


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Three pictures as YOLOX sees them."""

    def __init__(self) -> None:
        self._left = ["darknet/dog.jpg", "darknet/person.jpg", "darknet/horses.jpg"]

    def get_next(self) -> dict[str, np.ndarray] | None:
        if not self._left:
            return None
        padded, _, _, _ = letterbox(image(self._left.pop()), 416, 416, centred=False)
        return {"images": tensor(padded, rgb=False)}


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """YOLOX with its convolutions in int8 (QDQ, a scale per channel).

    Activations are unsigned: with signed ones OpenVINO
    2026.4 on a CPU finds next to nothing.
    """
    folder = tmp_path_factory.mktemp("int8")
    onnx.save(onnx.version_converter.convert_version(onnx.load(str(YOLOX)), 13), str(folder / "13.onnx"))
    quantization.quantize_static(
        str(folder / "13.onnx"),
        str(folder / "int8.onnx"),
        Calibration(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return folder / "int8.onnx"


@pytest.mark.parametrize(("runtime", "near", "iou"), [("onnxruntime", 0.02, 0.98), ("openvino", 0.06, 0.9)])
def test_int8(int8: Path, runtime: str, near: float, iou: float) -> None:
    """Against plain numpy over onnxruntime on the same file. OpenVINO rounds int8 in its own way: measured differences
    of confidences are up to 0.05 for objects above 0.55, up to 0.15 for weaker ones, which are left out here."""
    detector = opened(int8, runtime=runtime, confidence=0.3)
    assert detector.describe()["format"] == "yolox"
    for name in ("darknet/dog.jpg", "darknet/person.jpg", "darknet/horses.jpg", "darknet/giraffe.jpg", IMAGE_73):
        rows = yolox(session(str(int8)), image(name), 0.3, 0.45)
        assert_same(detector.detect(image(name)), rows, 0.55 - near, iou=iou, near=near)


def test_float16_inputs_and_outputs(tmp_path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(str(YOLOX)), keep_io_types=False)
    onnx.save(model, str(tmp_path / "half.onnx"))
    pixels = image("darknet/dog.jpg")
    rows = yolox(session("detectors/yolox_nano_416.onnx"), pixels, 0.3, 0.45)
    for runtime in ("openvino", "onnxruntime"):
        assert_same(opened(tmp_path / "half.onnx", runtime=runtime).detect(pixels), rows, 0.3)


def test_the_model_cache_is_filled_and_used(tmp_path: Path) -> None:
    config = DetectConfig(model=str(YOLOX), labels=LABELS, precision="f32")
    pixels = image("darknet/dog.jpg")
    first = open_detector(config, 1, str(tmp_path)).detect(pixels)
    assert list(tmp_path.iterdir())
    second = open_detector(config, 1, str(tmp_path)).detect(pixels)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_precision_is_told() -> None:
    assert opened(YOLOX).describe()["precision"] == "f32"


def test_tiles_find_what_is_too_small_for_the_whole() -> None:
    street = image("darknet/person.jpg")
    small = np.full((street.shape[0] * 4, street.shape[1] * 4, 3), 114, np.uint8)
    small[900 : 900 + street.shape[0], 1500 : 1500 + street.shape[1]] = street
    whole = opened(YOLOX, confidence=0.5).detect(small)
    detector = opened(YOLOX, confidence=0.5, tiles="4x4", tile_overlap=0.4)
    tiled = detector.detect(small)
    assert "4x4" in str(detector.describe()["tiles"])
    assert len(tiled.boxes) > len(whole.boxes)
    person = tiled.boxes[tiled.label_ids == 0]
    corners = np.column_stack([person[:, :2], person[:, :2] + person[:, 2:]])
    assert overlaps(np.array([1500 + 190, 900 + 98, 1500 + 274, 900 + 378]), corners).max() > 0.8
    # Nothing twice: no two boxes of a class cover each other.
    for label in set(tiled.label_ids.tolist()):
        boxes = tiled.boxes[tiled.label_ids == label]
        corners = np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
        for i in range(len(corners)):
            assert all(overlaps(corners[i], np.delete(corners, i, 0)) <= 0.45)


def error_of(file: Path) -> str | None:
    """What opening it says; nothing if the damage is where it does not matter."""
    try:
        open_detector(DetectConfig(model=str(file)), 1)
    except ModelError as error:
        return str(error)
    return None


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_damaged_files_are_one_error_or_still_work(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture) -> None:
    seed = 20
    rng = random.Random(seed)
    small = MODELS / "detectors/yunet_n_320.onnx"
    if suffix == ".xml":
        openvino.save_model(openvino.Core().read_model(small), tmp_path / "whole.xml")
    whole = small.read_bytes() if suffix == ".onnx" else (tmp_path / "whole.xml").read_bytes()
    refused = 0
    for number in range(50):
        file = tmp_path / f"{number}{suffix}"
        file.write_bytes(damaged(whole, KINDS[number % len(KINDS)], rng))
        if suffix == ".xml":
            file.with_suffix(".bin").write_bytes((tmp_path / "whole.bin").read_bytes())
        error = error_of(file)
        assert error is None or error.startswith(f"{file}: "), f"seed {seed}, {number}: {error}"
        refused += error is not None
    assert refused > 20
    assert capfd.readouterr().err == ""  # the libraries below say nothing of their own


@pytest.mark.parametrize("suffix", [".pb", ".tflite", ".pt", ".bin", ""])
def test_other_suffixes_are_one_error_too(tmp_path: Path, suffix: str) -> None:
    """Edge 17: TensorFlow's frontend printed a line for each way in which it could not read a file.

    In a process of its own: such a frontend says some things only once.
    """
    file = tmp_path / f"noise{suffix}"
    file.write_bytes(random.Random(3).randbytes(3000))
    code = "import sys; from zpipe import _core; _core.read_openvino(sys.argv[1])"
    done = subprocess.run([sys.executable, "-P", "-c", code, str(file)], capture_output=True, text=True, timeout=60)
    said = done.stderr
    assert "CoreError" in said
    assert not [line for line in said.splitlines() if "tensorflow" in line or "absl" in line], said


def test_weights_that_are_cut_off(tmp_path: Path) -> None:
    openvino.save_model(openvino.Core().read_model(YOLOX), tmp_path / "yolox.xml")
    weights = tmp_path / "yolox.bin"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"yolox\.xml: cannot be read as a model"):
        opened(tmp_path / "yolox.xml")
    weights.unlink()
    with pytest.raises(ModelError, match=r"yolox\.xml: "):
        opened(tmp_path / "yolox.xml")


def test_an_opset_from_the_future(tmp_path: Path) -> None:
    model = onnx.load(export(tmp_path, {"output": np.zeros((1, 252, 7), np.float32)}))
    model.graph.node[0].op_type = "FrobnicateV9"
    onnx.save(model, str(tmp_path / "future.onnx"))
    with pytest.raises(ModelError, match="FrobnicateV9"):
        open_detector(DetectConfig(model=str(tmp_path / "future.onnx")), 1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lfs_pointer.onnx", "is only a Git LFS pointer; `git lfs pull` fetches the model"),
        ("truncated.onnx", "cannot be read as a model"),
        ("zero_byte.onnx", "the file is empty"),
    ],
)
def test_the_shared_broken_files(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        open_detector(DetectConfig(model=str(DATA / "broken/models" / name)), 1)


def test_files_that_are_none(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is not a file"), (tmp_path / "none.onnx", "there is no such file")):
        for runtime in ("openvino", "onnxruntime"):
            with pytest.raises(ModelError, match=said):
                open_detector(DetectConfig(model=str(path), runtime=runtime), 1)
