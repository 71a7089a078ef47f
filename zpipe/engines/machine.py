"""The machine and its processes as /proc and the cgroup tell of them: owns reading both, changes nothing."""

import os
from pathlib import Path


def cores() -> int:
    """The cores that this process may use: its affinity, less what the container's quota leaves of them."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return max(1, count)


def cpu_seconds(pid: int) -> float:
    """CPU time of a living process, all its threads; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime: proc(5)


def private_bytes(pid: int) -> int:
    """Resident memory of a process that is not shared, so that sums count nothing twice; 0 if it is gone."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
