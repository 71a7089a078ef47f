"""`count: auto` against every fixed count, each in whole runs that alternate.

python tests/bench/auto_counts.py
python tests/bench/auto_counts.py w3 --runs 3
"""

import argparse
import statistics
from itertools import product

from runs import loaded, rate_of, run
from workloads import machine, make

FRAMES = {"w1": 300, "w2": 1189, "w3": 2000, "w5": 300}
"""Enough that what auto needs to settle, a few seconds, is a part of it as in real life, but a small one."""


def main() -> None:
    """One row per workload: the best fixed counts, all others, and auto."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=[*FRAMES])
    parser.add_argument("--runs", type=int, default=3)
    told = parser.parse_args()
    cores = machine()["cores"]
    for name in told.workloads:
        workload = make(name)
        found: dict[str, list[float]] = {f"{a}x{b}": [] for a, b in product(range(1, cores + 1), repeat=2)}
        found["auto"] = []
        for _ in range(told.runs):
            for counts, rates in found.items():
                detect, _, classify = counts.partition("x")
                options = ["--detect", detect, "--classify", classify] if classify else []
                rates.append(rate_of(run(workload.config(FRAMES[name], "auto"), *options)[0]))
        medians = {counts: statistics.median(rates) for counts, rates in found.items()}
        best = max((counts for counts in medians if counts != "auto"), key=medians.__getitem__)
        said = ", ".join(f"{counts} {rate:.1f}" for counts, rate in medians.items())
        ratio = medians["auto"] / medians[best]
        print(f"{name}: frames/s {said}: auto is {ratio:.3f} of {best}; {loaded()}", flush=True)


if __name__ == "__main__":
    main()
