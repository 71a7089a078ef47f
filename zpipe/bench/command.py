"""What the `bench` command does with its options."""

import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from zpipe.bench import bare as bare_cost
from zpipe.bench import chart, table
from zpipe.bench.measure import Report, bench
from zpipe.config.loading import load
from zpipe.models.cache import cache_folder
from zpipe.show.outlet import say

PLOTS = chart.SUFFIXES
INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it: 128 and the signal's number."""


def run(config: str, settings: list[str], seconds: float, as_json: bool, plot: Path | None) -> None:
    """Measure, print, draw. Ctrl-C or SIGTERM ends all that was started."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        report = bench(config, settings, seconds, say)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)
    if as_json:
        sys.stdout.write(json_of(report) + "\n")
    else:
        table.show(report, Console())
    if plot is not None:
        chart.save(report, plot)
        say(f"drawn: {plot}")


def bare(config: str, settings: list[str], seconds: float, to: Path) -> None:
    """Measure the bare cost alone, in this process; the result goes to a file."""
    found = bare_cost.measure(load(config, settings), Path(config).resolve().parent, cache_folder(), seconds)
    to.write_bytes(msgspec.json.encode(found))


def json_of(report: Report) -> str:
    """The report with what follows from it: each run's overhead, in milliseconds and as a share of the bare cost."""
    plain: dict[str, Any] = msgspec.to_builtins(report)
    for told, figures in zip(plain["runs"], report.runs, strict=True):
        overhead_ms = report.overhead_ms(figures)
        told["overhead_ms"] = overhead_ms
        told["overhead"] = overhead_ms / report.bare.total_ms
        told["of_bound"] = figures.frames_per_s / report.bound
    plain["bare"]["total_ms"] = report.bare.total_ms
    plain["bare_all"]["total_ms"] = report.bare_all.total_ms
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
