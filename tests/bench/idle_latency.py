"""What the chain adds to a frame's way while nothing else is on it: published less read, less decode, detect, classify.

python tests/bench/idle_latency.py
"""

from runs import loaded, percentile, run
from workloads import make

FRAMES, PACE_S = 150, 0.2


def main() -> None:
    """Measure with pictures that come one by one, each after the last has left."""
    print(f"{FRAMES} frames of W1, one every {PACE_S} s; {loaded()}")
    frames, _ = run(make("w1").config(FRAMES, "f32", name="idle"), "--detect", "1", "--classify", "1", pace_s=PACE_S)
    added = []
    for frame in frames[5:]:
        times = frame["timing_ms"]
        added.append(times["total"] - times["decode"] - times["detect"] - times["classify"])
    totals = [frame["timing_ms"]["total"] for frame in frames[5:]]
    for name, values in (("total", totals), ("added by the chain", added)):
        said = ", ".join(f"{label} {percentile(values, part):.2f} ms" for label, part in (("p50", 0.5), ("p99", 0.99)))
        print(f"{name}: {said}, most {max(values):.2f} ms")


if __name__ == "__main__":
    main()
