"""What is written on: eight kinds of sheet, each with its pens and the places where it may be written.

A new kind is one function that returns a Sheet, and its name in SHEETS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from canvas import Canvas, Rng, bgr, fine_noise, soft_noise, spread


@dataclass(frozen=True)
class Pen:
    """Colour (BGR), how well it covers the paper, and how grainy the stroke is (pencil, chalk)."""

    colour: tuple[float, float, float]
    opacity: float
    grain: float


@dataclass(frozen=True)
class Block:
    """A rectangle of a sheet that may be written in; it can be turned (a sticky note is)."""

    cx: float
    cy: float
    w: float
    h: float
    angle_deg: float = 0.0


@dataclass
class Sheet:
    """What can be written on: its picture, where, with which pens, its line pitch (0: no lines)."""

    picture: Canvas
    blocks: list[Block]
    pens: list[Pen]
    pitch: float = 0.0


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


def paper(rng: Rng, h: int, w: int, colour: np.ndarray, roughness: float = 0.010) -> Canvas:
    """An empty sheet: clouds, grain, and a hint of creases."""
    clouds = 0.012 * soft_noise(rng, h, w, 4, 5) + 0.6 * roughness * soft_noise(rng, h, w, h // 9, w // 9)
    grain = roughness * cv2.GaussianBlur(fine_noise(rng, h, w), (0, 0), 1.1) * 2
    return colour + spread(clouds + grain)


def whole(h: int, w: int, left: float = 70, top: float = 70) -> list[Block]:
    """One block that leaves the sheet's margins free."""
    right, bottom = w - 60.0, h - 60.0
    return [Block((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)]


def rule(picture: Canvas, positions: np.ndarray, across: bool, colour: np.ndarray, strength: float) -> None:
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


def stick(rng: Rng, picture: Canvas, block: Block, colour: np.ndarray) -> None:
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


def coffee_ring(rng: Rng, picture: Canvas) -> None:
    """What a cup left behind: far larger than any digit, and round like one."""
    h, w = picture.shape[:2]
    mask = np.zeros((h, w), np.float32)
    centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
    radius = int(rng.uniform(120, 170))
    cv2.circle(mask, centre, radius, 1.0, int(rng.integers(5, 10)), cv2.LINE_AA)
    mask = cv2.GaussianBlur(mask, (0, 0), 2.0) * (0.6 + 0.5 * soft_noise(rng, h, w, 8, 10)).clip(0.05, 1.2)
    picture -= spread(0.34 * mask) * (picture - bgr(120, 78, 40))


SHEETS: list[Callable[[Rng, int, int], Sheet]] = [
    ruled, squared, plain, notes, kraft, blackboard, dotted, legal_pad,
]  # fmt: skip
