"""The machine and its processes as /proc and the cgroup tell of them: owns reading both, changes nothing."""

import contextlib
import functools
import os
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

LATELY_S = 5.0
"""Between the kernel's decision to kill a process for its memory and that process's end may lie so long."""


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


class OutOfMemory:
    """Whether the kernel's out-of-memory killer has been at work here lately; no where nobody tells."""

    def __init__(self) -> None:
        self._kills = oom_kills()
        self._last = float("-inf")

    def look(self, now: float) -> None:
        """To be called again and again: a kill counts from when it was seen first."""
        kills = oom_kills()
        if kills > self._kills:
            self._last = now
        self._kills = kills

    def has_struck(self, now: float) -> bool:
        """Whether it has, up to `now`."""
        self.look(now)
        return now - self._last < LATELY_S


def oom_kills() -> int:
    """Processes that the kernel has killed for want of memory: of our cgroup where it tells, else of the machine."""
    for path in (*_memory_events(), PROC / "vmstat"):
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0


@functools.cache
def _memory_events() -> list[Path]:
    """The files of our own cgroup that count them: version 2 or 1. A container may see its own as the root."""
    found = []
    with contextlib.suppress(OSError):
        for line in (PROC / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            is_v1 = "memory" in controllers.split(",")
            if is_v1 or not controllers:
                root, name = (CGROUPS / "memory", "memory.oom_control") if is_v1 else (CGROUPS, "memory.events")
                found += [root / path.lstrip("/") / name, root / name]
    return [path for path in found if path.exists()][:1]


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


def children_of(pid: int) -> list[int]:
    """The processes whose parent it is, ended ones that were not reaped included."""
    numbers = (int(entry) for entry in os.listdir(PROC) if entry.isdecimal())
    return [number for number in numbers if (used := _used(number)) is not None and used.parent == pid]


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
