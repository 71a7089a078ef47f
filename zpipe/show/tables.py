"""How results and status are written for people: lines of JSON, a table of objects, CSV."""

import csv
from collections.abc import Callable
from typing import TextIO

from zpipe.messages import Eos, Published, Result

Write = Callable[[bytes, Published], None]

COLUMNS = (
    "stream", "seq", "name", "status", "x", "y", "w", "h",
    "label", "confidence", "classification", "class_confidence", "error",
)  # fmt: skip


def rows_of(result: Result) -> list[tuple[object, ...]]:
    """One row per object, in the order of COLUMNS; a frame without objects has one row without them."""
    head = (result.stream, result.seq, result.name, result.status)
    error = f"{result.error.stage}: {result.error.reason}" if result.error else ""
    if not result.objects:
        return [(*head, "", "", "", "", "", "", "", "", error)]
    rows: list[tuple[object, ...]] = []
    for item in result.objects:
        labels = "; ".join(str(c.label) for c in item.classification)
        confidences = "; ".join(f"{c.confidence:.3f}" for c in item.classification)
        seen = item.detection
        rows.append(
            (*head, item.x, item.y, item.w, item.h, seen.label, f"{seen.confidence:.3f}", labels, confidences, error)
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
            writer.writerows(rows_of(message))
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
            for stream, seq, name, status, x, y, w, h, label, confidence, kind, certain, error in rows_of(message):
                box = f"{x:.0f},{y:.0f} {w:.0f}x{h:.0f}" if isinstance(x, float) else ""
                row = (
                    str(stream),
                    str(seq),
                    str(name),
                    str(status),
                    box,
                    str(label),
                    str(confidence)[:5],
                    str(kind),
                    str(certain)[:5],
                )
                out.write((form.format(*row) + (f" {error}" if error else "")).rstrip() + "\n")
        out.flush()

    return write


WRITERS: dict[str, Callable[[TextIO], Write]] = {"json": json_writer, "csv": csv_writer, "table": table_writer}
