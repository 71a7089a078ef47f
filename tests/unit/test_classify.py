"""What a classify stage writes of each object."""

import base64

import numpy as np

from zpipe.config.keys import ClassifyConfig
from zpipe.messages import Detection, Object
from zpipe.models.interface import Classes
from zpipe.stages.classify import add_classes

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


def test_classes_best_first_and_null_below_the_threshold() -> None:
    things = objects(2)
    found = classes([[1, 0], [-1, -1]], [[0.75, 0.25], [0.5, 0.0]])
    add_classes(ClassifyConfig(model="m", name="kind"), Fixed(found, ["a", "b"]), IMAGE, things)
    assert [(c.stage, c.label, c.label_id, c.confidence) for c in things[0].classification] == [
        ("kind", "b", 1, 0.75), ("kind", "a", 0, 0.25),
    ]  # fmt: skip
    assert [(c.label, c.confidence) for c in things[1].classification] == [(None, 0.5)]


def test_only_the_classes_that_the_stage_is_for() -> None:
    things = objects(3)
    config = ClassifyConfig(model="m", classes=["dog"])
    add_classes(config, Fixed(classes([[0]], [[1.0]]), ["a"]), IMAGE, things)
    assert [len(thing.classification) for thing in things] == [0, 1, 0]


def test_values_and_embeddings() -> None:
    none = np.zeros((1, 0), np.int32)
    values = Classes(none, none.astype(np.float32), values=np.array([[31.5, 0.25]], np.float32))
    things = objects(1)
    add_classes(ClassifyConfig(model="m"), Fixed(values, ["age"]), IMAGE, things)
    assert [(c.label, c.label_id, c.value) for c in things[0].classification] == [("age", 0, 31.5), (None, 1, 0.25)]
    vector = np.array([[0.5, -2.0]], np.float32)
    things = objects(1)
    add_classes(
        ClassifyConfig(model="m"), Fixed(Classes(none, none.astype(np.float32), embeddings=vector), []), IMAGE, things
    )
    text = things[0].classification[0].embedding
    assert text is not None
    assert np.frombuffer(base64.b64decode(text), "<f4").tolist() == [0.5, -2.0]
