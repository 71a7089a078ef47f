"""Preparing a 1080p frame for a 416 px detector (resize, pad, colour order, planes of floats) beside cv2.resize alone.

python tests/bench/preprocess.py
"""

import statistics
import time

import cv2
import numpy as np
from runs import loaded
from workloads import make

from zpipe import _core

ROUNDS, CALLS = 31, 30


def main() -> None:
    """Alternate short rounds of both, in one thread; medians of CPU time."""
    cv2.setNumThreads(1)
    image = cv2.imread(str(make("w1").files[0]))
    resized = np.empty((234, 416, 3), np.uint8)
    calls = {
        "zpipe": lambda: _core.preprocess(image, width=416, height=416, color="rgb", fit="letterbox_corner"),
        "cv2.resize alone": lambda: cv2.resize(image, (416, 234), dst=resized, interpolation=cv2.INTER_LINEAR),
    }
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.process_time()
            for _ in range(CALLS):
                call()
            spent[name].append((time.process_time() - began) / CALLS * 1e3)
    print(", ".join(f"{name} {statistics.median(times):.3f} ms" for name, times in spent.items()), loaded(), sep="; ")


if __name__ == "__main__":
    main()
