"""One run of the pipeline, as `zpipe up` runs it, measured from outside while it is steady: all workers are there."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from zpipe.bench.scratch import make_scratch
from zpipe.client.run import Started
from zpipe.engines.machine import cpu_seconds_of_family
from zpipe.errors import NotRunning, RunFailed
from zpipe.results.file import whole_lines
from zpipe.snapshot import Snapshot
from zpipe.transport.control import ask_status

START_S = 300.0
"""How long a run may take until its workers are there; compiling large models takes minutes."""

LOOK_S = 0.25
STEADY_S = 1.0
"""A run is measured this long after its last worker came: the first frames of a worker are slower."""

AUTO_STEADY_S = 5.0
"""The same with `count: auto`, which looks every two seconds and acts when two looks agree."""

TAIL = 4
"""Looks that do not count when the sources end meanwhile: the last second, in which workers run out of frames."""

LEAST_FRAMES = 10
"""Fewer frames say little: for so many a run is watched longer, up to MOST_TIMES the time given."""

MOST_TIMES = 4


class Latency(msgspec.Struct):
    """Milliseconds from read to logged, of the frames published in the time measured."""

    p50: float
    p95: float
    p99: float


class Figures(msgspec.Struct):
    """What a run reached. `counts`: workers by stage at the end; `cpu_ms`: of all its processes, per frame."""

    counts: dict[str, int]
    auto: bool
    frames_per_s: float
    cpu_ms: float
    latency_ms: Latency
    processes_mb: float
    frames_mb: float
    frames: int
    failed: int
    seconds: float


class Moment(msgspec.Struct, frozen=True):
    """What a run had used and published at a moment."""

    at_s: float
    cpu_s: float
    published: int


class LineHead(msgspec.Struct):
    """What is read of a line of the results file."""

    type: str
    status: str = ""
    timing_ms: dict[str, float] = {}


class Tail:
    """The results file of a run, read while it grows."""

    def __init__(self, path: Path) -> None:
        self.total_ms: list[float] = []
        self.failed: list[bool] = []
        self.ended = False
        self._path = path
        self._at = 0
        self._decoder = msgspec.json.Decoder(LineHead)

    def read(self) -> None:
        """Take the lines that have come."""
        if not self._path.exists():
            return
        with open(self._path, "rb") as file:
            for at, line in whole_lines(file.fileno(), self._at):
                self._at = at + len(line) + 1
                head = self._decoder.decode(line)
                if head.type == "eos":
                    self.ended = True
                else:
                    self.total_ms.append(head.timing_ms.get("total", 0.0))
                    self.failed.append(head.status == "failed")


def measure(
    config: str, settings: Sequence[str], sources: list[dict[str, object]], auto: bool, seconds: float
) -> Figures | None:
    """Run the config with `settings` (as of --set) over `sources`; `auto`: its counts settle while it runs. None if
    not one frame came in the time."""
    with make_scratch() as folder:
        results, name = Path(folder) / "results.jsonl", f"bench-{os.getpid()}"
        ours = [
            f"name={name}",
            f"ingest={json.dumps(sources)}",
            f"sink.results={results}",
            "sink.publish=tcp://127.0.0.1:*",
            "sink.wait_subscribers=0",
            "sink.linger_s=0",
        ]
        pairs = [part for setting in (*settings, *ours) for part in ("--set", setting)]
        with Started(["up", config, "--quiet", "--overwrite", *pairs], with_us=True) as run:
            return Watch(run, name, results).measure_figures(auto, seconds)


class Watch:
    """A run that is being measured."""

    def __init__(self, run: Started, name: str, results: Path) -> None:
        self._run = run
        self._name = name
        self._results = Tail(results)

    def measure_figures(self, auto: bool, seconds: float) -> Figures | None:
        """Wait until it is steady, then watch it for so long, or until its sources end.

        Sources that end before it is steady are measured from when its workers were there.
        """
        status, moments = self._await_steady(AUTO_STEADY_S if auto else STEADY_S)
        if self._flows:
            moments = moments[-1:]
        while self._flows and is_too_short(moments, seconds):
            time.sleep(LOOK_S)
            moments.append(self._moment())
        self._run.check()
        if self._flows:
            status = self._status() or status
        elif len(moments) > TAIL + 1:
            moments = moments[:-TAIL]
        if status is None or not moments or moments[-1].published == moments[0].published:
            return None
        return self._make_figures(moments[0], moments[-1], status, auto)

    @property
    def _flows(self) -> bool:
        return self._run.lives and not self._results.ended

    def _make_figures(self, begin: Moment, end: Moment, status: Snapshot, auto: bool) -> Figures:
        totals = sorted(self._results.total_ms[begin.published : end.published])
        frames, took_s = len(totals), end.at_s - begin.at_s
        return Figures(
            counts={stage.stage: stage.wanted for stage in status.stages if stage.has_models},
            auto=auto,
            frames_per_s=frames / took_s,
            cpu_ms=(end.cpu_s - begin.cpu_s) / frames * 1e3,
            latency_ms=Latency(*(totals[int(frames * part)] for part in (0.5, 0.95, 0.99))),
            processes_mb=status.memory.processes_bytes / 1e6,
            frames_mb=status.memory.frames_bytes / 1e6,
            frames=frames,
            failed=sum(self._results.failed[begin.published : end.published]),
            seconds=took_s,
        )

    def _await_steady(self, steady_s: float) -> tuple[Snapshot | None, list[Moment]]:
        """Until all workers wanted have been there for so long, or the sources end: its status, and the moments since
        they are all there."""
        deadline, found, before, moments = time.monotonic() + START_S, None, None, list[Moment]()
        while time.monotonic() < deadline:
            self._run.check()
            if not self._flows:
                return found, moments
            status = self._status()
            now = workers_of(status) if status is not None else None
            if now is None or now != before:
                before, moments = now, []
            if now is not None:
                found = status
                moments.append(self._moment())
                if moments[-1].at_s - moments[0].at_s >= steady_s:
                    return found, moments
            time.sleep(LOOK_S)
        raise RunFailed(f"its workers were not there after {START_S:g} s")

    def _status(self) -> Snapshot | None:
        """What `zpipe status` says; None if it is not there yet, or not any more."""
        try:
            return ask_status(self._name)
        except NotRunning:
            return None

    def _moment(self) -> Moment:
        self._results.read()
        return Moment(time.monotonic(), cpu_seconds_of_family(self._run.pid), len(self._results.total_ms))


def is_too_short(moments: list[Moment], seconds: float) -> bool:
    """Whether a run must be watched on: for the time given, and longer while few frames have come."""
    took_s, frames = moments[-1].at_s - moments[0].at_s, moments[-1].published - moments[0].published
    return took_s < seconds or (frames < LEAST_FRAMES and took_s < seconds * MOST_TIMES)


def workers_of(status: Snapshot) -> dict[str, int] | None:
    """Workers by stage, if it runs and all that are wanted are at work."""
    if status.state != "running":
        return None
    for stage in status.stages:
        working = [worker.state for worker in stage.workers if worker.state != "starting"]
        if len(working) != stage.wanted:
            return None
    return {stage.stage: stage.wanted for stage in status.stages}
