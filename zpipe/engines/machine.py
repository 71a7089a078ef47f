"""The machine and its processes as /proc and the cgroup tell of them: owns reading both, changes nothing."""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Used(NamedTuple):
    """Of a process: its parent, the CPU seconds that it has used, and those of its children that were reaped."""

    parent: int
    own_s: float
    of_dead_s: float


def cores() -> int:
    """The cores that this process may use: its affinity, less what the container's quota leaves of them."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return max(1, count)


def processor() -> str:
    """The processor's name; the architecture where the kernel does not tell it."""
    with contextlib.suppress(OSError):
        for line in (PROC / "cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return os.uname().machine


def exists(pid: int) -> bool:
    """Whether there is a process of this number, an ended one that was not reaped included."""
    return (PROC / str(pid)).exists()


def cpu_seconds(pid: int) -> float:
    """CPU time of a living process, all its threads; 0 if it is gone."""
    used = _used(pid)
    return used.own_s if used is not None else 0.0


def cpu_seconds_of_family(pid: int) -> float:
    """CPU time of a process, of its living children, and of its children that have ended and were reaped."""
    used = _used(pid)
    if used is None:
        return 0.0
    others = (_used(int(entry)) for entry in os.listdir(PROC) if entry.isdecimal())
    return used.own_s + used.of_dead_s + sum(each.own_s for each in others if each is not None and each.parent == pid)


def private_bytes(pid: int) -> int:
    """Resident memory of a process that is not shared, so that sums count nothing twice; 0 if it is gone."""
    try:
        _, resident, shared, *_ = (PROC / str(pid) / "statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _used(pid: int) -> Used | None:
    """From proc(5)'s `stat`; None if the process is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    own, of_dead = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return Used(int(fields[1]), own / ticks_per_s, of_dead / ticks_per_s)
