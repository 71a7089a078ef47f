"""The broker, without a process, a socket or a wait: each test is a history that its `run` is led through.

A history is a generator: what it does happens outside of the broker, and at each `yield` the broker has a turn.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_run import (
    Clock,
    FakeBoard,
    FakeControl,
    FakeLinks,
    FakeProcesses,
    FakeSignals,
    NoResults,
    NoStore,
    make_config,
)

from zpipe import wire
from zpipe.errors import RunFailed, ZpipeError
from zpipe.orders import Subscribers
from zpipe.rules.restart import LONGEST_DELAY_S, STARTS
from zpipe.run import broker as module
from zpipe.run.broker import STOP_S, TICK_S, Broker
from zpipe.run.hands import Hands
from zpipe.run.plan import Handover, Place, Plan
from zpipe.run.status import Status
from zpipe.run.supervisor import Supervisor
from zpipe.transport.control import Request

PICTURE = wire.Picture(0)
History = Iterator[None]


class Script:
    """Stands where `zmq.Poller` does: every wait is the next step of the history, a tick later."""

    def __init__(self, world: "World", history: History) -> None:
        self._world, self._history, self._ready = world, history, {}

    def register(self, item: Any, flags: int) -> None:
        self._ready[item] = flags

    def poll(self, wait_ms: int) -> list[tuple[Any, int]]:
        self._world.clock.now += TICK_S
        if next(self._history, "over") == "over":
            self._world.turns_left -= 1
            assert self._world.turns_left > 0, f"the run goes on: {self._world.broker.life.state}"
        return list(self._ready.items())


class World:
    """A broker among fakes: a stream, a detect worker or more, a sink."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **sections: Any) -> None:
        self.monkeypatch, self.clock, self.turns_left = monkeypatch, Clock(), 50
        for name in ("broker", "supervisor", "status"):
            monkeypatch.setattr(f"zpipe.run.{name}.time", self.clock)
        self.links, self.control, self.signals = FakeLinks(), FakeControl(), FakeSignals()
        self.processes, self.board = FakeProcesses(), FakeBoard(self.clock)
        self.sections, self.tmp_path = sections, tmp_path
        self.handover, self.results = Handover(), NoResults()
        self.configs: list[Any] = []
        self.states: list[str] = []

    def run(self, history: Callable[["World"], History]) -> Broker:
        """Lead a run through the history; RunFailed as it raises it."""
        self.monkeypatch.setattr(module.zmq, "Poller", lambda: Script(self, history(self)))
        config = make_config(**self.sections)
        plan = Plan(config, Place("0123", 2, str(self.tmp_path), str(self.tmp_path), 1024))
        ledger = plan.ledger(self.results)  # type: ignore[arg-type]
        fakes: Any = (self.links, self.board, self.processes)
        supervisor = Supervisor(
            plan.all, self.tmp_path, *fakes, lambda stage: plan.task_of(stage, ledger, self.handover)
        )
        hands: Any = (self.links, self.control, NoStore(), supervisor, self.signals, self.results, self.configs.append)
        status = Status(config, "0123", plan.streams, ledger, supervisor, lambda: 0)
        self.broker = Broker(plan, ledger, self.handover, Hands(*hands), status, self.watch)
        self.broker.run()
        return self.broker

    def watch(self, snapshot: Callable[[], Any]) -> None:
        """Every state that a display is told of, once."""
        if self.states[-1:] != [snapshot().state]:
            self.states.append(snapshot().state)

    # ---- what the workers do ------------------------------------------------------------------------------

    def number(self, name: str) -> int:
        return self.processes.find(name).order.worker

    def say(self, name: str, kind: type, *fields: Any) -> None:
        """A message of a living worker."""
        self.links.said.append(kind(self.number(name), *fields))

    def heard(self, name: str) -> list[wire.ToWorker]:
        """What a living worker was sent since it was asked last."""
        sent, self.links.sent[self.number(name)] = self.links.sent[self.number(name)], []
        return sent

    def make_ready(self, total: int | None = None) -> None:
        """All workers say that they are."""
        self.say("sink", wire.Bound, "tcp://127.0.0.1:1", "tcp://127.0.0.1:2")
        for name in self.processes.names:
            self.say(name, wire.Ready)
            if name.startswith("ingest"):
                self.say(name, wire.Listed, 0, total)

    def ask(self, command: str, **counts: Any) -> None:
        """Over the control socket."""
        self.control.asked.append(Request(command, counts))

    def end_quietly(self) -> History:
        """The end of a good run: the stream's end is read and published, everybody leaves who is asked to."""
        stream = self.broker.ledger.streams[0]
        if "ingest" in self.processes.names:
            self.say("ingest", wire.End, 0, stream.read, 0, stream.drained)
            yield
            assert wire.Stop() in self.heard("ingest")
            self.processes.end("ingest", 0)
            yield
        assert wire.Close(0, stream.published, stream.drained) in self.heard("sink")
        self.say("sink", wire.Closed, 0)
        yield
        assert self.broker.life.state == "lingering"
        yield
        assert self.heard("sink") == [wire.Stop()]
        self.processes.end("sink", 0)
        yield
        for name in self.processes.names:
            assert wire.Stop() in self.heard(name)
            self.processes.end(name, 0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


def read_one(world: World, seq: int = 1) -> History:
    """The sources may read, and one frame is read."""
    if seq == 1:
        world.make_ready(total=1)
        yield
        yield
    world.say("ingest", wire.Read, 0, seq, PICTURE, False, b"read")
    yield


def publish_one(world: World, seq: int = 1) -> History:
    """A frame that detect-0 holds goes all the way."""
    world.say("detect-0", wire.Output, 0, seq, False, b"found")
    yield
    world.say("sink", wire.PublishedUpTo, 0, seq)
    yield


def test_a_frame_from_its_source_to_the_end_of_the_run(world: World) -> None:
    def history(world: World) -> History:
        assert world.processes.names == ["sink", "detect-0", "ingest"]
        world.make_ready(total=1)
        yield
        yield
        assert world.broker.life.state == "running"
        (grant,) = world.heard("ingest")
        assert isinstance(grant, wire.Grant)
        picture = wire.Picture(grant.slots[0], 100)
        world.say("ingest", wire.Read, 0, 1, picture, False, b"read")
        yield
        yield
        assert world.heard("detect-0") == [wire.Work(0, 1, picture, 1, b"read")]
        world.say("detect-0", wire.Output, 0, 1, False, b"found")
        yield
        yield
        assert world.heard("sink") == [wire.Work(0, 1, picture, 1, b"found")]
        world.say("sink", wire.PublishedUpTo, 0, 1)
        yield
        yield from world.end_quietly()

    account = world.run(history).status.account()
    assert account.balanced
    assert (account.streams[0].read, account.streams[0].ok) == (1, 1)
    assert world.states == ["starting", "waiting", "running", "lingering", "stopping", "done"]
    assert world.links.rejected == 0


def test_a_frame_of_a_dead_worker_goes_to_the_next(world: World) -> None:
    def history(world: World) -> History:
        yield from read_one(world)
        yield
        dead = world.number("detect-0")
        world.processes.end("detect-0", -11)
        yield
        world.links.said.append(wire.Output(dead, 0, 1, False, b"too late"))
        world.clock.now += LONGEST_DELAY_S
        yield
        yield
        world.say("detect-0", wire.Ready)
        yield
        yield
        assert world.heard("detect-0") == [wire.Work(0, 1, PICTURE, 1, b"read")]  # not said to be at work: no blame
        yield from publish_one(world)
        yield from world.end_quietly()

    broker = world.run(history)
    assert broker.status.account().balanced
    assert broker.ledger.stale == 1


def test_what_it_sent_before_it_died_counts(world: World) -> None:
    def history(world: World) -> History:
        yield from read_one(world)
        yield
        world.say("detect-0", wire.Output, 0, 1, False, b"found")
        world.processes.end("detect-0", -9)
        yield
        yield
        assert wire.Work(0, 1, PICTURE, 1, b"found") in world.heard("sink")
        world.say("sink", wire.PublishedUpTo, 0, 1)
        yield
        yield from world.end_quietly()

    assert world.run(history).ledger.stale == 0


def test_a_frame_that_kills_three_workers_is_a_failed_result(world: World) -> None:
    def history(world: World) -> History:
        yield from read_one(world)
        for attempt in range(3):
            yield
            assert world.heard("detect-0") == [wire.Work(0, 1, PICTURE, attempt + 1, b"read")]
            world.board.begin(world.processes.find("detect-0").order.row, 0, 1)
            world.processes.end("detect-0", -11)
            yield
            world.clock.now += LONGEST_DELAY_S
            yield
            world.say("detect-0", wire.Ready)
            yield
        yield
        (work,) = world.heard("sink")
        assert isinstance(work, wire.Work)
        assert b"SIGSEGV" in work.body
        world.say("sink", wire.PublishedUpTo, 0, 1)
        yield
        yield from world.end_quietly()

    (stream,) = world.run(history).status.account().streams
    assert (stream.ok, stream.failed) == (0, 1)


@pytest.mark.parametrize(
    ("name", "message", "words"),
    [
        ("detect-0", (wire.PublishedUpTo, 0, 1), "PublishedUpTo while working"),
        ("detect-0", (wire.Ready,), "Ready while working"),
        ("sink", (wire.Output, 0, 1, False, b""), "Output while working"),
        ("ingest", (wire.End, 0, 5, 0, False), "ended after frame 5"),
    ],
)
def test_who_says_what_it_may_not_is_replaced(
    world: World, caplog: pytest.LogCaptureFixture, name: str, message: tuple[Any, ...], words: str
) -> None:
    def history(world: World) -> History:
        world.make_ready()
        yield
        yield
        number = world.number(name)
        world.say(name, *message)
        yield
        world.clock.now += LONGEST_DELAY_S
        yield
        yield
        assert world.number(name) != number
        world.signals.interrupts = 2

    with pytest.raises(RunFailed, match="--resume"):
        world.run(history)
    assert world.links.rejected == 1
    assert words in caplog.text


def test_ctrl_c_drains_what_is_under_way(world: World) -> None:
    def history(world: World) -> History:
        yield from read_one(world)
        yield
        world.signals.interrupts = 1
        yield
        assert world.broker.life.state == "draining"
        assert wire.Stop() in world.heard("ingest")
        world.say("ingest", wire.End, 0, 1, 0, True)
        world.processes.end("ingest", 0)
        yield
        yield from publish_one(world)
        yield from world.end_quietly()

    account = world.run(history).status.account()
    assert (account.drained, account.balanced, account.streams[0].ok) == (True, True, 1)
    assert "draining" in world.states


def test_a_second_ctrl_c_stops_at_once(world: World) -> None:
    def history(world: World) -> History:
        yield from read_one(world)
        world.signals.interrupts = 1
        yield
        assert world.processes.names
        world.signals.interrupts = 1
        yield

    with pytest.raises(RunFailed, match="--resume") as caught:
        world.run(history)
    assert caught.value.exit_code == 1
    assert not world.processes.names
    assert world.states[-1] == "done"


def test_drained_before_a_subscriber_came_the_sink_waits_no_longer(world: World) -> None:
    def history(world: World) -> History:
        world.say("sink", wire.Bound, "tcp://127.0.0.1:1", "tcp://127.0.0.1:2")
        yield
        first = world.number("sink")
        world.ask("stop")
        yield
        assert world.control.replies == ["draining"]
        world.clock.now += LONGEST_DELAY_S
        yield
        yield
        second = world.processes.find("sink").order
        assert second.worker != first
        assert second.task.audience == Subscribers(0, 0)
        assert second.task.endpoints == ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2")
        world.make_ready()
        yield
        yield
        yield from world.end_quietly()

    assert world.run(history).status.account().balanced


def test_a_sink_that_lingers_too_long_is_killed_and_nobody_minds(world: World) -> None:
    def history(world: World) -> History:
        yield from read_one(world)
        yield from publish_one(world)
        end = world.end_quietly()
        while world.broker.life.state != "lingering":
            next(end)
            yield
        world.clock.now += world.broker.config.sink.linger_s + STOP_S - 1
        yield
        assert "sink" in world.processes.names
        world.clock.now += 1 + TICK_S

    broker = world.run(history)
    assert broker.status.account().balanced
    assert not world.processes.names


def test_scaling(world: World) -> None:
    def history(world: World) -> History:
        yield from read_one(world)
        world.ask("scale", detect=3)
        yield
        assert world.control.replies == [{"detect": 3}]
        assert world.processes.names[-2:] == ["detect-1", "detect-2"]
        for name in ("detect-1", "detect-2"):
            world.say(name, wire.Ready)
        yield
        yield
        world.ask("scale", detect=1)
        yield
        yield
        assert [wire.Stop() in world.heard(f"detect-{i}") for i in range(3)] == [False, True, True]
        for name in ("detect-1", "detect-2"):
            world.processes.end(name, 0)
        yield
        assert "detect-1" not in world.processes.names
        for count, stage in ((0, "detect"), (257, "detect"), (1, "sink")):
            world.ask("scale", **{stage: count})
        yield
        assert [type(reply) for reply in world.control.replies[2:]] == [ZpipeError] * 3
        yield from publish_one(world)
        yield from world.end_quietly()

    broker = world.run(history)
    assert broker.status.account().balanced
    assert [stage.restarts for stage in broker.plan.stages] == [0]


def test_status_is_told_at_any_moment(world: World) -> None:
    def history(world: World) -> History:
        world.ask("status")
        yield
        yield from read_one(world)
        world.ask("status")
        yield
        yield from publish_one(world)
        yield from world.end_quietly()

    world.run(history)
    before, after = world.control.replies
    assert [(s.state, s.in_flight, s.stages[1].stage) for s in (before, after)] == [
        ("starting", 0, "detect"), ("running", 1, "detect"),
    ]  # fmt: skip
    assert after.streams[0].total == 1


def test_a_worker_that_refuses_ends_the_run_with_its_code(world: World) -> None:
    def history(world: World) -> History:
        world.say("detect-0", wire.Refused, "no such model", 4)
        yield

    with pytest.raises(RunFailed, match="detect-0: no such model") as caught:
        world.run(history)
    assert caught.value.exit_code == 4
    assert world.states[-1] == "done"


def test_a_worker_that_cannot_start_ends_the_run(world: World) -> None:
    def history(world: World) -> History:
        for _ in range(STARTS):
            world.processes.end("detect-0", -11)
            yield
            world.clock.now += LONGEST_DELAY_S
            yield

    with pytest.raises(RunFailed, match="detect-0 cannot start: signal SIGSEGV"):
        world.run(history)
    assert not world.processes.names


def test_a_message_of_a_stranger_changes_nothing(world: World) -> None:
    def history(world: World) -> History:
        yield from read_one(world)
        world.links.said.append(wire.Output(99, 0, 1, False, b"not mine"))
        world.say("detect-0", wire.Output, 7, 1, False, b"no such stream")
        world.say("sink", wire.PublishedUpTo, 7, 1)
        yield
        yield from publish_one(world)
        yield from world.end_quietly()

    broker = world.run(history)
    assert broker.status.account().balanced
    assert broker.ledger.stale >= 1


def test_nothing_is_started_for_a_stream_that_has_ended_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = SimpleNamespace(seq=3, ok=3, failed=0, closed=True)
    monkeypatch.setattr(NoResults, "stream", lambda self, name: ended)

    def history(world: World) -> History:
        assert "ingest" not in world.processes.names
        world.make_ready()
        yield
        assert world.broker.life.state == "lingering"
        yield
        for name in world.processes.names:
            world.processes.end(name, 0)

    assert world.run(history).status.account().balanced
