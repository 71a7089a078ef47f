"""zpipe against the bound: `zpipe bench` on each workload, one row each.

python tests/bench/bounds.py
python tests/bench/bounds.py w1 w4 --seconds 20
"""

import argparse
import datetime
import json
import os
import subprocess
import sys

from workloads import machine, make

NAMES = {
    "w1": "W1 1080p mosaics", "w2": "W2 video 640x360", "w3": "W3 the demo", "w4": "W4 models that do nothing",
    "w5": "W5 photos of mixed sizes", "4k": "4K mosaics", "20mp": "20 MP mosaics",
}  # fmt: skip


def measured(name: str, seconds: float, precision: str) -> dict:
    """The report of `zpipe bench`."""
    config = make(name).config(1000, precision)
    command = [sys.executable, "-m", "zpipe", "bench", str(config), "--json", "--seconds", str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=config.parent)
    config.unlink()
    if done.returncode:
        raise SystemExit(f"{name}: exit code {done.returncode}")
    return json.loads(done.stdout)


def row(name: str, report: dict) -> str:
    """A row of the table: the best fixed counts, and auto."""
    bare = report["bare"]
    best = max((run for run in report["runs"] if not run["auto"]), key=lambda run: run["frames_per_s"])
    auto = next(run for run in report["runs"] if run["auto"])
    costs = " + ".join(f"{step} {ms:.2f}" for step, ms in bare["cost_ms"].items())
    cells = [
        NAMES[name],
        f"{costs} = {bare['total_ms']:.2f} ({report['bare_all']['total_ms']:.2f})",
        f"{report['bound']:.1f} ({report['bound_all']:.1f})",
        f"{best['frames_per_s']:.1f} ({'x'.join(map(str, best['counts'].values()))})",
        f"{auto['frames_per_s']:.1f}",
        f"{best['frames_per_s'] / report['bound']:.2f} ({best['frames_per_s'] / report['bound_all']:.2f})",
        f"{best['overhead_ms']:.2f} ({best['overhead']:.1%})",
        f"{best['latency_ms']['p50']:.0f} / {best['latency_ms']['p99']:.0f}",
        f"{best['processes_mb']:.0f} + {best['frames_mb']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure the workloads in turn; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=[*NAMES])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--precision", default="f32")
    told = parser.parse_args()
    about = machine()
    print(f"{datetime.datetime.now():%Y-%m-%d %H:%M}, {about['processor']}, {about['cores']} cores")
    print(f"`python tests/bench/bounds.py {' '.join(sys.argv[1:])}`; in brackets: all cores busy at once\n")
    print("| workload | bare CPU ms a frame | bound, frames/s | best counts | auto | best / bound | added CPU ms "
          "| latency p50 / p99 ms | MB processes + frames | load |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in told.workloads:
        load = os.getloadavg()[0]
        print(f"{row(name, measured(name, told.seconds, told.precision))} {load:.1f} |", flush=True)


if __name__ == "__main__":
    main()
