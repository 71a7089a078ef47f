"""Whole runs of `zpipe up` for the small measurements: start it, read what it wrote."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from workloads import HERE


def run(config: Path, *options: str, pace_s: float | None = None) -> tuple[list[dict[str, Any]], float]:
    """(frames of the results, moment of the start, in seconds since 1970) of a run; the config's file goes."""
    results = Path(json.loads(config.read_text())["sink"]["results"])
    environment = dict(os.environ)
    if pace_s is not None:
        environment |= {
            "PYTHONPATH": f"{HERE / 'pace'}:{os.environ.get('PYTHONPATH', '')}",
            "ZPIPE_PACE_S": str(pace_s),
        }
    command = [sys.executable, "-m", "zpipe", "up", str(config), "--quiet", "--overwrite", *options]
    began = time.time()
    subprocess.run(command, check=True, cwd=config.parent, env=environment)
    frames = [line for line in map(json.loads, results.read_text().splitlines()) if line["type"] == "frame"]
    results.unlink()
    config.unlink()
    return frames, began


def done_at(frame: dict[str, Any]) -> float:
    """When its result was logged, in seconds since 1970."""
    return float(frame["timestamp"] / 1e9 + frame["timing_ms"]["total"] / 1e3)


def rate_of(frames: list[dict[str, Any]]) -> float:
    """Frames/s from the first tenth of the frames on: without the start."""
    done = sorted(map(done_at, frames))
    skipped = max(1, len(done) // 10)
    return (len(done) - skipped) / (done[-1] - done[skipped - 1])


def percentile(values: list[float], part: float) -> float:
    """The value that so great a part of them is not above."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def loaded() -> str:
    """The load of the last minute, for the record."""
    return f"load {os.getloadavg()[0]:.1f}"
