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
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from canvas import SCENE_H, SCENE_W, Canvas, Rng, bgr, fine_noise, soft_noise, spread
from sheets import SHEETS, blackboard, coffee_ring
from writing import CALM, Hand, Slot, apply_ink, doodle, glyph, places, thinned

Supply = Iterator[tuple[np.ndarray, int]]  # 8 x 8 bitmaps in 0..16, and which digit each shows


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


def draw_scene(rng: Rng, supply: Supply, hand: Hand = CALM, kind: int | None = None, most: int | None = None) -> Scene:
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


def desk(rng: Rng) -> Canvas:
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


def lay(picture: Canvas, sheet: Canvas, homography: np.ndarray, shadow: float) -> Canvas:
    """The sheet on the desk, with the shadow of its edge."""
    size = (SCENE_W, SCENE_H)
    mask = cv2.warpPerspective(np.ones(sheet.shape[:2], np.float32), homography, size)
    quarter = cv2.resize(mask, (SCENE_W // 4, SCENE_H // 4), interpolation=cv2.INTER_AREA)
    fallen = cv2.warpAffine(quarter, np.array([[1, 0, 1.5], [0, 1, 3]], np.float32), quarter.shape[::-1])
    fallen = cv2.resize(cv2.GaussianBlur(fallen, (0, 0), 2.5), size, interpolation=cv2.INTER_LINEAR)
    seen = cv2.warpPerspective(sheet, homography, size, borderMode=cv2.BORDER_REPLICATE)
    return cv2.blendLinear(seen, picture * spread(1 - shadow * fallen), mask, 1 - mask)


def light(rng: Rng) -> Canvas:
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


def expose(rng: Rng, picture: Canvas) -> np.ndarray:
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
