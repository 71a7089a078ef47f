"""What /proc and the cgroup tell: who was killed for want of memory, and when."""

from pathlib import Path

import pytest

from zpipe.engines import machine
from zpipe.engines.machine import LATELY_S, OutOfMemory, oom_kills

CGROUP_FILES = {
    "0::/yard\n": "yard/memory.events",
    "9:cpu:/x\n4:memory:/yard\n0::/\n": "memory/yard/memory.oom_control",
    "4:cpu,memory:/elsewhere\n": "memory/memory.oom_control",  # a container that sees its own as the root
}


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine of files."""
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    machine._memory_events.cache_clear()
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "vmstat").write_text("pgfault 12\noom_kill 7\n")
    yield tmp_path
    machine._memory_events.cache_clear()


@pytest.mark.parametrize("said", CGROUP_FILES)
def test_our_own_cgroup_counts_first(said: str, kernel: Path) -> None:
    (kernel / "proc/self/cgroup").write_text(said)
    path = kernel / "cgroup" / CGROUP_FILES[said]
    path.parent.mkdir(parents=True)
    path.write_text("low 0\nmax 3\noom 2\noom_kill 1\n")
    assert oom_kills() == 1


def test_else_the_machine_counts(kernel: Path) -> None:
    (kernel / "proc/self/cgroup").write_text("0::/\n")
    assert oom_kills() == 7


def test_where_nobody_tells_nobody_was_killed(kernel: Path) -> None:
    (kernel / "proc/vmstat").unlink()
    assert oom_kills() == 0
    assert not OutOfMemory().has_struck(0.0)


def test_a_kill_counts_for_a_while_from_when_it_was_seen(kernel: Path) -> None:
    watch = OutOfMemory()
    assert not watch.has_struck(100.0)
    (kernel / "proc/vmstat").write_text("oom_kill 8\n")
    watch.look(100.2)
    assert watch.has_struck(100.2 + LATELY_S / 2)
    assert not watch.has_struck(100.2 + LATELY_S)
