"""What a run shows, and who reads it, never changes the run."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import RED, make_config, make_frames, until

from zpipe.engines.local import ZPIPE

FRAMES = 150


def config_of(folder: Path, **changes: Any) -> Path:
    return make_config(folder, make_frames(folder / "frames", FRAMES), **changes)


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it in bash; `$ZPIPE` is the command. Its output has the exit codes of what it ran."""
    environment |= {**os.environ, "ZPIPE": " ".join(ZPIPE)}
    return subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def is_whole(folder: Path) -> bool:
    return len((folder / "results.jsonl").read_bytes().splitlines()) == FRAMES + 1


@pytest.mark.parametrize(
    "where",
    [
        "--json | head -1; echo ${PIPESTATUS[0]}",
        "2>&1 | head -1; echo ${PIPESTATUS[0]}",
        ">&- 2>&-; echo $?",
        "--json >&-; echo $?",
        "--json > /dev/full 2> /dev/full; echo $?",
    ],
)
@pytest.mark.test_all
def test_a_display_that_cannot_write_goes_silent_and_the_run_goes_on(tmp_path: Path, where: str) -> None:
    """Edge 1: the run was cut short, and exited with 0."""
    config = config_of(tmp_path, detect={"options": {"nap_ms": 30}})
    probe = tmp_path / "probe.py"
    probe.write_text(
        probe.read_text().replace("if self.chatter:", "print('seen', flush=True)\n        if self.chatter:")
    )
    done = shell(f"$ZPIPE up {config} {where}")
    assert done.stdout.split()[-1] == "0", done
    assert is_whole(tmp_path)


def test_a_run_that_fails_says_so_by_its_exit_code_to_a_closed_pipe(tmp_path: Path) -> None:
    """Edge 1: neither 0, nor Python's 120 for what it could not flush."""
    config = config_of(tmp_path, detect={"options": {"raises_at_start": True}})
    for where in ("--json | true", "2>&1 | true", "--json 2>&1 | true"):
        assert shell(f"$ZPIPE up {config} {where}; echo ${{PIPESTATUS[0]}}").stdout.split() == ["4"]
    assert shell(f"$ZPIPE up {config} 2>&-; echo $?").stdout.split() == ["4"]


def test_subscribe_ends_well_when_nobody_reads_any_more(tmp_path: Path) -> None:
    """Edge 1."""
    config = config_of(tmp_path)
    results = tmp_path / "results.jsonl"
    shell(f"$ZPIPE up {config} --quiet")
    results.write_bytes(results.read_bytes().splitlines(keepends=True)[0] * 5000)
    done = shell(f"$ZPIPE subscribe {results} | head -1; echo ${{PIPESTATUS[0]}}")
    assert done.stdout.splitlines()[1:] == ["0"], done
    assert done.stderr == ""


def test_a_reader_that_sleeps_stops_nothing_and_finds_the_end(tmp_path: Path) -> None:
    """Edge 28: a full pipe stopped the broker."""
    script = tmp_path / "chatty.py"
    script.write_text(
        "import json, sys\n"
        "from zpipe.show import display\n"
        "display.JsonLines.every_s = 0.0\n"
        "from zpipe.cli import main\n"
        "main()\n"
    )
    config = config_of(tmp_path, detect={"options": {"nap_ms": 40}})
    process = subprocess.Popen([ZPIPE[0], script, "up", config, "--json"], stdout=subprocess.PIPE, pipesize=1 << 14)
    assert process.wait(60) == 0
    assert process.stdout is not None
    with process.stdout:
        events = [json.loads(line) for line in process.stdout]
    assert [events[0]["event"], events[-1]["event"]] == ["started", "ended"]
    assert events[-1]["balanced"]
    assert len(events) > 2


def test_what_workers_print_does_not_steer_the_terminal(tmp_path: Path) -> None:
    """Edge 28."""
    probe = tmp_path / "probe.py"
    config = config_of(tmp_path)
    probe.write_text(probe.read_text() + "\nprint('a\\x1b[2J\\rb\\x07', flush=True)\n")
    done = shell(f"$ZPIPE up {config}")
    assert r"detect-0: a\x1b[2J\rb\x07" in done.stderr
    assert not {*"\x1b\r\x07"} & {*done.stderr}


def test_a_terminal_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    """Edge 1."""
    config = config_of(tmp_path, detect={"options": {"nap_ms": 20}})
    ours, theirs = os.openpty()
    process = subprocess.Popen([*ZPIPE, "up", config], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    until(lambda: b"publishing" in os.read(ours, 1 << 16))
    os.close(ours)
    process.send_signal(1)
    assert process.wait(60) == 0
    assert is_whole(tmp_path)


def test_why_frames_failed_is_said(tmp_path: Path) -> None:
    """Edge 7: it was nowhere but in the results file."""
    config = config_of(tmp_path)
    (tmp_path / "frames" / "img0.png").write_bytes(b"no picture")
    probe = tmp_path / "probe.py"
    probe.write_text(
        probe.read_text().replace("return np.tile(", "if b % 8 == 3: raise ValueError('odd')\n        return np.tile(")
    )
    done = shell(f"$ZPIPE up {config} --json")
    *_, ended = events = [json.loads(line) for line in done.stdout.splitlines()]
    counts = {(each["stage"], each["reason"]): each["count"] for each in ended["failures"]}
    failed = ended["streams"][0]["failed"]
    assert {stage for stage, _ in counts} == {"detect"}
    assert sum(counts.values()) == failed > 5
    assert {"event": "failed", "failed": failed, "failures": ended["failures"]} in events
    stages = next(event for event in reversed(events) if event["event"] == "progress")["stages"]
    assert sum(stage["failed"] for stage in stages) <= failed

    said = shell(f"$ZPIPE up {config} --overwrite").stderr
    assert f"{failed} failed: {failed - 1}x detect: " in said
    assert "; 1x detect: not an image" in said
    strict = shell(f"$ZPIPE up {config} --overwrite --quiet --strict")
    assert strict.returncode == 1
    assert strict.stderr.startswith(f"zpipe: {failed} failed: ")


def test_frames_that_kill_their_workers_are_counted_once(tmp_path: Path) -> None:
    """Edge 7."""
    frames = make_frames(tmp_path / "frames", 20, {5: RED, 9: RED})
    config = make_config(tmp_path, frames, detect={"options": {"deadly": True}})
    *_, ended = map(json.loads, shell(f"$ZPIPE up {config} --json").stdout.splitlines())
    assert [each["count"] for each in ended["failures"]] == [2]
    assert ended["failures"][0]["reason"].startswith("3 attempts: signal SIGSEGV")


@pytest.mark.parametrize("how", ["", "--json", "--quiet"])
def test_of_a_worker_that_cannot_start_only_the_true_line_is_said(tmp_path: Path, how: str) -> None:
    """Edge 8: "there was nothing to read" and "ledger OPEN" came before it."""
    config = config_of(tmp_path, detect={"options": {"raises_at_start": True}})
    done = shell(f"$ZPIPE up {config} {how}")
    assert done.returncode == 4
    assert "no such weights" in done.stderr
    assert not [word for word in ("nothing to read", "ledger", "OPEN", "failed:") if word in done.stderr]
    assert "ended" not in [json.loads(line)["event"] for line in done.stdout.splitlines()]


def test_elapsed_time_never_runs_backwards(tmp_path: Path) -> None:
    """Edge 13: it began anew when the sources did."""
    config = config_of(tmp_path, detect={"options": {"start_ms": 1500}})
    events = [json.loads(line) for line in shell(f"$ZPIPE up {config} --json").stdout.splitlines()]
    elapsed = [event["elapsed_s"] for event in events if "elapsed_s" in event]
    assert elapsed == sorted(elapsed)
    assert 0 < elapsed[-1] < 60
