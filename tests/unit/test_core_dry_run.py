"""Edge 6: models that would be read wrongly are read rightly or refused, before the first frame or at the frame."""

from pathlib import Path

import core_heads
import numpy as np
import pytest
from test_core_classes import LEFT, mean_colour

from zpipe.config.keys import ClassifyConfig, DetectConfig
from zpipe.errors import FrameError, ModelError
from zpipe.models.interface import Classifier, Detector
from zpipe.models.opening import open_classifier, open_detector

RUNTIMES = pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])


def opened(file: str, **keys: object) -> Detector:
    return open_detector(DetectConfig(model=file, precision="f32", **keys), 1)


def classifier(file: str, **keys: object) -> Classifier:
    return open_classifier(ClassifyConfig(model=file, precision="f32", **keys), 1)


def black_but(x: int, y: int, side: int, width: int = 320, height: int = 320) -> np.ndarray:
    """A picture with one white square."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y : y + side, x : x + side] = 255
    return pixels


@RUNTIMES
def test_yolov5_after_the_sigmoid_alone_is_decoded_with_its_own_anchors(tmp_path: Path, runtime: str) -> None:
    """Edge 6: YOLOv5-Lite's (1, 6300, 85) was taken for decoded and found nothing."""
    detector = opened(core_heads.yolov5_lite(tmp_path, 80), runtime=runtime)
    assert detector.describe()["format"] == "yolov5 (undecoded)"
    found = detector.detect(black_but(5 * 8, 7 * 8, 8))
    centre, size = np.array([44, 60]), np.array([16, 30])  # of the cell; of the second anchor
    assert found.label_ids.tolist() == [79]
    assert found.boxes[0] == pytest.approx([*(centre - size / 2), *size], abs=0.05)


def test_other_classes_than_cocos_may_have_other_anchors(tmp_path: Path) -> None:
    """Edge 6: who knows that a model was trained with YOLOv5's anchors names the format."""
    file = core_heads.yolov5_lite(tmp_path, 3)
    with pytest.raises(ModelError, match=r"(?s)name one with `format`.*yolov5 \(undecoded\): .*YOLOv5's own anchors"):
        opened(file)
    found = opened(file, format="yolov5").detect(black_but(5 * 8, 7 * 8, 8))
    assert found.label_ids.tolist() == [2]


def test_points_of_faces_are_no_classes(tmp_path: Path) -> None:
    """Edge 6: YOLOv5-face gave classes "7" and a confidence of 106.77; the name of its class tells it apart."""
    file = core_heads.yolov5_face(tmp_path)
    with pytest.raises(ModelError, match=r"it returns .* a confidence of 10\d.*expected 0 to 1.*`labels: \[face\]`"):
        opened(file)
    detector = opened(file, labels=["face"])
    assert detector.describe()["format"] == "yolov5 (face)"
    found = detector.detect(black_but(5 * 8, 7 * 8, 8))
    assert found.label_ids.tolist() == [0]
    assert found.boxes[0] == pytest.approx([140, 140, 40, 40], abs=0.05)
    assert found.confidences[0] == pytest.approx(1, abs=0.01)


@RUNTIMES
def test_ultraface_without_its_after_work_is_decoded_with_its_priors(tmp_path: Path, runtime: str) -> None:
    """Edge 6: it gave one box over everything."""
    detector = opened(core_heads.ultraface(tmp_path), runtime=runtime, confidence=0.9)
    assert "offsets to UltraFace's prior boxes" in str(detector.describe()["why"])
    found = detector.detect(black_but(6 * 16, 4 * 16, 16, 320, 240))
    # Centre of the cell, moved by 1 and -2 tenths of the prior's 32 pixels; twice as high as the prior.
    centre, size = np.array([104 + 3.2, 72 - 6.4]), np.array([32, 64])
    assert found.boxes.tolist() == [pytest.approx([*(centre - size / 2), *size], abs=0.05)]


def test_priors_that_are_not_known(tmp_path: Path) -> None:
    """Edge 6: an SSD that is none of UltraFace's sizes says what is missing."""
    file = core_heads.ultraface(tmp_path, priors=(3, 3, 3, 3))
    with pytest.raises(ModelError, match="offsets to prior boxes, which are missing: it has 4800 of them"):
        opened(file)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([0.5, 0.5, 0.3, 0.3], "boxes that are all smaller than 2 pixels.*needs boxes decoded to pixels of the input"),
        ([32, 32, 64, 64], "the same box 84 times"),
    ],
)
def test_boxes_that_cannot_be_right(tmp_path: Path, box: list[float], said: str) -> None:
    """Edge 6: found before the first frame, on pictures of no meaning."""
    with pytest.raises(ModelError, match=said):
        opened(core_heads.yolov8(tmp_path, box))


def test_confidences_beyond_one_are_refused_before_the_first_frame(tmp_path: Path) -> None:
    """Edge 6: also where the threshold is above anything."""
    file = core_heads.yolov8(tmp_path, [32, 32, 16, 16], level=1000)
    with pytest.raises(ModelError, match=r"read as yolov8 .* a confidence of .*, expected 0 to 1"):
        opened(file, confidence=1)


@RUNTIMES
def test_a_frame_whose_detector_says_more_than_one_fails(tmp_path: Path, runtime: str) -> None:
    """Edge 6: what the noise before the first frame did not show, the frame does; nothing of it is published."""
    detector = opened(core_heads.yolov8(tmp_path, [32, 32, 16, 16], level=1.1, growth=1), runtime=runtime)
    assert len(detector.detect(np.full((64, 64, 3), 200, np.uint8)).boxes) > 0
    with pytest.raises(FrameError, match=r"read as yolov8, the model returned a confidence of 1\.1, expected 0 to 1"):
        detector.detect(np.full((64, 64, 3), 255, np.uint8))


@pytest.mark.parametrize("output", ["probabilities", "sigmoid"])
def test_a_classifier_that_is_read_wrongly_is_refused(tmp_path: Path, output: str) -> None:
    """Edge 6: logits that the config calls probabilities; a sigmoid is applied where there is none."""
    file = mean_colour(tmp_path, [])
    if output == "sigmoid":
        classifier(file, output=output)
        return
    with pytest.raises(ModelError, match=r"a confidence of .*, expected 0 to 1; logits, .*`output`"):
        classifier(file, output=output)


def test_a_frame_whose_classifier_says_more_than_one_fails(tmp_path: Path) -> None:
    """Edge 6: what the noise before the first frame did not show, the frame does."""
    model = classifier(mean_colour(tmp_path, []), output="probabilities", scale=1 / 200)
    assert model.classify(np.full((40, 60, 3), 150, np.uint8), np.array([LEFT], np.float32)).confidences[0, 0] > 0.7
    with pytest.raises(FrameError, match=r"a confidence of 1\.275, expected 0 to 1"):
        model.classify(np.full((40, 60, 3), 255, np.uint8), np.array([LEFT], np.float32))


def test_a_softmax_before_an_identity_is_seen(tmp_path: Path) -> None:
    """Edge 6: it was taken for logits, so the softmax was applied twice and every confidence came out low."""
    assert classifier(mean_colour(tmp_path, ["Softmax", "Identity"])).describe()["output"] == "probabilities"
