"""From one worker of the slower stage to two, on two cores: a detector that costs nothing, a classifier that does.

python tests/bench/scaling.py
"""

import statistics

from runs import loaded, rate_of, run
from workloads import make

FRAMES, RUNS = 120, 3


def main() -> None:
    """Measure in alternating runs."""
    workload, rates = make("boxes"), {1: [], 2: []}
    print(f"SqueezeNet f32 on 8 boxes a frame, workers of one thread, {FRAMES} frames; {loaded()}")
    for _ in range(RUNS):
        for count, found in rates.items():
            config = workload.config(FRAMES, "f32", detect={"options": {"boxes": 8}}, classify={"threads": 1})
            found.append(rate_of(run(config, "--detect", "1", "--classify", str(count))[0]))
    one, two = (statistics.median(found) for found in rates.values())
    print(f"1 worker {one:.2f} frames/s, 2 workers {two:.2f} frames/s: {two / one:.2f}x")


if __name__ == "__main__":
    main()
