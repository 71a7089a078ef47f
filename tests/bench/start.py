"""From the command to the first result of the demo, with the model cache warm.

python tests/bench/start.py
"""

import statistics

from runs import done_at, loaded, run
from workloads import make

RUNS = 5


def main() -> None:
    """Start it again and again; the first time fills the cache and does not count."""
    workload = make("w3")
    print(f"the demo, {RUNS} starts; {loaded()}")
    found = []
    for _ in range(RUNS + 1):
        frames, began = run(workload.config(20, "auto"))
        found.append(min(map(done_at, frames)) - began)
    print(f"cold or not: {found[0]:.2f} s; then median {statistics.median(found[1:]):.2f} s ", end="")
    print(f"({min(found[1:]):.2f} to {max(found[1:]):.2f})")


if __name__ == "__main__":
    main()
