"""Worker processes: owns starting, reaping and killing them, and the pipes that carry their log lines.

A worker is started by command, never forked: the broker has threads (ZeroMQ's) and a forked copy of a threaded
process is broken. It runs in a process group of its own, so that Ctrl-C in the terminal reaches `zpipe up` alone,
which then drains; and it asks the kernel to die with its parent, so a SIGKILLed `zpipe up` leaves nobody behind.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from zpipe.errors import ModelError

TAIL_LINES = 20
"""Last log lines of a worker that are kept for the report of its death."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""numpy's algebra is not used by workers; its pool of one thread per core and process would only cost memory."""

ZPIPE = (sys.executable, str(Path(__file__).resolve().parent.parent))
"""The command that runs this very package (`__main__.py`), whatever the current folder has."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Process:
    """A started process. `tail` holds its last log lines."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._rest = b""
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A group in our session rather than a session: when we die, the kernel sends SIGHUP to members of such
            # groups that are stopped. So one that was stopped before it came to `die_with_parent` ends too.
            process_group=0,
            env={**ONE_THREAD, **os.environ},
        )
        assert self._popen.stdout is not None
        self.pid = self._popen.pid
        self.log_file = self._popen.stdout.fileno()
        os.set_blocking(self.log_file, False)

    def exit_code(self) -> int | None:
        """None while it lives; reaps it otherwise. Negative: the signal that ended it."""
        return self._popen.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; harmless if it is dead."""
        self._popen.send_signal(number)

    def read_log(self) -> list[str]:
        """The whole lines that it has written since the last call."""
        try:
            data = os.read(self.log_file, 1 << 16)
        except BlockingIOError:
            return []
        return self._lines(data)

    def last_log(self) -> list[str]:
        """All that a dead process has left in its log, a last line without an end too."""
        texts = []
        # It ends with EOF, or with "would block" if a child of the dead process still holds the pipe.
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.log_file, 1 << 16):
                texts += self._lines(data)
        return texts + self._lines(b"\n")

    def _lines(self, data: bytes) -> list[str]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > 1 << 16:  # a model that prints without line ends must not fill our memory
            lines, self._rest = [*lines, self._rest], b""
        texts = [line.decode(errors="replace").rstrip() for line in lines]
        texts = [text for text in texts if text]
        self.tail.extend(texts)
        return texts

    def close(self) -> None:
        """Close its log pipe; only after it was reaped."""
        assert self._popen.stdout is not None
        self._popen.stdout.close()


class Processes:
    """All worker processes of a run."""

    def __init__(self) -> None:
        self._alive: dict[int, Process] = {}
        self._logs: dict[int, Process] = {}
        self._epoll = select.epoll()

    @property
    def log_events(self) -> int:
        """A file descriptor that is readable when a process has written to its log."""
        return self._epoll.fileno()

    def start(self, name: str, order: str) -> Process:
        """Start a worker with this order."""
        process = Process(name, [*ZPIPE, "worker", order])
        self._alive[process.pid] = process
        self._logs[process.log_file] = process
        self._epoll.register(process.log_file, select.EPOLLIN)
        return process

    def read_logs(self) -> Iterator[tuple[Process, str]]:
        """New log lines of all processes."""
        for file, events in self._epoll.poll(0):
            process = self._logs[file]
            for line in process.read_log():
                yield process, line
            if not events & select.EPOLLIN:  # the write end is closed: nothing more will come
                self._forget_log(process)

    def reap(self) -> list[tuple[Process, int, list[str]]]:
        """The processes that have ended since the last call, with their exit codes and last log lines."""
        ended = [(p, code) for p in self._alive.values() if (code := p.exit_code()) is not None]
        dead = [(process, exit_code, process.last_log()) for process, exit_code in ended]
        for process, _, _ in dead:
            self._forget_log(process)
            process.close()
            del self._alive[process.pid]
        return dead

    def close(self) -> None:
        """Kill what still lives, reap it; closing twice is harmless."""
        for process in self._alive.values():
            process.signal(signal.SIGKILL)
        for process in self._alive.values():
            process._popen.wait()
            self._forget_log(process)
            process.close()
        self._alive.clear()
        self._epoll.close()

    def _forget_log(self, process: Process) -> None:
        if self._logs.pop(process.log_file, None) is not None:
            self._epoll.unregister(process.log_file)


def allow_all_files() -> int:
    """Let this process and those that it starts have as many files open as the machine allows; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def die_with_parent(parent: int) -> None:
    """Called first in a worker: have the kernel kill it when `parent` dies, busy or stopped though it may be."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)


EXIT_CODES = range(5)
"""What zpipe itself ends with (cli.py)."""


def run_apart(arguments: list[str]) -> None:
    """Run a zpipe command in a process of its own; ends ours as that ends, with ModelError if something else than
    zpipe ended it: a signal, the dynamic linker (127), a library that exits."""
    exit_code = subprocess.run([*ZPIPE, *arguments], check=False).returncode
    if exit_code not in EXIT_CODES:
        raise ModelError(f"it has ended its process: {ending(exit_code)}")
    if exit_code:
        sys.exit(exit_code)


def ending(exit_code: int) -> str:
    """How a process ended, in words: `signal SIGSEGV (crash in native code)`, `exit code 3`."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = str(-exit_code)
    causes = {
        "SIGKILL": " (killed from outside; out of memory?)",
        "SIGSEGV": " (crash in native code)",
        "SIGABRT": " (native code gave up)",
        "SIGBUS": " (shared memory gone?)",
        "SIGILL": " (native code built for another processor?)",
    }
    return f"signal {name}{causes.get(name, '')}"
