"""What a run shows, and who reads it, never changes the run."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import make_config, make_frames, until

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
def test_a_display_that_cannot_write_goes_silent_and_the_run_goes_on(tmp_path: Path, where: str) -> None:
    """Edge 1: the run was cut short, and exited with 0."""
    config = config_of(tmp_path, detect={"options": {"nap_ms": 10}})
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
