"""Writing: where the digits of a sheet go, and how an 8 x 8 bitmap becomes a stroke of ink."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from canvas import Canvas, Rng, fine_noise, soft_noise, spread
from sheets import Block, Pen, Sheet


@dataclass(frozen=True)
class Hand:
    """How freely digits are written. Training exaggerates, so that ten writers stand for many more."""

    tilt_deg: float
    slant: float
    wobble: float  # local displacement in cells of the 8 x 8 bitmap


CALM = Hand(tilt_deg=7, slant=0.12, wobble=0.0)
LIVELY = Hand(tilt_deg=13, slant=0.25, wobble=0.28)


@dataclass(frozen=True)
class Slot:
    """A place for one digit on the sheet: centre, height, angle, and the number it is part of."""

    cx: float
    cy: float
    height: float
    angle_deg: float
    group: int  # the digits of one number share it, and the pen


def places(rng: Rng, sheet: Sheet, most: int) -> list[Slot]:
    """Where digits could stand on the sheet: more places than will be used."""
    if len(sheet.blocks) > 1:
        side = sheet.blocks[0].w
        found = []
        for group, block in enumerate(sheet.blocks):
            found += [replace(s, group=group) for s in centred(rng, block, rng.uniform(0.36, 0.58) * side)]
        return found
    height = rng.uniform(62, 150 if most < 14 else 115)
    layout = rows_of if sheet.pitch or rng.random() < 0.6 else scattered
    return layout(rng, sheet.blocks[0], height, sheet.pitch)


def thinned(rng: Rng, slots: list[Slot], most: int) -> list[Slot]:
    """At most `most` of the slots: whole numbers are left out first, then the end of the last one."""
    kept: list[Slot] = []
    for group in rng.permutation(sorted({slot.group for slot in slots})):
        kept += [slot for slot in slots if slot.group == group][: most - len(kept)]
    return kept


def rows_of(rng: Rng, block: Block, height: float, pitch: float) -> list[Slot]:
    """Numbers of one to five digits, in rows; on ruled paper they stand on the lines."""
    step = pitch * np.ceil(1.12 * height / pitch) if pitch else height * rng.uniform(1.35, 1.7)
    slots: list[Slot] = []
    lines = max(1, int(block.h / step))
    top = -block.h / 2 + (0 if pitch else (block.h - lines * step) / 2)
    group = 0
    for line in range(lines):
        y = top + (line + 1) * step - height * (0.53 if pitch else 0.68)
        x = -block.w / 2 + height * rng.uniform(0.4, 1.2)
        while x < block.w / 2 - 0.4 * height:
            for _ in range(rng.integers(1, 6)):
                if x < block.w / 2 - 0.4 * height:
                    slots.append(turned(block, x, y + height * rng.uniform(-0.05, 0.05), height, group))
                x += height * rng.uniform(0.74, 0.95)
            x += height * rng.uniform(0.5, 1.3)
            group += 1
    return slots


def scattered(rng: Rng, block: Block, height: float, pitch: float) -> list[Slot]:
    """Digits anywhere, of different sizes, none touching another."""
    slots: list[tuple[float, float, float]] = []
    for _ in range(150):
        size = height * rng.uniform(0.72, 1.3)
        x = rng.uniform(-1, 1) * max(0.0, block.w / 2 - size * 0.5)
        y = rng.uniform(-1, 1) * max(0.0, block.h / 2 - size * 0.6)
        if all(abs(x - a) > 0.5 * (size + b) or abs(y - c) > 0.62 * (size + b) for a, c, b in slots):
            slots.append((x, y, size))
    return [turned(block, x, y, size, group) for group, (x, y, size) in enumerate(slots)]


def centred(rng: Rng, block: Block, height: float) -> list[Slot]:
    """One number in the middle of the block."""
    step = height * rng.uniform(0.78, 0.95)
    count = int(rng.integers(1, max(2, int(block.w / step) + 1)))
    offsets = (np.arange(count) - (count - 1) / 2) * step
    return [turned(block, x, height * rng.uniform(-0.06, 0.06), height, 0) for x in offsets]


def turned(block: Block, x: float, y: float, height: float, group: int) -> Slot:
    """A slot given from the block's centre, along its own axes."""
    c, s = math.cos(math.radians(block.angle_deg)), math.sin(math.radians(block.angle_deg))
    return Slot(block.cx + c * x - s * y, block.cy + s * x + c * y, height, block.angle_deg, group)


def glyph(rng: Rng, bitmap: np.ndarray, slot: Slot, hand: Hand) -> np.ndarray:
    """The digit as ink coverage in 0..1, float32, on a square patch whose centre is the slot's.

    The 8 x 8 counts are enlarged by bicubic interpolation; the valleys between strokes, which the counting
    filled, are deepened by an unsharp mask; and a soft threshold relative to the strongest ink nearby makes a
    stroke of even width of it. Tilt, slant and wobble move the points at which the bitmap is read.
    """
    cell = slot.height / 8
    side = int(slot.height * 1.7)
    v, u = ((np.mgrid[0:side, 0:side].astype(np.float32) - side / 2) / cell)[:]
    angle = math.radians(slot.angle_deg + rng.uniform(-hand.tilt_deg, hand.tilt_deg))
    x = (math.cos(angle) * u + math.sin(angle) * v) / rng.uniform(0.70, 0.92)
    y = -math.sin(angle) * u + math.cos(angle) * v
    x += rng.uniform(-hand.slant, hand.slant) * y
    if hand.wobble:
        x += hand.wobble * soft_noise(rng, side, side, 3, 3)
        y += hand.wobble * soft_noise(rng, side, side, 3, 3)
    cells = np.pad(bitmap.astype(np.float32) / 16, 2)
    middle = (len(cells) - 1) / 2
    ink = cv2.remap(cells, x + middle, y + middle, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    ink = cv2.GaussianBlur(ink, (0, 0), 0.3 * cell)
    ink += rng.uniform(1.2, 2.4) * (ink - cv2.GaussianBlur(ink, (0, 0), cell))
    strongest = cv2.dilate(ink, np.ones((2 * int(cell) + 1,) * 2))
    ink /= np.maximum(cv2.GaussianBlur(strongest, (0, 0), cell), 0.5)
    low = rng.uniform(0.30, 0.44)
    t = ((ink - low) / rng.uniform(0.15, 0.24)).clip(0, 1)
    return t * t * (3 - 2 * t)


def apply_ink(rng: Rng, picture: Canvas, coverage: np.ndarray, x: int, y: int, pen: Pen) -> None:
    """Lays ink on the picture; what hangs over its edge is lost."""
    h, w = picture.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + coverage.shape[1], w), min(y + coverage.shape[0], h)
    if x0 >= x1 or y0 >= y1:
        return
    part = coverage[y0 - y : y1 - y, x0 - x : x1 - x]
    tooth = cv2.GaussianBlur(fine_noise(rng, *part.shape), (0, 0), 1.3) * 2.5
    part = part * (pen.opacity - pen.grain * 0.5 * tooth.clip(-0.5, 1.2) + 0.02 * tooth).clip(0, 1)
    area = picture[y0:y1, x0:x1]
    area += spread(part) * (np.array(pen.colour, np.float32) - area)


DOODLES = [
    np.array(shape)
    for shape in (
        [(-0.8, 0.0), (-0.2, 0.7), (0.9, -0.9)],  # a tick
        [(-1.0, 0.05), (0.0, -0.03), (1.0, 0.04)],  # a dash
        [(-1.0, 0.0), (1.0, 0.0), (0.5, -0.4), (1.0, 0.0), (0.5, 0.4)],  # an arrow
        [(t / 10 - 1, 0.25 * math.sin(t * 0.63)) for t in range(21)],  # a wave
        [(0.0, 0.0), (0.05, 0.05)],  # a dot
        [(-0.5, 0.0), (0.5, 0.0), (0.0, 0.0), (0.0, -0.5), (0.0, 0.5)],  # a plus
    )
]


def doodle(rng: Rng, sheet: Sheet, slots: list[Slot], pen: Pen) -> None:
    """Ticks, dashes, arrows and dots in the free space: ink that the detector must not take."""
    h, w = sheet.picture.shape[:2]
    taken = [(slot.cx, slot.cy, slot.height * 0.75) for slot in slots]
    for _ in range(rng.integers(2, 8)):
        cx, cy, r = rng.uniform(60, w - 60), rng.uniform(60, h - 60), rng.uniform(14, 40)
        if any(math.hypot(x - cx, y - cy) < size + r + 8 for x, y, size in taken):
            continue
        taken.append((cx, cy, r))
        shape = DOODLES[rng.integers(len(DOODLES))]
        side = int(2 * r + 24)
        points = (shape + rng.normal(scale=0.05, size=shape.shape)) * r + side / 2
        coverage = np.zeros((side, side), np.uint8)
        thickness = int(rng.integers(4, 9))
        cv2.polylines(coverage, [(points * 16).astype(np.int32)], False, 255, thickness, cv2.LINE_AA, 4)
        soft = cv2.GaussianBlur(coverage.astype(np.float32) / 255, (0, 0), 0.8)
        apply_ink(rng, sheet.picture, soft, int(cx - side / 2), int(cy - side / 2), pen)
