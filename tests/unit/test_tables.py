"""Results for people: what stands in CSV and table, whatever names and labels hold (Edges 15 and 28)."""

import csv
import io

import msgspec
import pytest

from zpipe import messages
from zpipe.messages import Classification, Detection, Object, Result
from zpipe.show.tables import COLUMNS, WRITERS


def result(name: str = "img1.jpg", label: str = "person", classes: list[Classification] | None = None) -> Result:
    found = Object(-3.5, 2.0, 10.0, 20.0, Detection(label, 0, 0.91), classes or [])
    return Result(run="r", stream="yard", seq=1, name=name, timestamp=1, objects=[found])


def written(form: str, *results: Result) -> str:
    out = io.StringIO(newline="")
    write = WRITERS[form](out)
    for each in results:
        write(b"", each)
    return out.getvalue()


def csv_row(each: Result) -> dict[str, str]:
    header, row = csv.reader(io.StringIO(written("csv", each), newline=""))
    assert header == list(COLUMNS)
    return dict(zip(header, row, strict=True))


def test_csv_names_the_stage_of_each_class() -> None:
    """Edge 15."""
    classes = [
        Classification("kind", "jersey", 610, 0.77),
        Classification("kind", None, 3, 0.1),
        Classification("age", None, 0, 1.0, value=41.5),
    ]
    row = csv_row(result(classes=classes))
    assert row["classification"] == "kind: jersey; kind: ; age: 41.5"
    assert row["class_confidence"] == "0.770; 0.100; 1.000"


@pytest.mark.parametrize("form", ["csv", "table"])
def test_names_and_labels_do_not_steer_the_terminal(form: str) -> None:
    """Edge 28."""
    text = written(form, result("a\x1b[2J\r\nb.jpg", "x\x9b31m\u2028y\u202e", [Classification("k", "\x07", 0, 1.0)]))
    assert not {*"\x1b\x9b\x07\u2028\u202e"} & {*text}
    assert text.replace("\r\n", "\n").count("\n") == 2
    assert r"a\x1b[2J\r\nb" in text


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_csv_holds_no_formula(name: str) -> None:
    """Edge 28; numbers stay numbers."""
    row = csv_row(result(name, name))
    assert row["name"].startswith("'")
    assert row["label"].startswith("'")
    assert row["x"] == "-3.5"


def test_half_a_character_in_a_label_crashes_nothing() -> None:
    """Edge 28: JSON cannot carry it, and the frame would take its sink with it."""
    label = messages.label_of(["dog\ud83d", "größe"], 0)
    assert label == r"dog\ud83d"
    assert messages.label_of(["dog", "größe"], 1) == "größe"
    msgspec.json.encode(result(label=label))
    for form in ("csv", "table"):
        assert "\ud83d" not in written(form, result(label="dog\ud83d"))
