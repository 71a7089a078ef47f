"""What `zpipe up` shows: a live table in a terminal, plain lines elsewhere, JSON lines for programs, or nothing.

Results never appear here; they are on the topic and in the results file.
"""

import logging
import sys
import time
from typing import Any

import msgspec

from zpipe.run.broker import Broker
from zpipe.run.status import status_of

LINE_S = 5.0


class Display:
    """Nothing shown but errors (`--quiet`); what the others have in common."""

    every_s = float("inf")

    def __init__(self) -> None:
        self._next = 0.0
        self._started = False

    def __call__(self, broker: Broker) -> None:
        """The broker's report: shows the start once, then progress every `every_s` seconds."""
        if not self._started and broker.publish:
            self._started = True
            self.started(broker)
        now = time.monotonic()
        if self._started and now >= self._next:
            self._next = now + self.every_s
            self.progress(status_of(broker))

    def started(self, broker: Broker) -> None:
        """The endpoints are bound."""

    def progress(self, status: dict[str, Any]) -> None:
        """Some time has passed."""

    def ended(self, ledger: dict[str, Any]) -> None:
        """The run is over."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Lines(Display):
    """Plain lines on stderr, for logs and pipes."""

    every_s = LINE_S

    def started(self, broker: Broker) -> None:
        """Where to subscribe, and what is waited for."""
        say(f"publishing on {broker.publish} (run {broker.run_id}); results in {broker.config.sink.results}")
        if broker.config.sink.wait_subscribers:
            say(f"waiting for {broker.config.sink.wait_subscribers} subscriber(s)")

    def progress(self, status: dict[str, Any]) -> None:
        """One line: state, published of total, rate, workers."""
        if status["state"] == "running":
            say(one_line(status))

    def ended(self, ledger: dict[str, Any]) -> None:
        """The ledger."""
        say(ledger_text(ledger))


class JsonLines(Display):
    """One JSON object per event on stdout: started, progress, ended."""

    every_s = 1.0

    def started(self, broker: Broker) -> None:
        """Where to subscribe."""
        status = status_of(broker)
        self._emit("started", {key: status[key] for key in ("name", "run", "pid", "publish", "history", "results")})

    def progress(self, status: dict[str, Any]) -> None:
        """The whole status."""
        self._emit("progress", status)

    def ended(self, ledger: dict[str, Any]) -> None:
        """The ledger."""
        self._emit("ended", ledger)

    def _emit(self, event: str, data: dict[str, Any]) -> None:
        sys.stdout.write(msgspec.json.encode({"event": event, **data}).decode() + "\n")
        sys.stdout.flush()


def choose(quiet: bool, json: bool) -> Display:
    """The display that fits where the output goes; sets up logging with it."""
    if quiet or json or not sys.stderr.isatty():
        level = logging.WARNING if quiet or json else logging.INFO
        logging.basicConfig(format="zpipe: %(message)s", level=level, stream=sys.stderr)
        return Display() if quiet else JsonLines() if json else Lines()
    from zpipe.show.terminal import Terminal  # a tenth of the time that a start takes, and only people need it

    return Terminal()


def say(text: str) -> None:
    """A line for the person at the terminal or the log."""
    print(f"zpipe: {text}", file=sys.stderr, flush=True)


def one_line(status: dict[str, Any]) -> str:
    """`1200/5000 frames, 35.1/s, ETA 1:48; detect 2 workers 71 %; classify 1 worker 99 %`."""
    published, total = status["published"], total_of(status)
    of = f"/{total}" if total is not None else ""
    stages = "; ".join(
        f"{stage['stage']} {len(stage['workers'])}x {stage['busy']:.0%}"
        for stage in status["stages"]
        if stage["role"] in ("detect", "classify")
    )
    return f"{published}{of} frames, {status['frames_per_s']:.1f}/s{eta(status)}; {stages}"


def eta(status: dict[str, Any]) -> str:
    """`, ETA 1:48` where the total is known and frames flow."""
    total, rate = total_of(status), status["frames_per_s"]
    if total is None or rate <= 0:
        return ""
    left_s = int((total - status["published"]) / rate)
    return f", ETA {left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02}"


def total_of(status: dict[str, Any]) -> int | None:
    """Frames of all streams together, where all are known."""
    totals = [stream["total"] for stream in status["streams"]]
    return None if None in totals else sum(totals)


def ledger_of(broker: Broker) -> dict[str, Any]:
    """The account at the end, by stream, and whether it balances: read = ok + failed + dropped."""
    streams = [
        {key: stream[key] for key in ("stream", "read", "ok", "failed", "dropped", "skipped")}
        for stream in status_of(broker)["streams"]
    ]
    return {
        "name": broker.config.name,
        "run": broker.run_id,
        "results": broker.config.sink.results,
        "elapsed_s": round(time.monotonic() - broker.began, 3),
        "streams": streams,
        "drained": any(stream.drained for stream in broker.ledger.streams),
        "balanced": all(stream.balanced for stream in broker.ledger.streams),
    }


def ledger_text(ledger: dict[str, Any]) -> str:
    """The account in words, one line per stream."""
    lines = []
    for stream in ledger["streams"]:
        skipped = f", skipped {stream['skipped']} that are no images or do not match" if stream["skipped"] else ""
        lines.append(
            f"ledger: {stream['stream']}: read {stream['read']} = ok {stream['ok']} + failed {stream['failed']} "
            f"+ dropped {stream['dropped']}{skipped}"
        )
        if not stream["read"]:
            lines[-1] += " (there was nothing to read)"
    balance = "balanced" if ledger["balanced"] else "OPEN: not every frame has its result"
    ending = " (drained before the end of its sources; continue with --resume)" if ledger["drained"] else ""
    lines.append(f"ledger {balance} after {ledger['elapsed_s']:.1f} s{ending}; results in {ledger['results']}")
    return "\nzpipe: ".join(lines)
