"""The senders at the gate: who is connected as whom, which frame each may send next, and who waits for a slot. Pure.

In come messages of senders, answers of the broker, slots; out come actions, to be performed in order. Time is an
argument. A frame goes this way:

    sender ──▶ expected number? ──▶ held ──▶ its sender's turn, and a slot is free ──▶ taken

What is not taken yet may be dropped at any moment, and asked for again: the sender keeps each frame until its result
has come. So all that is held here is bounded, whoever sends what, and after a crash nothing here is missed: where a
stream stands the broker knows.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from zpipe import upload
from zpipe.upload import FromSender, ToSender

T = TypeVar("T")

ASK_AGAIN_S = 1.0
"""A frame that is missing is asked for again so often."""

LEAST_FRAMES, MOST_FRAMES = 2, 64
"""Credit of a sender: one frame on its way while another is in work, and no more than a second of a fast pipeline."""


class Caller(NamedTuple):
    """A connection: the ingest entry whose socket it is of, and what that socket calls it."""

    entry: int
    id: bytes


class Bounds(NamedTuple):
    """What all senders together may have under way: frames without a result, bytes that are held here."""

    frames: int = 1024
    bytes: int = 256 << 20


class Held(NamedTuple, Generic[T]):
    """A frame that waits for a slot; `load` is what it will be read from."""

    seq: int
    load: T
    size: int


class Say(NamedTuple):
    """Tell a peer."""

    peer: Caller
    message: ToSender


class OpenStream(NamedTuple):
    """Ask the broker for a stream."""

    entry: int
    name: str
    upload: str


class EndStream(NamedTuple):
    """The stream has `count` frames. `name`: what it is called, if somebody is connected who sends it."""

    stream: int
    name: str
    total: int
    drained: bool


class Follow(NamedTuple):
    """The peer wants the results of this stream from number `first` on; there are, or will be, some up to `last`."""

    peer: Caller
    stream: str
    first: int
    last: int


class Unfollow(NamedTuple):
    """Nobody wants the results of this stream any more."""

    stream: str


Deed = Say | OpenStream | EndStream | Follow | Unfollow


class Take(NamedTuple, Generic[T]):
    """Put the frame into the slot: it is number `seq` of the stream."""

    stream: int
    name: str
    seq: int
    load: T
    slot: int


@dataclass(slots=True, eq=False)
class SenderSession(Generic[T]):
    """A sender that is connected. `number` tells newer from older ones; `next` is the frame that is taken next.

    `asked`: the number that it was asked for again, `asked_at` when. `is_parched`: it is asked once there is room.
    `count`: how many frames it says there are. `is_left`: its stream was ended from here, whatever it has yet.
    """

    peer: Caller
    name: str
    upload: str
    number: int
    first: int
    stream: int | None = None
    stream_name: str = ""
    next: int = 1
    held: deque[Held[T]] = field(default_factory=deque)
    asked: int = 0
    asked_at: float = 0.0
    is_parched: bool = False
    count: int | None = None
    ended: bool = False
    is_left: bool = False
    credit: tuple[int, int] = (0, 0)

    @property
    def expected(self) -> int:
        """The number of the frame that may come next."""
        return self.next + len(self.held)


class Sessions(Generic[T]):
    """All senders of a gate. `draining`: no further frame is taken."""

    def __init__(self, bounds: Bounds = Bounds()) -> None:  # noqa: B008  immutable
        self.bounds = bounds
        self.peers: dict[Caller, SenderSession[T]] = {}
        self.slots: deque[int] = deque()
        self.held_bytes = 0
        self.draining = False
        self._names: dict[tuple[int, str], SenderSession[T]] = {}
        self._streams: dict[int, SenderSession[T]] = {}
        self._opening: deque[SenderSession[T]] = deque()
        self._reading: dict[int, int] = {}
        self._turns: deque[SenderSession[T]] = deque()
        self._parched: deque[SenderSession[T]] = deque()
        self._last_number = 0

    # ---- senders ------------------------------------------------------------------------------------------

    def meet(self, peer: Caller, hello: upload.Hello, now_ns: int) -> list[Deed]:
        """A sender says who it is. `now_ns`: since 1970, so that sessions are numbered on after a restart."""
        if hello.version != upload.VERSION:
            said = f"this is version {upload.VERSION} of the protocol, you speak version {hello.version}"
            return [Say(peer, upload.TurnedAway(said))]
        current = self._names.get((peer.entry, hello.name))
        if current is not None and current.peer == peer and current.upload == hello.upload:
            current.first = hello.first
            return [] if current.stream is None else self._welcome(current)
        if self.draining:
            return [Say(peer, upload.TurnedAway("the pipeline is being stopped"))]
        actions: list[Deed] = []
        number = hello.session if hello.session <= max(now_ns, self._last_number) else 0
        if current is not None:
            if number and number < current.number:
                return [Say(peer, upload.FencedOff(f"a newer sender is connected as {hello.name}"))]
            actions.append(Say(current.peer, upload.FencedOff(f"a newer sender has connected as {hello.name}")))
            actions += self._forget(current)
        if peer in self.peers:
            actions += self._forget(self.peers[peer])
        session = SenderSession[T](peer, hello.name, hello.upload, number or self._number_new(now_ns), hello.first)
        self.peers[peer] = self._names[peer.entry, hello.name] = session
        self._opening.append(session)
        return [*actions, OpenStream(peer.entry, hello.name, hello.upload)]

    def hear(self, peer: Caller, message: FromSender, load: T | None, size: int, now: float) -> list[Deed]:
        """Take any message but a hello; `load` and `size` are of its picture."""
        session = self.peers.get(peer)
        if session is None:
            return [Say(peer, upload.WhoAreYou())]
        if session.stream is None or session.is_left:
            return []
        match message:
            case upload.NewFrame(seq=seq) | upload.Failed(seq=seq):
                assert load is not None
                return self._hear_frame(session, Held(seq, load, size), now)
            case upload.LastFrame(count=count):
                return self._hear_end(session, count, now)
        return []

    def lose(self, peer: Caller) -> list[Deed]:
        """Its connection is gone."""
        session = self.peers.get(peer)
        return [] if session is None else self._forget(session)

    def tick(self, now: float) -> list[Deed]:
        """Some time has passed: ask again for what is missing, and tell of changed credit."""
        actions: list[Deed] = []
        credit = self._credit()
        for session in self.peers.values():
            if session.stream is None or session.is_left:
                continue
            if session.asked == session.expected and now - session.asked_at > ASK_AGAIN_S and not session.is_parched:
                actions += self._ask(session, now)
            if session.credit != credit:
                session.credit = credit
                actions.append(Say(session.peer, upload.Credit(*credit)))
        return actions

    # ---- the broker ---------------------------------------------------------------------------------------

    def opened(self, stream: int, name: str, following: int, ended: bool, refused: str = "") -> list[Deed]:
        """The broker's answer to the oldest `OpenStream`: frame number `following` is wanted next."""
        if not self._opening:
            return []
        session = self._opening.popleft()
        if not refused and not ended:
            self._reading[stream] = following - 1
        if self.peers.get(session.peer) is not session:
            return self.leave(stream) if self.draining else []
        if refused:
            return [Say(session.peer, upload.TurnedAway(refused)), *self._forget(session)]
        session.stream, session.stream_name, session.next, session.ended = stream, name, following, ended
        self._streams[stream] = session
        return [*self._welcome(session), *(self.leave(stream) if self.draining else [])]

    def drain(self) -> list[Deed]:
        """Take nothing more; all streams end where they stand."""
        self.draining = True
        return [action for stream in list(self._reading) for action in self.leave(stream)]

    def leave(self, stream: int) -> list[Deed]:
        """Take nothing more of this stream: it ends where it stands."""
        count = self._reading.pop(stream, None)
        if count is None:
            return []
        session = self._streams.get(stream)
        actions: list[Deed] = [EndStream(stream, session.stream_name if session is not None else "", count, True)]
        if session is not None:
            self._drop(session)
            session.ended = session.is_left = True
            actions.append(Say(session.peer, upload.Draining()))
        return actions

    def deal(self) -> Iterator[Take[T]]:
        """Frames for free slots, one of each sender in turn."""
        while self.slots and self._turns:
            session = self._turns.popleft()
            assert session.stream is not None
            held = session.held.popleft()
            self.held_bytes -= held.size
            session.next += 1
            self._reading[session.stream] = held.seq
            if session.held:
                self._turns.append(session)
            yield Take(session.stream, session.stream_name, held.seq, held.load, self.slots.popleft())

    def settle(self, now: float) -> list[Deed]:
        """After frames were taken: whose frames were dropped for want of room is asked for them."""
        actions: list[Deed] = []
        while self._parched and 2 * self.held_bytes <= self.bounds.bytes:
            session = self._parched.popleft()
            session.is_parched = False
            actions += self._ask(session, now)
        return actions

    def end(self, stream: int) -> list[Deed]:
        """Frames of the stream were taken: it ends if these were the last."""
        session = self._streams.get(stream)
        if session is None or session.ended or session.count != session.next - 1:
            return []
        session.ended = True
        self._reading.pop(stream, None)
        return [EndStream(stream, session.stream_name, session.next - 1, False)]

    # ---- inside -------------------------------------------------------------------------------------------

    def _hear_frame(self, session: SenderSession[T], held: Held[T], now: float) -> list[Deed]:
        if held.seq < session.expected:
            return []  # accepted already: its result is the answer
        if session.ended or (session.count is not None and held.seq > session.count):
            return self._refuse(session, f"its stream has ended after frame {session.count or session.next - 1}")
        if held.seq > session.expected:
            return self._ask_once(session, now)
        if not self._has_room(session, held.size):
            if not session.is_parched:
                session.is_parched = True
                self._parched.append(session)
            return []
        if session.is_parched:
            self._parched.remove(session)
        session.asked, session.is_parched = 0, False
        if not session.held:
            self._turns.append(session)
        session.held.append(held)
        self.held_bytes += held.size
        return []

    def _hear_end(self, session: SenderSession[T], count: int, now: float) -> list[Deed]:
        if session.ended and count == session.next - 1:
            return []
        if session.ended or count < session.expected - 1:
            return self._refuse(session, f"it ends after {count} frames, and {session.expected - 1} are here")
        session.count = count
        if count >= session.expected:
            return self._ask_once(session, now)
        assert session.stream is not None
        return self.end(session.stream)

    def _has_room(self, session: SenderSession[T], size: int) -> bool:
        if len(session.held) >= MOST_FRAMES:
            return False
        return self.held_bytes + size <= self.bounds.bytes or not self.held_bytes

    def _ask_once(self, session: SenderSession[T], now: float) -> list[Deed]:
        """What is behind a gap keeps coming for a while: one word is enough, or it would all be sent many times."""
        return [] if session.asked == session.expected or session.is_parched else self._ask(session, now)

    def _ask(self, session: SenderSession[T], now: float) -> list[Deed]:
        session.asked, session.asked_at = session.expected, now
        return [Say(session.peer, upload.SendFrom(session.expected))]

    def _refuse(self, session: SenderSession[T], why: str) -> list[Deed]:
        return [Say(session.peer, upload.TurnedAway(why)), *self._forget(session)]

    def _welcome(self, session: SenderSession[T]) -> list[Deed]:
        session.credit = self._credit()
        welcome = upload.Welcome(upload.VERSION, session.number, session.stream_name, session.expected, *session.credit)
        session.asked = 0
        last = session.next - 1 + session.ended
        return [Say(session.peer, welcome), Follow(session.peer, session.stream_name, session.first, last)]

    def _forget(self, session: SenderSession[T]) -> list[Deed]:
        """It is not connected any more, or not as this."""
        self._drop(session)
        if self.peers.get(session.peer) is session:
            del self.peers[session.peer]
        if self._names.get((session.peer.entry, session.name)) is session:
            del self._names[session.peer.entry, session.name]
        if session.stream is None:
            return []
        if self._streams.get(session.stream) is session:
            del self._streams[session.stream]
        return [Unfollow(session.stream_name)]

    def _drop(self, session: SenderSession[T]) -> None:
        if session.held:
            self._turns.remove(session)
        if session.is_parched:
            self._parched.remove(session)
        self.held_bytes -= sum(held.size for held in session.held)
        session.held.clear()
        session.is_parched = False

    def _credit(self) -> tuple[int, int]:
        count = max(1, len(self.peers))
        return max(LEAST_FRAMES, min(MOST_FRAMES, self.bounds.frames // count)), self.bounds.bytes // count

    def _number_new(self, now_ns: int) -> int:
        self._last_number = max(now_ns, self._last_number + 1)
        return self._last_number
