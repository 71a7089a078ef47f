"""What `zpipe up` shows: a live table in a terminal, plain lines elsewhere, JSON lines for programs, or nothing.

Results never appear here; they are on the topic and in the results file.
"""

import time
from collections.abc import Callable

import msgspec

from zpipe.show.outlet import Outlet
from zpipe.show.text import plain_lines
from zpipe.snapshot import Account, Snapshot

LINE_S = 5.0


class Display:
    """Nothing shown but errors (`--quiet`); what the others have in common."""

    every_s = float("inf")

    def __init__(self, errors: Outlet) -> None:
        self._errors = errors
        self._next = 0.0
        self._started = False

    def __call__(self, take: Callable[[], Snapshot]) -> None:
        """A run reports; `take` takes a snapshot of it. Shows the start once, then progress every `every_s` seconds."""
        if not self._started:
            snapshot = take()
            self._started = bool(snapshot.publish)
            if self._started:
                self.started(snapshot)
        now = time.monotonic()
        if self._started and now >= self._next:
            self._next = now + self.every_s
            self.progress(take())
        self.flush()

    def say(self, text: str) -> None:
        """A line for the person at the terminal or the log."""
        self._errors.put(f"zpipe: {plain_lines(text)}\n")

    def flush(self) -> None:
        """Write what could not be written before."""
        self._errors.flush()

    def started(self, snapshot: Snapshot) -> None:
        """The endpoints are bound."""

    def progress(self, snapshot: Snapshot) -> None:
        """Some time has passed."""

    def ended(self, account: Account) -> None:
        """The run is over. (Not called of a run that never began.)"""

    def close(self) -> None:
        """Nothing more will be shown."""
        self._errors.close()


class Lines(Display):
    """Plain lines on stderr, for logs and pipes."""

    every_s = LINE_S

    def started(self, snapshot: Snapshot) -> None:
        """Where to subscribe, and what is waited for."""
        self.say(f"publishing on {snapshot.publish} (run {snapshot.run}); results in {snapshot.results}")
        if snapshot.wait_subscribers:
            self.say(f"waiting for {snapshot.wait_subscribers} subscriber(s)")

    def progress(self, snapshot: Snapshot) -> None:
        """One line: state, published of total, rate, workers."""
        if snapshot.state == "running":
            self.say(one_line(snapshot))

    def ended(self, account: Account) -> None:
        """The ledger, and why frames failed."""
        self.say(ledger_text(account))
        if account.failed:
            self.say(failures_text(account))


class JsonLines(Display):
    """One JSON object per event on stdout: started, progress, failed, ended.

    Those on the way are left out for a reader who does not keep up.
    """

    every_s = 1.0

    def __init__(self, errors: Outlet, out: Outlet) -> None:
        super().__init__(errors)
        self._out = out
        self._failed = 0

    def started(self, snapshot: Snapshot) -> None:
        """Where to subscribe."""
        keys = ("name", "run", "pid", "publish", "history", "results", "kept", "keys")
        self._emit("started", {key: getattr(snapshot, key) for key in keys})

    def progress(self, snapshot: Snapshot) -> None:
        """The whole snapshot; if further frames failed, why."""
        self._emit("progress", msgspec.structs.asdict(snapshot), passing=True)
        self._emit_failed(snapshot)

    def ended(self, account: Account) -> None:
        """The ledger."""
        self._emit_failed(account)
        self._emit("ended", msgspec.structs.asdict(account))

    def flush(self) -> None:
        """Write what could not be written before."""
        super().flush()
        self._out.flush()

    def close(self) -> None:
        """Nothing more will be shown."""
        super().close()
        self._out.close()

    def _emit_failed(self, seen: Snapshot | Account) -> None:
        if seen.failed > self._failed:
            told = {"failed": seen.failed, "failures": seen.failures}
            self._failed = seen.failed if self._emit("failed", told, passing=True) else self._failed

    def _emit(self, event: str, data: dict[str, object], *, passing: bool = False) -> bool:
        return self._out.put(msgspec.json.encode({"event": event, **data}).decode() + "\n", passing=passing)


def one_line(snapshot: Snapshot) -> str:
    """`1200/5000 frames, 35.1/s, ETA 0:01:48; detect 2x 71%; classify 1x 99%`."""
    stages = "; ".join(
        f"{stage.stage} {len(stage.workers)}x {stage.busy:.0%}" for stage in snapshot.stages if stage.has_models
    )
    return f"{progress_of(snapshot)}; {stages}"


def progress_of(snapshot: Snapshot) -> str:
    """`1200/5000 frames, 2 failed, 35.1/s, ETA 0:01:48`."""
    of = f"/{snapshot.total}" if snapshot.total is not None else ""
    failed = f", {snapshot.failed} failed" if snapshot.failed else ""
    return f"{snapshot.published}{of} frames{failed}, {snapshot.frames_per_s:.1f}/s{eta(snapshot.eta_s)}"


def eta(left_s: int | None) -> str:
    """`, ETA 0:01:48` where it is known."""
    return f", ETA {left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02}" if left_s is not None else ""


def failures_text(account: Account) -> str:
    """`17 failed: 12x detect: returned rows of shape (5,); 3x ingest: not an image; 2 for other reasons`."""
    reasons = [f"{failure.count}x {failure.stage}: {failure.reason}" for failure in account.failures]
    others = account.failed - sum(failure.count for failure in account.failures)
    if others > 0:
        reasons.append(f"{others} for other reasons" if reasons else "why is in the results")
    return f"{account.failed} failed: {'; '.join(reasons)}"


def ledger_text(account: Account) -> str:
    """The account in words, one line per stream."""
    lines = []
    for stream in account.streams:
        skipped = f", skipped {stream.skipped} that are no images or do not match" if stream.skipped else ""
        lines.append(
            f"ledger: {stream.stream}: read {stream.read} = ok {stream.ok} + failed {stream.failed} "
            f"+ dropped {stream.dropped}{skipped}"
        )
        if not stream.read:
            lines[-1] += " (there was nothing to read)"
    balance = "balanced" if account.balanced else "OPEN: not every frame has its result"
    ending = " (drained before the end of its sources; continue with --resume)" if account.drained else ""
    lines.append(f"ledger {balance} after {account.elapsed_s:.1f} s{ending}; results in {account.results}")
    return "\nzpipe: ".join(lines)
