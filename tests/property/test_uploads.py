"""Senders against a gate and a pipeline over a network without manners: each frame once, in order, each result back.

`World` has a real `Outbox` for each sender, real `Sessions` and `Returns` for the gate, and a broker and sink that are
lists. Hypothesis chooses what happens: frames are put, messages move or their connections are cut, slots come back, the
gate is killed, live results are lost. In the end the network is mended and all is driven to the end.
"""

from collections import deque
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from zpipe import upload
from zpipe.messages import Eos, Result
from zpipe.rules.outbox import Outbox
from zpipe.rules.returns import Returns, read_line
from zpipe.rules.sessions import (
    MOST_FRAMES,
    Bounds,
    Caller,
    EndStream,
    Follow,
    OpenStream,
    Say,
    Sessions,
    Unfollow,
)

NAMES = ["alice", "bob"]
FRAMES = 6
SLOTS = 2
BOUNDS = Bounds(frames=8, bytes=25)


class OneSender:
    """A sender: its outbox, its connection, what it has got. It is restarted with what a restarted process knows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.connection = 0
        self.lines: list[bytes] = []
        self.begin()

    def begin(self) -> None:
        self.outbox = Outbox[int]()
        self.session = 0
        self.is_welcome = False
        self.is_fenced = False
        self.lines.clear()
        self.connect()

    def connect(self) -> None:
        self.connection += 1
        self.is_welcome = False
        hello = upload.Hello(upload.VERSION, self.name, "x", self.session, len(self.lines) + 1)
        self.out: deque[Any] = deque([hello])
        self.back: deque[Any] = deque()

    @property
    def caller(self) -> Caller:
        return Caller(0, f"{self.name}/{self.connection}".encode())

    def put(self) -> None:
        if self.outbox.next is not None and self.outbox.count is None:
            if self.outbox.next > FRAMES:
                self.outbox.end()
            elif self.outbox.has_room(10):
                self.outbox.put(self.outbox.next, 10)

    def push(self) -> None:
        """Say what may be said."""
        if self.is_welcome and (kept := self.outbox.take()) is not None:
            self.out.append(upload.NewFrame(kept.seq, f"{self.name}-{kept.content}"))
        elif self.is_welcome and (count := self.outbox.take_end()) is not None:
            self.out.append(upload.LastFrame(count))

    def hear(self) -> None:
        if not self.back:
            return
        match self.back.popleft():
            case upload.Welcome(_, session, _, following, frames, size):
                self.session, self.is_welcome = session, True
                self.outbox.welcome(following, frames, size)
            case upload.Credit(frames, size):
                self.outbox.credit(frames, size)
            case upload.SendFrom(following) if self.is_welcome:
                self.outbox.go_back(following)
            case upload.Results(lines):
                for data in lines:
                    line = read_line(data)
                    assert line is not None
                    assert line.seq == len(self.lines) + 1, "a result twice, or out of order"
                    self.lines.append(data)
                    if not line.is_end:
                        self.outbox.answer(line.seq)
            case upload.WhoAreYou():
                self.connect()
            case upload.TurnedAway(reason) | upload.FencedOff(reason):
                raise AssertionError(reason)


class World:
    def __init__(self) -> None:
        self.senders = [OneSender(name) for name in NAMES]
        self.streams: list[str] = []
        self.read: dict[int, list[str]] = {}
        self.ended: set[int] = set()
        self.lines: dict[str, list[bytes]] = {}
        self.in_work: deque[tuple[int, int, str, int]] = deque()
        self.now = 0.0
        self.start_gate()

    def start_gate(self) -> None:
        self.sessions = Sessions[str](BOUNDS)
        self.returns = Returns()
        self.granted = SLOTS - len(self.in_work)
        self.sessions.slots.extend(range(self.granted))
        self.is_new = True

    def kill_gate(self) -> None:
        self.start_gate()
        for sender in self.senders:
            sender.connect()

    def perform(self, actions: list[Any]) -> None:
        for action in actions:
            match action:
                case Say(caller, message):
                    for sender in self.senders:
                        if sender.caller == caller:
                            sender.back.append(message)
                case OpenStream(_, name, _):
                    if name not in self.streams:
                        self.streams.append(name)
                    stream = self.streams.index(name)
                    following = len(self.read.setdefault(stream, [])) + 1
                    self.perform(self.sessions.opened(stream, name, following, stream in self.ended))
                case EndStream(stream, name, count, drained):
                    assert not drained
                    assert stream not in self.ended
                    assert count == len(self.read[stream]) == FRAMES
                    self.ended.add(stream)
                    self.returns.expect(name, count + 1)
                case Follow(caller, stream_name, first, last):
                    self.returns.follow(caller, stream_name, first, last, self.now)
                case Unfollow(stream_name):
                    self.returns.leave(stream_name)

    def carry(self, number: int) -> None:
        """A message of a sender comes to the gate."""
        sender = self.senders[number]
        if not sender.out:
            return
        match sender.out.popleft():
            case upload.Hello() as hello:
                self.perform(self.sessions.meet(sender.caller, hello, int(self.now * 1e9)))
            case upload.NewFrame() as frame:
                self.perform(self.sessions.hear(sender.caller, frame, frame.name, 10, self.now))
            case message:
                self.perform(self.sessions.hear(sender.caller, message, None, 0, self.now))
        assert self.sessions.held_bytes <= BOUNDS.bytes
        assert all(len(session.held) <= MOST_FRAMES for session in self.sessions.peers.values())
        assert self.sessions.held_bytes == 10 * sum(len(s.held) for s in self.sessions.peers.values())

    def take(self) -> None:
        """Frames that wait are put into slots."""
        for take in self.sessions.deal():
            log = self.read[take.stream]
            assert take.seq == len(log) + 1, "a frame twice, or out of order"
            assert take.load == f"{take.name}-{take.seq}"
            log.append(take.load)
            self.in_work.append((take.stream, take.seq, take.load, take.slot))
            self.returns.expect(take.name, take.seq)
            self.perform(self.sessions.end(take.stream))
        self.perform(self.sessions.settle(self.now))

    def publish(self, is_lost: bool) -> None:
        """The oldest frame in work has its result, which the gate hears of or not; its slot is granted again."""
        if self.in_work:
            stream, seq, name, slot = self.in_work.popleft()
            result = Result(stream=self.streams[stream], seq=seq, name=name, timestamp=1)
            self.log(self.streams[stream], msgspec.json.encode(result), is_lost)
            self.sessions.slots.append(slot)
        for stream in self.ended:
            name = self.streams[stream]
            if len(self.lines.get(name, [])) == FRAMES:
                eos = Eos(run="r", stream=name, seq=FRAMES + 1, ok=FRAMES, failed=0, dropped=0)
                self.log(name, msgspec.json.encode(eos), is_lost)

    def log(self, stream: str, data: bytes, is_lost: bool) -> None:
        self.lines.setdefault(stream, []).append(data)
        line = read_line(data)
        assert line is not None
        if not is_lost:
            self.returns.hear(stream, line)

    def give(self, most: int) -> None:
        """Lines go back, so many to each; some are asked for."""
        for following in [*self.returns.batches(), *self.returns.full()]:
            lines = [line.data for line in following.batch[:most]]
            for sender in self.senders:
                if sender.caller == following.peer and lines:
                    sender.back.append(upload.Results(lines))
            self.returns.gave(following, len(lines), self.now)
        question = self.returns.question(self.now)
        if question is not None:
            self.returns.fill(self.lines.get(question.stream, [])[question.first - 1 :][:3])

    def pass_time(self) -> None:
        self.now += 5.0
        self.perform(self.sessions.tick(self.now))
        self.returns.tick(self.now)

    def step(self) -> None:
        """All that moves moves, in good order."""
        for number, sender in enumerate(self.senders):
            sender.put()
            sender.push()
            self.carry(number)
            sender.hear()
        self.take()
        self.publish(False)
        self.give(9)


EVENTS = ["put", "push", "carry", "hear", "take", "publish", "lose", "give", "give0", "time", "cut", "restart", "gate"]
WHAT = st.tuples(st.sampled_from(EVENTS), st.integers(0, len(NAMES) - 1))


@settings(deadline=None, max_examples=200)
@given(st.lists(WHAT, max_size=120))
def test_each_frame_once_and_each_result_back(history: list[tuple[str, int]]) -> None:
    world = World()
    for what, number in history:
        sender = world.senders[number]
        match what:
            case "put":
                sender.put()
            case "push":
                sender.push()
            case "carry":
                world.carry(number)
            case "hear":
                sender.hear()
            case "take":
                world.take()
            case "publish" | "lose":
                world.publish(what == "lose")
            case "give" | "give0":
                world.give(9 if what == "give" else 0)
            case "time":
                world.pass_time()
            case "cut":
                world.perform(world.sessions.lose(sender.caller))
                sender.connect()
            case "restart":
                world.perform(world.sessions.lose(sender.caller))
                sender.begin()
            case "gate":
                world.kill_gate()
    for round_ in range(300):
        world.step()
        if round_ % 5 == 4:
            world.pass_time()
        if all(len(sender.lines) == FRAMES + 1 for sender in world.senders):
            break
    for sender in world.senders:
        assert sender.lines == world.lines[sender.name]
        assert [msgspec.json.decode(line)["seq"] for line in sender.lines] == list(range(1, FRAMES + 2))
        assert world.read[world.streams.index(sender.name)] == [f"{sender.name}-{seq}" for seq in range(1, FRAMES + 1)]
