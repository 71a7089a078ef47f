"""Classifiers with known answers: what kinds of outputs become, which part of the picture is seen, batches."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zpipe.config.keys import ClassifyConfig
from zpipe.errors import FrameError, ModelError
from zpipe.models.interface import Classes, Classifier
from zpipe.models.opening import open_classifier

PIXELS = np.zeros((40, 60, 3), np.uint8)
PIXELS[:, :30] = (200, 100, 50)
PIXELS[:, 30:] = (10, 20, 30)
LEFT, RIGHT = [0, 0, 30, 40], [30, 0, 30, 40]


def mean_colour(
    path: Path, ops: list[str], *, batch: int | str = "n", shape: tuple[int, ...] = (8, 8), trailing: bool = False
) -> str:
    """A model of three outputs: the mean of each channel of its input, through `ops`."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["y0"], axes=[2, 3], keepdims=int(trailing))]
    for i, op in enumerate(ops):
        attributes = {"axis": 1} if op == "Softmax" else {}
        nodes.append(helper.make_node(op, [f"y{i}"], [f"y{i + 1}"], **attributes))
    nodes[-1].output[0] = "y"
    out = [batch, 3, 1, 1] if trailing else [batch, 3]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, *shape])]
    graph = helper.make_graph(nodes, "mean", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path / "mean.onnx"))
    return str(path / "mean.onnx")


def opened(file: str, **keys: object) -> Classifier:
    return open_classifier(ClassifyConfig(model=file, precision="f32", **keys), 1)


def classes(file: str, boxes: list[list[float]], **keys: object) -> Classes:
    return opened(file, **keys).classify(PIXELS, np.array(boxes, np.float32).reshape(-1, 4))


RUNTIMES = pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])


@RUNTIMES
def test_logits(tmp_path: Path, runtime: str) -> None:
    found = classes(mean_colour(tmp_path, []), [LEFT, RIGHT], scale=0.01, top_k=3, runtime=runtime)
    logits = np.array([2, 1, 0.5])
    assert found.label_ids.tolist() == [[0, 1, 2], [2, 1, 0]]
    assert found.confidences[0] == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=1e-4)
    assert found.values is found.embeddings is None


@RUNTIMES
@pytest.mark.parametrize("trailing", [False, True])
def test_a_softmax_in_the_graph_is_seen(tmp_path: Path, trailing: bool, runtime: str) -> None:
    model = opened(mean_colour(tmp_path, ["Softmax"], trailing=trailing), scale=0.01, top_k=3, runtime=runtime)
    assert model.describe()["output"] == "probabilities"
    found = model.classify(PIXELS, np.array([LEFT], np.float32))
    assert found.confidences[0] == pytest.approx(np.exp([2, 1, 0.5]) / np.exp([2, 1, 0.5]).sum(), abs=1e-4)


@RUNTIMES
def test_a_sigmoid_in_the_graph_is_not_applied_twice(tmp_path: Path, runtime: str) -> None:
    wanted = 1 / (1 + np.exp([-2, -1, -0.5]))
    inside = mean_colour(tmp_path, ["Sigmoid"])
    assert opened(inside, runtime=runtime).describe()["output"] == "sigmoid"
    for output in ("auto", "sigmoid"):
        found = classes(inside, [LEFT], scale=0.01, top_k=3, output=output, runtime=runtime)
        assert found.confidences[0] == pytest.approx(wanted, abs=1e-4)
    outside = mean_colour(tmp_path, [])
    found = classes(outside, [LEFT], scale=0.01, top_k=3, output="sigmoid", threshold=0.7, runtime=runtime)
    assert found.confidences[0] == pytest.approx(wanted, abs=1e-4)
    assert found.label_ids.tolist() == [[0, 1, -1]]  # several at once, above the threshold


@RUNTIMES
def test_the_head_of_a_model_with_several(tmp_path: Path, runtime: str) -> None:
    file = two_heads(tmp_path)
    kinds = classes(file, [LEFT, RIGHT], head="kind", scale=0.01, top_k=3, runtime=runtime)
    assert kinds.label_ids.tolist() == [[0, 1, 2], [2, 1, 0]]
    ages = classes(file, [LEFT, RIGHT], head="age", output="value", runtime=runtime)
    assert ages.values.tolist() == [[200], [30]]
    for head, said in ((None, "`head` names the one to read"), ("gender", "there is no output 'gender'")):
        with pytest.raises(ModelError, match=rf"(?s){said}.*kind.*age"):
            opened(file, head=head, runtime=runtime)


def two_heads(path: Path) -> str:
    """A model that gives the mean of each channel as `kind`, and the highest level of all as `age`."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Softmax", ["means"], ["kind"], axis=1),
        helper.make_node("ReduceMax", ["x"], ["most"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["most", "axis"], ["age"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", n]) for name, n in (("kind", 3), ("age", 1))]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])]
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")
    graph = helper.make_graph(nodes, "heads", inputs, ports, [axis])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path / "heads.onnx"))
    return str(path / "heads.onnx")


def test_values_and_embeddings(tmp_path: Path) -> None:
    file = mean_colour(tmp_path, [])
    found = classes(file, [LEFT, RIGHT], output="value", labels=["b", "g", "r"])
    assert found.values is not None
    assert found.values == pytest.approx(np.array([[200, 100, 50], [10, 20, 30]]), abs=0.01)
    assert found.label_ids.shape == found.confidences.shape == (2, 0)
    found = classes(file, [LEFT], output="embedding", normalize="0..1", color="bgr")
    assert found.embeddings is not None
    assert found.embeddings[0] * 255 == pytest.approx([200, 100, 50], abs=0.01)
    assert classes(file, [], output="value").values is not None


def test_fewer_classes_than_asked_for(tmp_path: Path) -> None:
    found = classes(mean_colour(tmp_path, []), [LEFT], top_k=5)
    assert found.label_ids.tolist() == [[0, 1, 2, -1, -1]]
    assert found.confidences[0, 3:].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("normalize", "wanted"),
    [
        ("none", [200, 100, 50]),
        ("0..1", [50 / 255, 100 / 255, 200 / 255]),
        ("-1..1", [50 / 127.5 - 1, 100 / 127.5 - 1, 200 / 127.5 - 1]),
        ("imagenet", [(50 / 255 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (200 / 255 - 0.406) / 0.225]),
    ],
)
def test_normalisation_presets(tmp_path: Path, normalize: str, wanted: list[float]) -> None:
    found = classes(mean_colour(tmp_path, []), [LEFT], output="value", normalize=normalize)
    assert found.values is not None
    assert found.values[0] == pytest.approx(wanted, abs=1e-3)


def test_a_preset_in_another_order_keeps_its_numbers_with_their_channels(tmp_path: Path) -> None:
    found = classes(mean_colour(tmp_path, []), [LEFT], output="value", normalize="imagenet", color="bgr")
    assert found.values is not None
    assert found.values[0, 0] == pytest.approx((200 / 255 - 0.406) / 0.225, abs=1e-3)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"normalize": "imagenet", "mean": 5}, "normalize: 'imagenet' already says mean and scale"),
        ({"mean": [1, 2]}, "mean: one number or three"),
        ({"scale": [1, 0, 1]}, "scale: "),
        ({"labels": ["a", "b"]}, "has 3 classes, but the list in the config names 2 labels"),
        ({"size": [9, 8]}, "fixed width 8, but `size` asks for 9"),
        ({"device": "GPU"}, "device GPU is not there; OpenVINO finds on this machine: CPU"),
    ],
)
def test_keys_that_do_not_fit(tmp_path: Path, keys: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        opened(mean_colour(tmp_path, []), **keys)


def test_detectors_are_no_classifiers(tmp_path: Path) -> None:
    zeros = numpy_helper.from_array(np.zeros((1, 3, 4), np.float32), "zeros")
    nodes = [helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0), helper.make_node("Add", ["zeros", "m"], ["y"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4])]
    graph = helper.make_graph(nodes, "boxes", inputs, outputs, [zeros])
    file = tmp_path / "boxes.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(file))
    with pytest.raises(ModelError, match=r"an output of shape \(n, classes\); this model has:\n  y \(1, 3, 4\) f32"):
        opened(str(file))


@pytest.mark.parametrize("batch", [1, 2, 5, 32, 64])
@RUNTIMES
def test_batches_change_nothing(tmp_path: Path, batch: int, runtime: str) -> None:
    boxes = [[x, 0, 20, 40] for x in range(0, 40, 2)]
    one_by_one = classes(mean_colour(tmp_path, [], batch=1), boxes, output="value", runtime=runtime)
    together = classes(mean_colour(tmp_path, []), boxes, output="value", batch=batch, runtime=runtime)
    assert one_by_one.values is not None
    assert together.values == pytest.approx(one_by_one.values, abs=1e-3)


def seen(tmp_path: Path, box: list[float], **keys: object) -> np.ndarray:
    found = classes(mean_colour(tmp_path, []), [box], output="value", **keys)
    assert found.values is not None
    return found.values[0]


def test_margin_takes_more_of_the_picture_and_stays_inside(tmp_path: Path) -> None:
    assert seen(tmp_path, [10, 10, 20, 20])[0] == pytest.approx(200)
    assert seen(tmp_path, [10, 10, 20, 20], margin=0.25)[0] == pytest.approx((5 / 6) * 200 + (1 / 6) * 10, abs=20)
    assert seen(tmp_path, [0, 0, 60, 40], margin=3)[0] == pytest.approx(105, abs=1)


def test_square_takes_more_and_letterbox_pads(tmp_path: Path) -> None:
    tall = [25, 0, 5, 40]
    assert seen(tmp_path, tall)[0] == pytest.approx(200)
    # 40 x 40 around x = 27.5: from 7.5 to 47.5, of which 22.5 columns are left of the edge.
    assert seen(tmp_path, tall, resize="square")[0] == pytest.approx((22.5 * 200 + 17.5 * 10) / 40, abs=13)
    assert seen(tmp_path, tall, resize="letterbox")[0] == pytest.approx((200 + 7 * 114) / 8, abs=1)


@pytest.mark.parametrize(
    "box", [[0, 0, 0, 0], [59.9, 39.9, 0, 0], [59.7, 0, 5, 5], [-50, -50, 10, 10], [200, 10, 5, 5]]
)
def test_any_box_is_at_least_a_pixel_of_the_picture(tmp_path: Path, box: list[float]) -> None:
    assert np.isfinite(seen(tmp_path, box)).all()


@pytest.mark.parametrize("box", [[np.nan, 0, 1, 1], [0, 0, np.inf, 1], [0, 0, -1, 1]])
def test_boxes_that_are_none(tmp_path: Path, box: list[float]) -> None:
    with pytest.raises(FrameError, match="boxes must be finite numbers"):
        seen(tmp_path, box)


def test_a_number_that_is_none_fails_the_frame(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="not a finite number"):
        classes(mean_colour(tmp_path, ["Log"]), [[0, 0, 5, 5]], output="value", mean=500)


def test_a_closed_model_says_so(tmp_path: Path) -> None:
    model = opened(mean_colour(tmp_path, []))
    model.close()
    model.close()
    with pytest.raises(ModelError, match="closed"):
        model.classify(PIXELS, np.zeros((1, 4), np.float32))
