"""The report for a terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from zpipe.bench.measure import Report
from zpipe.bench.pipeline import LEAST_FRAMES, Figures

SLOWER = 0.97
"""A machine whose bound with all cores busy is below this share of the other is worth a word."""


def show(report: Report, console: Console) -> None:
    """Print it."""
    console.print(f"{report.config} on {report.processor}, {report.cores} core(s), load {report.load} before")
    console.print(costs_of(report))
    console.print(f"bound: {report.cores} core(s) / bare cost = {report.bound:.1f} frames/s")
    if report.bound_all < SLOWER * report.bound:
        console.print(
            "with all cores busy this machine itself is slower (shared caches, memory, hyper-threads): "
            f"{report.bound_all:.1f} frames/s"
        )
    console.print(runs_of(report))
    console.print(advise(report), style="bold")


def costs_of(report: Report) -> Table:
    """The bare cost by step."""
    table = Table(title="bare cost of a frame, CPU ms", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    for step in report.bare.cost_ms:
        table.add_column(step, justify="right")
    table.add_column("sum", justify="right")
    for name, bare in (("one thread", report.bare), ("all cores at once", report.bare_all)):
        table.add_row(name, *(f"{ms:.2f}" for ms in bare.cost_ms.values()), f"{bare.total_ms:.2f}")
    table.caption = f"{report.bare.objects_per_frame:.1f} objects a frame; {report.bare.frames} frames measured" + (
        f", {report.bare.failed} of them unreadable" if report.bare.failed else ""
    )
    return table


def runs_of(report: Report) -> Table:
    """What the pipeline reached; narrow enough for 80 columns."""
    table = Table(title="the pipeline", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("workers", no_wrap=True)
    for column in ("frames/s", "bound", "CPU ms", "added", "p50/p95/p99", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for run in report.runs:
        added_ms, latency = report.overhead_ms(run), run.latency_ms
        table.add_row(
            counts_of(run),
            f"{run.frames_per_s:.1f}",
            f"{run.frames_per_s / report.bound:.0%}",
            f"{run.cpu_ms:.2f}",
            f"{added_ms:+.2f} {added_ms / report.bare.total_ms:+.1%}",
            f"{latency.p50:.0f}/{latency.p95:.0f}/{latency.p99:.0f}",
            f"{run.processes_mb:.0f}+{run.frames_mb:.0f}",
        )
    table.caption = (
        "CPU ms: of all processes, a frame. Added: beyond the bare cost. p50/p95/p99: ms from read to logged, at full "
        "load. MB: processes + frames in flight."
    )
    table.caption_justify = "left"
    return table


def counts_of(run: Figures) -> str:
    """`2x1`; `auto 2x2`."""
    counts = "x".join(map(str, run.counts.values()))
    return f"auto {counts}" if run.auto else counts


def advise(report: Report) -> str:
    """The counts to take, in words."""
    if not report.runs:
        return "nothing to recommend: not one frame came in the time of any run (--seconds gives it more)"
    fewest = min(run.frames for run in report.runs)
    doubt = f" (of few frames, {fewest} in one run: --seconds gives it more)" if fewest < LEAST_FRAMES else ""
    if report.recommended is None:
        return "recommended: count: auto (the default); no fixed counts were clearly faster" + doubt
    counts = ", ".join(f"{stage} {count}" for stage, count in report.recommended.items())
    return f"recommended: {counts}{doubt}"
