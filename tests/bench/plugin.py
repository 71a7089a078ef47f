"""What the plugin interface costs: the example library called as a plugin, and the same code called directly.

python tests/bench/plugin.py
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from runs import loaded
from workloads import ROOT

sys.path.insert(0, str(ROOT / "tests/plugins"))
from built import Direct, compiled, scene

from zpipe.config.keys import DetectConfig
from zpipe.models.opening import open_detector

ROUNDS, CALLS = 31, 20


def main() -> None:
    """Alternate short rounds of both; medians of CPU time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = str(ROOT / "tests/plugins/example/vision.cpp")
        plugin = open_detector(DetectConfig(model=compiled("example/plugin.cpp", folder / "lib.so", "-O2", source)), 1)
        direct = Direct(folder)
        for width, height in ((320, 240), (1920, 1080)):
            pixels = scene(1, width, height)
            assert np.array_equal(plugin.detect(pixels).boxes, direct.detect(pixels)[:, :4])
            spent: dict[str, list[float]] = {"plugin": [], "direct": []}
            for _ in range(ROUNDS):
                for what, call in (("plugin", plugin.detect), ("direct", direct.detect)):
                    began = time.process_time()
                    for _ in range(CALLS):
                        call(pixels)
                    spent[what].append((time.process_time() - began) / CALLS * 1e3)
            medians = {what: statistics.median(times) for what, times in spent.items()}
            slower = medians["plugin"] / medians["direct"] - 1
            said = ", ".join(f"{what} {ms:.3f} ms" for what, ms in medians.items())
            print(f"{width}x{height}: {said}: {slower:+.1%} as a plugin; {loaded()}")


if __name__ == "__main__":
    main()
