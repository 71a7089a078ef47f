"""What a classify stage writes of each object."""

import base64

import numpy as np
import pytest

from zpipe.config.keys import ClassifyConfig, Stage
from zpipe.messages import Detection, Object, Result
from zpipe.models.interface import Classes
from zpipe.stages.classify import Classify
from zpipe.stages.loop import DecodedPicture, Means

IMAGE = np.zeros((20, 20, 3), np.uint8)


class Fixed:
    """A classifier that gives what it was made with."""

    def __init__(self, found: Classes, labels: list[str]) -> None:
        self.found, self.labels = found, labels

    def classify(self, image: np.ndarray, boxes: np.ndarray) -> Classes:
        assert len(boxes) == len(self.found.label_ids)
        return self.found


def objects(count: int) -> list[Object]:
    return [Object(0, 0, 10, 10 + i, Detection("car" if i % 2 == 0 else "dog", i % 2, 0.9)) for i in range(count)]


def classes(ids: list[list[int]], confidences: list[list[float]]) -> Classes:
    return Classes(np.array(ids, np.int32), np.array(confidences, np.float32))


def classified(config: ClassifyConfig, model: Fixed, things: list[Object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a stage of this config, with this model, say what the things are."""
    monkeypatch.setattr("zpipe.stages.classify.open_classifier", lambda *_: model)
    work = Classify(Stage(1, "classify", config.name, config, ""), Means(1, None, None))
    work.work(Result(stream="a", seq=1, name="img", timestamp=1, objects=things), DecodedPicture(IMAGE))


def test_classes_best_first_and_null_below_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    things = objects(2)
    found = classes([[1, 0], [-1, -1]], [[0.75, 0.25], [0.5, 0.0]])
    classified(ClassifyConfig(model="m", name="kind"), Fixed(found, ["a", "b"]), things, monkeypatch)
    assert [(c.stage, c.label, c.label_id, c.confidence) for c in things[0].classification] == [
        ("kind", "b", 1, 0.75), ("kind", "a", 0, 0.25),
    ]  # fmt: skip
    assert [(c.label, c.confidence) for c in things[1].classification] == [(None, 0.5)]


def test_only_the_classes_that_the_stage_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    things = objects(3)
    config = ClassifyConfig(model="m", classes=["dog"])
    classified(config, Fixed(classes([[0]], [[1.0]]), ["a"]), things, monkeypatch)
    assert [len(thing.classification) for thing in things] == [0, 1, 0]


def test_values_and_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    none = np.zeros((1, 0), np.int32)
    values = Classes(none, none.astype(np.float32), values=np.array([[31.5, 0.25]], np.float32))
    things = objects(1)
    classified(ClassifyConfig(model="m"), Fixed(values, ["age"]), things, monkeypatch)
    assert [(c.label, c.label_id, c.value) for c in things[0].classification] == [("age", 0, 31.5), (None, 1, 0.25)]
    vector = np.array([[0.5, -2.0]], np.float32)
    things = objects(1)
    embedding = Classes(none, none.astype(np.float32), embeddings=vector)
    classified(ClassifyConfig(model="m"), Fixed(embedding, []), things, monkeypatch)
    text = things[0].classification[0].embedding
    assert text is not None
    assert np.frombuffer(base64.b64decode(text), "<f4").tolist() == [0.5, -2.0]
