"""Measures a config: its bare cost, then run after run; makes one report of it."""

import contextlib
import datetime
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from zpipe import __version__
from zpipe.bench import counts, pipeline
from zpipe.bench.bare import Bare
from zpipe.bench.counts import Counts
from zpipe.bench.frames import MOST_FILES, Sample
from zpipe.bench.pipeline import LEAST_FRAMES, MOST_TIMES, Figures
from zpipe.bench.scratch import make_scratch
from zpipe.client.run import Started
from zpipe.config.keys import Config
from zpipe.config.loading import load
from zpipe.engines import machine

MOST_AT_ONCE = 16
"""Processes of the measurement on all cores at once; each loads the models."""

LEAST_SOURCE = 5 * LEAST_FRAMES
"""Frames that a run has at least: those in flight at its end are not measured."""

SPARE_S = 15.0
"""For so long a run must have frames beyond the time measured: workers come, `auto` settles."""


class Report(msgspec.Struct):
    """All that was found out. Costs are CPU milliseconds a frame, `bound` and rates frames/s.

    `bare` is one thread on an idle machine; `bare_all` the same in one process per core at once, where cores share
    caches, memory and often their very units: the part of a pipeline's cost that no software can be without.
    `bound`: cores divided by the bare cost.
    """

    config: str
    date: str
    version: str
    processor: str
    load: float
    cores: int
    seconds: float
    bare: Bare
    bare_all: Bare
    bound: float
    bound_all: float
    runs: list[Figures]
    recommended: dict[str, int] | None
    schema: int = 1

    def overhead_ms(self, run: Figures) -> float:
        """CPU time a frame that a run takes beyond the bare cost."""
        return run.cpu_ms - self.bare.total_ms


def bench(path: str, settings: Sequence[str], seconds: float, tell: Callable[[str], None]) -> Report:
    """Measure the config; about `seconds` for each run. `tell` hears what is being done."""
    config = load(path, list(settings))
    load_before, cores = round(os.getloadavg()[0], 2), machine.cores()
    tell(f"bare cost of a frame, one thread, {seconds:g} s")
    single = measure_bare(path, settings, seconds, 1)
    tell(f"bare cost of a frame, {min(cores, MOST_AT_ONCE)} processes at once, {seconds:g} s")
    at_once = measure_bare(path, settings, seconds, min(cores, MOST_AT_ONCE))
    bound = cores / single.total_ms * 1e3
    runs = []
    with make_scratch() as folder:
        sample = Sample(config)
        sample.limit(min(MOST_FILES, single.sample))
        sources = sample.write_sources(Path(folder), max(LEAST_SOURCE, int(bound * (seconds * MOST_TIMES + SPARE_S))))
        for tried in [*counts.propose_counts(stage_costs(config, single), cores), None]:
            tell(f"pipeline at {label_of(tried)}, {seconds:g} s")
            chosen = [*settings, *count_settings(config, tried)]
            figures = pipeline.measure(path, chosen, sources, tried is None, seconds)
            if figures is None:
                tell("  not one frame came in that time (--seconds gives it more)")
                continue
            runs.append(figures)
            tell(f"  {figures.frames_per_s:.1f} frames/s, {figures.cpu_ms:.2f} ms of CPU time a frame")
    return Report(
        config=path,
        date=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        version=__version__,
        processor=machine.processor(),
        load=load_before,
        cores=cores,
        seconds=seconds,
        bare=single,
        bare_all=at_once,
        bound=bound,
        bound_all=cores / at_once.total_ms * 1e3,
        runs=runs,
        recommended=recommend(runs),
    )


def measure_bare(path: str, settings: Sequence[str], seconds: float, at_once: int) -> Bare:
    """The bare cost, measured by so many processes at once; their mean."""
    pairs = [part for setting in settings for part in ("--set", setting)]
    with make_scratch() as folder, contextlib.ExitStack() as stack:
        files = [Path(folder) / f"bare-{number}.json" for number in range(at_once)]
        processes = [
            stack.enter_context(
                Started(["bench", path, "--seconds", str(seconds), "--bare", str(file), *pairs], with_us=True)
            )
            for file in files
        ]
        for process in processes:
            process.wait()
        found = [msgspec.json.decode(file.read_bytes(), type=Bare) for file in files]
    mean = {step: sum(each.cost_ms.get(step, 0.0) for each in found) / at_once for step in found[0].cost_ms}
    return msgspec.structs.replace(found[0], cost_ms=mean, frames=sum(each.frames for each in found))


def stage_costs(config: Config, cost: Bare) -> list[float]:
    """What a frame costs in each stage of the chain: the first one decodes image files."""
    costs = [cost.cost_ms.get(stage.name, 0.0) for stage in config.stages]
    costs[0] += cost.cost_ms.get("decode", 0.0) if "read" in cost.cost_ms else 0.0
    return costs


def count_settings(config: Config, tried: Counts | None) -> list[str]:
    """The settings that give each stage its count; None: auto."""
    settings, seen = [], Counter[str]()
    for stage in config.stages:
        several = isinstance(getattr(config, stage.role), list)
        key = f"{stage.role}.{seen[stage.role]}.count" if several else f"{stage.role}.count"
        seen[stage.role] += 1
        settings.append(f"{key}={'auto' if tried is None else tried[stage.number]}")
    return settings


def label_of(tried: Counts | None) -> str:
    """`2x1`, `auto`."""
    return "auto" if tried is None else "x".join(map(str, tried))


def recommend(runs: Sequence[Figures]) -> dict[str, int] | None:
    """The counts to take; None: `auto`."""
    reached = {None if run.auto else tuple(run.counts.values()): run.frames_per_s for run in runs}
    chosen = counts.choose_best(reached)
    return None if chosen is None else next(r.counts for r in runs if not r.auto and tuple(r.counts.values()) == chosen)
