"""The processes that are measured: started so that they end with us, and their CPU time, read from /proc."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from zpipe.engines.local import ZPIPE, die_with_parent
from zpipe.errors import RunFailed

END_S = 10.0
SCRATCH = "zpipe-bench-"
"""What our folders in /tmp are called, then the process that they are of."""

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Started:
    """A `zpipe` command as a process of its own. A context manager: on leaving it is ended, whatever it does."""

    def __init__(self, arguments: list[str]) -> None:
        parent = os.getpid()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed on leaving
        self._popen = subprocess.Popen(
            [*ZPIPE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours alone; we end it then
            preexec_fn=lambda: die_with_parent(parent),
        )

    @property
    def lives(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def wait(self) -> None:
        """Wait for its end; RunFailed with what it said if it failed."""
        self._popen.wait()
        self.check()

    def check(self) -> None:
        """RunFailed if it has failed."""
        exit_code = self._popen.poll()
        if exit_code:
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip().removeprefix("zpipe: ")
            raise RunFailed(said or f"it ended with exit code {exit_code}", max(1, exit_code))

    def cpu_s(self) -> float:
        """CPU time of it, its children, and those of them that have ended."""
        return cpu_of_family(self._popen.pid)

    def __enter__(self) -> "Started":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it: ask twice (drain, then stop at once), then force."""
        for _ in range(2):
            if self.lives:
                self._popen.send_signal(signal.SIGTERM)
                time.sleep(0.05)  # two signals at the same moment are one
        try:
            self._popen.wait(END_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._said.close()


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder of our own for as long as it is needed; clears those of benches that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        owner = left.name.removeprefix(SCRATCH).partition("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-")


def cpu_of_family(pid: int) -> float:
    """CPU seconds of a process, of its living children, and of its children that have ended and were reaped."""
    own = _stat(pid)
    if own is None:
        return 0.0
    _, used, of_dead = own
    children = (_stat(int(entry)) for entry in os.listdir("/proc") if entry.isdecimal())
    return (used + of_dead + sum(stat[1] for stat in children if stat is not None and stat[0] == pid)) / TICKS_PER_S


def _stat(pid: int) -> tuple[int, int, int] | None:
    """Parent, clock ticks used, clock ticks used by reaped children: proc(5); None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def about_machine() -> dict[str, Any]:
    """The processor's name, and the load of the last minute."""
    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {"processor": model or os.uname().machine, "load": round(os.getloadavg()[0], 2)}
