"""What each process of a run uses of the CPU a frame, in microseconds, by the scheduler's own account; and how often it
waits. What zpipe, ingest and sink use is what the chain costs beyond the models.

python tests/bench/roles.py w1 --counts 2x2 --seconds 8
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil
from runs import loaded
from workloads import make

START_S = 60
FIRST = 40
"""Results before the first that counts: the first frames of a worker are slower."""


class Used(NamedTuple):
    """CPU nanoseconds of all threads, and how often the process waited."""

    cpu_ns: int
    waits: int


def used_by(pid: int) -> Used:
    """What a process has used until now."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    cpu_ns = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    return Used(cpu_ns, psutil.Process(pid).num_ctx_switches().voluntary)


def processes_of(up: psutil.Popen) -> dict[str, int]:
    """pid by name; workers of a stage have numbers in the order of their start."""
    found = {"zpipe up": up.pid}
    for process in up.children():
        role = json.loads(process.cmdline()[3])["role"]
        found[f"{role}-{sum(name.startswith(role) for name in found)}"] = process.pid
    return found


def lines_of(results: Path) -> int:
    """Results so far."""
    return results.read_bytes().count(b"\n") if results.exists() else 0


def main() -> None:
    """One run, measured in its middle, then drained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload")
    parser.add_argument("--counts", default="2x2")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--frames", type=int, default=100_000, help="more than it gets through")
    told = parser.parse_args()
    config = make(told.workload).config(told.frames, told.precision)
    results = Path(json.loads(config.read_text())["sink"]["results"])
    results.unlink(missing_ok=True)
    detect, _, classify = told.counts.partition("x")
    command = [sys.executable, "-m", "zpipe", "up", str(config), "--quiet", "--overwrite"]
    up = psutil.Popen([*command, "--detect", detect, "--classify", classify], cwd=config.parent)
    try:
        deadline = time.monotonic() + START_S
        while lines_of(results) < FIRST and time.monotonic() < deadline and up.poll() is None:
            time.sleep(0.1)
        names = processes_of(up)
        before, first, began = {name: used_by(pid) for name, pid in names.items()}, lines_of(results), time.monotonic()
        time.sleep(told.seconds)
        frames, took_s = lines_of(results) - first, time.monotonic() - began
        after = {name: used_by(pid) for name, pid in names.items()}
    finally:
        up.terminate()
        up.wait()
    print(f"{told.workload}, {told.counts}, {told.precision}: {frames / took_s:.1f} frames/s; {loaded()}")
    total_ns = 0
    for name, then in before.items():
        cpu_ns, waits = (now - old for now, old in zip(after[name], then, strict=True))
        total_ns += cpu_ns
        print(f"{name:12} {cpu_ns / frames / 1e3:9.1f} us a frame, waits {waits / frames:.2f} times a frame")
    print(f"{'all':12} {total_ns / frames / 1e3:9.1f} us a frame")
    results.unlink()
    config.unlink()


if __name__ == "__main__":
    main()
