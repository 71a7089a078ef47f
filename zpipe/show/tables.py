"""How results and status are written for people: lines of JSON, a table of objects, CSV.

Names and labels come from files and models of anybody: control characters in them are written as `\\xNN`, so that they
neither steer a terminal nor break a line; and text that a spreadsheet would take for a formula begins with `'` in CSV,
as OWASP advises.
"""

import csv
from collections.abc import Callable
from typing import TextIO

from zpipe.messages import Classification, Eos, Published, Result
from zpipe.show.text import plain

Write = Callable[[bytes, Published], None]

COLUMNS = (
    "stream", "seq", "name", "status", "x", "y", "w", "h",
    "label", "confidence", "classification", "class_confidence", "error",
)  # fmt: skip

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What OWASP's page on CSV injection names."""


def cell(value: object) -> object:
    """A value for CSV: numbers as they are, text plain and never a formula."""
    if not isinstance(value, str):
        return value
    return f"'{plain(value)}" if value.startswith(FORMULA_STARTS) else plain(value)


def class_of(found: Classification) -> str:
    """`jersey`; the number of a model that gives one, nothing below the stage's threshold."""
    return found.label if found.label is not None else "" if found.value is None else f"{found.value:g}"


def class_with_stage(found: Classification) -> str:
    """`classify: jersey`."""
    return f"{found.stage}: {class_of(found)}"


def rows_of(result: Result, name_class: Callable[[Classification], str]) -> list[tuple[object, ...]]:
    """One row per object, in the order of COLUMNS; a frame without objects has one row without them."""
    head = (result.stream, result.seq, result.name, result.status)
    error = f"{result.error.stage}: {result.error.reason}" if result.error else ""
    if not result.objects:
        return [(*head, "", "", "", "", "", "", "", "", error)]
    rows: list[tuple[object, ...]] = []
    for item in result.objects:
        classes = "; ".join(name_class(found) for found in item.classification)
        confidences = "; ".join(f"{found.confidence:.3f}" for found in item.classification)
        seen = item.detection
        rows.append(
            (*head, item.x, item.y, item.w, item.h, seen.label, f"{seen.confidence:.3f}", classes, confidences, error)
        )
    return rows


def json_writer(out: TextIO) -> Write:
    """The published lines as they are."""

    def write(line: bytes, message: Published) -> None:
        out.write(line.decode() + "\n")
        out.flush()

    return write


def csv_writer(out: TextIO) -> Write:
    """One line per object, with a header."""
    writer = csv.writer(out)
    writer.writerow(COLUMNS)

    def write(line: bytes, message: Published) -> None:
        if isinstance(message, Result):
            writer.writerows(map(cell, row) for row in rows_of(message, class_with_stage))
            out.flush()

    return write


def table_writer(out: TextIO) -> Write:
    """One line per object in columns, for reading along."""
    form = "{:<12.12} {:>7} {:<28.28} {:<7} {:>22} {:<18.18} {:>5} {:<24.24} {:>5}"
    out.write(form.format("stream", "seq", "name", "status", "x,y wxh", "label", "conf", "class", "conf") + "\n")

    def write(line: bytes, message: Published) -> None:
        if isinstance(message, Eos):
            out.write(
                f"{message.stream}: end of stream, "
                f"ok {message.ok}, failed {message.failed}, dropped {message.dropped}\n"
            )
        else:
            for row in rows_of(message, class_of):
                out.write(_table_line(form, row) + "\n")
        out.flush()

    return write


def _table_line(form: str, row: tuple[object, ...]) -> str:
    stream, seq, name, status, x, y, w, h, label, confidence, kind, certain, error = row
    box = f"{x:.0f},{y:.0f} {w:.0f}x{h:.0f}" if isinstance(x, float) else ""
    cells = (stream, seq, name, status, box, label, str(confidence)[:5], kind, str(certain)[:5])
    line = form.format(*(plain(str(value)) for value in cells))
    return plain(line + (f" {error}" if error else "")).rstrip()


WRITERS: dict[str, Callable[[TextIO], Write]] = {"json": json_writer, "csv": csv_writer, "table": table_writer}
