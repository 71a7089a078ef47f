"""Worker processes: their logs, their ends, and that none outlives its parent."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from harness import until

from zpipe.engines import local as processes
from zpipe.engines.local import LAST_LINES, TAIL_LINES, TURN_BYTES, Process, Processes, ending


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (255, "exit code 255"),
        (-9, "signal SIGKILL (killed from outside; out of memory?)"),
        (-11, "signal SIGSEGV (crash in native code)"),
        (-6, "signal SIGABRT (native code gave up)"),
        (-7, "signal SIGBUS (shared memory gone?)"),
        (-4, "signal SIGILL (native code built for another processor?)"),
        (-15, "signal SIGTERM"),
        (-40, "signal 40"),
    ],
)
def test_an_end_in_words(exit_code: int, words: str) -> None:
    assert ending(exit_code) == words


@pytest.fixture
def all_processes(monkeypatch: pytest.MonkeyPatch):
    """Starts `python -c CODE` where a worker would be started."""
    monkeypatch.setattr(processes, "ZPIPE", (sys.executable, "-c", "import sys; sys.argv[1:2] = []; exec(sys.argv[1])"))
    made = Processes()
    yield made
    made.close()
    made.close()


def all_lines(all_processes: Processes) -> list[str]:
    """What the only process writes until its end."""
    seen: list[str] = []
    found: list[tuple[Process, int, list[str]]] = []

    def ended() -> bool:
        seen.extend(line for _, line in all_processes.read_logs())
        found.extend(all_processes.reap())
        return bool(found)

    until(ended, what="an end")
    return [*seen, *found[0][2]]


def reaped(all_processes: Processes) -> tuple[Process, int, list[str]]:
    found = []
    until(lambda: found.extend(all_processes.reap()) or found, what="an end")
    assert len(found) == 1
    return found[0]


def test_a_process_is_reaped_with_its_exit_code_and_its_last_words(all_processes: Processes) -> None:
    started = all_processes.start("detect-0", "print('loading'); print('no such model'); sys.exit(4)")
    process, exit_code, lines = reaped(all_processes)
    assert (process, process.name, exit_code, lines) == (started, "detect-0", 4, ["loading", "no such model"])
    assert list(process.tail) == lines
    assert all_processes.reap() == []


def test_a_signal_is_a_negative_exit_code(all_processes: Processes) -> None:
    process = all_processes.start("detect-0", "sys.stdin.read(); import time; time.sleep(60)")
    assert process.exit_code() is None
    process.signal(signal.SIGKILL)
    assert reaped(all_processes)[1] == -signal.SIGKILL
    process.signal(signal.SIGKILL)  # harmless


def test_last_words_without_a_line_end_are_words(all_processes: Processes) -> None:
    code = "import os; sys.stderr.write('terminate called'); sys.stderr.flush(); os.abort()"
    all_processes.start("detect-0", code)
    _, exit_code, lines = reaped(all_processes)
    assert (exit_code, lines) == (-signal.SIGABRT, ["terminate called"])


def test_all_that_the_dead_have_left_is_read(all_processes: Processes) -> None:
    """More than one read gives; the pipe holds 64 KiB, so it is read while the process writes."""
    all_processes.start("detect-0", "print('x' * 50_000); print(); print('y' * 50_000); print('the end')")
    assert all_lines(all_processes) == ["x" * 50_000, "y" * 50_000, "the end"]


def test_log_lines_arrive_as_they_are_written(all_processes: Processes) -> None:
    code = "import time; print('one'); print('two', end=' ', flush=True); print('half', flush=True); time.sleep(60)"
    all_processes.start("detect-0", code)
    seen: list[tuple[str, str]] = []
    until(lambda: seen.extend((p.name, line) for p, line in all_processes.read_logs()) or len(seen) == 2)
    assert seen == [("detect-0", "one"), ("detect-0", "two half")]


def test_logs_of_a_process_that_closed_them_are_not_asked_again(all_processes: Processes) -> None:
    all_processes.start("detect-0", "import os, time; os.write(1, b'bye'); os.close(1); os.close(2); time.sleep(60)")
    until(lambda: list(all_processes.read_logs()) or not all_processes._logs, what="the end of its log")
    assert list(all_processes.read_logs()) == []


def test_what_is_no_text_and_what_has_no_line_end_does_no_harm(all_processes: Processes) -> None:
    code = "sys.stdout.buffer.write(b'\\xff\\xfe bytes\\r\\n' + b'z' * 200_000 + b'\\n'); sys.stdout.flush()"
    all_processes.start("detect-0", code)
    seen = all_lines(all_processes)
    assert seen[0] == "\ufffd\ufffd bytes"
    assert "".join(seen[1:]) == "z" * 200_000
    assert max(map(len, seen)) <= 3 << 16, "a line without an end fills our memory"


def test_the_tail_is_the_last_lines_only(all_processes: Processes) -> None:
    all_processes.start("detect-0", "print(*range(100), sep='\\n')")
    process, _, _ = reaped(all_processes)
    assert list(process.tail) == [str(number) for number in range(100 - TAIL_LINES, 100)]


def test_a_child_of_the_dead_that_holds_the_pipe_does_not_hold_us(all_processes: Processes) -> None:
    code = "import subprocess; p = subprocess.Popen(['sleep', '60'], start_new_session=True); print(p.pid); sys.exit(3)"
    all_processes.start("detect-0", code)
    _, exit_code, lines = reaped(all_processes)
    assert exit_code == 3
    os.kill(int(lines[0]), signal.SIGKILL)


def test_what_a_worker_has_started_dies_with_it(all_processes: Processes) -> None:
    """Edge 25: processes that a model had started lived on."""
    code = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); os.abort()"
    all_processes.start("detect-0", "import os; " + code)
    _, exit_code, lines = reaped(all_processes)
    assert exit_code == -signal.SIGABRT
    until(lambda: all_processes.reap() or not psutil.pid_exists(int(lines[0])), what="the end of its child")


def test_what_has_left_a_workers_group_dies_at_the_end(all_processes: Processes) -> None:
    """Edge 25: a grandchild in a session of its own is nobody's child any more; it becomes ours."""
    middle = "subprocess.Popen(['sleep', '60'], start_new_session=True)"
    inner = f"import subprocess; p = {middle}; print(p.pid, flush=True)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], start_new_session=True)"
    all_processes.start("detect-0", code)
    *_, line = reaped(all_processes)[2]
    stranger = psutil.Process(int(line))
    assert stranger.ppid() == os.getpid()
    all_processes.close()
    assert not stranger.is_running()


def test_who_was_our_child_before_is_left_alone() -> None:
    other = subprocess.Popen(["sleep", "60"])
    made = Processes()
    made.start("detect-0", "")
    made.close()
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_flood_of_log_is_read_in_small_turns(all_processes: Processes) -> None:
    """Edge 25: 138 MB of it stalled the broker for seven seconds."""
    all_processes.start("detect-0", "while True: print('flood' * 20)")
    until(lambda: list(all_processes.read_logs()), what="its log")
    for _ in range(20):
        until(lambda: len("".join(line for _, line in all_processes.read_logs())) in range(1, 2 * TURN_BYTES))


def test_the_log_of_the_dead_has_an_end_though_others_write_on(all_processes: Processes) -> None:
    """Edge 25: a child that holds the pipe of a dead worker, and writes faster than we read."""
    child = "while True: print('.')"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)"
    all_processes.start("detect-0", code)
    _, _, lines = reaped(all_processes)
    assert len(lines) <= LAST_LINES + 1


def test_a_worker_is_in_a_process_group_of_its_own_with_one_thread_for_algebra(all_processes: Processes) -> None:
    all_processes.start("a", "import os; print(os.getpgid(0) == os.getpid(), os.environ['OMP_NUM_THREADS'])")
    assert reaped(all_processes)[2] == ["True 1"]


def test_close_kills_and_reaps_all() -> None:
    made = Processes()
    started = [Process("a", ["sleep", "60"]) for _ in range(2)]
    for process in started:
        made._alive[process.pid] = process
    made.close()
    assert [process.exit_code() for process in started] == [-signal.SIGKILL] * 2


# ---- nobody outlives its parent ------------------------------------------------------------------------------

CHILD = (
    "import os, time; from zpipe.engines.local import die_with_parent; die_with_parent({}); print('here', flush=True); "
)


def test_a_worker_dies_with_its_parent() -> None:
    child = CHILD.format("os.getppid()") + "time.sleep(60)"
    start = f"p = subprocess.Popen([sys.executable, '-c', {child!r}])"
    code = f"import subprocess, sys; {start}; print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
    pid = int((lines - {"here"}).pop())
    parent.kill()
    parent.communicate()

    def gone() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    until(gone, timeout_s=2, what="the child's death")


def test_a_worker_whose_parent_was_faster_dies_at_once() -> None:
    ended = subprocess.run([sys.executable, "-c", CHILD.format("1 << 22")], capture_output=True)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, b"")
