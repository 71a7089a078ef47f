"""A run started from Python: `zpipe up` as a child process, its events, its results."""

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from zpipe.client.subscription import subscribe
from zpipe.engines.local import ZPIPE
from zpipe.errors import RunFailed
from zpipe.messages import Result


class Run:
    """A pipeline that was started by `up`. `started` says where it publishes, `ended` how it ended."""

    def __init__(self, command: list[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed by wait
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._said, stdin=subprocess.DEVNULL)
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
        """All results from the first on, as they are published."""
        return subscribe(self.endpoint, stream, from_start=True)

    def stop(self) -> None:
        """Finish what is in flight, then end."""
        self._process.terminate()

    def wait(self) -> dict[str, Any]:
        """Wait for the end; the ledger. RunFailed with what was said if the run failed."""
        exit_code = self._process.wait()
        self._reader.join()
        if self._said.closed:
            return self.ended
        self._said.seek(0)
        said = self._said.read().decode(errors="replace")
        self._said.close()
        if exit_code:
            raise RunFailed(said.strip() or f"zpipe up ended with exit code {exit_code}", exit_code)
        return self.ended

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the end; if the block failed, stop at once."""
        if kind is None:
            self.wait()
            return
        for _ in range(2):
            self._process.terminate()
            time.sleep(0.05)  # two signals at the same moment are one
        with contextlib.suppress(RunFailed):
            self.wait()

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                event = msgspec.json.decode(line)
                if event.get("event") == "started":
                    self.started = event
                    self._bound.set()
                elif event.get("event") == "ended":
                    self.ended = event
        self._bound.set()


def up(
    config: str | Path,
    *,
    set: dict[str, object] | None = None,  # noqa: A002
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Start a pipeline; returns when its workers are starting and its endpoints are bound. A context manager.

    `set` changes keys of the config, as `--set` does: `{"detect.confidence": 0.5}`.
    """
    command = [*ZPIPE, "up", str(config), "--json"]
    for key, value in (set or {}).items():
        command += ["--set", f"{key}={msgspec.json.encode(value).decode()}"]
    command += ["--resume"] * resume + ["--overwrite"] * overwrite
    return Run(command)
