"""Edge 9: the default of no normalisation made of a person a "digital clock 0.94", and nothing said so."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from test_core_classes import LEFT, PIXELS, mean_colour

from zpipe.config.keys import ClassifyConfig
from zpipe.messages import Detection, Object
from zpipe.models.comparison import can_compare, choose_box, compare
from zpipe.models.normalization import find_doubts
from zpipe.models.opening import open_classifier


def doubts(
    name: str = "mine.onnx", head: list[str] | None = None, metadata: dict[str, str] | None = None, **keys: object
) -> list[str]:
    return list(find_doubts(ClassifyConfig(model=f"/models/{name}", **keys), head or [], metadata or {}))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet50.onnx", "the name says resnet: such networks mostly take `normalize: imagenet`"),
        ("my-MobileNetV2.xml", "the name says MobileNet"),
        ("vit_b16.onnx", "the name says vit"),
        ("yolo11n-cls.onnx", "the name says yolo11n-cls: such networks take `normalize: 0..1`"),
    ],
)
def test_a_name_that_speaks_for_another(name: str, said: str) -> None:
    """Edge 9: only where nothing is set."""
    (doubt,) = doubts(name)
    assert said in doubt
    assert doubts(name, normalize="-1..1") == []
    assert doubts(name, mean=[104, 117, 123]) == []


@pytest.mark.parametrize("name", ["classifier.onnx", "gravity.onnx", "invited.onnx"])
def test_a_name_that_says_nothing(name: str) -> None:
    """Edge 9: a warning where nothing is known would be noise."""
    assert doubts(name) == []


def test_metadata_that_speaks_for_another() -> None:
    """Edge 9: numbers of 0..1 or of 0..255, in either order of the channels."""
    for stated in ("[0.485, 0.456, 0.406]", "103.53 116.28 123.675"):
        metadata = {"mean_values": stated}
        assert doubts(metadata=metadata) == [
            f"the metadata says mean_values: {stated}, but the mean in effect is another"
        ]
        assert doubts(metadata=metadata, normalize="imagenet") == []
        assert doubts(metadata=metadata, mean=[123.675, 116.28, 103.53]) == []
    ultralytics = {"task": "classify", "stride": "1", "names": "{0: 'a'}"}
    assert "`normalize: 0..1`" in doubts(metadata=ultralytics, normalize="imagenet")[0]
    assert doubts(metadata=ultralytics, normalize="0..1") == []
    assert doubts(metadata={"mean": "no numbers", "std": "1"}) == []


def with_normalization(path: Path) -> str:
    """A classifier that subtracts and divides by itself, before all else."""
    model = onnx.load(mean_colour(path, []))
    model.graph.initializer.append(numpy_helper.from_array(np.array([100.0], np.float32), "mean"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([50.0], np.float32), "std"))
    model.graph.node[0].input[0] = "normal"
    model.graph.node.insert(0, helper.make_node("Sub", ["x", "mean"], ["less"]))
    model.graph.node.insert(1, helper.make_node("Div", ["less", "std"], ["normal"]))
    onnx.save(model, str(path / "resnet.onnx"))
    return str(path / "resnet.onnx")


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_graph_that_normalises_by_itself(tmp_path: Path, runtime: str) -> None:
    """Edge 9: then none is right, whatever the name, and another comes on top."""
    file = with_normalization(tmp_path)
    plain = open_classifier(ClassifyConfig(model=file, runtime=runtime), 1)
    assert plain.describe()["warnings"] == []
    twice = open_classifier(ClassifyConfig(model=file, runtime=runtime, normalize="0..1"), 1)
    (doubt,) = twice.describe()["warnings"]  # type: ignore[attr-defined]
    assert "the graph normalises by itself (Subtract, Divide" in doubt


def test_what_is_in_effect_is_told(tmp_path: Path) -> None:
    """Edge 9: mean, scale and the preset."""
    told = open_classifier(ClassifyConfig(model=mean_colour(tmp_path, []), normalize="imagenet"), 1).describe()
    assert (told["normalize"], told["color"], told["mean"]) == ("imagenet", "rgb", "123.675, 116.28, 103.53")
    assert told["scale"] == "0.0171248, 0.017507, 0.0174292"


def test_presets_side_by_side(tmp_path: Path) -> None:
    """Edge 9: the three best classes under each, and which one is in effect."""
    file = mean_colour(tmp_path, [])
    config = ClassifyConfig(model=file, labels=["blue", "green", "red"], precision="f32", normalize="0..1")
    columns = compare(config, PIXELS, LEFT, 1)
    assert [column.title for column in columns] == ["none", "imagenet", "0..1 *", "-1..1"]
    # The presets are for RGB, so the first class is what is most red; without one it is what is most blue.
    assert [column.best[0].split()[0] for column in columns] == ["blue", "red", "red", "red"]
    assert all(len(column.best) == 3 for column in columns)
    numbers = ClassifyConfig(model=file, mean=100, precision="f32")
    assert compare(numbers, PIXELS, LEFT, 1)[0].title == "mean, scale *"


def test_what_is_compared(tmp_path: Path) -> None:
    """Edge 9: the surest object that the stage classifies, else the whole picture; nothing that has no classes."""
    objects = [
        Object(1, 2, 3, 4, Detection("car", 2, 0.9)),
        Object(5, 6, 7, 8, Detection("person", 0, 0.8)),
        Object(5, 6, 7, 9, Detection("person", 0, 0.7)),
    ]
    people = ClassifyConfig(model="x.onnx", classes=["person"])
    assert choose_box(people, PIXELS, objects) == ("the person at 5,6", [5, 6, 7, 8])
    assert choose_box(people, PIXELS, objects[:1]) == ("the whole picture", [0, 0, 60, 40])
    file = mean_colour(tmp_path, [])
    assert can_compare(open_classifier(ClassifyConfig(model=file), 1))
    assert not can_compare(open_classifier(ClassifyConfig(model=file, output="value"), 1))
