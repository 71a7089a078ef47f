"""Draws the demo's scenes: photographs, so to speak, of sheets with handwritten digits.

A scene is made in the order in which a real one comes about: a sheet (ruled, squared, kraft, a board with
sticky notes, ...) is written on with a pen or with chalk, laid on a desk at an angle, lit unevenly, and
photographed through a lens and onto a sensor that are not perfect. Where every digit ended up is known from
the same geometry, so the boxes are exact.

Pictures are float32 BGR in 0..1 until the shutter; lengths are pixels of a 1280 x 960 scene. All chance comes
from the generator that is passed in: the same generator gives the same scene. No file is touched here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

SCENE_W, SCENE_H = 1280, 960
CELLS = 12  # a UCI digit is 8 x 8 counts of ink; two empty cells are put around it

Picture = np.ndarray  # float32 (h, w, 3), BGR, 0..1
Supply = Iterator[tuple[np.ndarray, int]]  # 8 x 8 bitmaps in 0..16, and which digit each shows
Rng = np.random.Generator


@dataclass(frozen=True)
class Digit:
    """Where a digit is in the finished scene, in pixels, and which one it is."""

    x: int
    y: int
    w: int
    h: int
    label: int


@dataclass(frozen=True)
class Scene:
    """A finished photograph, uint8 BGR of SCENE_H x SCENE_W, and what is written on it."""

    image: np.ndarray
    digits: list[Digit]


@dataclass(frozen=True)
class Pen:
    """Colour (BGR), how well it covers the paper, and how grainy the stroke is (pencil, chalk)."""

    colour: tuple[float, float, float]
    opacity: float
    grain: float


@dataclass(frozen=True)
class Hand:
    """How freely digits are written. Training exaggerates, so that 30 writers stand for many more."""

    tilt_deg: float
    slant: float
    wobble: float  # local displacement in cells of the 8 x 8 bitmap


CALM = Hand(tilt_deg=7, slant=0.12, wobble=0.0)
LIVELY = Hand(tilt_deg=13, slant=0.25, wobble=0.28)


@dataclass(frozen=True)
class Block:
    """A rectangle of a sheet that may be written in; it can be turned (a sticky note is)."""

    cx: float
    cy: float
    w: float
    h: float
    angle_deg: float = 0.0


@dataclass(frozen=True)
class Slot:
    """A place for one digit on the sheet: centre, height, angle, and the number it is part of."""

    cx: float
    cy: float
    height: float
    angle_deg: float
    group: int  # the digits of one number share it, and the pen


@dataclass
class Sheet:
    """What can be written on: its picture, where, with which pens, its line pitch (0: no lines)."""

    picture: Picture
    blocks: list[Block]
    pens: list[Pen]
    pitch: float = 0.0


# ---------------------------------------------------------------- noise


_BANK = np.random.default_rng(8).normal(size=(SCENE_H * 2, SCENE_W * 2)).astype(np.float32)


def fine_noise(rng: Rng, h: int, w: int) -> np.ndarray:
    """White noise, cut at random from one large precomputed field: drawing it afresh is slow."""
    y, x = rng.integers(0, _BANK.shape[0] - h), rng.integers(0, _BANK.shape[1] - w)
    return _BANK[y : y + h, x : x + w]


def soft_noise(rng: Rng, h: int, w: int, rows: int, cols: int) -> np.ndarray:
    """Smooth noise of unit spread with about rows x cols bumps."""
    small = rng.normal(size=(rows + 2, cols + 2)).astype(np.float32)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)


def spread(plane: np.ndarray) -> Picture:
    """One plane as three equal channels; numpy's own broadcasting over a last axis of three is far slower."""
    return cv2.cvtColor(plane.astype(np.float32, copy=False), cv2.COLOR_GRAY2BGR)


def bgr(*rgb: float) -> np.ndarray:
    """A colour as one reads it, red first in 0..255, in the order and range of a Picture."""
    return np.array(rgb[::-1], np.float32) / 255


# ---------------------------------------------------------------- sheets


INKS = [
    Pen((0.13, 0.11, 0.11), 0.93, 0.0),  # black felt tip
    Pen((0.52, 0.20, 0.12), 0.90, 0.0),  # blue
    Pen((0.40, 0.13, 0.08), 0.93, 0.0),  # blue-black
    Pen((0.17, 0.14, 0.72), 0.88, 0.0),  # red
    Pen((0.22, 0.42, 0.10), 0.90, 0.0),  # green
    Pen((0.48, 0.14, 0.42), 0.88, 0.0),  # violet
    Pen((0.30, 0.29, 0.29), 0.85, 0.35),  # soft pencil
]
DARK_INKS = INKS[:3]
CHALKS = [
    Pen((0.90, 0.93, 0.93), 0.88, 0.55),
    Pen((0.55, 0.88, 0.95), 0.85, 0.55),
    Pen((0.78, 0.74, 0.96), 0.85, 0.55),
]


def paper(rng: Rng, h: int, w: int, colour: np.ndarray, roughness: float = 0.010) -> Picture:
    """An empty sheet: clouds, grain, and a hint of creases."""
    clouds = 0.012 * soft_noise(rng, h, w, 4, 5) + 0.6 * roughness * soft_noise(rng, h, w, h // 9, w // 9)
    grain = roughness * cv2.GaussianBlur(fine_noise(rng, h, w), (0, 0), 1.1) * 2
    return colour + spread(clouds + grain)


def whole(h: int, w: int, left: float = 70, top: float = 70) -> list[Block]:
    """One block that leaves the sheet's margins free."""
    right, bottom = w - 60.0, h - 60.0
    return [Block((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)]


def rule(picture: Picture, positions: np.ndarray, across: bool, colour: np.ndarray, strength: float) -> None:
    """Prints thin parallel lines, one or two pixels wide."""
    for position in positions.astype(int):
        line = picture[position : position + 2] if across else picture[:, position : position + 2]
        line += strength * (colour - line)


def ruled(rng: Rng, h: int, w: int) -> Sheet:
    """A page of an exercise book: blue lines, a red margin, perhaps punched holes."""
    picture = paper(rng, h, w, bgr(248, 246, 238))
    pitch = float(rng.uniform(66, 92))
    rule(picture, np.arange(110, h - 30, pitch), True, bgr(110, 150, 205), rng.uniform(0.4, 0.75))
    margin = int(rng.uniform(95, 130))
    rule(picture, np.array([margin]), False, bgr(215, 90, 100), 0.7)
    if rng.random() < 0.6:
        for y in np.linspace(0.12 * h, 0.88 * h, 3):
            cv2.circle(picture, (45, int(y)), 15, (0.20, 0.22, 0.24), -1, cv2.LINE_AA)
    return Sheet(picture, whole(h, w, left=margin + 20.0, top=110 - pitch + 8), INKS, pitch)


def legal_pad(rng: Rng, h: int, w: int) -> Sheet:
    """The yellow pad with its double red margin."""
    picture = paper(rng, h, w, bgr(250, 238, 160))
    pitch = float(rng.uniform(64, 84))
    rule(picture, np.arange(140, h - 30, pitch), True, bgr(120, 150, 190), 0.6)
    rule(picture, np.array([104, 112]), False, bgr(215, 95, 95), 0.6)
    picture[:62] = bgr(150, 60, 50) + spread(0.02 * fine_noise(rng, 62, w))
    return Sheet(picture, whole(h, w, left=130, top=140 - pitch + 8), DARK_INKS, pitch)


def squared(rng: Rng, h: int, w: int) -> Sheet:
    """Squared paper."""
    picture = paper(rng, h, w, bgr(250, 250, 247))
    pitch, colour = float(rng.uniform(30, 46)), bgr(150, 180, 205)
    strength = rng.uniform(0.35, 0.7)
    rule(picture, np.arange(12, h - 3, pitch), True, colour, strength)
    rule(picture, np.arange(12, w - 3, pitch), False, colour, strength)
    return Sheet(picture, whole(h, w), INKS)


def dotted(rng: Rng, h: int, w: int) -> Sheet:
    """A bullet journal."""
    picture = paper(rng, h, w, bgr(247, 242, 230))
    pitch = rng.uniform(34, 44)
    for y in np.arange(25, h - 20, pitch):
        for x in np.arange(25, w - 20, pitch):
            cv2.circle(picture, (int(x), int(y)), 2, (0.66, 0.68, 0.70), -1, cv2.LINE_AA)
    return Sheet(picture, whole(h, w), INKS)


def plain(rng: Rng, h: int, w: int) -> Sheet:
    """White, cream, pale blue or pale green paper."""
    shades = [(250, 250, 248), (246, 238, 219), (222, 234, 243), (226, 240, 222)]
    return Sheet(paper(rng, h, w, bgr(*shades[rng.integers(4)])), whole(h, w), INKS)


def kraft(rng: Rng, h: int, w: int) -> Sheet:
    """Brown wrapping paper with fibres."""
    picture = paper(rng, h, w, bgr(178, 138, 94), roughness=0.018)
    for _ in range(260):
        x, y, angle = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0, np.pi)
        dx, dy = 11 * math.cos(angle), 11 * math.sin(angle)
        shade = bgr(178, 138, 94) + rng.choice([-0.09, 0.07])
        cv2.line(picture, (int(x), int(y)), (int(x + dx), int(y + dy)), shade.tolist(), 1, cv2.LINE_AA)
    return Sheet(picture, whole(h, w), [*DARK_INKS, Pen((0.93, 0.95, 0.96), 0.92, 0.1)])


def blackboard(rng: Rng, h: int, w: int) -> Sheet:
    """A green or grey board with the smears of the last lesson."""
    shades = [(48, 82, 66), (52, 56, 60), (38, 66, 60)]
    picture = paper(rng, h, w, bgr(*shades[rng.integers(3)]), roughness=0.012)
    smears = soft_noise(rng, h, w, 10, 5).clip(0, None)
    picture += spread(0.045 * smears)
    return Sheet(picture, whole(h, w), CHALKS)


def notes(rng: Rng, h: int, w: int) -> Sheet:
    """A cork board or a wall with sticky notes, each a block of its own."""
    if rng.random() < 0.6:
        picture = paper(rng, h, w, bgr(188, 143, 98), roughness=0.02)
        picture -= spread(0.10 * (soft_noise(rng, h, w, h // 7, w // 7) > 0.9))
    else:
        picture = paper(rng, h, w, bgr(214, 216, 214), roughness=0.012)
    shades = [(253, 232, 120), (255, 196, 206), (178, 222, 240), (196, 232, 164), (255, 206, 140)]
    columns, rows = int(rng.integers(3, 5)), int(rng.integers(2, 4))
    side = min(w / columns, h / rows) * 0.80
    blocks = []
    for row in range(rows):
        for column in range(columns):
            cx = (column + 0.5 + rng.uniform(-0.05, 0.05)) * w / columns
            cy = (row + 0.5 + rng.uniform(-0.05, 0.05)) * h / rows
            block = Block(cx, cy, side, side, float(rng.uniform(-7, 7)))
            stick(rng, picture, block, bgr(*shades[rng.integers(5)]))
            blocks.append(Block(cx, cy, side * 0.86, side * 0.80, block.angle_deg))
    return Sheet(picture, blocks, DARK_INKS)


def stick(rng: Rng, picture: Picture, block: Block, colour: np.ndarray) -> None:
    """Puts one sticky note on the board, a little darker where it is glued, with a shadow below."""
    height, width = picture.shape[:2]
    reach = int(block.w * 0.78) + 30
    x0, y0 = max(int(block.cx) - reach, 0), max(int(block.cy) - reach, 0)
    area = picture[y0 : min(y0 + 2 * reach, height), x0 : min(x0 + 2 * reach, width)]
    corners = cv2.boxPoints(((block.cx - x0, block.cy - y0), (block.w, block.h), block.angle_deg))
    shadow, note = (np.zeros(area.shape[:2], np.float32) for _ in range(2))
    cv2.fillConvexPoly(shadow, (corners + np.array((5, 11))).astype(np.int32), 1.0, cv2.LINE_AA)
    cv2.fillConvexPoly(note, corners.astype(np.int32), 1.0, cv2.LINE_AA)
    area *= spread(1 - 0.38 * cv2.GaussianBlur(shadow, (0, 0), 7))
    y = np.arange(area.shape[0], dtype=np.float32)[:, None]
    shade = 0.94 + 0.07 * ((y - block.cy + y0) / block.h + 0.5).clip(0, 1)
    shade = shade + 0.008 * fine_noise(rng, *note.shape)
    area += spread(note) * (colour * spread(shade) - area)


SHEETS: list[Callable[[Rng, int, int], Sheet]] = [
    ruled, squared, plain, notes, kraft, blackboard, dotted, legal_pad,
]  # fmt: skip


# ---------------------------------------------------------------- writing


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
    middle = np.float32((CELLS - 1) / 2)
    ink = cv2.remap(cells, x + middle, y + middle, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    ink = cv2.GaussianBlur(ink, (0, 0), 0.3 * cell)
    ink += rng.uniform(1.2, 2.4) * (ink - cv2.GaussianBlur(ink, (0, 0), cell))
    strongest = cv2.dilate(ink, np.ones((2 * int(cell) + 1,) * 2))
    ink /= np.maximum(cv2.GaussianBlur(strongest, (0, 0), cell), 0.5)
    low = rng.uniform(0.30, 0.44)
    t = ((ink - low) / rng.uniform(0.15, 0.24)).clip(0, 1)
    return t * t * (3 - 2 * t)


def apply_ink(rng: Rng, picture: Picture, coverage: np.ndarray, x: int, y: int, pen: Pen) -> None:
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


def coffee_ring(rng: Rng, picture: Picture) -> None:
    """What a cup left behind: far larger than any digit, and round like one."""
    h, w = picture.shape[:2]
    mask = np.zeros((h, w), np.float32)
    centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
    radius = int(rng.uniform(120, 170))
    cv2.circle(mask, centre, radius, 1.0, int(rng.integers(5, 10)), cv2.LINE_AA)
    mask = cv2.GaussianBlur(mask, (0, 0), 2.0) * (0.6 + 0.5 * soft_noise(rng, h, w, 8, 10)).clip(0.05, 1.2)
    picture -= spread(0.34 * mask) * (picture - bgr(120, 78, 40))


# ---------------------------------------------------------------- the photograph


def desk(rng: Rng) -> Picture:
    """The table under the sheet: wood, cloth or stone."""
    h, w = SCENE_H, SCENE_W
    kind = rng.choice(["wood", "cloth", "stone"], p=[0.6, 0.2, 0.2])
    if kind == "wood":
        shades = [(150, 104, 64), (108, 72, 46), (186, 146, 102), (84, 60, 44)]
        streaks = 0.55 * soft_noise(rng, h, w, 190, 5) + 0.8 * soft_noise(rng, h, w, 26, 3)
        picture = bgr(*shades[rng.integers(4)]) * spread(1 + 0.10 * streaks)
        for y in np.arange(rng.uniform(0, 200), h - 3, rng.uniform(190, 300)):
            picture[int(y) : int(y) + 3] *= 0.55
        return picture
    shades = [(70, 84, 104), (96, 98, 96), (120, 60, 58), (150, 150, 142), (58, 62, 60)]
    grain = cv2.GaussianBlur(fine_noise(rng, h, w), (0, 0), 1.0 if kind == "cloth" else 2.2)
    return bgr(*shades[rng.integers(5)]) * spread(1 + 0.16 * grain + 0.05 * soft_noise(rng, h, w, 6, 8))


def pose(rng: Rng, h: int, w: int) -> np.ndarray:
    """The 3 x 3 homography that lays a sheet of h x w into the scene, turned and seen at an angle."""
    corners = np.array([(0, 0), (w, 0), (w, h), (0, h)], np.float32)
    angle = math.radians(rng.normal(scale=3.0))
    turn = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))], np.float32)
    seen = (corners - (w / 2, h / 2)) @ turn
    seen += rng.uniform(-18, 18, size=2) + np.array((SCENE_W / 2, SCENE_H / 2))
    seen += rng.uniform(-0.035, 0.035, size=(4, 2)) * (w, h)
    return cv2.getPerspectiveTransform(corners, seen.astype(np.float32))


def through(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points of the sheet, (n, 2), as points of the scene."""
    return cv2.perspectiveTransform(points.reshape(1, -1, 2).astype(np.float32), homography)[0]


def box_of(points: np.ndarray) -> tuple[int, int, int, int]:
    """The upright box x0, y0, x1, y1 around points, in whole pixels."""
    low, high = np.floor(points.min(0)), np.ceil(points.max(0))
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def inside(homography: np.ndarray, slot: Slot) -> bool:
    """Whether a digit in this slot, however it turns out, lies in the scene with some room around it."""
    r = slot.height * 0.75
    corners = np.array([(slot.cx + dx, slot.cy + dy) for dx in (-r, r) for dy in (-r, r)])
    x0, y0, x1, y1 = box_of(through(homography, corners))
    return x0 >= 6 and y0 >= 6 and x1 <= SCENE_W - 6 and y1 <= SCENE_H - 6


def lay(picture: Picture, sheet: Picture, homography: np.ndarray, shadow: float) -> Picture:
    """The sheet on the desk, with the shadow of its edge."""
    size = (SCENE_W, SCENE_H)
    mask = cv2.warpPerspective(np.ones(sheet.shape[:2], np.float32), homography, size)
    quarter = cv2.resize(mask, (SCENE_W // 4, SCENE_H // 4), interpolation=cv2.INTER_AREA)
    fallen = cv2.warpAffine(quarter, np.array([[1, 0, 1.5], [0, 1, 3]], np.float32), quarter.shape[::-1])
    fallen = cv2.resize(cv2.GaussianBlur(fallen, (0, 0), 2.5), size, interpolation=cv2.INTER_LINEAR)
    seen = cv2.warpPerspective(sheet, homography, size, borderMode=cv2.BORDER_REPLICATE)
    return cv2.blendLinear(seen, picture * spread(1 - shadow * fallen), mask, 1 - mask)


def light(rng: Rng) -> Picture:
    """How much light falls on each point: lamp, gradient, the soft edge of a shadow, a tint."""
    h, w = SCENE_H // 8, SCENE_W // 8
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    x, y = x / w - 0.5, y / h - 0.5
    level = 1 + rng.uniform(-0.28, 0.28) * x + rng.uniform(-0.28, 0.28) * y
    lamp_x, lamp_y = rng.uniform(-0.5, 0.5, size=2)
    level += rng.uniform(0, 0.22) * np.exp(-((x - lamp_x) ** 2 + (y - lamp_y) ** 2) / rng.uniform(0.05, 0.3))
    if rng.random() < 0.5:
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
        edge = (math.cos(angle) * x + math.sin(angle) * y - offset) / rng.uniform(0.02, 0.12)
        level *= 1 - rng.uniform(0.12, 0.42) / (1 + np.exp(-edge))
    level *= 1 - rng.uniform(0, 0.35) * (x * x + y * y)  # the lens darkens its corners
    level *= rng.uniform(0.78, 1.08) / float(level.mean())
    warmth = rng.normal(scale=0.045)
    tinted = level[..., None] * np.array([1 - warmth, 1.0, 1 + 0.8 * warmth], np.float32)
    return cv2.resize(tinted.astype(np.float32), (SCENE_W, SCENE_H), interpolation=cv2.INTER_LINEAR)


HEADROOM = 1.3  # light above 1 is not cut off but compressed, as a camera does


def film() -> np.ndarray:
    """The camera's response, as a table: straight up to 0.7, then bending towards white."""
    light_in = np.arange(256) / 255 * HEADROOM
    bent = 0.7 + 0.3 * (1 - np.exp(-(light_in - 0.7) / 0.3))
    return (np.where(light_in < 0.7, light_in, bent) * 255).astype(np.uint8)


FILM = film()


def expose(rng: Rng, picture: Picture) -> np.ndarray:
    """Lens blur, sometimes a moved camera, sensor noise; uint8 from here on."""
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 1.7))
    if rng.random() < 0.2:
        length, angle = int(rng.integers(3, 9)), rng.uniform(0, np.pi)
        kernel = np.zeros((9, 9), np.float32)
        dx, dy = round(length / 2 * math.cos(angle)), round(length / 2 * math.sin(angle))
        cv2.line(kernel, (4 - dx, 4 - dy), (4 + dx, 4 + dy), 1.0)
        picture = cv2.filter2D(picture, -1, kernel / kernel.sum())
    sigma = rng.uniform(0.004, 0.020)
    grain = cv2.GaussianBlur(fine_noise(rng, SCENE_H, SCENE_W), (0, 0), 0.7) * 1.8
    picture += spread(sigma * grain)
    return cv2.LUT((picture * (255 / HEADROOM)).clip(0, 255).astype(np.uint8), FILM)


def draw_scene(
    rng: Rng, supply: Supply, hand: Hand = CALM, kind: int | None = None, most: int | None = None
) -> Scene:
    """One scene with 6 to 20 digits (fewer where the sheet has no room), taken from `supply` in turn.

    `kind` chooses the sheet (an index into SHEETS), `most` the number of digits; None leaves it to chance.
    """
    make_sheet = SHEETS[rng.integers(len(SHEETS)) if kind is None else kind]
    most = int(rng.integers(6, 21)) if most is None else most
    close_up = rng.random() < 0.35  # the sheet is larger than what the camera sees
    w, h = (1460, 1120) if close_up else (int(rng.uniform(1000, 1180)), int(rng.uniform(800, 900)))
    sheet = make_sheet(rng, h, w)
    homography = pose(rng, h, w)

    slots = [slot for slot in places(rng, sheet, most) if inside(homography, slot)]
    slots = thinned(rng, slots, most)
    usual, other = (sheet.pens[rng.integers(len(sheet.pens))] for _ in range(2))
    pens = {slot.group: other if rng.random() < 0.25 else usual for slot in slots}
    if rng.random() < 0.25 and make_sheet is not blackboard:
        coffee_ring(rng, sheet.picture)
    written = []
    for slot in slots:
        bitmap, label = next(supply)
        coverage = glyph(rng, bitmap, slot, hand)
        x, y = int(slot.cx) - coverage.shape[1] // 2, int(slot.cy) - coverage.shape[0] // 2
        apply_ink(rng, sheet.picture, coverage, x, y, pens[slot.group])
        inked = np.argwhere(coverage > 0.35)[:, ::-1] + (x + 0.5, y + 0.5)
        x0, y0, x1, y1 = box_of(through(homography, inked))
        written.append(Digit(x0, y0, x1 - x0, y1 - y0, label))
    if rng.random() < 0.6:
        doodle(rng, sheet, slots, usual)

    picture = lay(desk(rng), sheet.picture, homography, rng.uniform(0.25, 0.5))
    return Scene(expose(rng, picture * light(rng)), written)


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
