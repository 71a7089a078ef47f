"""Worker processes: owns starting, reaping and killing them, and the pipes that carry their log lines.

A worker is started by command, never forked: the broker has threads (ZeroMQ's) and a forked copy of a threaded
process is broken. It runs in a process group of its own, so that Ctrl-C in the terminal reaches `zpipe up` alone,
which then drains; and it asks the kernel to die with its parent, so a SIGKILLed `zpipe up` leaves nobody behind.

A model may start processes. They are in the worker's group, which is killed with it. One that has left the group
becomes our child when its parent is gone (we are a subreaper), and is killed at the end.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from zpipe.engines.machine import children_of
from zpipe.errors import ModelError

TAIL_LINES = 20
"""Last log lines of a worker that are kept for the report of its death."""

TURN_BYTES = 4096
"""Most that is read of a worker's log in one turn: who floods it waits for its pipe, and the broker has other work."""

LAST_BYTES, LAST_LINES = 1 << 16, 500
"""Most that is read of a dead one's: its pipe holds no more, unless somebody else goes on writing to it."""

STRANGERS_S = 2.0
"""How long processes that models have left behind may take to die of SIGKILL."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""numpy's algebra is not used by workers; its pool of one thread per core and process would only cost memory."""

ZPIPE = (sys.executable, str(Path(__file__).resolve().parent.parent))
"""The command that runs this very package (`__main__.py`), whatever the current folder has."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


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
        """None while it lives; reaps it otherwise, and kills its group. Negative: the signal that ended it."""
        if self._popen.returncode is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            # Before it is reaped: until then its number, which is the group's, is given to nobody else.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        return self._popen.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; harmless if it is dead."""
        if self.exit_code() is None:
            os.kill(self.pid, number)

    def read_log(self) -> list[str]:
        """The next whole lines that it has written, TURN_BYTES of them at most."""
        try:
            data = os.read(self.log_file, TURN_BYTES)
        except BlockingIOError:
            return []
        return self._lines(data)

    def last_log(self) -> list[str]:
        """What a dead process has left in its log, the last LAST_LINES of it; a last line without an end too."""
        left, found = LAST_BYTES, b""
        # It ends with EOF, or with "would block" if a child of the dead process still holds the pipe.
        with contextlib.suppress(BlockingIOError):
            while left > 0 and (data := os.read(self.log_file, left)):
                found += data
                left -= len(data)
        texts = self._lines(found + b"\n")
        left_out = len(texts) - LAST_LINES
        return [f"({left_out} lines left out)", *texts[-LAST_LINES:]] if left_out > 0 else texts

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
        self._others = frozenset(children_of(os.getpid()))
        _become_subreaper(True)

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
        self._reap_strangers()
        return dead

    def _reap_strangers(self) -> None:
        """Take the ends of processes that dead workers have left to us."""
        while ended := _ended_child():
            if ended in self._alive or ended in self._others:
                return  # a worker, which is reaped in its turn; or not of this run
            os.waitpid(ended, 0)

    def _kill_strangers(self) -> None:
        """Kill what dead workers have left to us, and what becomes ours as that dies."""
        deadline = time.monotonic() + STRANGERS_S
        while strangers := set(children_of(os.getpid())) - self._others:
            for pid in strangers:
                os.kill(pid, signal.SIGKILL)
            self._reap_strangers()
            if time.monotonic() > deadline:
                return
            time.sleep(0.001)

    def close(self) -> None:
        """Kill what still lives, reap it, and what was left to us; closing twice is harmless."""
        if self._epoll.closed:
            return
        for process in self._alive.values():
            process.signal(signal.SIGKILL)
        for process in self._alive.values():
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            process.exit_code()
            self._forget_log(process)
            process.close()
        self._alive.clear()
        self._kill_strangers()
        _become_subreaper(False)
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
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)


def _become_subreaper(yes: bool) -> None:
    """Whose parent dies among our descendants becomes our child."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(yes))


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _ended_child() -> int | None:
    """A child that has ended and was not reaped."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return ended.si_pid if ended else None


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
