"""The supervisor against processes that are only said to be: whose fault a death is, and what becomes of the stage."""

import signal
import time
from types import SimpleNamespace

import pytest

from zpipe.errors import RunFailed
from zpipe.orders import StageTask
from zpipe.rules.restart import CRASHES, STARTS
from zpipe.run import supervisor as module
from zpipe.run.supervisor import StageWorkers, Supervisor
from zpipe.transport.board import Board, Heart


class Machine:
    """Stands for all processes: `end` says that one has ended."""

    def __init__(self):
        self.started, self.ended, self.killed = [], [], []

    def start(self, name, order):
        process = SimpleNamespace(name=name, pid=1000 + len(self.started), tail=["its last words"])
        process.signal = lambda number: self.killed.append((process, number))
        self.started.append(process)
        return process

    def end(self, exit_code):
        self.ended.append((self.started[-1], exit_code, []))

    def reap(self):
        ended, self.ended = self.ended, []
        return ended


class Kernel:
    """Stands for the count of processes that it has killed for want of memory."""

    kills = 0


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel()
    monkeypatch.setattr("zpipe.engines.machine.oom_kills", lambda: made.kills)
    return made


@pytest.fixture
def run(tmp_path, kernel):
    """A supervisor of one stage with one worker, and what it works with."""
    board, machine = Board(tmp_path), Machine()
    links = SimpleNamespace(attach=lambda number: None, detach=lambda number: None)
    stage = StageWorkers("detect", "detect", 0, 1, timeout_s=5.0, model="model.onnx")
    made = Supervisor([stage], tmp_path, links, board, machine, lambda stage: StageTask(0, 1, "", ""))
    made.reconcile(0.0)
    yield SimpleNamespace(supervisor=made, stage=stage, machine=machine, folder=tmp_path)
    board.close()


def ready(run):
    """Its worker is ready; its heart."""
    worker = run.stage.workers[0]
    run.supervisor.ready(worker)
    return Heart(run.folder, worker.row)


def die(run, exit_code):
    """Its worker dies; buried and replaced."""
    run.machine.end(exit_code)
    (death,) = run.supervisor.reap(time.monotonic())
    run.supervisor.bury(death, 0.0)
    run.supervisor.reconcile(1e9)
    return death


def at_work(run, exit_code):
    """Its worker dies while it works on frame 17."""
    ready(run).begin(0, 17)
    return die(run, exit_code)


@pytest.mark.parametrize("exit_code", [-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP])
def test_who_is_killed_from_outside_blames_no_frame(run, exit_code):
    """Edge 21: a SIGKILL from outside costs a frame no attempt."""
    assert at_work(run, exit_code).blamed is None


@pytest.mark.parametrize("exit_code", [-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, 0, 7])
def test_who_dies_by_itself_blames_its_frame(run, exit_code):
    assert at_work(run, exit_code).blamed == (0, 17)


def test_who_dies_by_itself_after_a_frame_blames_that(run):
    """Edge 20: a worker that dies just after a frame was never blamed."""
    heart = ready(run)
    heart.begin(0, 17)
    heart.done()
    heart.beat()
    assert die(run, -signal.SIGSEGV).blamed == (0, 17)


def test_the_out_of_memory_killer_is_nobody_from_outside(run, kernel):
    """Edge 21: who takes all memory has died by itself, whoever has sent the signal."""
    kernel.kills += 1
    death = at_work(run, -signal.SIGKILL)
    assert (death.blamed, death.reason) == ((0, 17), "out of memory: the kernel has killed it")


def test_the_out_of_memory_killer_counts_while_a_model_loads(run, kernel):
    """Edge 21: a model that does not fit into memory stops the run, with that reason."""
    for _ in range(STARTS - 1):
        kernel.kills += 1
        die(run, -signal.SIGKILL)
    kernel.kills += 1
    with pytest.raises(RunFailed, match=r"detect-0 cannot start: out of memory.*, loading model\.onnx") as caught:
        die(run, -signal.SIGKILL)
    assert caught.value.exit_code == 4


def test_a_kill_for_memory_of_long_ago_explains_nothing(run, kernel, monkeypatch):
    kernel.kills += 1
    run.supervisor.reap(time.monotonic() - 60)
    assert at_work(run, -signal.SIGKILL).blamed is None


def test_who_is_killed_while_starting_is_replaced_for_as_long_as_somebody_kills(run):
    """Edge 21: twenty SIGKILLs of starting workers in a row ended the run."""
    for _ in range(200):
        die(run, -signal.SIGKILL)
    assert len(run.stage.workers) == 1


def test_our_own_kills_are_the_frames_fault(run):
    heart = ready(run)
    heart.begin(0, 17)
    for look in range(200):
        run.supervisor.kill_hung(time.monotonic_ns() + look * 200_000_000)
    ((_, number),) = run.machine.killed
    assert number == signal.SIGKILL
    death = die(run, -signal.SIGKILL)
    assert (death.blamed, death.reason) == ((0, 17), "timeout (busy for more than 5 s)")


def test_deaths_that_no_frame_is_guilty_of_end_the_run_with_the_reason(run):
    """Edge 20: deaths by itself that keep coming end the run."""

    def keep_dying():
        for seq in range(1, 2 * CRASHES):
            heart = ready(run)
            heart.begin(0, seq)
            heart.done()
            heart.begin(0, seq + 1)
            die(run, -signal.SIGABRT)

    with pytest.raises(RunFailed, match="detect-0 keeps dying, whatever the frame: signal SIGABRT") as caught:
        keep_dying()
    assert caught.value.exit_code == 1
    assert "its last words" in str(caught.value)


def test_a_freeze_of_all_makes_nobody_hung(run):
    """Edge 28: after a closed laptop lid every worker had been silent for hours, and cost its frame an attempt."""
    heart = ready(run)
    heart.begin(0, 17)
    now_ns = time.monotonic_ns()
    run.supervisor.kill_hung(now_ns)
    run.supervisor.kill_hung(now_ns + int(3600e9))
    assert run.machine.killed == []
    after = [now_ns + int(3600e9) + tenth * 200_000_000 for tenth in range(1, 60)]
    for moment in after[:24]:
        run.supervisor.kill_hung(moment)
    assert run.machine.killed == []
    for moment in after[24:]:
        run.supervisor.kill_hung(moment)
    assert len(run.machine.killed) == 1, "who goes on being silent is hung"
    assert module.FROZEN_S < 5.0
