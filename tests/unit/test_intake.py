"""Streams and sources that come and go while a run lives, in a broker without a process, a socket or a wait."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_run import NoResults
from test_broker import PICTURE, History, World

from zpipe import wire
from zpipe.config.keys import IngestConfig
from zpipe.errors import RunFailed, ZpipeError
from zpipe.results.news import SourceAdded, StreamOpened, StreamRemoved
from zpipe.rules.restart import LONGEST_DELAY_S

GATE = 1
"""The number of the entry that listens; entry 0 is a folder."""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A pipeline that reads a folder, and listens for senders below `gate`, in a process that stays."""
    ingest = [
        IngestConfig(path="pictures", stream="yard"),
        IngestConfig(path="", listen="tcp://127.0.0.1:1", stream="gate"),
    ]
    return World(monkeypatch, tmp_path, ingest=ingest)


def begin(world: World) -> History:
    """All are ready, the gate too; the folder is empty."""
    yield
    world.say("sink", wire.Bound, "tcp://127.0.0.1:1", "tcp://127.0.0.1:2")
    for name in world.processes.names:
        world.say(name, wire.Ready)
    yield
    yield
    world.say("ingest", wire.End, 0, 0, 0, False)
    yield
    world.say("sink", wire.Closed, 0)
    yield
    assert world.broker.life.state == "running", "somebody may still come"
    world.heard("sink")


def opened(world: World, name: str, upload: str, entry: int = GATE) -> Any:
    """What the gate is answered when somebody opens a stream: a generator that returns it."""
    world.heard("gate")
    world.say("gate", wire.Open, entry, name, upload)
    yield
    yield
    return next(said for said in world.heard("gate") if isinstance(said, wire.Opened))


def pass_on(world: World, stream: int, seq: int, drained: bool | None = None) -> History:
    """A frame of a sender, all the way; and the end of its stream, if `drained` says how."""
    world.say("gate", wire.Read, stream, seq, wire.Picture(seq % 4), False, b"read")
    yield
    yield
    world.say("detect-0", wire.Output, stream, seq, False, b"found")
    yield
    world.say("sink", wire.PublishedUpTo, stream, seq)
    if drained is not None:
        world.say("gate", wire.End, stream, seq, 0, drained)
    yield
    yield
    if drained is not None:
        world.say("sink", wire.Closed, stream)
        yield
        yield


def leave(world: World) -> History:
    """`zpipe stop`; nobody has anything more to say."""
    world.ask("stop")
    yield
    yield
    for name in [name for name in world.processes.names if name != "sink"]:
        world.processes.end(name, 0)
    for number, stream in enumerate(world.broker.ledger.streams):
        if not stream.closed:
            yield
            yield
            world.say("sink", wire.Closed, number)
    yield
    yield
    world.processes.end("sink", 0)


def test_the_same_upload_goes_on_and_another_one_is_a_stream_of_its_own(world: World) -> None:
    def history(world: World) -> History:
        yield from begin(world)
        assert (yield from opened(world, "alice", "A")) == wire.Opened(1, "gate.alice", 1, False)
        assert wire.Begin(1, "gate.alice") in world.heard("sink")
        yield from pass_on(world, 1, 1)
        assert (yield from opened(world, "bob", "A")) == wire.Opened(2, "gate.bob", 1, False)
        assert (yield from opened(world, "alice", "A")) == wire.Opened(1, "gate.alice", 2, False)
        assert (yield from opened(world, "alice", "B")) == wire.Opened(3, "gate.alice.2", 1, False)
        yield from pass_on(world, 1, 2, drained=False)
        assert (yield from opened(world, "alice", "A")) == wire.Opened(1, "gate.alice", 3, True)
        assert (yield from opened(world, "alice", "C")) == wire.Opened(4, "gate.alice.3", 1, False)
        yield from leave(world)

    broker = world.run(history)
    account = broker.status.account()
    assert account.balanced
    assert [stream.stream for stream in account.streams] == [
        "yard",
        "gate.alice",
        "gate.bob",
        "gate.alice.2",
        "gate.alice.3",
    ]
    assert world.results.news[0] == StreamOpened("gate.alice", "gate", "alice", "A")
    assert world.links.rejected == 0


def test_what_is_opened_before_the_gate_takes_part_is_answered_then(world: World) -> None:
    """Ready and Open come together, and its socket is connected a moment later."""

    def history(world: World) -> History:
        yield from begin(world)
        world.processes.end("gate", -9)
        yield
        world.clock.now += LONGEST_DELAY_S
        yield
        yield
        world.links.connected = lambda worker: False  # type: ignore[method-assign]
        world.say("gate", wire.Ready)
        world.say("gate", wire.Open, GATE, "alice", "A")
        yield
        yield
        assert not world.heard("gate")
        del world.links.connected
        yield
        yield
        assert wire.Opened(1, "gate.alice", 1, False) in world.heard("gate")
        yield from leave(world)

    assert world.run(history).status.account().balanced


def test_who_does_not_say_which_upload_goes_on_with_the_newest_until_it_has_ended(world: World) -> None:
    def history(world: World) -> History:
        yield from begin(world)
        assert (yield from opened(world, "alice", "")).stream == 1
        yield from pass_on(world, 1, 1)
        assert (yield from opened(world, "alice", "")) == wire.Opened(1, "gate.alice", 2, False)
        yield from pass_on(world, 1, 2, drained=False)
        assert (yield from opened(world, "alice", "")) == wire.Opened(2, "gate.alice.2", 1, False)
        yield from leave(world)

    assert world.run(history).status.account().balanced


@pytest.mark.parametrize(
    ("entry", "name", "words"),
    [
        (0, "alice", "does not listen"),
        (7, "alice", "does not listen"),
        (1, "a.b", "no name for a sender"),
        (1, "-a", "no name"),
    ],
)
def test_who_may_not_open_is_told_why(world: World, entry: int, name: str, words: str) -> None:
    def history(world: World) -> History:
        yield from begin(world)
        answer = yield from opened(world, name, "A", entry)
        assert words in answer.refused
        yield from leave(world)

    assert len(world.run(history).ledger.streams) == 1


def test_a_new_gate_takes_the_streams_up_where_the_dead_one_left_them(world: World) -> None:
    def history(world: World) -> History:
        yield from begin(world)
        yield from opened(world, "alice", "A")
        yield from pass_on(world, 1, 1)
        world.processes.end("gate", -9)
        yield
        assert world.broker.ledger.streams[1].reader is None
        world.clock.now += LONGEST_DELAY_S
        yield
        yield
        world.say("gate", wire.Ready)
        yield
        yield
        assert (yield from opened(world, "alice", "A")) == wire.Opened(1, "gate.alice", 2, False)
        yield from pass_on(world, 1, 2, drained=False)
        yield from leave(world)

    assert world.run(history).status.account().streams[1].ok == 2


def test_who_reads_on_behind_the_end_of_a_stream_is_replaced(world: World) -> None:
    """Edge 27: anything after End."""

    def history(world: World) -> History:
        yield from begin(world)
        yield from opened(world, "alice", "A")
        yield from pass_on(world, 1, 1, drained=False)
        number = world.number("gate")
        world.say("gate", wire.Read, 1, 2, PICTURE, False, b"read")
        yield
        world.clock.now += LONGEST_DELAY_S
        yield
        yield
        assert world.number("gate") != number
        world.say("gate", wire.Ready)
        yield from leave(world)

    assert world.run(history).links.rejected == 1


def test_a_new_sink_is_told_of_the_streams_that_have_come(world: World) -> None:
    def history(world: World) -> History:
        yield from begin(world)
        yield from opened(world, "alice", "A")
        world.processes.end("sink", -9)
        yield
        world.clock.now += LONGEST_DELAY_S
        yield
        yield
        task = world.processes.find("sink").order.task
        assert [(each.stream, each.name) for each in task.streams] == [(1, "gate.alice")]
        yield from opened(world, "bob", "A")  # while it is being started
        world.say("sink", wire.Bound, "tcp://127.0.0.1:1", "tcp://127.0.0.1:2")
        world.say("sink", wire.Ready)
        yield
        yield
        assert world.heard("sink") == [wire.Begin(1, "gate.alice"), wire.Begin(2, "gate.bob")]
        yield from leave(world)

    assert world.run(history).status.account().balanced


def test_streams_that_senders_opened_are_found_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--resume`: those of the record with their uploads, and those that only the results file knows."""
    published = SimpleNamespace(seq=5, ok=5, failed=0, closed=False)
    world.results.opened = [StreamOpened("gate.alice", "gate", "alice", "A")]
    world.results.streams = {"yard": None, "gate.alice": None, "gate.bob": None}
    nothing = SimpleNamespace(seq=0, ok=0, failed=0, closed=False)
    monkeypatch.setattr(NoResults, "stream", lambda self, name: nothing if name == "yard" else published)

    def history(world: World) -> History:
        yield from begin(world)
        assert (yield from opened(world, "alice", "B")) == wire.Opened(3, "gate.alice.2", 1, False)
        assert (yield from opened(world, "alice", "A")) == wire.Opened(1, "gate.alice", 6, False)
        assert (yield from opened(world, "bob", "B")) == wire.Opened(2, "gate.bob", 6, False)  # nobody knows its upload
        assert (yield from opened(world, "bob", "C")) == wire.Opened(4, "gate.bob.2", 1, False)  # now it is B's
        assert (yield from opened(world, "bob", "B")) == wire.Opened(2, "gate.bob", 6, False)
        yield from leave(world)

    assert world.run(history).status.account().balanced


# ---- sources that people add and remove ----------------------------------------------------------------------


def ask(world: World, command: str, **fields: Any) -> Any:
    """A command over the control socket: a generator that returns the reply."""
    world.ask(command)
    for name, value in fields.items():
        setattr(world.control.asked[-1], name, value)
    yield
    return world.control.replies[-1]


def test_a_source_is_added_read_and_removed(world: World) -> None:
    def history(world: World) -> History:
        yield from begin(world)
        assert (yield from ask(world, "add", source={"path": "/more", "stream": "more", "timeout_s": 5})) == "more"
        assert [entry.stream for entry in world.configs[-1].ingest] == ["yard", "gate", "more"]
        assert wire.Begin(1, "more") in world.heard("sink")
        task = world.processes.find("ingest-more").order.task
        assert [(each.stream, each.entry, each.start) for each in task.streams] == [(1, 2, 1)]
        world.say("ingest-more", wire.Ready)
        world.say("ingest-more", wire.Listed, 1, 40)
        yield
        yield
        world.say("ingest-more", wire.Read, 1, 1, PICTURE, False, b"read")
        yield
        listed = yield from ask(world, "sources")
        assert [(each.stream, each.state, each.read) for each in listed] == [
            ("gate", "listening", 0), ("yard", "published", 0), ("more", "reading", 1),
        ]  # fmt: skip
        world.heard("ingest-more")
        assert (yield from ask(world, "remove", stream="more")) == "more"
        assert wire.Leave(1) in world.heard("ingest-more")
        world.say("ingest-more", wire.End, 1, 1, 0, True)
        yield
        yield
        assert wire.Stop() in world.heard("ingest-more")
        world.processes.end("ingest-more", 0)
        world.say("detect-0", wire.Output, 1, 1, False, b"found")
        yield
        world.say("sink", wire.PublishedUpTo, 1, 1)
        yield
        assert wire.Close(1, 1, True) in world.heard("sink")
        world.say("sink", wire.Closed, 1)
        yield
        assert "ingest-more" not in world.processes.names
        for command, fields in (
            ("remove", {"stream": "more"}), ("remove", {"stream": "none"}), ("add", {"source": {"path": "/x"}}),
            ("add", {"source": {"path": "/more", "stream": "more"}}), ("add", {"source": {"stream": "x", "pth": 1}}),
        ):  # fmt: skip
            assert isinstance((yield from ask(world, command, **fields)), ZpipeError), fields
        yield from leave(world)

    broker = world.run(history)
    assert broker.status.account().balanced
    added = IngestConfig(path="/more", stream="more", timeout_s=5)
    assert world.results.news == [SourceAdded(added), StreamRemoved("more")]


@pytest.mark.parametrize("how", ["refused", "dies"])
def test_an_added_source_that_cannot_be_read_is_no_reason_to_end(world: World, how: str) -> None:
    def history(world: World) -> History:
        yield from begin(world)
        yield from ask(world, "add", source={"path": "/nothing", "stream": "more"})
        if how == "refused":
            world.say("ingest-more", wire.Refused, "no such file", 3)
            yield
            world.processes.end("ingest-more", 3)
        while "ingest-more" in world.processes.names:
            if how == "dies":
                world.processes.end("ingest-more", -11)
            yield
            world.clock.now += LONGEST_DELAY_S
            yield
        assert wire.Close(1, 0, True) in world.heard("sink")
        world.say("sink", wire.Closed, 1)
        yield
        assert world.broker.life.state == "running"
        yield from leave(world)

    assert world.run(history).status.account().balanced


def test_a_removed_stream_whose_reader_is_dead_ends_at_once(world: World) -> None:
    def history(world: World) -> History:
        yield from begin(world)
        yield from ask(world, "add", source={"path": "/more", "stream": "more"})
        world.processes.end("ingest-more", -9)
        yield
        assert (yield from ask(world, "remove", stream="more")) == "more"
        yield
        assert wire.Close(1, 0, True) in world.heard("sink")
        world.clock.now += LONGEST_DELAY_S
        yield
        yield
        assert "ingest-more" not in world.processes.names
        world.say("sink", wire.Closed, 1)
        yield from leave(world)

    assert world.run(history).status.account().balanced


# ---- streams that hang ---------------------------------------------------------------------------------------


def test_however_many_streams_hang_as_they_are_opened_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each gets a process of its own; that the common one was killed so often is no reason to give up."""
    count = 30
    ingest = [IngestConfig(path=f"p{number}", stream=f"s{number}", timeout_s=0.5) for number in range(count)]
    world = World(monkeypatch, tmp_path, ingest=ingest)
    world.turns_left = 10

    def history(world: World) -> History:
        world.make_ready()
        yield
        yield
        for hanging in range(count - 1):
            row = world.processes.find("ingest").order.row
            world.board.begin(row, hanging, 0)
            number = world.number("ingest")
            while "ingest" not in world.processes.names or world.number("ingest") == number:
                yield
            assert f"ingest-s{hanging}" in world.processes.names
            streams = [each.stream for each in world.processes.find("ingest").order.task.streams]
            assert streams == list(range(hanging + 1, count))
            for name in world.processes.names:
                world.board.beat(world.processes.find(name).order.row)
            world.say("ingest", wire.Ready)
            yield
        assert not any(world.broker.ledger.condemned(number) for number in range(count))
        world.signals.interrupts = 2
        yield

    with pytest.raises(RunFailed, match="--resume"):
        world.run(history)
