"""More detector formats in plain numpy; see core_reference.py.

Each returns rows: corners in the image, confidence, label.
"""

import numpy as np
import onnxruntime as ort
from core_reference import best_class, corners, cv2, in_image, letterbox, suppressed, tensor

BGR_MEAN, BGR_STD = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]


def named(net: ort.InferenceSession, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All outputs by name."""
    names = [port.name for port in net.get_outputs()]
    return dict(zip(names, net.run(None, feed), strict=True))


def at_corner(pixels: np.ndarray, side: int, padding: int) -> tuple[np.ndarray, float]:
    """The picture at the left-top corner of a square, padded."""
    padded, scale, _, _ = letterbox(pixels, side, side, centred=False)
    w, h = round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)
    padded[h:], padded[:, w:] = padding, padding
    return padded, scale


def grid(side: int, stride: int) -> np.ndarray:
    """(cells, 2): column and row of each cell."""
    y, x = np.mgrid[: side // stride, : side // stride]
    return np.stack([x.ravel(), y.ravel()], axis=1)


def yolov10(net: ort.InferenceSession, pixels: np.ndarray, confidence: float, iou: float) -> np.ndarray:
    padded, scale, left, top = letterbox(pixels, 416, 416, centred=True)
    rows = net.run(None, {"images": tensor(padded, rgb=True, scale=255)})[0][0]
    return in_image(rows[rows[:, 4] >= confidence], pixels, scale, left, top)


def nanodet(net: ort.InferenceSession, pixels: np.ndarray, confidence: float, iou: float) -> np.ndarray:
    padded, scale = at_corner(pixels, 320, 0)
    out = named(net, {"input.1": tensor(padded, rgb=False, mean=BGR_MEAN, scale=BGR_STD)})
    boxes, scores = [], []
    for stride in (8, 16, 32):
        bins = out[f"dis_pred_stride_{stride}"][0].reshape(-1, 4, 8)
        weights = np.exp(bins - bins.max(axis=2, keepdims=True))
        distance = (weights / weights.sum(axis=2, keepdims=True)) @ np.arange(8) * stride
        center = (grid(320, stride) + 0.5) * stride
        boxes.append(np.concatenate([center - distance[:, :2], center + distance[:, 2:]], axis=1))
        scores.append(out[f"cls_pred_stride_{stride}"][0])
    rows = best_class(np.concatenate(boxes), np.concatenate(scores), confidence)
    return in_image(suppressed(rows, iou), pixels, scale)


def rtdetr(net: ort.InferenceSession, pixels: np.ndarray, confidence: float, iou: float) -> np.ndarray:
    stretched = cv2.resize(pixels, (320, 320))
    # Asked for boxes in the image at once; the core asks for the input's size and scales them itself.
    size = np.array([[pixels.shape[1], pixels.shape[0]]], np.int64)
    out = named(net, {"images": tensor(stretched, rgb=True, scale=255), "orig_target_sizes": size})
    rows = np.column_stack([out["boxes"][0], out["scores"][0], out["labels"][0]])
    return in_image(rows[rows[:, 4] >= confidence], pixels, 1)


def rtmdet(net: ort.InferenceSession, pixels: np.ndarray, confidence: float, iou: float) -> np.ndarray:
    padded, scale = at_corner(pixels, 320, 114)
    out = named(net, {"input": tensor(padded, rgb=False, mean=BGR_MEAN, scale=BGR_STD)})
    rows = np.column_stack([out["dets"][0], out["labels"][0]])
    return in_image(rows[rows[:, 4] >= confidence], pixels, scale)


def ultraface(net: ort.InferenceSession, pixels: np.ndarray, confidence: float, iou: float) -> np.ndarray:
    stretched = cv2.resize(pixels, (320, 240))
    out = named(net, {"input": tensor(stretched, rgb=True, mean=127, scale=128)})
    boxes = out["boxes"][0] * [320, 240, 320, 240]
    rows = suppressed(best_class(boxes, out["scores"][0][:, 1:], confidence), iou)
    return in_image(rows, pixels, np.array([320 / pixels.shape[1], 240 / pixels.shape[0]] * 2))


def yunet(net: ort.InferenceSession, pixels: np.ndarray, confidence: float, iou: float) -> np.ndarray:
    padded, scale = at_corner(pixels, 320, 0)
    out = named(net, {"input": tensor(padded, rgb=False)})
    boxes, scores = [], []
    for stride in (8, 16, 32):
        box = out[f"bbox_{stride}"][0]
        center = (grid(320, stride) + box[:, :2]) * stride
        boxes.append(corners(*center.T, *(np.exp(box[:, 2:]) * stride).T))
        scores.append(np.sqrt(out[f"cls_{stride}"][0] * out[f"obj_{stride}"][0]))
    rows = best_class(np.concatenate(boxes), np.concatenate(scores), confidence)
    return in_image(suppressed(rows, iou), pixels, scale)
