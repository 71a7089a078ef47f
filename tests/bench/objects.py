"""Time of classify for 0, 1, 10, 50 and 200 objects a frame: it should grow by the same per object, without a cliff.

python tests/bench/objects.py
"""

from runs import loaded, percentile, run
from workloads import make

COUNTS, FRAMES = (0, 1, 2, 10, 50, 200), 24


def main() -> None:
    """Measure with a detector that finds so many boxes, whatever it sees."""
    workload = make("boxes")
    print(f"SqueezeNet f32, one worker of one thread, {FRAMES} frames each; {loaded()}")
    for count in COUNTS:
        sections = {"detect": {"options": {"boxes": count}}, "classify": {"threads": 1}}
        frames, _ = run(workload.config(FRAMES, "f32", **sections), "--detect", "1", "--classify", "1")
        ms = percentile([frame["timing_ms"]["classify"] for frame in frames[2:]], 0.5)
        print(f"{count:4} objects: {ms:8.2f} ms, {ms / max(1, count):6.2f} ms an object", flush=True)


if __name__ == "__main__":
    main()
