"""Preprocessing in the core against cv2, and boxes: the parts of `zpipe._core` that need no model."""

import cv2
import numpy as np
import pytest

from zpipe import _core

rng = np.random.default_rng(7)


def noise(height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def planes(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(2, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((1080, 1920), (234, 416)),
        ((300, 200), (150, 100)),
        ((37, 53), (224, 224)),
        ((9, 1), (5, 7)),
        ((1, 9), (7, 5)),
        ((1, 1), (4, 3)),
        ((2, 2), (1, 1)),
        ((64, 64), (64, 64)),
        ((500, 3), (17, 111)),
    ],
)
def test_resize_gives_the_levels_of_cv2(source: tuple[int, int], target: tuple[int, int]) -> None:
    pixels = noise(*source)
    found, _ = _core.preprocess(pixels, width=target[1], height=target[0])
    wanted = cv2.resize(pixels, target[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(found - planes(wanted)).max() <= 1


def test_resize_of_many_random_sizes() -> None:
    different = 0
    for _ in range(200):
        h, w, target_h, target_w = rng.integers(1, [300, 300, 200, 200]).tolist()
        pixels = noise(h, w)
        found, _ = _core.preprocess(pixels, width=target_w, height=target_h)
        off = np.abs(found - planes(cv2.resize(pixels, (target_w, target_h))))
        assert off.max() <= 1, (h, w, target_h, target_w)
        different += np.count_nonzero(off)
    assert different == 0 or cv2.__version__ != "5.0.0"  # bit for bit with the version it was written against


def views(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The same picture in other memory orders."""
    height, width = pixels.shape[:2]
    wide = np.zeros((height, width + 9, 5), np.uint8)
    wide[:, 4:-5, 1:4] = pixels
    return {
        "rows apart": np.pad(pixels, ((0, 0), (0, 7), (0, 0)))[:, :-7],
        "samples apart": wide[:, 4:-5, 1:4],
        "planes": np.ascontiguousarray(pixels.transpose(2, 0, 1)).transpose(1, 2, 0),
        "columns first": np.asfortranarray(pixels),
        "upside down": np.ascontiguousarray(pixels[::-1])[::-1],
        "mirrored": np.ascontiguousarray(pixels[:, ::-1])[:, ::-1],
        "rgb as bgr": np.ascontiguousarray(pixels[:, :, ::-1])[:, :, ::-1],
        "every other": np.repeat(np.repeat(pixels, 2, 0), 2, 1)[::2, ::2],
    }


@pytest.mark.parametrize("target", [(31, 45), (120, 160), (7, 300)])
def test_strides_do_not_matter(target: tuple[int, int]) -> None:
    pixels = noise(61, 83)
    wanted, _ = _core.preprocess(pixels, width=target[1], height=target[0])
    for name, view in views(pixels).items():
        assert np.array_equal(view, pixels), name
        found, _ = _core.preprocess(view, width=target[1], height=target[0])
        assert np.array_equal(found, wanted), name


def test_a_read_only_picture_is_accepted() -> None:
    pixels = noise(20, 30)
    pixels.flags.writeable = False
    _core.preprocess(pixels, width=8, height=8)


def test_a_region_is_resized_as_if_it_were_alone() -> None:
    pixels = noise(90, 120)
    found, place = _core.preprocess(pixels, width=40, height=50, region=(17, 11, 100, 79))
    wanted = cv2.resize(np.ascontiguousarray(pixels[11:90, 17:117]), (40, 50))
    assert np.abs(found - planes(wanted)).max() <= 1
    assert place[4:] == (17, 11)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_colour_order_and_normalisation(color: str, layout: str) -> None:
    pixels = noise(50, 40)
    mean, scale = (1.0, 20.0, 30.0), (0.5, 0.2, 0.1)
    found, _ = _core.preprocess(pixels, width=20, height=25, color=color, mean=mean, scale=scale, layout=layout)
    levels = cv2.resize(pixels, (20, 25))[:, :, :: -1 if color == "rgb" else 1].astype(np.float32)
    wanted = (levels - np.array(mean, np.float32)) * np.array(scale, np.float32)
    found = found if layout == "nhwc" else found.transpose(1, 2, 0)
    assert np.abs(found - wanted).max() < 0.51


def test_gray_is_the_luminance_of_cv2() -> None:
    pixels = noise(50, 40)
    found, _ = _core.preprocess(pixels, width=28, height=28, color="gray")
    wanted = cv2.cvtColor(cv2.resize(pixels, (28, 28)), cv2.COLOR_BGR2GRAY)
    assert found.shape == (1, 28, 28)
    assert np.abs(found[0] - wanted).max() <= 1


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_centred_letterbox(layout: str) -> None:
    pixels = noise(100, 300)
    found, place = _core.preprocess(pixels, width=64, height=64, fit="letterbox_center", layout=layout)
    found = found if layout == "nchw" else found.transpose(2, 0, 1)
    wanted = np.full((3, 64, 64), 114, np.float32)
    wanted[:, 21:42] = planes(cv2.resize(pixels, (64, 21)))
    assert np.abs(found - wanted).max() <= 1
    assert place[:2] == (0, 21)
    assert place[2] == pytest.approx(64 / 300)


def test_corner_letterbox_pads_with_the_normalised_gray() -> None:
    pixels = noise(300, 100)
    found, place = _core.preprocess(pixels, width=64, height=96, fit="letterbox_corner", scale=(0.5, 0.5, 0.5))
    wanted = np.full((3, 96, 64), 57, np.float32)
    wanted[:, :, :32] = planes(cv2.resize(pixels, (32, 96))) / 2
    assert np.abs(found - wanted).max() <= 0.5
    assert place[:2] == (0, 0)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (
            np.zeros((4, 4), np.uint8),
            r"uint8 array of shape \(height, width, 3\), got uint8 of shape \(4, 4\)",
        ),
        (np.zeros((4, 4, 4), np.uint8), r"of shape \(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "got float32"),
        (np.zeros((0, 4, 3), np.uint8), "got 4x0"),
    ],
)
def test_what_is_no_picture(pixels: np.ndarray, said: str) -> None:
    with pytest.raises(_core.CoreError, match=said) as caught:
        _core.preprocess(pixels, width=4, height=4)
    assert caught.value.status == "bad argument"


@pytest.mark.parametrize("region", [(-1, 0, 2, 2), (0, 0, 5, 2), (3, 3, 2, 1), (0, 0, 0, 1), (2**31 - 1, 0, 2, 2)])
def test_a_region_outside_is_refused(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(_core.CoreError, match="region"):
        _core.preprocess(noise(4, 4), width=4, height=4, region=region)


def random_boxes(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    boxes = np.column_stack([rng.uniform(0, 60, (count, 2)), rng.uniform(1, 40, (count, 2))]).astype(np.float32)
    return boxes, rng.random(count, np.float32), rng.integers(0, 3, count).astype(np.int32)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    both = np.prod(np.maximum(high - low, 0))
    return float(both / (np.prod(a[2:]) + np.prod(b[2:]) - both))


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_suppression_keeps_what_nothing_better_overlaps(class_agnostic: bool) -> None:
    for _ in range(30):
        boxes, confidences, labels = random_boxes(60)
        kept = _core.suppress(boxes, confidences, labels, iou=0.4, class_agnostic=class_agnostic, limit=1000)
        assert (np.diff(kept[1]) <= 0).all()
        alike = lambda a, b: class_agnostic or a == b  # noqa: E731
        for i in range(len(kept[0])):
            assert not any(alike(kept[2][i], kept[2][j]) and iou(kept[0][i], kept[0][j]) > 0.4 + 1e-5 for j in range(i))
        # Everything that is missing is overlapped by something kept that is at least as good.
        for box, confidence, label in zip(boxes, confidences, labels, strict=True):
            here = np.isclose(kept[0], box, atol=1e-4).all(axis=1).any()
            assert here or any(
                alike(other, label) and better >= confidence and iou(rival, box) > 0.4 - 1e-5
                for rival, better, other in zip(*kept, strict=True)
            )


def test_suppression_stops_at_the_limit_with_the_best() -> None:
    boxes, confidences, labels = random_boxes(50)
    everything = _core.suppress(boxes, confidences, labels, iou=0.5, limit=1000)
    few = _core.suppress(boxes, confidences, labels, iou=0.5, limit=5)
    assert all(np.array_equal(some, all_of_them[:5]) for some, all_of_them in zip(few, everything, strict=True))


def test_suppression_of_nothing() -> None:
    empty = np.empty((0, 4), np.float32)
    boxes, confidences, labels = _core.suppress(empty, [], [], iou=0.5)
    assert boxes.shape == (0, 4)
    assert len(confidences) == len(labels) == 0


def test_boxes_must_be_finite() -> None:
    with pytest.raises(_core.CoreError, match="finite"):
        _core.suppress([[0, 0, np.nan, 1]], [0.5], [0], iou=0.5)
