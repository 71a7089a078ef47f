"""The report as a picture, drawn from rectangles, lines and text: PNG by OpenCV, or SVG, alone or in an HTML page."""

from html import escape
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from zpipe.bench.measure import Report
from zpipe.bench.table import advise, counts_of
from zpipe.errors import ZpipeError

WIDTH, LEFT, RIGHT = 960, 150, 250
BAR, GAP, TOP = 26, 14, 76
INK, FAINT, REST = "#1f2933", "#9aa5b1", "#d64545"
STEPS = ("#2f6f9f", "#4ba3c3", "#5aa469", "#c99a2e", "#8a63b8", "#a05a5a")
SUFFIXES = (".png", ".svg", ".html")


class Box(NamedTuple):
    """A filled rectangle."""

    x: float
    y: float
    w: float
    h: float
    colour: str


class Rule(NamedTuple):
    """An upright line."""

    x: float
    y: float
    h: float
    colour: str


class Text(NamedTuple):
    """A line of text; `y` is its baseline."""

    x: float
    y: float
    text: str
    size_px: float
    colour: str = INK


Shape = Box | Rule | Text


def save(report: Report, path: Path) -> None:
    """Draw it into a file; its suffix says what kind."""
    shapes, height = shapes_of(report)
    try:
        if path.suffix == ".png":
            path.write_bytes(png_of(shapes, height))
        else:
            svg = svg_of(shapes, height)
            path.write_text(svg if path.suffix == ".svg" else page_of(svg, report))
    except OSError as error:
        raise ZpipeError(f"{path}: {error.strerror}") from None


def shapes_of(report: Report) -> tuple[list[Shape], int]:
    """What is to be drawn: frames/s of each run against the bound, then where a frame's CPU time goes."""
    title = f"zpipe bench {Path(report.config).name}: {report.processor}, {report.cores} core(s), {report.date[:16]}"
    shapes: list[Shape] = [Text(20, 30, title, 16), Text(20, 56, "frames/s; the red line is the bound", 13, FAINT)]
    y = _rates(report, shapes, TOP) + 40
    shapes.append(Text(20, y - 14, "CPU ms a frame, bare cost by step; red: what the pipeline adds", 13, FAINT))
    y = _costs(report, shapes, y) + 24
    shapes.append(Text(20, y, advise(report), 14))
    return shapes, int(y + 20)


def _rates(report: Report, shapes: list[Shape], y: float) -> float:
    scale = (WIDTH - LEFT - RIGHT) / max([report.bound, *(run.frames_per_s for run in report.runs)])
    top = y
    for run in report.runs:
        shapes.append(Text(20, y + BAR - 8, counts_of(run), 14))
        shapes.append(Box(LEFT, y, run.frames_per_s * scale, BAR, STEPS[0]))
        said = f"{run.frames_per_s:.1f}   p50 {run.latency_ms.p50:.0f} ms, p99 {run.latency_ms.p99:.0f} ms"
        shapes.append(Text(WIDTH - RIGHT + 16, y + BAR - 8, said, 13))
        y += BAR + GAP
    shapes.append(Rule(LEFT + report.bound * scale, top - 6, y - top, REST))
    return y


def _costs(report: Report, shapes: list[Shape], y: float) -> float:
    most = max([report.bare.total_ms, *(run.cpu_ms for run in report.runs)])
    scale = (WIDTH - LEFT - RIGHT) / most
    steps = list(report.bare.cost_ms.items())
    for run in report.runs:
        shapes.append(Text(20, y + BAR - 8, counts_of(run), 14))
        x = float(LEFT)
        for number, (_, ms) in enumerate(steps):
            shapes.append(Box(x, y, ms * scale, BAR, STEPS[number % len(STEPS)]))
            x += ms * scale
        added_ms = report.overhead_ms(run)
        shapes.append(Box(x, y, max(0.0, added_ms) * scale, BAR, REST))
        said = f"{run.cpu_ms:.2f}, {added_ms:+.2f} ({added_ms / report.bare.total_ms:+.1%})"
        shapes.append(Text(WIDTH - RIGHT + 16, y + BAR - 8, said, 13))
        y += BAR + GAP
    x = float(LEFT)
    for number, (step, ms) in enumerate(steps):
        shapes.append(Box(x, y, 12, 12, STEPS[number % len(STEPS)]))
        shapes.append(Text(x + 18, y + 11, f"{step} {ms:.2f}", 13))
        x += 18 + 9 * len(f"{step} {ms:.2f}") + 16
    return y + BAR


def svg_of(shapes: list[Shape], height: int) -> str:
    """The shapes as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for shape in shapes:
        match shape:
            case Box(x, y, w, h, colour):
                parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{colour}"/>')
            case Rule(x, y, h, colour):
                parts.append(f'<rect x="{x - 1:.1f}" y="{y:.1f}" width="2" height="{h:.1f}" fill="{colour}"/>')
            case Text(x, y, text, size_px, colour):
                parts.append(
                    f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size_px:g}" fill="{colour}">{escape(text)}</text>'
                )
    return "\n".join([*parts, "</svg>\n"])


def page_of(svg: str, report: Report) -> str:
    """A page that needs nothing else."""
    title = escape(f"zpipe bench {report.config}")
    head = f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>'
    return f"{head}\n<body>\n{svg}</body></html>\n"


def png_of(shapes: list[Shape], height: int) -> bytes:
    """The shapes as PNG."""
    canvas = np.full((height, WIDTH, 3), 255, np.uint8)
    for shape in shapes:
        match shape:
            case Box(x, y, w, h, colour):
                if w >= 0.5:
                    cv2.rectangle(canvas, (round(x), round(y)), (round(x + w) - 1, round(y + h) - 1), _bgr(colour), -1)
            case Rule(x, y, h, colour):
                cv2.rectangle(canvas, (round(x) - 1, round(y)), (round(x), round(y + h)), _bgr(colour), -1)
            case Text(x, y, text, size_px, colour):
                # OpenCV's letters are ASCII, and 22 px high at scale 1.
                plain = text.encode("ascii", "replace").decode()
                at, scale = (round(x), round(y)), size_px / 30
                cv2.putText(canvas, plain, at, cv2.FONT_HERSHEY_SIMPLEX, scale, _bgr(colour), 1, cv2.LINE_AA)
    return bytes(cv2.imencode(".png", canvas)[1])


def _bgr(colour: str) -> tuple[int, int, int]:
    return int(colour[5:7], 16), int(colour[3:5], 16), int(colour[1:3], 16)
