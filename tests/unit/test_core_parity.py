"""The core's answers for the shared models against plain numpy over onnxruntime, in f32."""

import numpy as np
import pytest
from core_reference import (
    DATA,
    MODELS,
    assert_same,
    image,
    marks,
    session,
    tensor,
    yolov5,
    yolov8,
    yolox,
)

from zpipe.config import ClassifyConfig, DetectConfig
from zpipe.model import open_classifier, open_detector

pytestmark = marks

IMAGES = [
    "darknet/dog.jpg",
    "darknet/horses.jpg",
    "darknet/person.jpg",
    "darknet/giraffe.jpg",
    "darknet/eagle.jpg",
    "coco/000000000073.jpg",
    "coco/000000000127.jpg",
]

DETECTORS = {
    "yolox": ("detectors/yolox_nano_416.onnx", yolox),
    "yolov5": ("detectors/derived/yolox_nano_v5layout_416.onnx", yolov5),
    "yolov8": ("detectors/derived/yolox_nano_v8layout_416.onnx", yolov8),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors(name: str) -> None:
    file, reference = DETECTORS[name]
    labels = str(DATA / "labels" / "coco_80.txt")
    config = DetectConfig(model=str(MODELS / file), labels=labels, precision="f32", confidence=0.25, iou=0.45)
    detector = open_detector(config, 2)
    assert detector.describe()["format"] == name
    net = session(file)
    for picture in IMAGES:
        pixels = image(picture)
        assert_same(detector.detect(pixels), reference(net, pixels, 0.25, 0.45), 0.25)


def test_dog_bicycle_and_car_are_where_they_are() -> None:
    config = DetectConfig(
        model=str(MODELS / DETECTORS["yolox"][0]), labels=str(DATA / "labels/coco_80.txt"), precision="f32"
    )
    detector = open_detector(config, 2)
    found = detector.detect(image("darknet/dog.jpg"))
    assert [detector.labels[i] for i in found.label_ids[:3]] == ["dog", "bicycle", "car"]
    assert np.abs(found.boxes[0] - [132.8, 206.6, 192.9, 336.5]).max() < 4


def crops(pixels: np.ndarray) -> np.ndarray:
    """Some whole-pixel boxes, among them the whole picture and a sliver."""
    height, width = pixels.shape[:2]
    boxes = [
        (0, 0, width, height),
        (width // 4, height // 4, width // 2, height // 3),
        (5, 7, 31, height - 20),
    ]
    return np.array(boxes, np.float32)


def cut(pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
    x, y, w, h = box.astype(int)
    return pixels[y : y + h, x : x + w]


@pytest.mark.parametrize("file", ["squeezenet_fp16.onnx", "derived/squeezenet_fp32_dynbatch.onnx"])
def test_imagenet_classifier(file: str) -> None:
    import cv2

    config = ClassifyConfig(
        model=str(MODELS / "classifiers" / file), mean=[104, 117, 123], precision="f32", top_k=5, batch=2
    )
    classifier = open_classifier(config, 2)
    net = session("classifiers/derived/squeezenet_fp32_dynbatch.onnx")
    for picture in [*IMAGES, "misc/coffee.png", "misc/chelsea.png"]:
        pixels = image(picture)
        boxes = crops(pixels)
        found = classifier.classify(pixels, boxes)
        for row, box in enumerate(boxes):
            scaled = cv2.resize(cut(pixels, box), (224, 224))
            wanted = net.run(None, {"data_0": tensor(scaled, rgb=False, mean=[104, 117, 123])})[0].ravel()
            assert found.label_ids[row, 0] == wanted.argmax()
            assert np.abs(found.confidences[row] - np.sort(wanted)[::-1][:5]).max() <= 0.02


def test_logits_become_probabilities() -> None:
    import cv2

    file = "classifiers/face_antispoof_fp32.onnx"
    config = ClassifyConfig(
        model=str(MODELS / file),
        labels=str(DATA / "labels/antispoof.txt"),
        normalize="0..1",
        margin=0.25,
        precision="f32",
        top_k=2,
    )
    classifier = open_classifier(config, 2)
    assert classifier.describe()["output"] == "logits"
    pixels = image("misc/astronaut.png")
    found = classifier.classify(pixels, np.array([[178, 62, 92, 112]], np.float32))
    scaled = cv2.resize(pixels[34:202, 155:293], (128, 128))
    logits = session(file).run(None, {"input": tensor(scaled, rgb=True, scale=255)})[0][0]
    wanted = np.exp(logits) / np.exp(logits).sum()
    assert found.label_ids[0].tolist() == np.argsort(-wanted).tolist()
    assert found.confidences[0] == pytest.approx(np.sort(wanted)[::-1], abs=0.02)


def test_gray_digits() -> None:
    import cv2

    config = ClassifyConfig(model=str(MODELS / "classifiers/mnist_8.onnx"), precision="f32", output="logits")
    classifier = open_classifier(config, 1)
    for digit in range(10):
        pixels = np.zeros((28, 28, 3), np.uint8)
        cv2.putText(pixels, str(digit), (5, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
        found = classifier.classify(pixels, np.array([[0, 0, 28, 28]], np.float32))
        assert found.label_ids[0, 0] == digit


def test_text_direction_needs_a_size_and_then_works() -> None:
    import cv2

    from zpipe.errors import ModelError

    file = "classifiers/ppocr_textdir_cls.onnx"
    with pytest.raises(ModelError, match=r"leaves its size open.*`size: \[width, height\]`"):
        open_classifier(ClassifyConfig(model=str(MODELS / file)), 1)
    config = ClassifyConfig(
        model=str(MODELS / file), size=[192, 48], normalize="-1..1", color="bgr", precision="f32"
    )
    classifier = open_classifier(config, 1)
    line = np.full((48, 192, 3), 255, np.uint8)
    cv2.putText(line, "Hello world", (6, 34), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 2)
    whole = np.array([[0, 0, 192, 48]], np.float32)
    upright, turned = (classifier.classify(view, whole) for view in (line, line[::-1, ::-1]))
    assert (upright.label_ids[0, 0], turned.label_ids[0, 0]) == (0, 1)
    assert min(upright.confidences[0, 0], turned.confidences[0, 0]) > 0.99
