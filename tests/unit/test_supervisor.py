"""The supervisor, without a process: recorded histories are replayed on a clock of the test's."""

import signal
from pathlib import Path
from typing import Any

import pytest
from fake_run import Clock, FakeBoard, FakeLinks, FakeProcesses

from zpipe.errors import RunFailed
from zpipe.orders import StageTask
from zpipe.rules.restart import FIRST_DELAY_S, LONGEST_DELAY_S, STARTS
from zpipe.run import supervisor as module
from zpipe.run.supervisor import SILENT_S, START_TIMEOUT_S, StageWorkers, Supervisor


class World:
    """A supervisor of one stage among fakes."""

    def __init__(self, clock: Clock, wanted: int = 2, role: str = "detect", **more: Any) -> None:
        self.clock, self.processes = clock, FakeProcesses()
        self.board, self.links = FakeBoard(clock), FakeLinks()
        self.stage = StageWorkers(role, role, 0, wanted, timeout_s=10.0, **more)
        fakes: Any = (self.links, self.board, self.processes)
        self.supervisor = Supervisor([self.stage], Path("/run"), *fakes, lambda stage: StageTask(0, 1, "", ""))

    def start(self) -> "World":
        """All that are wanted are there and ready."""
        self.turn()
        for name in self.processes.names:
            self.ready(name)
        return self

    def turn(self) -> list[str]:
        """What the broker does on a tick; the names of those that live then."""
        for death in self.supervisor.reap(self.clock.now):
            self.supervisor.bury(death, self.clock.now)
        for worker in self.supervisor.reconcile(self.clock.now):
            worker.retiring = True
        return self.processes.names

    def worker(self, name: str) -> Any:
        """The living worker of this name."""
        return self.supervisor.find(self.processes.find(name).order.worker)

    def ready(self, name: str) -> None:
        """It says that it is."""
        self.board.beat(self.worker(name).row)
        self.supervisor.ready(self.worker(name))

    def die(self, name: str, code: int, done: int = 0) -> None:
        """It ends, having finished so many frames."""
        self.board.beat(self.worker(name).row, done)
        self.processes.end(name, code)

    def replay(self, history: list[tuple[Any, ...]]) -> None:
        """Events with their arguments; `living` compares, after a turn, who lives."""
        for event, *arguments in history:
            if event == "wait":
                self.clock.now += arguments[0]
            elif event == "living":
                assert self.turn() == arguments
            elif event == "want":
                self.stage.wanted = arguments[0]
            else:
                getattr(self, event)(*arguments)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


HISTORIES: dict[str, list[tuple[Any, ...]]] = {
    "who has done something is replaced at once, by name": [
        ("living", "detect-0", "detect-1"),
        ("ready", "detect-0"),
        ("die", "detect-0", -11, 5),
        ("living", "detect-1", "detect-0"),
    ],
    "who has done nothing is replaced after a delay": [
        ("living", "detect-0", "detect-1"),
        ("ready", "detect-0"),
        ("die", "detect-0", -11),
        ("living", "detect-1"),
        ("wait", FIRST_DELAY_S - 0.01),
        ("living", "detect-1"),
        ("wait", 0.01),
        ("living", "detect-1", "detect-0"),
        ("ready", "detect-0"),
        ("die", "detect-0", -11),
        ("wait", FIRST_DELAY_S),
        ("living", "detect-1"),
        ("wait", 2 * FIRST_DELAY_S),
        ("living", "detect-1", "detect-0"),
    ],
    "more are started at once, and the surplus that is not ready is killed": [
        ("living", "detect-0", "detect-1"),
        ("want", 4),
        ("living", "detect-0", "detect-1", "detect-2", "detect-3"),
        ("want", 1),
        ("turn",),
        ("living", "detect-0"),
    ],
    "the surplus that is ready drains: it is asked to leave and not replaced": [
        ("living", "detect-0", "detect-1"),
        ("ready", "detect-0"),
        ("ready", "detect-1"),
        ("want", 1),
        ("living", "detect-0", "detect-1"),
        ("die", "detect-1", 0, 3),
        ("living", "detect-0"),
        ("wait", 60),
        ("living", "detect-0"),
    ],
    "a stage that nobody wants is let go": [
        ("living", "detect-0", "detect-1"),
        ("want", 0),
        ("die", "detect-0", 0),
        ("die", "detect-1", -9),
        ("living",),
        ("wait", 60),
        ("living",),
    ],
}


@pytest.mark.parametrize("story", HISTORIES)
def test_history(story: str, clock: Clock) -> None:
    World(clock).replay(HISTORIES[story])


def test_a_death_is_counted_and_its_work_stays(clock: Clock) -> None:
    world = World(clock).start()
    world.die("detect-0", -9, done=7)
    world.turn()
    assert (world.stage.restarts, world.stage.done, world.supervisor.alive) == (1, 7, 2)
    assert world.supervisor.time_of(world.stage) == (0.0, 7)


def test_numbers_are_never_used_twice_and_rows_are(clock: Clock) -> None:
    world = World(clock).start()
    for _ in range(10):
        world.die("detect-0", -9, done=1)
        world.turn()
        world.ready("detect-0")
    orders = [process.order for process in world.processes.started]
    assert [order.worker for order in orders] == list(range(1, 13))
    assert {order.row for order in orders} == {0, 1}
    assert world.links.attached == {worker.number for worker in world.stage.workers}


def test_deaths_at_the_first_frame_are_replaced_more_and_more_slowly(clock: Clock) -> None:
    world, delays = World(clock, 1).start(), []
    for _ in range(10):
        world.die("detect-0", -11)
        world.turn()
        delays.append(world.stage.not_before - clock.now)
        clock.now = world.stage.not_before
        world.turn()
        world.ready("detect-0")
    assert delays == sorted(delays)
    assert delays[-1] == pytest.approx(LONGEST_DELAY_S)


@pytest.mark.parametrize(("code", "words"), [(-11, "SIGSEGV"), (3, "exit code 3")])
def test_a_worker_that_cannot_start_ends_the_run(clock: Clock, code: int, words: str) -> None:
    world = World(clock, 1, model="m.onnx")
    for attempt in range(1, STARTS + 1):
        clock.now += LONGEST_DELAY_S
        world.turn()
        world.processes.find("detect-0").tail.append("its last words")
        world.die("detect-0", code)
        if attempt < STARTS:
            world.turn()
    with pytest.raises(RunFailed, match="detect-0 cannot start") as caught:
        world.turn()
    assert caught.value.exit_code == 4
    for part in (words, "m.onnx", "its last words"):
        assert part in str(caught.value)
    assert len(world.processes.started) == STARTS
    assert not world.supervisor.alive


@pytest.mark.parametrize(
    ("phase", "limit_s", "words"),
    [
        ("starting", START_TIMEOUT_S, "not ready after 600 s"),
        ("idle", 10.0, "no sign of life for 10 s"),
        ("busy", 10.0, "busy for more than 10 s"),
    ],
)
def test_the_hung_are_killed_no_sooner_than_they_may(clock: Clock, phase: str, limit_s: float, words: str) -> None:
    world = World(clock, 1)
    world.turn()
    if phase != "starting":
        world.ready("detect-0")
    if phase == "busy":
        world.board.begin(world.worker("detect-0").row, 0, 7)
    process = world.processes.find("detect-0")
    for _ in range(int(limit_s)):  # it looks all the time: who does not may have been frozen
        world.supervisor.kill_hung(clock.monotonic_ns())
        clock.now += 1
    world.supervisor.kill_hung(clock.monotonic_ns())
    assert process.code is None
    clock.now += 0.1
    world.supervisor.kill_hung(clock.monotonic_ns())
    assert process.code == -signal.SIGKILL
    (death,) = world.supervisor.reap(clock.now)
    assert words in death.reason
    assert death.row.working == ((0, 7) if phase == "busy" else None)


def test_silence_is_borne_for_some_seconds_however_quick_the_stage(clock: Clock) -> None:
    world = World(clock, 1)
    world.stage.timeout_s = 0.1
    world.start()
    clock.now += SILENT_S - 0.1
    world.supervisor.kill_hung(clock.monotonic_ns())
    assert world.processes.find("detect-0").code is None


def test_a_single_worker_is_called_as_its_stage_and_never_too_many(clock: Clock) -> None:
    world = World(clock, 1, role="sink", single=True).start()
    world.stage.wanted = 0
    assert world.turn() == ["sink"]  # the ledger dismisses it
    assert not world.worker("sink").retiring


def test_closing_forgets_all_and_twice_is_harmless(clock: Clock) -> None:
    world = World(clock).start()
    world.supervisor.close()
    world.supervisor.close()
    assert not world.supervisor.alive
