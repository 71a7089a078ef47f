"""Plugins: the smallest one, the example library and deliberately bad ones, built here against the installed header."""

import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from built import CC, Direct, compiled, example_library, needs_compilers, scene
from harness import make_config, run

from zpipe.config.keys import ClassifyConfig, DetectConfig
from zpipe.config.kinds import is_plugin
from zpipe.errors import FrameError, ModelError
from zpipe.models.opening import open_classifier, open_detector

pytestmark = needs_compilers

PIXELS = np.zeros((40, 60, 3), np.uint8)
BOXES = np.array([[0, 0, 10, 10], [5, 5, 20, 20]], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plugins")


@pytest.fixture(scope="module")
def example(folder: Path) -> str:
    return example_library(folder)


def test_what_is_a_plugin() -> None:
    names = ["/x/libmine.so", "/x/libmine.so.1.2", "/x/mine.onnx", "/x.so/mine.onnx", "a.so:B"]
    assert [is_plugin(name) for name in names] == [True, True, False, False, False]


def test_the_smallest_plugin(folder: Path) -> None:
    file = compiled("good.c", folder / "good.so")
    detector = open_detector(DetectConfig(model=file), 1)
    found = detector.detect(PIXELS)
    assert found.boxes.tolist() == [[0, 0, 30, 40]]
    assert (found.confidences.tolist(), found.label_ids.tolist()) == ([0.75], [0])
    assert detector.labels == []
    told = detector.describe()
    assert (told["runtime"], told["plugin"], told["file"]) == ("plugin", "good", file)
    classifier = open_classifier(ClassifyConfig(model=file, labels=["a", "b"], top_k=3), 1)
    classes = classifier.classify(PIXELS, BOXES)
    assert classes.label_ids.tolist() == [[1, -1, -1]] * 2
    assert classes.confidences.tolist() == [[0.5, 0, 0]] * 2
    assert classifier.classify(PIXELS, BOXES[:0]).label_ids.shape == (0, 3)


def test_filters_are_those_of_any_model(folder: Path) -> None:
    file = compiled("good.c", folder / "filtered.so")
    labels = ["cat", "dog"]
    assert not len(open_detector(DetectConfig(model=file, confidence=0.8), 1).detect(PIXELS).boxes)
    assert not len(open_detector(DetectConfig(model=file, labels=labels, exclude=["cat"]), 1).detect(PIXELS).boxes)
    classifier = open_classifier(ClassifyConfig(model=file, threshold=0.6), 1)
    assert classifier.classify(PIXELS, BOXES).label_ids.tolist() == [[-1], [-1]]


def test_the_example_gives_what_the_library_gives(example: str, folder: Path) -> None:
    detector = open_detector(DetectConfig(model=example, confidence=0), 1)
    assert detector.labels == ["wide", "tall"]
    library = Direct(folder)
    total = 0
    for seed in range(10):
        pixels = scene(seed)
        wanted = library.detect(pixels)
        for view in (pixels, np.ascontiguousarray(pixels[::-1])[::-1]):  # rows in place, and from the bottom up
            found = detector.detect(view)
            assert np.array_equal(found.boxes, wanted[:, :4])
            assert np.array_equal(found.confidences, wanted[:, 4])
            assert np.array_equal(found.label_ids, wanted[:, 5])
        total += len(wanted)
    assert total > 20


def test_the_example_in_a_pipeline_gives_what_the_library_gives(example: str, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    pictures = [scene(seed) for seed in range(60)]
    for number, pixels in enumerate(pictures):
        assert cv2.imwrite(str(tmp_path / "frames" / f"scene{number}.png"), pixels)
    stage = {"model": example, "count": 2}
    config = make_config(tmp_path, tmp_path / "frames", detect={**stage, "confidence": 0}, classify=stage)
    library = Direct(tmp_path)
    *frames, eos = run(config)
    assert eos["ok"] == len(frames) == len(pictures)
    for line, pixels in zip(frames, pictures, strict=True):
        rows = library.detect(pixels)
        assert len(line["objects"]) == len(rows)
        for item, row in zip(line["objects"], rows, strict=True):
            seen, (kind,) = item["detection"], item["classification"]
            assert [item[key] for key in "xywh"] == row[:4].tolist()
            assert (seen["label_id"], seen["confidence"]) == (row[5], pytest.approx(row[4], abs=1e-4))
            color, share = library.classify(pixels, row[:4])
            assert (kind["label_id"], kind["confidence"]) == (color, pytest.approx(share, abs=1e-4))


def test_the_example_classifies_and_reads_its_own_config(example: str, folder: Path) -> None:
    classifier = open_classifier(ClassifyConfig(model=example, top_k=2), 1)
    pixels = np.full((100, 100, 3), (10, 20, 200), np.uint8)
    classes = classifier.classify(pixels, BOXES)
    assert [classifier.labels[i] for i in classes.label_ids[0]] == ["red", "green"]
    assert classes.confidences[0, 0] == pytest.approx(200 / 230, abs=0.01)
    (folder / "spots.cfg").write_text("254")
    config = DetectConfig(model=example, options={"config": "spots.cfg"})
    assert not len(open_detector(config, 1, folder=str(folder)).detect(np.full((80, 80, 3), 253, np.uint8)).boxes)
    with pytest.raises(ModelError, match=r"`open` says: Detect::Init failed"):
        open_detector(DetectConfig(model=example, device="GPU"), 1)


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer holds on to freed memory")
def test_ten_thousand_frames_do_not_leak(example: str) -> None:
    detector, classifier = (
        open_detector(DetectConfig(model=example), 1),
        open_classifier(ClassifyConfig(model=example), 1),
    )
    pixels = np.ascontiguousarray(scene(1)[:64, :96])
    process = psutil.Process()

    def run(frames: int) -> int:
        for _ in range(frames):
            classifier.classify(pixels, detector.detect(pixels).boxes)
        return int(process.memory_info().rss)

    before = run(500)
    assert run(10_000) - before < 2 << 20


@pytest.mark.parametrize(
    ("define", "said"),
    [
        ("BAD_VERSION", "built for version 99 of the plugin ABI, this zpipe has versions 1 to 2; build it anew"),
        ("BAD_VERSION_NONE", "built for version 0 of the plugin ABI"),
        ("BAD_SIZE", "`size_bytes` of its table is 12, less than any version has"),
        ("BAD_NO_ENTRY", "is no zpipe plugin, it does not export `zpipe_plugin_entry`"),
        ("BAD_ENTRY", "`zpipe_plugin_entry` returned NULL"),
        ("BAD_NO_OPEN", "has no function `open`"),
        ("BAD_NO_DETECT", "the plugin has no function `detect`"),
        ("BAD_OPEN", "`open` says: no licence for CPU"),
        ("BAD_OPEN_SILENT", "`open` says: failed and did not say why"),
        ("BAD_OPEN_UNTERMINATED", "`open` says: x{1024}$"),
        ("BAD_UNDEFINED_SYMBOL", "cannot be loaded: .*undefined symbol: nobody_has_this"),
    ],
)
def test_plugins_that_cannot_be_opened(folder: Path, define: str, said: str) -> None:
    file = compiled("bad.c", folder / f"{define}.so", f"-D{define}")
    with pytest.raises(ModelError, match=said) as caught:
        open_detector(DetectConfig(model=file), 1)
    assert str(caught.value).startswith(file)


@pytest.mark.parametrize(
    ("define", "said"),
    [
        ("BAD_FRAME", "`detect` says: too dark"),
        ("BAD_FRAME_SILENT", "`detect` says: failed and did not say why"),
        ("BAD_TOO_MANY", "found 10001 objects, at most 10000 are possible"),
        ("BAD_NAN", "returned an object with x 1.0+, y -?nan"),
        ("BAD_INFINITE", "w inf"),
        ("BAD_NEGATIVE_SIZE", "h -1.0"),
        ("BAD_CONFIDENCE", "confidence 90.0"),
        ("BAD_NAN_CONFIDENCE", "confidence -?nan"),
        ("BAD_LABEL", "label_id -3"),
    ],
)
def test_plugins_that_fail_a_frame(folder: Path, define: str, said: str) -> None:
    detector = open_detector(DetectConfig(model=compiled("bad.c", folder / f"{define}.so", f"-D{define}")), 1)
    assert detector.labels == ["cat", "dog"]
    for _ in range(2):
        with pytest.raises(FrameError, match=said):
            detector.detect(PIXELS)


def test_boxes_outside_the_picture_are_dropped(folder: Path) -> None:
    file = compiled("bad.c", folder / "outside.so", "-DBAD_OUTSIDE")
    assert not len(open_detector(DetectConfig(model=file), 1).detect(PIXELS).boxes)


@pytest.mark.parametrize(
    ("define", "said"), [("BAD_CLASSIFY", "`classify` says: blurred"), ("BAD_CLASS_CONFIDENCE", "the confidence -?nan")]
)
def test_classifiers_that_fail_a_frame(folder: Path, define: str, said: str) -> None:
    classifier = open_classifier(ClassifyConfig(model=compiled("bad.c", folder / f"{define}.so", f"-D{define}")), 1)
    with pytest.raises(FrameError, match=said):
        classifier.classify(PIXELS, BOXES)


def test_labels_without_end_end(folder: Path) -> None:
    file = compiled("bad.c", folder / "endless.so", "-DBAD_LABELS_ENDLESS")
    assert len(open_detector(DetectConfig(model=file), 1).labels) == 1_000_000


def test_labels_of_another_number_than_the_plugins(folder: Path) -> None:
    file = compiled("bad.c", folder / "labels.so")
    with pytest.raises(ModelError, match="has 2 classes, but the list in the config names 1 labels"):
        open_detector(DetectConfig(model=file, labels=["cat"]), 1)


def test_exceptions(folder: Path) -> None:
    file = compiled("throwing.cpp", folder / "throwing.so")

    def config(where: str) -> DetectConfig:
        return DetectConfig(model=file, options={"config": where})

    with pytest.raises(ModelError, match="`open` says: cannot open"):
        open_detector(config("open"), 1)
    for where, said in (("detect", "cannot detect"), ("detect-strange", "no std::exception"), ("many", "found 10001")):
        with pytest.raises(FrameError, match=said):
            open_detector(config(where), 1).detect(PIXELS)
    with pytest.raises(ModelError, match="the plugin has no function `classify`"):
        open_classifier(ClassifyConfig(model=file), 1)
    past = compiled("throwing.cpp", folder / "past.so", "-DPAST_THE_WRAPPER")
    with pytest.raises(FrameError, match="`detect` threw an exception: over the border"):
        open_detector(DetectConfig(model=past), 1).detect(PIXELS)


def test_a_missing_dependency_is_named(folder: Path) -> None:
    (folder / "needed.c").write_text("int needed(void) { return 0; }")
    needed = folder / "libneeded.so"
    subprocess.run([str(CC), "-shared", "-fPIC", str(folder / "needed.c"), "-o", str(needed)], check=True)
    file = compiled("good.c", folder / "needing.so", "-Wl,--no-as-needed", f"-L{folder}", "-lneeded")
    needed.unlink()
    with pytest.raises(ModelError, match=r"cannot be loaded: libneeded\.so: cannot open shared object file"):
        open_detector(DetectConfig(model=file), 1)


def test_files_that_are_no_libraries(folder: Path) -> None:
    good = Path(compiled("good.c", folder / "whole.so")).read_bytes()
    for name, content, said in (
        ("text", b"int main() {}", "is not a shared library"),
        ("empty", b"", "is not a shared library"),
        ("third", good[: len(good) // 3], "truncated or damaged"),
        ("headers", good[:200], "truncated or damaged"),
    ):
        file = folder / f"{name}.so"
        file.write_bytes(content)
        with pytest.raises(ModelError, match=said):
            open_detector(DetectConfig(model=str(file)), 1)
    with pytest.raises(ModelError, match=r"none\.so: there is no such file"):
        open_detector(DetectConfig(model=str(folder / "none.so")), 1)
    (folder / "directory.so").mkdir()
    with pytest.raises(ModelError, match=r"directory\.so: is not a file"):
        open_detector(DetectConfig(model=str(folder / "directory.so")), 1)
