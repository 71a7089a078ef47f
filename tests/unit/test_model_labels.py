"""Label names from files, lists and metadata."""

from pathlib import Path

import pytest
from core_reference import DATA, needs_data

from zpipe.config.keys import ClassifyConfig, DetectConfig
from zpipe.errors import ModelError
from zpipe.messages import Detection, Object, label_of
from zpipe.models.filters import NEVER, find_eligible, find_thresholds
from zpipe.models.labels import check_count, choose_labels, read_labels, read_metadata_labels


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "labels.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat\ndog\n", ["cat", "dog"]),
        ("cat\ndog", ["cat", "dog"]),
        ("\ufeffcat\r\ndog\r\n\r\n", ["cat", "dog"]),
        (
            "tench, Tinca tinca\ngoldfish, Carassius auratus\n",
            ["tench, Tinca tinca", "goldfish, Carassius auratus"],
        ),
        ("0,tench, Tinca tinca\n1,goldfish\n", ["tench, Tinca tinca", "goldfish"]),
        ("0: cat\n1: dog\n", ["cat", "dog"]),
        ("0\tcat\n1\tdog\n", ["cat", "dog"]),
        ("0 cat\n1 big dog\n", ["cat", "big dog"]),
        ("0 degrees\n1 degrees\n", ["0 degrees", "1 degrees"]),
        ("0 degrees\n180 degrees\n", ["0 degrees", "180 degrees"]),
        ("1,cat\n2,dog\n", ["1,cat", "2,dog"]),
        ("0\n1\n2\n", ["0", "1", "2"]),
        ("0,crane\n1,ball\n2,crane\n", ["crane", "ball", "crane"]),
        ("cat\n\ndog\n", ["cat", "", "dog"]),
        ("3D printer\nTV\n", ["3D printer", "TV"]),
    ],
)
def test_files(tmp_path: Path, text: str, names: list[str]) -> None:
    assert read_labels(written(tmp_path, text)) == names


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError, match=r"labels.txt: the labels file is empty"):
        read_labels(written(tmp_path, text))


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_labels(str(tmp_path / "none.txt"))
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x9c")
    with pytest.raises(ModelError, match="cannot be read"):
        read_labels(str(tmp_path / "binary.txt"))


@needs_data
def test_both_imagenet_files_say_the_same() -> None:
    plain = read_labels(str(DATA / "labels/imagenet_1000.txt"))
    assert plain == read_labels(str(DATA / "labels/imagenet_1000_indexed.txt"))
    assert (len(plain), plain[0]) == (1000, "tench, Tinca tinca")


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ({}, []),
        ({"names": "{0: 'cat', 1: \"dog's\"}"}, ["cat", "dog's"]),
        ({"names": "{1: 'dog', 0: 'cat'}"}, ["cat", "dog"]),
        ({"names": "['cat', 'dog']"}, ["cat", "dog"]),
        ({"names": "{0: 'cat', 7: 'dog'}"}, []),
        ({"names": "__import__('os').system('false')"}, []),
        ({"names": "(" * 5000}, []),
        ({"labels": "cat big_dog"}, ["cat", "big dog"]),
    ],
)
def test_metadata(metadata: dict[str, str], names: list[str]) -> None:
    assert read_metadata_labels(metadata) == names


def test_the_number_of_labels_must_be_the_models() -> None:
    given = DetectConfig(model="m.onnx", labels=["a", "b"])
    with pytest.raises(ModelError, match=r"m\.onnx: the model has 3 classes, but the list in the config names 2"):
        check_count(given, ["a", "b"], 3)
    with pytest.raises(ModelError, match="3 classes, but its metadata names 1 labels"):
        check_count(DetectConfig(model="m.onnx"), ["a"], 3)
    check_count(given, [], 3)
    check_count(given, ["a"], -1)


def test_given_labels_win_over_the_metadata() -> None:
    assert choose_labels(["a"], {"names": "['b']"}) == ["a"]
    assert choose_labels(None, {"names": "['b']"}) == ["b"]


def test_label_of_falls_back_to_the_number() -> None:
    assert [label_of(["cat"], i) for i in (0, 1, -1)] == ["cat", "1", "-1"]


def config(**keys: object) -> DetectConfig:
    return DetectConfig(model="m.onnx", confidence=0.5, **keys)


def test_thresholds() -> None:
    labels = ["cat", "dog", "bus"]
    assert find_thresholds(config(), labels) == ([0.5] * 3, 0.5)
    assert find_thresholds(config(confidences={"dog": 0.9}), labels) == ([0.5, 0.9, 0.5], 0.5)
    assert find_thresholds(config(include=["bus"]), labels) == ([NEVER, NEVER, 0.5], NEVER)
    assert find_thresholds(config(exclude=["cat"]), labels) == ([NEVER, 0.5, 0.5], 0.5)
    assert find_thresholds(config(include=["cat", "dog"], exclude=["cat"]), labels) == ([NEVER, 0.5, NEVER], NEVER)
    assert find_thresholds(config(include=["1"]), []) == ([NEVER, 0.5], NEVER)


def test_a_label_that_the_model_does_not_have() -> None:
    with pytest.raises(ModelError, match=r"m.onnx: include: no label of the model is 'dgo'; did you mean 'dog'\?"):
        find_thresholds(config(include=["dgo"]), ["cat", "dog"])
    with pytest.raises(ModelError, match="has no label names, use numbers"):
        find_thresholds(config(confidences={"dog": 0.5}), [])


def test_eligible() -> None:
    cat, flat, dog = objects = [
        Object(0, 0, w, h, Detection(label, 0, 0.9))
        for w, h, label in ((10, 10, "cat"), (30, 5, "dog"), (30, 30, "dog"))
    ]
    assert find_eligible(ClassifyConfig(model="m"), objects) == [cat, flat, dog]
    assert find_eligible(ClassifyConfig(model="m", classes=["dog"]), objects) == [flat, dog]
    assert find_eligible(ClassifyConfig(model="m", min_size=[8, 8]), objects) == [cat, dog]
    assert find_eligible(ClassifyConfig(model="m", min_size=[8, 8], classes=["dog"]), objects) == [dog]
    assert find_eligible(ClassifyConfig(model="m", classes=["x"]), []) == []
