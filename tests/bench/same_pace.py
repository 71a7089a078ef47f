"""From sending a frame to its result under the same load: zpipe and the replaced design, pictures at one pace.

python tests/bench/same_pace.py --pace 0.08
"""

import argparse
import json
import subprocess
from pathlib import Path

from compare import ALL, PEERS, job_file
from runs import loaded, percentile, run
from workloads import make


def main() -> None:
    """Measure both; a pace that the replaced design cannot keep makes its frames wait longer and longer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pace", type=float, default=0.08, help="seconds from picture to picture")
    parser.add_argument("--frames", type=int, default=150)
    told = parser.parse_args()
    workload = make("w1")
    print(f"{told.frames} frames of W1, one every {told.pace} s; {loaded()}")
    frames, _ = run(workload.config(told.frames, "f32"), pace_s=told.pace)
    mine = [frame["timing_ms"]["total"] for frame in frames]
    job = job_file(workload, told.frames, "f32", pace_s=told.pace)
    peer = ALL["replaced"]
    subprocess.run([str(peer.python()), str(PEERS / peer.script), str(job)], check=True)
    answers = Path(json.loads(job.read_text())["out"])
    theirs = [(line["done"] - line["sent"]) * 1e3 for line in map(json.loads, answers.read_text().splitlines())]
    answers.unlink()
    job.unlink()
    for name, values in (("zpipe", mine), ("the replaced design", theirs)):
        print(f"{name}: p50 {percentile(values, 0.5):.0f} ms, p99 {percentile(values, 0.99):.0f} ms")
    print(f"ratio of the medians: {percentile(theirs, 0.5) / percentile(mine, 0.5):.1f}")


if __name__ == "__main__":
    main()
