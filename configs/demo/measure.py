"""Measures the demo's models on its scenes, with nothing but numpy, OpenCV's resize and onnxruntime.

It does what the chain does, in the plainest way: letterbox, detect, non-maximum suppression, crop, classify.
It shares no code with zpipe, so that the two can be compared.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

CONFIDENCE, NMS_IOU, MATCH_IOU = 0.4, 0.45, 0.5
PADDING = 114
MARGIN = 0.10
MEAN, SCALE = 127.5, 1 / 127.5


@dataclass(frozen=True)
class Figures:
    """Counts over all scenes. Found: matched by a box, IoU 0.5 or more; false: boxes that match nothing."""

    digits: int
    found: int
    read: int
    false: int

    def __str__(self) -> str:
        return (
            f"{self.digits} digits: {self.found} found ({self.found / self.digits:.2%}), "
            f"{self.read} of these read right ({self.read / max(self.found, 1):.2%}), {self.false} false"
        )


def measure(folder: Path, confidence: float = CONFIDENCE, log_mistakes: bool = False) -> Figures:
    """Runs detector.onnx and classifier.onnx over the scenes of truth.json, all in `folder`."""
    providers = ["CPUExecutionProvider"]
    detector = onnxruntime.InferenceSession(folder / "detector.onnx", providers=providers)
    classifier = onnxruntime.InferenceSession(folder / "classifier.onnx", providers=providers)
    digits = found = read = false = 0
    for scene in json.loads((folder / "truth.json").read_text())["scenes"]:
        image = cv2.imread(str(folder / scene["file"]))
        boxes = detect(detector, image, confidence)
        labels = classify(classifier, image, boxes)
        true = np.array([(d["x"], d["y"], d["x"] + d["w"], d["y"] + d["h"]) for d in scene["digits"]], float)
        pairs = matches(boxes, true)
        wrong = [(t, labels[b]) for b, t in pairs if labels[b] != scene["digits"][t]["label"]]
        digits, found, false = digits + len(true), found + len(pairs), false + len(boxes) - len(pairs)
        read += len(pairs) - len(wrong)
        if log_mistakes:
            for t, label in wrong:
                print(f"  {scene['file']}: {scene['digits'][t]} read as {label}")
            for t in set(range(len(true))) - {t for _, t in pairs}:
                print(f"  {scene['file']}: {scene['digits'][t]} not found")
            for b in set(range(len(boxes))) - {b for b, _ in pairs}:
                print(f"  {scene['file']}: nothing at {boxes[b].round().astype(int).tolist()}")
    return Figures(digits, found, read, false)


def detect(session: onnxruntime.InferenceSession, image: np.ndarray, confidence: float) -> np.ndarray:
    """Boxes x0, y0, x1, y1 in image pixels, surest first, (n, 4)."""
    _, _, height, width = session.get_inputs()[0].shape
    h, w = image.shape[:2]
    zoom = min(width / w, height / h)
    seen_w, seen_h = round(w * zoom), round(h * zoom)
    left, top = (width - seen_w) // 2, (height - seen_h) // 2
    boxed = np.full((height, width, 3), PADDING, np.uint8)
    boxed[top : top + seen_h, left : left + seen_w] = cv2.resize(image, (seen_w, seen_h))
    blob = boxed[None, ..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    (output,) = session.run(None, {session.get_inputs()[0].name: blob})
    cx, cy, bw, bh, score = output[0][:, output[0][4] >= confidence]
    boxes = np.stack([cx - bw / 2 - left, cy - bh / 2 - top, cx + bw / 2 - left, cy + bh / 2 - top], 1) / zoom
    boxes = boxes.clip(0, (w, h, w, h))[np.argsort(-score, kind="stable")]
    kept: list[np.ndarray] = []
    for box in boxes:
        if not kept or overlap(box[None], np.array(kept)).max() <= NMS_IOU:
            kept.append(box)
    return np.array(kept).reshape(-1, 4)


def classify(session: onnxruntime.InferenceSession, image: np.ndarray, boxes: np.ndarray) -> list[int]:
    """The digit in each box: crop with margin, stretch to the input's size, take the highest output."""
    if not len(boxes):
        return []
    h, w = image.shape[:2]
    _, _, crop_h, crop_w = session.get_inputs()[0].shape
    margin = MARGIN * (boxes[:, 2:] - boxes[:, :2])
    grown = np.hstack([boxes[:, :2] - margin, boxes[:, 2:] + margin]).round().astype(int).clip(0, (w, h, w, h))
    crops = np.stack([cv2.resize(image[y0:y1, x0:x1], (crop_w, crop_h)) for x0, y0, x1, y1 in grown])
    blob = (crops[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) - MEAN) * SCALE
    (logits,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(blob)})
    return [int(label) for label in logits.argmax(1)]


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of all boxes of a with all of b, (len(a), len(b))."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def matches(boxes: np.ndarray, true: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (box, true box): surest box first, each takes the best true box still free."""
    ious, pairs = overlap(boxes, true), []
    for b in range(len(boxes)):
        t = int(ious[b].argmax())
        if ious[b, t] >= MATCH_IOU:
            pairs.append((b, t))
            ious[:, t] = 0
    return pairs
