"""Models that are Python classes: what they may return, and how their errors are told."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from zpipe.config.keys import ClassifyConfig, DetectConfig
from zpipe.config.kinds import is_python
from zpipe.errors import FrameError, ModelError
from zpipe.models.interface import Classifier, Detector
from zpipe.models.opening import open_classifier, open_detector

PIXELS = np.zeros((50, 100, 3), np.uint8)


@pytest.fixture
def module(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a fresh module in tmp_path; modules stay imported, so each test has its own."""
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = f"user_{abs(hash(request.node.nodeid))}"
    yield name
    sys.modules.pop(name, None)


def detector(tmp_path: Path, module: str, text: str, **keys: object) -> Detector:
    (tmp_path / f"{module}.py").write_text(dedent(text))
    return open_detector(DetectConfig(model=f"{module}:Mine", **keys), 1, folder=str(tmp_path))


def classifier(tmp_path: Path, module: str, text: str, **keys: object) -> Classifier:
    (tmp_path / f"{module}.py").write_text(dedent(text))
    return open_classifier(ClassifyConfig(model=f"{module}:Mine", **keys), 1, folder=str(tmp_path))


def returning(value: str) -> str:
    return f"""\
        import numpy as np

        class Mine:
            labels = ("cat", "dog")

            def detect(self, image):
                return {value}

            def classify(self, image, boxes):
                return {value}
        """


def test_what_is_a_python_model() -> None:
    assert [is_python(m) for m in ("a:B", "a.b:C", "/x/a.onnx", "a.onnx", "/x/a:b.onnx", "C:/x")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_arrays(tmp_path: Path, module: str) -> None:
    boxes = "np.array([[1, 2, 3, 4], [90, 40, 30, 30], [5, 5, 2, 2]])"
    text = returning(f"({boxes}, np.array([0.5, 0.9, 0.1]), np.array([1, 0, 1]))")
    found = detector(tmp_path, module, text).detect(PIXELS)
    assert found.boxes.tolist() == [[90, 40, 10, 10], [1, 2, 3, 4]]
    assert found.confidences.tolist() == pytest.approx([0.9, 0.5])
    assert found.label_ids.tolist() == [0, 1]
    assert (found.boxes.dtype, found.confidences.dtype, found.label_ids.dtype) == (
        np.float32,
        np.float32,
        np.int32,
    )


def test_a_list_of_rows_and_filters(tmp_path: Path, module: str) -> None:
    text = returning("[(1, 1, 5, 5, 0.9, 0), (2, 2, 5, 5, 0.8, 1), (3, 3, 5, 5, 0.7, 1), (200, 0, 5, 5, 1, 1)]")
    model = detector(tmp_path, module, text, include=["dog"], max_objects=1)
    assert model.detect(PIXELS).boxes.tolist() == [[2, 2, 5, 5]]


@pytest.mark.parametrize("nothing", ["[]", "([], [], [])", "(np.empty((0, 4)), np.empty(0), np.empty(0, int))"])
def test_nothing_found(tmp_path: Path, module: str, nothing: str) -> None:
    found = detector(tmp_path, module, returning(nothing)).detect(PIXELS)
    assert (found.boxes.shape, found.confidences.shape, found.label_ids.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("None", "NoneType, expected"),
        ("[(1, 2, 3, 4, 5)]", r"rows of shape \(5,\)"),
        ("[(1, 2, 3, float('nan'), 0.5, 0)]", "not a finite number"),
        ("[(1, 2, 3, 4, 1.5, 0)]", "confidences from 1.5 to 1.5"),
        ("[(1, 2, 3, 4, 0.5, -2)]", "whole numbers"),
        ("[(1, 2, 3, 4, 0.5, 0.5)]", "whole numbers"),
        ("[(1, 2, -3, 4, 0.5, 0)]", "negative width"),
        ("[(1, 2, 3, 'x', 0.5, 0)]", "no array of numbers"),
        ("[(1, 2, 3, 4, 0.5, 0), (1, 2)]", "no array of numbers"),
        ("(np.ones((2, 4)), np.ones(3), np.ones(2))", r"shapes \(2, 4\), \(3,\), \(2,\)"),
        ("(np.ones((2, 4)), 1, np.ones(2))", "shapes"),
    ],
)
def test_wrong_detections_fail_the_frame(tmp_path: Path, module: str, value: str, said: str) -> None:
    model = detector(tmp_path, module, returning(value))
    with pytest.raises(FrameError, match=f"{module}:Mine.detect returned .*{said}"):
        model.detect(PIXELS)


def test_classes_as_lists_of_any_length(tmp_path: Path, module: str) -> None:
    text = returning("[[(0, 0.2), (1, 0.7)], [], [(1, 0.1)]]")
    found = classifier(tmp_path, module, text, top_k=3, threshold=0.15).classify(PIXELS, np.zeros((3, 4), np.float32))
    assert found.label_ids.tolist() == [[1, 0, -1], [-1, -1, -1], [-1, -1, -1]]
    assert found.confidences == pytest.approx(np.array([[0.7, 0.2, 0], [0, 0, 0], [0.1, 0, 0]]))
    assert (found.label_ids.dtype, found.confidences.dtype) == (np.int32, np.float32)


def test_lists_that_are_all_empty(tmp_path: Path, module: str) -> None:
    found = classifier(tmp_path, module, returning("[[], []]"), top_k=2).classify(PIXELS, np.zeros((2, 4), np.float32))
    assert found.label_ids.tolist() == [[-1, -1]] * 2


def test_the_picture_is_read_only(tmp_path: Path, module: str) -> None:
    with pytest.raises(FrameError, match="read-only"):
        detector(tmp_path, module, returning("image.fill(0)")).detect(PIXELS)


def test_classes_as_arrays(tmp_path: Path, module: str) -> None:
    text = returning("(np.array([[0, 1]]), np.array([[0.2, 0.7]]))")
    found = classifier(tmp_path, module, text, top_k=1).classify(PIXELS, np.zeros((1, 4), np.float32))
    assert found.label_ids.tolist() == [[1]]


def test_no_boxes_are_no_call(tmp_path: Path, module: str) -> None:
    found = classifier(tmp_path, module, returning("1 / 0"), top_k=2).classify(PIXELS, np.zeros((0, 4), np.float32))
    assert found.label_ids.shape == found.confidences.shape == (0, 2)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[[(0, 0.5)]]", r"shapes \(1, 1\) and \(1, 1\), expected \(2, k\) twice"),
        ("[[(0,)], [(0,)]]", r"entries of shape \(1,\)"),
        ("[[0.5], [0.5]]", r"entries of shape \(\)"),
        ("[0.5, 0.5]", "list, expected"),
        ("{}", "dict, expected"),
        ("(np.zeros((2, 1)), np.full((2, 1), np.inf))", "not a finite number"),
    ],
)
def test_wrong_classes_fail_the_frame(tmp_path: Path, module: str, value: str, said: str) -> None:
    model = classifier(tmp_path, module, returning(value))
    with pytest.raises(FrameError, match=said):
        model.classify(PIXELS, np.zeros((2, 4), np.float32))


def test_open_gets_options_and_threads_and_close_is_called_once(tmp_path: Path, module: str) -> None:
    text = """\
        class Mine:
            def open(self, options, threads):
                self.told = (options, threads)

            def detect(self, image):
                return []

            def close(self):
                self.told[0]["log"].append("closed")
        """
    log: list[str] = []
    model = detector(tmp_path, module, text, options={"log": log})
    model.close()
    model.close()
    assert log == ["closed"]
    with pytest.raises(ModelError, match="closed"):
        model.detect(PIXELS)


FAILING = """\
    class Mine:
        def open(self, options, threads):
            if options.get("fail"):
                raise OSError("no licence")

        def detect(self, image):
            return image[None, None, "x"]
    """


def test_errors_name_file_and_line(tmp_path: Path, module: str) -> None:
    file = tmp_path / f"{module}.py"
    with pytest.raises(ModelError) as caught:
        detector(tmp_path, module, FAILING, options={"fail": True})
    assert str(caught.value) == f"{module}:Mine.open: {file}:4: OSError: no licence"
    model = detector(tmp_path, module, FAILING)
    with pytest.raises(FrameError, match=f"{module}:Mine.detect: {file}:7: IndexError: "):
        model.detect(PIXELS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import not_there_at_all", r"{file}:1: ModuleNotFoundError: .*not_there_at_all"),
        ("x = 1\ny = 1 / 0", r"{file}:2: ZeroDivisionError"),
        ("class Mine:\n    def", r"{file}:2: SyntaxError"),
        ("class Other: pass", r"{file} has no class Mine"),
        ("class Mine: pass", r"needs a method `detect`, this one has none"),
        (
            "class Mine:\n    def __init__(self, x): pass\n    def detect(self, image): pass",
            r"TypeError: .*'x'",
        ),
    ],
)
def test_classes_that_cannot_be_used(tmp_path: Path, module: str, text: str, said: str) -> None:
    with pytest.raises(ModelError, match=said.format(file=tmp_path / f"{module}.py")):
        detector(tmp_path, module, text)


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"there is no module nowhere in {tmp_path}"):
        open_detector(DetectConfig(model="nowhere.models:Mine"), 1, folder=str(tmp_path))
