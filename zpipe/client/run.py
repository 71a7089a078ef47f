"""A `zpipe` command as a child process, and a run started from Python: `zpipe up`, its events, its results."""

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from zpipe.client.recorded import read_recorded
from zpipe.client.subscription import Subscription
from zpipe.engines.local import ZPIPE, die_with_parent, ending
from zpipe.errors import NotRunning, ResultsError, RunFailed
from zpipe.messages import Eos, Result

END_S = 10.0
"""How long a command may take to end that was asked to end at once, before it is killed."""


class Started:
    """A `zpipe` command as a process of its own. A context manager: on leaving it is ended, whatever it does.

    What it says is kept for its error. `with_us`: it dies with us, in a session of its own, so that Ctrl-C is ours
    alone; not for programs with threads. `events`: its output is for us to read (`events`), else it counts as said.
    """

    def __init__(self, arguments: list[str], *, with_us: bool = False, events: bool = False) -> None:
        parent = os.getpid()
        self._name = arguments[0]
        self._error: RunFailed | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed when it has ended
        self._popen = subprocess.Popen(
            [*ZPIPE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if events else self._said,
            stderr=self._said,
            start_new_session=with_us,
            preexec_fn=(lambda: die_with_parent(parent)) if with_us else None,
        )
        self.pid = self._popen.pid
        self.events = self._popen.stdout

    @property
    def lives(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def stop(self) -> None:
        """Ask it to end: `up` drains."""
        self._popen.terminate()

    def stop_at_once(self) -> None:
        """Ask it to end now."""
        for _ in range(2):
            if self.lives:
                self.stop()
                time.sleep(0.05)  # two signals at the same moment are one

    def wait(self) -> None:
        """Wait for its end; RunFailed with what it said if it failed."""
        self._popen.wait()
        self.check()

    def check(self) -> None:
        """RunFailed if it has failed; the same each time."""
        exit_code = self._popen.poll()
        if exit_code is not None and not self._said.closed:
            with self._said:
                self._error = self._error_of(exit_code)
        if self._error is not None:
            raise self._error.with_traceback(None)

    def end(self) -> None:
        """End it: ask, then force. Afterwards `check` says how it ended."""
        self.stop_at_once()
        try:
            self._popen.wait(END_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        with contextlib.suppress(RunFailed):
            self.check()

    def _error_of(self, exit_code: int) -> RunFailed | None:
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().removeprefix("zpipe: ")
        if exit_code < 0:  # it had no time to say why
            said = f"{said}\nzpipe {self._name} has ended: {ending(exit_code)}".strip()
        said = said or f"zpipe {self._name} has ended: {ending(exit_code)}"
        return RunFailed(said, max(1, exit_code)) if exit_code else None

    def __enter__(self) -> "Started":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class Run:
    """A pipeline that was started by `up`. `started` says where it publishes, `ended` how it ended.

    A context manager: leaving the block waits for the end; after a loop over results that was broken off it drains
    the run first, and if the block failed it stops it at once.
    """

    def __init__(self, arguments: list[str]) -> None:
        self._process = Started(arguments, events=True)
        self._is_broken_off = False
        self.started: dict[str, Any] = {}
        self.ended: dict[str, Any] = {}
        self._bound = threading.Event()
        # Read at once: a pipe that nobody reads would stop the pipeline when it is full.
        self._reader = threading.Thread(target=self._read_events, daemon=True)
        self._reader.start()
        self._bound.wait()
        if not self.started:
            self.wait()

    @property
    def endpoint(self) -> str:
        """Where results are published."""
        return str(self.started["publish"])

    @property
    def pid(self) -> int:
        """The process of `zpipe up`."""
        return self._process.pid

    def results(self, stream: str | None = None) -> Iterator[Result]:
        """All results from the first on, of one stream or of all: as they are published, and once the run has ended
        from its results file. So a second loop gives the same again.

        RunFailed, as from `wait`, after the last result of a run that failed before the end of its streams.
        """
        try:
            yield from self._read_results(stream)
        except GeneratorExit:
            self._is_broken_off = True
            raise

    def stop(self) -> None:
        """Finish what is in flight, then end."""
        self._process.stop()

    def wait(self) -> dict[str, Any]:
        """Wait for the end; the ledger. RunFailed with what was said if the run failed."""
        try:
            self._process.wait()
        finally:
            self._reader.join()
        return self.ended

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the end; if the block failed, stop at once."""
        if kind is not None:
            self._process.end()
            self._reader.join()
            return
        if self._is_broken_off:
            self.stop()
        self.wait()

    def _read_results(self, stream: str | None) -> Iterator[Result]:
        seen: dict[str, int] = {}
        if self._process.lives:
            with Subscription(
                self.endpoint, stream, first=1, is_there=lambda: self._process.lives, key=self.started["keys"]
            ) as results:
                try:
                    for result in results:
                        assert isinstance(result, Result)
                        seen[result.stream] = result.seq
                        yield result
                    return
                except NotRunning:  # it has ended, and we have not heard all
                    pass
        ended = set()
        for _, message in read_recorded(self._results, stream):
            if message.run != self.started["run"]:
                break
            if isinstance(message, Eos):
                ended.add(message.stream)
            elif message.seq > seen.get(message.stream, 0):
                yield message
        self._check_all_read(ended, stream)

    def _check_all_read(self, ended: set[str], stream: str | None) -> None:
        """RunFailed or ResultsError if the results file has not the ends of all streams that were wanted."""
        self._reader.join()
        streams = {each["stream"] for each in self.ended.get("streams", [])}
        missing = (streams if stream is None else {stream}) - ended
        if missing or not streams:
            self.wait()
            raise ResultsError(f"{self._results} does not hold all of this run (any more)")

    def _read_events(self) -> None:
        assert self._process.events is not None
        with self._process.events as events:
            for line in events:
                with contextlib.suppress(msgspec.DecodeError):  # half a line: it was killed
                    self._take_event(msgspec.json.decode(line))
        self._bound.set()

    def _take_event(self, event: dict[str, Any]) -> None:
        if event.get("event") == "started":
            self.started = event
            self._results = Path(event["results"]).absolute()  # wherever this program goes
            self._bound.set()
        elif event.get("event") == "ended":
            self.ended = event


def up(
    config: str | Path,
    *,
    set: dict[str, object] | None = None,  # noqa: A002
    resume: bool | Literal["anyway"] = False,
    overwrite: bool = False,
) -> Run:
    """Start a pipeline; returns when its workers are starting and its endpoints are bound. A context manager.

    `set` changes keys of the config, as `--set` does: `{"detect.confidence": 0.5}`.
    """
    arguments = ["up", str(config), "--json"]
    for key, value in (set or {}).items():
        arguments += ["--set", f"{key}={msgspec.json.encode(value).decode()}"]
    arguments += [f"--resume={resume}" if resume == "anyway" else "--resume"] * bool(resume) + [
        "--overwrite"
    ] * overwrite
    return Run(arguments)
