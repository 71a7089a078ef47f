"""From sending a frame to its result under the same load: zpipe and the replaced design, pictures at one pace.

python tests/bench/same_pace.py --pace 0.08
python tests/bench/same_pace.py --pace 0.03 --precision auto

zpipe twice: as it comes, with workers of one thread, which get most frames done; and with one worker a stage that has
all cores, as the replaced design's two threads have, which is done soonest with a single frame.
"""

import argparse
import json
import subprocess
from pathlib import Path

from compare import ALL, PEERS, job_file
from runs import loaded, percentile, run
from workloads import machine, make


def main() -> None:
    """Measure all; a pace that one of them cannot keep makes its frames wait longer and longer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pace", type=float, default=0.08, help="seconds from picture to picture")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--precision", default="f32")
    told = parser.parse_args()
    workload, all_cores = make("w1"), {"count": 1, "threads": machine()["cores"]}
    print(f"{told.frames} frames of W1, one every {told.pace} s, {told.precision}; {loaded()}")
    found = {}
    for name, stage in (("zpipe", {}), ("zpipe, all cores a frame", all_cores)):
        config = workload.config(told.frames, told.precision, detect=stage, classify=stage)
        frames, _ = run(config, pace_s=told.pace)
        found[name] = [frame["timing_ms"]["total"] for frame in frames]
    job = job_file(workload, told.frames, told.precision, pace_s=told.pace)
    peer = ALL["replaced"]
    subprocess.run([str(peer.python()), str(PEERS / peer.script), str(job)], check=True)
    answers = Path(json.loads(job.read_text())["out"])
    lines = map(json.loads, answers.read_text().splitlines())
    found["the replaced design"] = [(line["done"] - line["sent"]) * 1e3 for line in lines]
    answers.unlink()
    job.unlink()
    for name, values in found.items():
        print(f"{name}: p50 {percentile(values, 0.5):.0f} ms, p99 {percentile(values, 0.99):.0f} ms")


if __name__ == "__main__":
    main()
