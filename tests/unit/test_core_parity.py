"""The core's answers for the shared models against plain numpy over onnxruntime, in f32."""

import json

import cv2
import numpy as np
import pytest
from core_reference import (
    DATA,
    MODELS,
    assert_same,
    image,
    marks,
    overlaps,
    session,
    tensor,
    yolov5,
    yolov8,
    yolox,
)
from core_reference_formats import nanodet, rtdetr, rtmdet, ultraface, yolov10, yunet

from zpipe.config.keys import ClassifyConfig, DetectConfig
from zpipe.models.opening import open_classifier, open_detector

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

FACES = ["misc/astronaut.png", *IMAGES[:2], *IMAGES[2:6]]

DETECTORS = {
    "yolox": ("detectors/yolox_nano_416.onnx", yolox, "coco_80"),
    "yolov5": ("detectors/derived/yolox_nano_v5layout_416.onnx", yolov5, "coco_80"),
    "yolov8": ("detectors/derived/yolox_nano_v8layout_416.onnx", yolov8, "coco_80"),
    "yolov10": ("detectors/derived/yolox_nano_end2end_416.onnx", yolov10, "coco_80"),
    "nanodet": ("detectors/nanodet_m_320.onnx", nanodet, "coco_80"),
    "detr": ("detectors/deimv2_atto_320.onnx", rtdetr, "coco_80"),
    "rtmdet": ("detectors/rtmdet_nano_person_nms.onnx", rtmdet, None),
    "ultraface": ("detectors/ultraface_rfb_320.onnx", ultraface, "face"),
    "yunet": ("detectors/yunet_n_320.onnx", yunet, "face"),
}


def config_of(name: str, **keys: object) -> DetectConfig:
    file, _, labels = DETECTORS[name]
    return DetectConfig(
        model=str(MODELS / file),
        labels=str(DATA / "labels" / f"{labels}.txt") if labels else None,
        size=[320, 320] if name == "rtmdet" else None,
        precision="f32",
        **keys,
    )


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("name", DETECTORS)
def test_detectors(name: str, runtime: str) -> None:
    detector = open_detector(config_of(name, confidence=0.25, iou=0.45, runtime=runtime), 2)
    assert str(detector.describe()["format"]).partition(" ")[0] == name
    net = session(DETECTORS[name][0])
    count = 0
    for picture in FACES if name in ("ultraface", "yunet") else IMAGES:
        pixels = image(picture)
        wanted = DETECTORS[name][1](net, pixels, 0.25, 0.45)
        assert_same(detector.detect(pixels), wanted, 0.25)
        count += len(wanted)
    assert count > 0


@pytest.mark.parametrize("name", DETECTORS)
def test_a_format_that_is_named_gives_the_same(name: str) -> None:
    pixels = image("darknet/person.jpg")
    detectors = [open_detector(config_of(name, format=kind), 2) for kind in ("auto", name)]
    one, other = (detector.detect(pixels) for detector in detectors)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert detectors[1].describe()["why"] == "named in the config"


def test_expected_boxes_of_the_shared_data() -> None:
    """The boxes that come with the data, decoded by somebody else. Those of the derived models are left out: they were
    made with the picture at the left-top corner, which moves confidences by more than the limit."""
    expected = json.loads((MODELS / "expected_detections.json").read_text())
    names = {"yunet": "face", "ultraface": "face"}
    for name in ("yolox", "nanodet", "detr", "rtmdet", "ultraface", "yunet"):
        file = DETECTORS[name][0]
        detector = open_detector(config_of(name, confidence=0.2), 2)
        entry = expected[file.removeprefix("detectors/").removesuffix(".onnx")]
        for picture, boxes in entry["images"].items():
            found = detector.detect(image(picture.removeprefix("images/")))
            labels = [names.get(name, detector.labels[i] if detector.labels else "person") for i in found.label_ids]
            for box in boxes:
                corners = np.clip(box["box_xyxy"], 0, None)
                mine = np.column_stack([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]])
                same = [i for i, label in enumerate(labels) if label == box["label"]]
                assert same, (name, picture, box)
                near = [i for i in same if overlaps(corners, mine[[i]])[0] > 0.9]
                assert any(abs(found.confidences[i] - box["score"]) < 0.05 for i in near), (
                    name,
                    picture,
                    box,
                )


def test_dog_bicycle_and_car_are_where_they_are() -> None:
    detector = open_detector(config_of("yolox"), 2)
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


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("file", ["squeezenet_fp16.onnx", "derived/squeezenet_fp32_dynbatch.onnx"])
def test_imagenet_classifier(file: str, runtime: str) -> None:
    config = ClassifyConfig(
        model=str(MODELS / "classifiers" / file),
        mean=[104, 117, 123],
        precision="f32",
        top_k=5,
        batch=2,
        runtime=runtime,
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


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_logits_become_probabilities(runtime: str) -> None:
    file = "classifiers/face_antispoof_fp32.onnx"
    config = ClassifyConfig(
        model=str(MODELS / file),
        labels=str(DATA / "labels/antispoof.txt"),
        normalize="0..1",
        margin=0.25,
        precision="f32",
        top_k=2,
        runtime=runtime,
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


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_gray_digits(runtime: str) -> None:
    config = ClassifyConfig(model=str(MODELS / "classifiers/mnist_8.onnx"), precision="f32", runtime=runtime)
    classifier = open_classifier(config, 1)
    for digit in range(10):
        pixels = np.zeros((28, 28, 3), np.uint8)
        cv2.putText(pixels, str(digit), (5, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
        found = classifier.classify(pixels, np.array([[0, 0, 28, 28]], np.float32))
        assert found.label_ids[0, 0] == digit


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_text_direction_needs_a_size_and_then_works(runtime: str) -> None:
    from zpipe.errors import ModelError

    file = "classifiers/ppocr_textdir_cls.onnx"
    with pytest.raises(ModelError, match=r"leaves its size open.*`size: \[width, height\]`"):
        open_classifier(ClassifyConfig(model=str(MODELS / file), runtime=runtime), 1)
    config = ClassifyConfig(
        model=str(MODELS / file),
        size=[192, 48],
        normalize="-1..1",
        color="bgr",
        precision="f32",
        runtime=runtime,
    )
    classifier = open_classifier(config, 1)
    line = np.full((48, 192, 3), 255, np.uint8)
    cv2.putText(line, "Hello world", (6, 34), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 2)
    whole = np.array([[0, 0, 192, 48]], np.float32)
    upright, turned = (classifier.classify(view, whole) for view in (line, line[::-1, ::-1]))
    assert (upright.label_ids[0, 0], turned.label_ids[0, 0]) == (0, 1)
    assert min(upright.confidences[0, 0], turned.confidences[0, 0]) > 0.99
