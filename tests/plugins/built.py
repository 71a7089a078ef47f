"""Builds the libraries of this folder against the installed header."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from zpipe.models.plugin import include_folder

HERE = Path(__file__).parent
CC, CXX = shutil.which("cc"), shutil.which("c++")
WARNINGS = ["-Wall", "-Wextra", "-Werror"]

needs_compilers = pytest.mark.skipif(not (CC and CXX), reason="needs a C and a C++ compiler")


def compiled(source: str, target: Path, *options: str) -> str:
    """A shared library made of one source file of this folder."""
    compiler = CC if source.endswith(".c") else CXX
    standard = "-std=c11" if source.endswith(".c") else "-std=c++17"
    warnings = [] if source == "bad.c" else WARNINGS  # its table has fields twice: the second is wrong
    command = [compiler, standard, "-shared", "-fPIC", *warnings, f"-I{include_folder()}", str(HERE / source)]
    subprocess.run([*command, "-o", str(target), *options], check=True)
    return str(target)


def example_library(folder: Path) -> str:
    """The example library, built by its own CMake file; skips the test where there is no CMake."""
    if not shutil.which("cmake"):
        pytest.skip("needs cmake")
    build = folder / "example"
    source = ["-S", str(HERE / "example"), "-B", str(build), f"-DZPIPE_INCLUDE={include_folder()}"]
    subprocess.run(["cmake", *source], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", str(build)], check=True, stdout=subprocess.DEVNULL)
    return str(build / "libvision.so")


class Direct:
    """The example library called without zpipe, through ctypes."""

    def __init__(self, folder: Path) -> None:
        target = folder / "libdirect.so"
        sources = [str(HERE / "example" / name) for name in ("vision.cpp", "direct.cpp")]
        subprocess.run([str(CXX), "-std=c++17", "-O2", "-shared", "-fPIC", *sources, "-o", str(target)], check=True)
        self._library = ctypes.CDLL(str(target))

    def detect(self, pixels: np.ndarray) -> np.ndarray:
        """(n, 6) rows x, y, w, h, score, type by falling score."""
        height, width = pixels.shape[:2]
        rows = np.zeros((100, 6), np.float32)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (pixels, rows)]
        count = self._library.direct_detect(pointers[0], width, height, ctypes.c_long(3 * width), pointers[1], 100)
        return rows[:count][np.argsort(-rows[:count, 4], kind="stable")]

    def classify(self, pixels: np.ndarray, box: np.ndarray) -> tuple[int, float]:
        """Id and share of the colour that there is most of in a box x, y, w, h."""
        x, y, w, h = map(int, box)
        color, share = ctypes.c_int(), ctypes.c_float()
        first = ctypes.c_void_p(pixels.ctypes.data + y * pixels.strides[0] + 3 * x)
        stride = ctypes.c_long(pixels.strides[0])
        self._library.direct_classify(first, w, h, stride, ctypes.byref(color), ctypes.byref(share))
        return color.value, share.value


def scene(seed: int, width: int = 320, height: int = 240) -> np.ndarray:
    """Bright rectangles of some colour on dark noise: what the example finds."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    for _ in range(6):
        x, y, w, h = rng.integers([0, 0, 16, 16], [width - 40, height - 40, 60, 60])
        pixels[y : y + h, x : x + w] = rng.integers(205, 256, 3)
    return pixels
