"""What all peers do the same way: the models in the openvino Python API, pixels in OpenCV, boxes in numpy.

It is what one writes by hand, carefully: boxes are decoded for the few rows that pass, crops are classified in one
batch. A peer is a script that gets a job file (JSON) and writes, per frame, one JSON line with the objects and the
moment at which it was done.
"""

import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import openvino as ov


class Job:
    """What a peer is told, and where it answers."""

    def __init__(self, path):
        told = json.loads(Path(path).read_text())
        self.__dict__.update(told)
        self.path = path

    def properties(self, **more):
        """Of a compiled model: the precision that every peer has, no pinning (two one-thread models share a core)."""
        found = {"ENABLE_CPU_PINNING": False, **more}
        if self.precision != "auto":
            found["INFERENCE_PRECISION_HINT"] = self.precision
        return found

    def open_answers(self):
        return Answers(self.out)


class Answers:
    """The lines of a peer; kept until the end, so that writing costs nobody anything."""

    def __init__(self, path):
        self.path = path
        self.lines = []

    def add(self, number, objects, sent=None):
        """Frame `number` (from 0) is done: rows x, y, w, h, confidence, label_id, class_id, class_confidence."""
        self.lines.append({"n": number, "done": time.time(), "sent": sent, "objects": objects})

    def close(self):
        with open(self.path, "w") as file:
            for line in self.lines:
                line["objects"] = [[round(float(v), 4) for v in row] for row in line["objects"]]
                file.write(json.dumps(line) + "\n")


def job_of_command_line():
    cv2.setNumThreads(1)
    return Job(sys.argv[1])


# ---- YOLOX ----------------------------------------------------------------------------------------------------------

SIDE = 416


def _grid():
    cells, strides = [], []
    for stride in (8, 16, 32):
        n = SIDE // stride
        y, x = np.mgrid[:n, :n]
        cells.append(np.stack([x.ravel(), y.ravel()], 1))
        strides.append(np.full(n * n, stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)[:, None]


CELLS, STRIDES = _grid()


def detector_input(image):
    """(tensor, scale): letterboxed to the left-top corner, BGR, 0..255."""
    h, w = image.shape[:2]
    scale = min(SIDE / w, SIDE / h)
    nw, nh = round(w * scale), round(h * scale)
    padded = np.full((SIDE, SIDE, 3), 114, np.uint8)
    padded[:nh, :nw] = cv2.resize(image, (nw, nh), interpolation=cv2.INTER_LINEAR)
    return padded.transpose(2, 0, 1)[None].astype(np.float32), scale


def boxes_of(out, scale, shape, confidence, iou):
    """Rows x, y, w, h, confidence, label_id in image pixels, by falling confidence."""
    out = out[0]
    rows = out[out[:, 4] >= confidence], CELLS[out[:, 4] >= confidence], STRIDES[out[:, 4] >= confidence]
    out, cells, strides = rows
    scores = out[:, 4:5] * out[:, 5:]
    labels = scores.argmax(1)
    best = scores[np.arange(len(scores)), labels]
    keep = best >= confidence
    out, cells, strides, best, labels = out[keep], cells[keep], strides[keep], best[keep], labels[keep]
    if not len(out):
        return np.zeros((0, 6), np.float32)
    centre, size = (out[:, :2] + cells) * strides, np.exp(out[:, 2:4]) * strides
    xywh = np.concatenate([centre - size / 2, size], 1)
    chosen = np.array(cv2.dnn.NMSBoxesBatched(xywh.tolist(), best.tolist(), labels.tolist(), confidence, iou)).ravel()
    chosen = chosen[np.argsort(-best[chosen], kind="stable")].astype(int)
    xyxy = np.concatenate([xywh[chosen, :2], xywh[chosen, :2] + xywh[chosen, 2:]], 1) / scale
    h, w = shape[:2]
    xyxy = np.clip(xyxy, 0, [w, h, w, h])
    rows = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2], best[chosen, None], labels[chosen, None]], 1)
    return rows[(rows[:, 2] > 0) & (rows[:, 3] > 0)]


# ---- SqueezeNet -----------------------------------------------------------------------------------------------------

CROP = 224


def classifier_input(image, boxes, mean):
    """(n, 3, 224, 224): the boxes, stretched, BGR less the mean."""
    height, width = image.shape[:2]
    crops = np.empty((len(boxes), CROP, CROP, 3), np.float32)
    for crop, (x, y, w, h) in zip(crops, boxes[:, :4], strict=False):
        left, top = min(int(x + 0.5), width - 1), min(int(y + 0.5), height - 1)
        right, bottom = max(int(x + w + 0.5), left + 1), max(int(y + h + 0.5), top + 1)
        crop[:] = cv2.resize(image[top:bottom, left:right], (CROP, CROP), interpolation=cv2.INTER_LINEAR)
    crops -= np.asarray(mean, np.float32)
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2))


def rows_of(boxes, probabilities):
    """The rows of `Answers.add`."""
    if not len(boxes):
        return []
    probabilities = probabilities.reshape(len(boxes), -1)
    best = probabilities.argmax(1)
    return np.concatenate([boxes, best[:, None], probabilities[np.arange(len(best)), best][:, None]], 1).tolist()


class Models:
    """Both models, for whoever calls them one after the other."""

    def __init__(self, job, **properties):
        core = ov.Core()
        self.job = job
        self.detector = core.compile_model(job.detector, "CPU", job.properties(**properties))
        self.classifier = core.compile_model(job.classifier, "CPU", job.properties(**properties))
        self.detect_request = self.detector.create_infer_request()
        self.classify_request = self.classifier.create_infer_request()
        self.rows(np.zeros((SIDE, SIDE, 3), np.uint8))
        self.classify(np.zeros((SIDE, SIDE, 3), np.uint8), np.array([[0, 0, 9, 9, 1, 1]], np.float32))

    def detect(self, image):
        tensor, scale = detector_input(image)
        self.detect_request.infer({0: tensor}, share_inputs=True)
        out = self.detect_request.get_output_tensor(0).data
        return boxes_of(out, scale, image.shape, self.job.confidence, self.job.iou)

    def classify(self, image, boxes):
        if not len(boxes):
            return []
        self.classify_request.infer({0: classifier_input(image, boxes, self.job.mean)}, share_inputs=True)
        return rows_of(boxes, self.classify_request.get_output_tensor(0).data)

    def rows(self, image):
        return self.classify(image, self.detect(image))
