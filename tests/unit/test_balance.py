"""How many workers and threads: the rules in numbers."""

import os
import subprocess
import sys

import pytest

from zpipe.engines import machine
from zpipe.engines.machine import cpu_seconds
from zpipe.rules.balance import FIRST_FRAMES, Balance, counts_for, first_counts, threads


@pytest.mark.parametrize(
    ("wanted", "available", "counts"),
    [
        (["auto"], 1, [1]),
        (["auto"], 8, [8]),
        (["auto", "auto"], 1, [1, 1]),
        (["auto", "auto"], 2, [2, 2]),
        (["auto", "auto"], 8, [5, 5]),
        (["auto", "auto", "auto"], 8, [4, 4, 4]),
        ([3, "auto"], 8, [3, 5]),
        ([7, 9], 2, [7, 9]),
    ],
)
def test_counts_to_start_with(wanted, available, counts):
    assert first_counts(wanted, available) == counts


@pytest.mark.parametrize(
    ("cost", "available", "counts"),
    [
        ([0.1], 4, [4]),
        ([0.1, 0.1], 4, [3, 3]),
        ([0.3, 0.1], 4, [4, 2]),
        ([0.3, 0.0], 4, [4, 1]),
        ([0.0, 0.0], 4, [1, 1]),
        ([1.0, 1e-9], 2, [2, 2]),
    ],
)
def test_counts_by_cost(cost, available, counts):
    assert counts_for(cost, available) == counts


@pytest.mark.parametrize("available", [1, 2, 3, 7, 64])
def test_whatever_the_costs_no_core_idles_and_no_stage_is_without_a_worker(available):
    for cost in ([1, 1], [1, 2, 3], [0, 1], [100, 1, 1, 1]):
        counts = counts_for(cost, available)
        assert sum(counts) >= available
        assert min(counts) >= 1
        assert max(counts) <= available


def test_threads_are_the_cores_divided_among_all_workers():
    assert threads("auto", [2, 2], 8) == 2
    assert threads("auto", [5, 5], 8) == 1
    assert threads("auto", [1], 16) == 16
    assert threads(3, [5, 5], 8) == 3


def test_two_measurements_must_agree_before_anything_changes():
    watch = Balance([True, True], 4)
    assert watch.measure([1.0, 1.0], [100, 100]) == [None, None]
    assert watch.measure([4.0, 2.0], [200, 200]) == [None, None]
    assert watch.measure([7.0, 3.0], [300, 300]) == [4, 2]
    assert watch.measure([8.0, 6.0], [400, 400]) == [None, None]
    assert watch.measure([9.0, 9.0], [500, 500]) == [2, 4]


def test_counts_that_were_configured_stay():
    watch = Balance([False, True], 4)
    watch.measure([0.0, 0.0], [0, 0])
    watch.measure([3.0, 1.0], [100, 100])
    assert watch.measure([6.0, 2.0], [200, 200]) == [None, 2]


def test_a_few_frames_say_nothing():
    watch = Balance([True, True], 4)
    watch.measure([0.0, 0.0], [0, 0])
    for done in range(1, FIRST_FRAMES):
        assert watch.measure([done * 1.0, 0.0], [1000, done]) == [None, None]
    watch.measure([30.0, 10.0], [FIRST_FRAMES, FIRST_FRAMES])
    assert watch.measure([60.0, 20.0], [2 * FIRST_FRAMES, 2 * FIRST_FRAMES]) == [4, 2]


def test_the_cores_are_those_that_this_process_may_use(monkeypatch, tmp_path):
    for quota, expected in (("max 100000", 6), ("200000 100000", 2), ("50000 100000", 1), ("nonsense", 6), ("", 6)):
        (tmp_path / "cpu.max").write_text(quota)
        monkeypatch.setattr(machine, "Path", lambda path: tmp_path / "cpu.max")
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 4, 5})
        assert machine.cores() == expected
    (tmp_path / "cpu.max").unlink()
    assert machine.cores() == 6


def test_cpu_time_of_a_process_with_an_unusual_name_and_of_none():
    code = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    assert 0.1 < cpu_seconds(process.pid) < 5
    process.communicate(b"\n")
    assert cpu_seconds(process.pid) == 0
