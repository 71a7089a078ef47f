"""What all drawing here stands on: the form of a picture, smooth and fine noise, colours as one reads them."""

from __future__ import annotations

import cv2
import numpy as np

SCENE_W, SCENE_H = 1280, 960

Canvas = np.ndarray  # float32 (h, w, 3), BGR, 0..1
Rng = np.random.Generator

_BANK = np.random.default_rng(8).normal(size=(SCENE_H * 2, SCENE_W * 2)).astype(np.float32)


def fine_noise(rng: Rng, h: int, w: int) -> np.ndarray:
    """White noise, cut at random from one large precomputed field: drawing it afresh is slow."""
    y, x = rng.integers(0, _BANK.shape[0] - h), rng.integers(0, _BANK.shape[1] - w)
    return _BANK[y : y + h, x : x + w]


def soft_noise(rng: Rng, h: int, w: int, rows: int, cols: int) -> np.ndarray:
    """Smooth noise of unit spread with about rows x cols bumps."""
    small = rng.normal(size=(rows + 2, cols + 2)).astype(np.float32)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)


def spread(plane: np.ndarray) -> Canvas:
    """One plane as three equal channels; numpy's own broadcasting over a last axis of three is far slower."""
    return cv2.cvtColor(plane.astype(np.float32, copy=False), cv2.COLOR_GRAY2BGR)


def bgr(*rgb: float) -> np.ndarray:
    """A colour as one reads it, red first in 0..255, in the order and range of a Canvas."""
    return np.array(rgb[::-1], np.float32) / 255
