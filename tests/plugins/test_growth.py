"""How the plugin ABI grows: what was built for version 1 still loads; newer and older tables; options, parsed."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from built import compiled, needs_compilers

from zpipe.config.keys import ClassifyConfig, DetectConfig
from zpipe.errors import FrameError, ModelError
from zpipe.models.interface import Detector
from zpipe.models.opening import open_classifier, open_detector
from zpipe.models.plugin import option_values

pytestmark = needs_compilers

PIXELS = np.full((40, 60, 3), 51, np.uint8)
BOXES = np.array([[0, 0, 10, 10], [5, 5, 20, 20]], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("growth")


@pytest.fixture(scope="module")
def reader(folder: Path) -> str:
    return compiled("options.cpp", folder / "options.so")


def test_a_plugin_of_version_1(folder: Path) -> None:
    """Its table ends where that of version 1 did; one that is read further crashes."""
    file = compiled("version1.c", folder / "version1.so")
    options = {"config": "mine.cfg", "levle": 3}
    detector = open_detector(DetectConfig(model=file, options=options, device="NPU", confidence=0.1), 5, folder="/x")
    assert detector.labels == ['detect NPU 5 /mine.cfg {"config": "mine.cfg", "levle": 3}']
    assert detector.describe()["plugin"] == "version 1"
    found = detector.detect(PIXELS)
    assert found.boxes.tolist() == [[1, 2, 3, 4]]
    assert found.confidences.tolist() == [pytest.approx(0.2)]
    with pytest.raises(FrameError, match="`detect` says: the last pixel is not blue"):
        detector.detect(PIXELS * 0)
    detector.close()
    classifier = open_classifier(ClassifyConfig(model=file, top_k=2, options=options), 1)
    assert classifier.classify(PIXELS, BOXES).label_ids.tolist() == [[0, -1]] * 2
    assert classifier.classify(PIXELS, BOXES).confidences[:, 0].tolist() == [pytest.approx(0.1), pytest.approx(0.2)]
    classifier.close()


def test_the_places_of_version_1_have_not_moved(folder: Path) -> None:
    """The header itself, beside the copy of version 1 that the test above has of it."""
    source = folder / "places.c"
    source.write_text(
        "#include <stddef.h>\n#include <zpipe_plugin.h>\n"
        "int place[] = {offsetof(zpipe_plugin, close), offsetof(zpipe_plugin, size_bytes),"
        " offsetof(zpipe_settings, options), offsetof(zpipe_settings, option_list), sizeof(zpipe_image),"
        " sizeof(zpipe_box), sizeof(zpipe_detection), sizeof(zpipe_class), sizeof(zpipe_error)};\n"
    )
    library = ctypes.CDLL(compiled(str(source), folder / "places.so"))
    assert list((ctypes.c_int * 9).in_dll(library, "place")) == [48, 56, 32, 40, 24, 16, 24, 8, 1024]


def test_a_table_with_more_than_this_version_knows_and_one_with_nothing_new(folder: Path) -> None:
    """bad.c ends in a field of some later version; without a size it counts as version 1: no extension is asked."""
    later = compiled("bad.c", folder / "later.so")
    assert len(open_detector(DetectConfig(model=later), 1).detect(PIXELS).boxes) == 1
    with pytest.raises(ModelError, match=r"options\.any: the plugin has no such option, expected none"):
        open_detector(DetectConfig(model=later, options={"any": 1}), 1)
    open_classifier(ClassifyConfig(model=later, options={"any": 1}), 1)  # there it says NULL: any
    for define in ("BAD_SIZE_NONE", "BAD_EXTENSION"):
        file = compiled("bad.c", folder / f"{define}.so", f"-D{define}")
        assert len(open_detector(DetectConfig(model=file, options={"any": 1}), 1).detect(PIXELS).boxes) == 1


def opened(reader: str, **options: object) -> Detector:
    return open_detector(DetectConfig(model=reader, options=options), 1)


def test_options_come_parsed(reader: str) -> None:
    """Edge 16: no JSON has to be read by the plugin."""
    assert opened(reader).labels == ["none", "0.500000", "7", "8", "false", "9"]
    given = opened(reader, text="ä b", number=-3, whole=-(2**40), byte=255, flag=True, sizes=[1, 2])
    assert given.labels == ["ä b", "-3.000000", str(-(2**40)), "255", "true", "2"]
    assert opened(reader, text=2.5, whole=None).labels[:3] == ["2.5", "0.500000", "7"]
    assert opened(reader, text=False).labels[0] == "false"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"number": "high"}, "`open` says: options.number: expected a number, got high"),
        ({"number": True}, "`open` says: options.number: expected a number, got true"),
        ({"flag": 1}, "`open` says: options.flag: expected true or false, got 1"),
        ({"whole": 1.5}, "`open` says: options.whole: expected a whole number, got 1.5"),
        ({"whole": 2**63}, "options.whole: expected a whole number, got 9223372036854775808"),
        ({"byte": 256}, "options.byte: expected a whole number, got 256"),
        ({"byte": -1}, "options.byte: expected a whole number, got -1"),
        ({"nubmer": 1}, "options.nubmer: the plugin has no such option, expected one of text, number, whole, byte, "),
    ],
)
def test_options_that_are_wrong(reader: str, options: dict[str, object], said: str) -> None:
    """Edge 16: of another kind, or none that the plugin reads."""
    with pytest.raises(ModelError) as caught:
        opened(reader, **options)
    assert said in str(caught.value)


def test_a_class_that_names_no_options_takes_any(reader: str) -> None:
    open_classifier(ClassifyConfig(model=reader, options={"nubmer": 1}), 1)


def test_names_of_options_in_lists_and_mappings() -> None:
    options = {"a": {"b": 1, "c": {"d": None}}, "e": [True, {"f": "g"}], "h": [], "i": 0.5}
    assert option_values(options) == {"a.b": 1, "e.0": True, "e.1.f": "g", "i": 0.5}
