"""Detectors and classifiers decoded a second time, in plain numpy over onnxruntime: what the core is compared with.

Written from the formats' definitions and sharing nothing with the core but the files.
"""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from shared_data import DATA

MODELS = DATA / "models"


def needs_data(test: object) -> object:
    """Marks a test (or, as `pytestmark = marks`, a file) that uses the shared data."""
    for mark in marks:
        test = mark(test)
    return test


marks = [
    pytest.mark.data,
    pytest.mark.skipif(not MODELS.is_dir(), reason="needs the shared test data beside the checkout"),
]


def session(name: str | Path) -> ort.InferenceSession:
    """A model of the shared data in onnxruntime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return ort.InferenceSession(MODELS / name, options, providers=["CPUExecutionProvider"])


def image(name: str) -> np.ndarray:
    """A picture of the shared data."""
    pixels = cv2.imread(str(DATA / "images" / name))
    assert pixels is not None, name
    return pixels


def letterbox(pixels: np.ndarray, width: int, height: int, centred: bool) -> tuple[np.ndarray, float, int, int]:
    """The padded picture, its scale and its left-top corner."""
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    w, h = round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)
    left, top = ((width - w) // 2, (height - h) // 2) if centred else (0, 0)
    padded = np.full((height, width, 3), 114, np.uint8)
    padded[top : top + h, left : left + w] = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_LINEAR)
    return padded, scale, left, top


def tensor(pixels: np.ndarray, rgb: bool, mean: object = 0.0, scale: object = 1.0) -> np.ndarray:
    """(1, 3, h, w) float32."""
    ordered = pixels[:, :, ::-1] if rgb else pixels
    values = (ordered.astype(np.float32) - np.asarray(mean, np.float32)) / np.asarray(scale, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box with others, all as corners."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    both = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return both / ((box[2] - box[0]) * (box[3] - box[1]) + areas - both)


def suppressed(rows: np.ndarray, iou: float) -> np.ndarray:
    """Rows (corners, confidence, label) after greedy suppression per class."""
    kept: list[np.ndarray] = []
    for row in rows[np.argsort(-rows[:, 4], kind="stable")]:
        same = np.array([k for k in kept if k[5] == row[5]])
        if not len(same) or overlaps(row[:4], same[:, :4]).max() <= iou:
            kept.append(row)
    return np.array(kept).reshape(-1, 6)


def corners(cx: np.ndarray, cy: np.ndarray, w: np.ndarray, h: np.ndarray) -> np.ndarray:
    """(n, 4) corners from centres and sizes."""
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)


def best_class(boxes: np.ndarray, scores: np.ndarray, confidence: float) -> np.ndarray:
    """Rows of the boxes whose best class passes."""
    labels = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), labels]
    keep = best >= confidence
    return np.column_stack([boxes[keep], best[keep], labels[keep]])


def in_image(rows: np.ndarray, pixels: np.ndarray, scale: object, left: float = 0, top: float = 0) -> np.ndarray:
    """Rows with their corners in image pixels, clipped; without those that have no area left."""
    rows = rows.copy()
    rows[:, :4] = (rows[:, :4] - [left, top, left, top]) / scale
    height, width = pixels.shape[:2]
    rows[:, :4] = rows[:, :4].clip(0, [width, height, width, height])
    return rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]


def yolox(net: ort.InferenceSession, pixels: np.ndarray, confidence: float, iou: float) -> np.ndarray:
    """Rows (corners in the image, confidence, label) of YOLOX."""
    padded, scale, _, _ = letterbox(pixels, 416, 416, centred=False)
    out = net.run(None, {"images": tensor(padded, rgb=False)})[0][0]
    grid, strides = [], []
    for stride in (8, 16, 32):
        side = 416 // stride
        y, x = np.mgrid[:side, :side]
        grid.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full(side * side, stride))
    cells, stride = np.concatenate(grid), np.concatenate(strides)[:, None]
    center = (out[:, :2] + cells) * stride
    size = np.exp(out[:, 2:4]) * stride
    rows = best_class(corners(*center.T, *size.T), out[:, 4:5] * out[:, 5:], confidence)
    return in_image(suppressed(rows, iou), pixels, scale)


def yolov5(net: ort.InferenceSession, pixels: np.ndarray, confidence: float, iou: float) -> np.ndarray:
    """As `yolox`, of YOLOv5's decoded output."""
    padded, scale, left, top = letterbox(pixels, 416, 416, centred=True)
    out = net.run(None, {"images": tensor(padded, rgb=True, scale=255)})[0][0]
    rows = best_class(corners(*out[:, :4].T), out[:, 4:5] * out[:, 5:], confidence)
    return in_image(suppressed(rows, iou), pixels, scale, left, top)


def yolov8(net: ort.InferenceSession, pixels: np.ndarray, confidence: float, iou: float) -> np.ndarray:
    """As `yolox`, of YOLOv8's output."""
    padded, scale, left, top = letterbox(pixels, 416, 416, centred=True)
    out = net.run(None, {"images": tensor(padded, rgb=True, scale=255)})[0][0].T
    rows = best_class(corners(*out[:, :4].T), out[:, 4:], confidence)
    return in_image(suppressed(rows, iou), pixels, scale, left, top)


def assert_same(found: object, rows: np.ndarray, confidence: float, iou: float = 0.98, near: float = 0.02) -> None:
    """The found boxes are the reference's: same labels, IoU, confidence; only rows at the threshold may differ."""
    boxes = np.column_stack([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]])  # type: ignore[attr-defined]
    mine = np.column_stack([boxes, found.confidences, found.label_ids])  # type: ignore[attr-defined]
    for some, others, who in ((rows, mine, "missing"), (mine, rows, "extra")):
        for row in some:
            if row[4] < confidence + near:
                continue
            same = others[others[:, 5] == row[5]]
            match = same[overlaps(row[:4], same[:, :4]) >= iou] if len(same) else same
            assert len(match), f"{who}: {row.round(3)} among\n{same.round(3)}"
            assert np.abs(match[:, 4] - row[4]).min() <= near, f"confidence of {row.round(3)}: {match.round(3)}"
