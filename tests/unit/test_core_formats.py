"""Formats without a model in the shared data: small ONNX files made here, whose outputs are known numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from core_exports import Outputs, export
from onnx import TensorProto

from zpipe import _core
from zpipe.config.keys import DetectConfig, DetectFormat
from zpipe.errors import ModelError
from zpipe.models.interface import Detections
from zpipe.models.opening import open_detector

PIXELS = np.full((200, 400, 3), 90, np.uint8)


def test_the_config_and_the_core_know_the_same_formats() -> None:
    assert get_args(DetectFormat) == ("auto", *_core.FORMATS)


def found_by(file: str, runtime: str = "openvino", **keys: object) -> tuple[Detections, dict[str, object]]:
    config = DetectConfig(model=file, precision="f32", **{"confidence": 0.5, **keys}, runtime=runtime)
    detector = open_detector(config, 1)
    return detector.detect(PIXELS), detector.describe()


def check(file: str, kind: str, rows: list[tuple[float, ...]], **keys: object) -> None:
    """The picture has exactly these rows (left, top, right, bottom, confidence, label), in both runtimes."""
    for runtime in ("openvino", "onnxruntime"):
        found, told = found_by(file, runtime, **keys)
        assert told["format"] == kind, told
        mine = np.column_stack([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:], found.confidences])
        assert found.label_ids.tolist() == [row[5] for row in rows]
        assert mine == pytest.approx(np.array([row[:5] for row in rows]).reshape(-1, 5), abs=0.02)


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def bins(*distances: float) -> np.ndarray:
    """Logits over 0..7 whose means are these distances: nearly all weight on two neighbours."""
    rows = np.full((4, 8), -30.0)
    for row, d in zip(rows, distances, strict=True):
        low = int(d)
        row[low], row[min(low + 1, 7)] = np.log(max(1 - (d - low), 1e-9)), np.log(max(d - low, 1e-9))
    return rows.ravel()


# The picture is 400x200, the input 64x64: letterboxes scale by 0.16, stretching by 0.16 and 0.32. Centred, the picture
# begins at row 16 of the input.


def test_nanodet_plus(tmp_path: Path) -> None:
    rows = np.full((85, 2 + 32), -9.0, np.float32)  # 64 + 16 + 4 + 1 cells
    rows[64 + 5] = [logit(0.8), -9, *bins(1, 0.5, 1, 1.5)]  # stride 16, column 1, row 1: centre (16, 16)
    # NanoDet-Plus applies the sigmoid to a part of the output; here it is missing altogether.
    file = export(tmp_path, {"output": rows[None]}, ops={"output": ["Relu"]})
    with pytest.raises(ModelError, match="it cannot be told for sure"):
        found_by(export(tmp_path, {"output": rows[None, :80]}))
    # Relu would spoil the numbers: the real test names the format on a plain output.
    file = export(tmp_path, {"output": rows[None]})
    check(file, "nanodet (plus)", [(0, 25, 200, 125, 0.8, 0)], format="nanodet")


def test_picodet(tmp_path: Path) -> None:
    outputs: Outputs = {}
    for stride, cells in ((8, 64), (16, 16), (32, 4), (64, 1)):
        outputs[f"scores_{stride}"] = np.full((1, cells, 3), 0.01, np.float32)
        outputs[f"boxes_{stride}"] = np.zeros((1, cells, 32), np.float32)
    outputs["scores_32"][0, 3, 2] = 0.9  # column 1, row 1: centre (48, 48)
    outputs["boxes_32"][0, 3] = bins(0.5, 0.25, 0.25, 0.5)
    for name in outputs:
        outputs[name] = outputs[name] if "boxes" in name else np.log(outputs[name] / (1 - outputs[name]))
    file = export(tmp_path, outputs, ops={n: ["Sigmoid"] for n in outputs if "scores" in n})
    check(file, "picodet", [(32 / 0.16, 40 / 0.32, 56 / 0.16, 64 / 0.32, 0.9, 2)])
    # The same without the sigmoid in the graph: it is applied here.
    check(export(tmp_path, outputs), "picodet", [(32 / 0.16, 40 / 0.32, 56 / 0.16, 64 / 0.32, 0.9, 2)])


def test_picodet_with_its_selection_must_be_named_and_is_told_the_size(tmp_path: Path) -> None:
    rows = np.array([[1, 0.9, 16, 16, 32, 48], [0, 0.2, 0, 0, 9, 9]], np.float32)
    outputs = {"boxes": rows, "count": np.array([2], np.int64)}
    file = export(tmp_path, outputs, side_inputs={"im_shape": [1, 2], "scale_factor": [1, 2]})
    check(file, "picodet (selected)", [(100, 50, 200, 150, 0.9, 1)], format="picodet")
    with pytest.raises(ModelError, match="it cannot be told for sure"):
        found_by(file)


def test_rtdetr_of_ultralytics(tmp_path: Path) -> None:
    rows = np.zeros((1, 300, 4 + 3), np.float32)
    rows[0, 7] = [0.5, 0.25, 0.5, 0.5, 0.1, 0.9, 0.6]
    meta = {"names": "{0: 'a', 1: 'b', 2: 'c'}", "stride": "32", "task": "detect"}
    file = export(tmp_path, {"output0": rows}, metadata=meta)
    check(file, "detr (ultralytics)", [(100, 0, 300, 100, 0.9, 1), (100, 0, 300, 100, 0.6, 2)])


def detr_outputs(columns: int) -> Outputs:
    logits = np.full((1, 5, columns), -8.0, np.float32)
    logits[0, 2, 1] = logit(0.7)
    boxes = np.full((1, 5, 4), 0.5, np.float32)
    boxes[0, 2] = [0.25, 0.75, 0.25, 0.5]
    return {"logits": logits, "pred_boxes": boxes}


def test_detr_with_a_sigmoid_per_class(tmp_path: Path) -> None:
    check(export(tmp_path, detr_outputs(3)), "detr (sigmoid)", [(50, 100, 150, 200, 0.7, 1)], labels=["a", "b", "c"])


def test_detr_with_a_softmax_and_no_object(tmp_path: Path) -> None:
    outputs = detr_outputs(3)
    outputs["logits"][0, :, 2] = 5
    outputs["logits"][0, 2] = np.log([0.1, 0.8, 0.1])
    check(export(tmp_path, outputs), "detr (softmax)", [(50, 100, 150, 200, 0.8, 1)], labels=["a", "b"])


def test_detr_without_names_is_not_guessed(tmp_path: Path) -> None:
    file = export(tmp_path, detr_outputs(3))
    with pytest.raises(ModelError, match="name one with `format`"):
        found_by(file)
    with pytest.raises(ModelError, match=r"fit detr \(sigmoid\) and detr \(softmax\); with the names .* in `labels`"):
        found_by(file, format="detr")


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 3, 64, 64)])
def test_torchvision(tmp_path: Path, shape: tuple[int, ...]) -> None:
    outputs = {
        "boxes": np.array([[16, 8, 32, 24], [0, 0, 5, 5]], np.float32),
        "labels": np.array([2, 1], np.int64),
        "scores": np.array([0.9, 0.1], np.float32),
    }
    check(export(tmp_path, outputs, shape=shape), "ssd (torchvision)", [(100, 50, 200, 150, 0.9, 2)])


def test_tensorflow_with_bytes_interleaved(tmp_path: Path) -> None:
    outputs = {
        "num_detections": np.array([2], np.float32),
        "detection_boxes": np.array([[[0.25, 0.5, 0.5, 1], [0, 0, 0.1, 0.1]]], np.float32),
        "detection_scores": np.array([[0.9, 0.3]], np.float32),
        "detection_classes": np.array([[3, 1]], np.float32),
    }
    file = export(tmp_path, outputs, shape=(1, 64, 64, 3), element=TensorProto.UINT8)
    check(file, "ssd (tensorflow)", [(200, 50, 400, 100, 0.9, 2)])


def test_detection_output(tmp_path: Path) -> None:
    rows = np.array(
        [[0, 2, 0.9, 0, 0.5, 0.5, 1], [0, 1, 0.2, 0, 0, 1, 1], [-1, 0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 1, 1]]
    )
    file = export(tmp_path, {"detection_out": rows.astype(np.float32)[None, None]})
    check(file, "detection-output", [(0, 100, 200, 200, 0.9, 2)])


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("points", [False, True])
def test_scrfd(tmp_path: Path, batch: bool, points: bool) -> None:
    outputs: Outputs = {}
    for kind, width in (("score", 1), ("bbox", 4), *([("kps", 10)] if points else [])):
        for stride, cells in ((8, 64), (16, 16), (32, 4)):
            outputs[f"{kind}_{stride}"] = np.zeros((cells * 2, width), np.float32)
    outputs["score_16"][2 * 5 + 1] = 3  # second anchor of column 1, row 1: (16, 16)
    outputs["bbox_16"][2 * 5 + 1] = [1, 0.5, 1, 0.5]
    for stride in (8, 16, 32):
        outputs[f"score_{stride}"] -= np.float32(np.where(outputs[f"score_{stride}"] == 0, 9, 0))
    outputs = {name: values[None] if batch else values for name, values in outputs.items()}
    file = export(tmp_path, outputs, ops={n: ["Sigmoid"] for n in outputs if "score" in n})
    check(file, "scrfd", [(0, 50, 200, 150, 1 / (1 + np.exp(-3)), 0)])


def yolo_rows(count: int, columns: int, **rows: list[float]) -> np.ndarray:
    values = np.zeros((1, count, columns), np.float32)
    for number, row in rows.items():
        values[0, int(number[1:])] = row
    return values


def test_yolov5_by_its_three_anchors(tmp_path: Path) -> None:
    rows = yolo_rows(3 * 84, 7, r9=[32, 32, 16, 16, 0.9, 0.2, 1], r10=[33, 32, 16, 16, 0.8, 0.2, 1])
    check(export(tmp_path, {"output": rows}), "yolov5", [(150, 50, 250, 150, 0.9, 1)])


@pytest.mark.parametrize("ops", [[], ["QuantizeLinear", "DequantizeLinear"]])
def test_yolox_by_its_undecoded_graph(tmp_path: Path, ops: list[str]) -> None:
    """The arithmetic of an int8 model's dequantisation is not a decoder's."""
    rows = yolo_rows(84, 7, r70=[0.5, 1, 0, 0.5, 1, 0, 0.75])  # stride 16, column 2, row 1
    side = 16 * np.exp(0.5)
    box = ((40 - 8) / 0.16, (32 - side / 2) / 0.16, (40 + 8) / 0.16, 200, 0.75, 1)
    check(export(tmp_path, {"output": rows}, ops={"output": ops}), "yolox", [box])


def test_decoded_with_a_row_per_cell_is_yolox_or_yolov6(tmp_path: Path) -> None:
    rows = yolo_rows(84, 7, r9=[32, 32, 16, 16, 0.9, 0.2, 1])
    file = export(tmp_path, {"output": rows}, ops={"output": ["Exp", "Log"]})
    with pytest.raises(ModelError, match="name one with `format`"):
        found_by(file)
    check(file, "yolov5", [(150, 50, 250, 150, 0.9, 1)], format="yolov5")
    check(file, "yolox", [(150, 150, 250, 200, 0.9, 1)], format="yolox")  # at the corner, not centred


def test_yolov8_of_one_class(tmp_path: Path) -> None:
    rows = yolo_rows(84, 5, r9=[32, 32, 16, 16, 0.9]).transpose(0, 2, 1)
    check(export(tmp_path, {"output": np.ascontiguousarray(rows)}), "yolov8", [(150, 50, 250, 150, 0.9, 0)])


SIX_COLUMNS = yolo_rows(100, 6, r1=[24, 24, 40, 40, 0.9, 0])


def test_six_columns_without_any_hint_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"name one with `format`.*\n  output \(1, 100, 6\) f32\nFormats:\n  yolov5: "):
        found_by(export(tmp_path, {"output": SIX_COLUMNS}))


def test_six_columns_by_metadata(tmp_path: Path) -> None:
    file = export(tmp_path, {"output": SIX_COLUMNS}, metadata={"end2end": "True"})
    check(file, "yolov10", [(150, 50, 250, 150, 0.9, 0)])


def test_poses_are_not_boxes(tmp_path: Path) -> None:
    meta = {"names": "{0: 'person'}", "stride": "32", "task": "pose"}
    file = export(tmp_path, {"output": np.zeros((1, 56, 84), np.float32)}, metadata=meta)
    with pytest.raises(ModelError, match="it cannot be told for sure"):
        found_by(file)


def test_names_of_another_number_are_an_error(tmp_path: Path) -> None:
    file = export(tmp_path, {"output": np.zeros((1, 9, 84), np.float32)}, metadata={"names": "['a', 'b']"})
    with pytest.raises(ModelError, match="has 5 classes, but its metadata names 2 labels"):
        found_by(file)


@pytest.mark.parametrize(
    "kind",
    [
        "yolov5",
        "yolov8",
        "yolov10",
        "yolox",
        "nanodet",
        "picodet",
        "detr",
        "rtmdet",
        "ssd",
        "detection-output",
        "ultraface",
        "yunet",
        "scrfd",
    ],
)
def test_a_named_format_that_does_not_fit(tmp_path: Path, kind: str) -> None:
    file = export(tmp_path, {"out": np.zeros((2, 3, 4, 5, 6), np.float32)})
    with pytest.raises(ModelError, match=rf"not of format {kind}, which has .*\n  out \(2, 3, 4, 5, 6\) f32"):
        found_by(file, format=kind)


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no detector format 'yolo99'; known are:\n  yolov5: "):
        found_by(export(tmp_path, {"out": np.zeros((1, 2), np.float32)}), format="yolo99")


def test_an_input_of_unknown_meaning(tmp_path: Path) -> None:
    file = export(tmp_path, {"output": yolo_rows(252, 7)}, side_inputs={"mystery": [1, 2]})
    with pytest.raises(ModelError, match=r"what to feed the input 'mystery' \(1, 2\) is not known"):
        found_by(file)


@pytest.mark.parametrize(
    ("shape", "said"),
    [((1, 5, 64, 64), "no input looks like a picture"), ((1, 3, 64, 3), "no input looks like a picture")],
)
def test_inputs_that_are_no_picture(tmp_path: Path, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        found_by(export(tmp_path, {"output": yolo_rows(252, 7)}, shape=shape))


def test_a_size_that_contradicts_the_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has the fixed width 64, but `size` asks for 32"):
        found_by(export(tmp_path, {"output": yolo_rows(252, 7)}), size=[32, 64])


def boxes_of(change: Callable[[np.ndarray], None], tmp_path: Path, **keys: object) -> Detections:
    rows = yolo_rows(252, 7, r9=[32, 32, 16, 16, 0.9, 0.2, 1])
    change(rows)
    return found_by(export(tmp_path, {"output": rows}), **keys)[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_no_boxes(tmp_path: Path, bad: float) -> None:
    def spoil(rows: np.ndarray) -> None:
        rows[0, 20:24] = [40, 40, 8, 8, 0.9, 1, 0]
        for i in range(4):
            rows[0, 20 + i, i] = bad

    found = boxes_of(spoil, tmp_path)
    assert np.isfinite(found.boxes).all()
    assert found.boxes[0] == pytest.approx([150, 50, 100, 100], abs=0.01)


@pytest.mark.parametrize(("column", "bad"), [(4, np.nan), (4, np.inf), (4, -np.inf), (5, np.nan), (5, np.inf)])
def test_numbers_that_are_none_are_no_confidences(tmp_path: Path, column: int, bad: float) -> None:
    """Edge 6: such rows were dropped without a word, although nobody knows what they should have been."""

    def spoil(rows: np.ndarray) -> None:
        rows[0, 24] = [40, 40, 8, 8, 0.9, 0.9, 0]
        rows[0, 24, column] = bad

    with pytest.raises(ModelError, match="confidences that are no finite numbers"):
        boxes_of(spoil, tmp_path)


def test_boxes_are_clipped_and_those_outside_dropped(tmp_path: Path) -> None:
    def move(rows: np.ndarray) -> None:
        rows[0, 9, :4] = [0, 16, 32, 16]  # over the left-top corner of the picture, which begins at row 16
        rows[0, 10] = [32, 6, 8, 8, 0.9, 0, 1]  # in the padding

    assert boxes_of(move, tmp_path).boxes.tolist() == [[0, 0, 100, 50]]


def test_filters(tmp_path: Path) -> None:
    def add(rows: np.ndarray) -> None:
        rows[0, 10] = [32, 32, 16, 16, 0.6, 1, 0]

    labels = {"labels": ["a", "b"]}
    assert boxes_of(add, tmp_path, **labels).label_ids.tolist() == [1, 0]
    assert boxes_of(add, tmp_path, **labels, class_agnostic=True).label_ids.tolist() == [1]
    assert boxes_of(add, tmp_path, **labels, include=["a"]).label_ids.tolist() == [0]
    assert boxes_of(add, tmp_path, **labels, exclude=["a"]).label_ids.tolist() == [1]
    assert boxes_of(add, tmp_path, **labels, confidences={"a": 0.7}).label_ids.tolist() == [1]
    assert boxes_of(add, tmp_path, **labels, confidences={"a": 0.55}, confidence=0.95).label_ids.tolist() == [0]
    assert boxes_of(add, tmp_path, **labels, max_objects=1).label_ids.tolist() == [1]
