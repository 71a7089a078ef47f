"""ONNX files whose last operations are those of real exports: pooling, a 1x1 convolution per level, and what follows.

A head's numbers come from how bright the cell is that they are for: level 0..1 after the format's own normalisation.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Nodes and constants under way; each method gives the name of what it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def constant(self, values: object, kind: type = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.array(values, kind), f"constant_{len(self.constants)}"))
        return str(self.constants[-1].name)

    def rows(self, stride: int, anchors: int, weights: np.ndarray, biases: np.ndarray, anchors_first: bool) -> str:
        """(1, N, columns) of one level: brightness of the cell (its three channels' sum) times weight, plus bias.

        `weights` and `biases` are (anchors, columns).
        """
        columns = weights.shape[1]
        cells = self.add("AveragePool", "images", kernel_shape=[stride] * 2, strides=[stride] * 2, ceil_mode=1)
        kernel = self.constant(np.repeat(weights.reshape(-1, 1, 1, 1), 3, axis=1))
        grid = self.add("Conv", cells, kernel, self.constant(biases.ravel()))
        if anchors_first:  # as YOLO
            flat = self.add("Reshape", grid, self.constant([1, anchors, columns, -1], np.int64))
            moved = self.add("Transpose", flat, perm=[0, 1, 3, 2])
        else:  # as SSD
            moved = self.add("Transpose", grid, perm=[0, 2, 3, 1])
        return self.add("Reshape", moved, self.constant([1, -1, columns], np.int64))

    def columns(self, rows: str, first: int, end: int) -> str:
        bounds = [self.constant([n], np.int64) for n in (first, end, 2)]
        return self.add("Slice", rows, *bounds)

    def save(self, path: Path, width: int, height: int, outputs: dict[str, tuple[str, list[int]]]) -> str:
        """The file; `outputs` are name -> what it is the output of, and its shape."""
        results = []
        for name, (source, shape) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [source], [name]))
            results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, height, width])
        graph = helper.make_graph(self.nodes, "head", [images], results, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, str(path / "head.onnx"))
        return str(path / "head.onnx")


def yolov5_rows(graph: Graph, columns: int, scores: list[int], anchor: int) -> tuple[str, int]:
    """The raw rows of three levels of a 320x320 input, and their number; of one anchor of stride 8 the columns
    `scores` are 8 in a white cell and -8 in others."""
    parts = []
    for stride in (8, 16, 32):
        weights, biases = np.zeros((3, columns)), np.zeros((3, columns))
        biases[:, scores] = -8
        biases[:, :4] = 0 if stride == 8 else 1
        if stride == 8:
            weights[anchor, scores] = 16 / 3
        parts.append(graph.rows(stride, 3, weights, biases, anchors_first=True))
    return graph.add("Concat", *parts, axis=1), 3 * (40 * 40 + 20 * 20 + 10 * 10)


def yolov5_lite(path: Path, classes: int) -> str:
    """As YOLOv5-Lite exports: the sigmoid and nothing behind it; the second anchor of stride 8 sees the last class."""
    graph = Graph()
    rows, count = yolov5_rows(graph, 5 + classes, [4, 4 + classes], anchor=1)
    return graph.save(path, 320, 320, {"output": (graph.add("Sigmoid", rows), [1, count, 5 + classes])})


def yolov5_face(path: Path) -> str:
    """As YOLOv5-face exports: boxes of 40x40 around the middle, points at 100 and beyond, one class."""
    graph = Graph()
    rows, count = yolov5_rows(graph, 16, [4, 15], anchor=0)
    ready = graph.add("Sigmoid", rows)
    scale = graph.constant([320, 320, 80, 80])  # of 0.5
    box = graph.add("Mul", graph.columns(ready, 0, 4), scale)
    points = graph.add("Add", graph.columns(rows, 5, 15), graph.constant(np.arange(100, 110)))
    parts = box, graph.columns(ready, 4, 5), points, graph.columns(ready, 15, 16)
    return graph.save(path, 320, 320, {"output": (graph.add("Concat", *parts, axis=2), [1, count, 16])})


def ultraface(path: Path, width: int = 320, height: int = 240, priors: tuple[int, ...] = (3, 2, 2, 3)) -> str:
    """As UltraFace exports "without postprocessing": the first prior of stride 16 sees a white cell."""
    graph = Graph()
    scores, boxes, count = [], [], 0
    for stride, kinds in zip((8, 16, 32, 64), priors, strict=True):
        weights, biases = np.zeros((kinds, 2)), np.tile([4.0, -4.0], (kinds, 1))
        if stride == 16:
            weights[0] = [-8 / 3, 8 / 3]
            biases[0] = [0, 0]
        scores.append(graph.rows(stride, kinds, weights, biases, anchors_first=False))
        offsets = np.tile([1, -2, 0, np.log(2) / 0.2], (kinds, 1))
        boxes.append(graph.rows(stride, kinds, np.zeros((kinds, 4)), offsets, anchors_first=False))
        count += -(-width // stride) * -(-height // stride) * kinds
    both = graph.add("Softmax", graph.add("Concat", *scores, axis=1), axis=2)
    outputs = {"scores": (both, [1, count, 2]), "boxes": (graph.add("Concat", *boxes, axis=1), [1, count, 4])}
    return graph.save(path, width, height, outputs)


def yolov8(path: Path, box: list[float], level: float = 1, growth: float = 0) -> str:
    """(1, 5, 84) of a 64x64 input: in each cell the same box, larger by `growth` times the stride; its score is the
    cell's brightness times `level`."""
    graph = Graph()
    parts = []
    for stride in (8, 16, 32):
        weights = np.array([[0, 0, 0, 0, level / 3]])
        x, y, w, h = box
        numbers = np.array([[x, y, w + growth * stride, h + growth * stride, 0]])
        parts.append(graph.rows(stride, 1, weights, numbers, anchors_first=True))
    rows = graph.add("Mul", graph.add("Concat", *parts, axis=1), graph.constant(1))
    return graph.save(path, 64, 64, {"output0": (graph.add("Transpose", rows, perm=[0, 2, 1]), [1, 5, 84])})
