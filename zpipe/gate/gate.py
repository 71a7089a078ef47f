"""The gate's loop: between the senders at its entrances, the broker, and the sink.

For the broker it is an ingest worker whose streams come and go: it puts what senders send into the slots that it is
granted. For the sink it is a subscriber. It decides nothing itself: who may send what is `rules/sessions.py`, who gets
which results `rules/returns.py`. It may be killed at any moment: what it held the senders have, too.
"""

import logging
import time
from collections.abc import Collection, Sequence
from functools import partial

import zmq

from zpipe import messages, upload, wire
from zpipe.config.keys import Config
from zpipe.errors import FrameError
from zpipe.gate.entrance import Heard
from zpipe.gate.entrances import Entrances
from zpipe.gate.pictures import SentFrame
from zpipe.gate.sink import SinkReader
from zpipe.images.headers import size_to_decode
from zpipe.messages import Resolution, Result
from zpipe.rules.returns import STUCK_S, Following, Returns
from zpipe.rules.sessions import Caller, Deed, EndStream, Follow, OpenStream, Say, Sessions, Take, Unfollow
from zpipe.transport.board import Heart
from zpipe.transport.filling import Filler
from zpipe.transport.link import WorkerLink
from zpipe.transport.store import Store

TURN_MS = 50
"""Sockets that were full are tried again so often."""

TICK_S = 0.25

log = logging.getLogger(__name__)


class Gate:
    """The gate of a pipeline: all entries of `ingest` that listen."""

    def __init__(self, link: WorkerLink, heart: Heart, store: Store, config: Config, entrances: Entrances) -> None:
        self._link = link
        self._heart = heart
        self._store = store
        self._max_pixels = config.frames.max_pixels
        self._linger_s = config.sink.linger_s
        self._prefixes = [f"{config.ingest[entry].stream}." for entry in entrances.by_entry]
        self._key = config.keys
        self._entrances = entrances.by_entry
        self._sink: SinkReader | None = None
        self._sessions = Sessions[SentFrame]()
        self._returns = Returns()
        self._filler = Filler(store, heart, partial(size_to_decode, max_pixels=self._max_pixels), self._let_go)
        self._postponed: list[wire.ToWorker] = []
        self._next_tick = 0.0
        self._poller = zmq.Poller()
        self._poller.register(link.inlet, zmq.POLLIN)
        for entrance in self._entrances.values():
            self._poller.register(entrance.socket, zmq.POLLIN)
            self._poller.register(entrance.monitor, zmq.POLLIN)

    def run(self) -> None:
        """Work until told to stop, then until every sender has its results, if it takes them."""
        while not self._sessions.draining:
            self.turn(TURN_MS)
        deadline = time.monotonic() + self._linger_s
        while not self._returns.is_done and time.monotonic() < deadline:
            self.turn(TURN_MS)
        if self._sink is not None:
            self._sink.leave()

    def turn(self, timeout_ms: int) -> None:
        """Wait for something to do and do it: what has come first, then what follows from it."""
        ready = dict(self._poller.poll(timeout_ms))
        self._heart.beat()
        if self._link.inlet in ready or self._postponed:
            self._hear_broker()
        for entrance in self._entrances.values():
            if entrance.monitor in ready or entrance.socket in ready:
                for peer in entrance.meet():
                    self._perform(self._sessions.lose(peer))
            if entrance.socket in ready:
                for heard in entrance.listen():
                    self._hear_sender(heard)
        self._take_frames()
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK_S
            for entrance in self._entrances.values():
                entrance.tick(now)
            self._perform(self._sessions.tick(now))
            self._returns.tick(now)
        if self._sink is not None:
            self._hand_back(self._sink, now)
        self._link.flush()

    def close(self) -> None:
        """Leave the sink. The entrances are others' to close."""
        if self._sink is not None:
            self._sink.close()

    # ---- senders and broker -------------------------------------------------------------------------------

    def _hear_broker(self) -> None:
        waiting, self._postponed = self._postponed, []
        for message in (*waiting, *self._link.take()):
            match message:
                case wire.Grant(slots=slots):
                    self._sessions.slots.extend(slots)
                case wire.Recall():
                    self._link.send(wire.GaveBack(self._link.worker, list(self._sessions.slots)))
                    self._sessions.slots.clear()
                case wire.Opened(stream, name, following, ended, refused):
                    self._perform(self._sessions.opened(stream, name, following, ended, refused))
                case wire.Leave(stream=stream):
                    self._perform(self._sessions.leave(stream))
                case wire.Publishing(publish, history):
                    self._meet_sink(publish, history)
                case wire.Stop():
                    self._perform(self._sessions.drain())

    def _hear_sender(self, heard: Heard) -> None:
        peer, message = heard.peer, heard.message
        if isinstance(message, upload.Hello):
            if heard.may_use_name:
                self._perform(self._sessions.meet(peer, message, time.time_ns()))
            else:
                self._perform([Say(peer, upload.TurnedAway(f"your key is not for the name {message.name}"))])
            return
        size = len(heard.picture) if heard.picture is not None else 0
        frame = None
        if isinstance(message, upload.NewFrame | upload.Failed):
            frame = SentFrame(message, heard.picture, self._max_pixels)
        self._perform(self._sessions.hear(peer, message, frame, size, time.monotonic()))

    def _perform(self, actions: Sequence[Deed]) -> None:
        for action in actions:
            match action:
                case Say(peer, message):
                    self._entrances[peer.entry].say(peer, message)
                case OpenStream(entry, name, upload_id):
                    self._link.send(wire.Open(self._link.worker, entry, name, upload_id))
                case EndStream(stream, stream_name, count, drained):
                    self._returns.expect(stream_name, count + 1)
                    self._link.send(wire.End(self._link.worker, stream, count, 0, drained))
                case Follow(peer, stream_name, first, last):
                    self._returns.follow(peer, stream_name, first, last, time.monotonic())
                case Unfollow(stream_name):
                    self._returns.leave(stream_name)

    # ---- frames -------------------------------------------------------------------------------------------

    def _take_frames(self) -> None:
        """Put frames into the slots that are free."""
        for take in self._sessions.deal():
            self._link.put(self._read(take), self._heart.done())
            self._returns.expect(take.name, take.seq)
            self._perform(self._sessions.end(take.stream))
        self._heart.beat()
        self._perform(self._sessions.settle(time.monotonic()))

    def _read(self, take: Take[SentFrame]) -> wire.Read:
        self._heart.begin(take.stream, take.seq)
        slot = self._store.empty(take.slot)
        result = Result(stream=take.name, seq=take.seq, name=take.load.name, timestamp=time.time_ns())
        try:
            self._filler.fill(slot, take.load)
        except FrameError as error:
            messages.fail(result, "ingest", str(error))
        if slot.pixels_shape is not None and result.status == "ok":
            result.resolution = Resolution(width=slot.pixels_shape[1], height=slot.pixels_shape[0])
        body = wire.body_of(result, "ingest")
        return wire.Read(self._link.worker, take.stream, take.seq, slot.picture, result.status == "failed", body)

    def _let_go(self) -> Collection[int]:
        """Memory is waited for: what was read must go on, or nobody gives anything back."""
        self._link.flush()
        for message in self._link.take():
            if isinstance(message, wire.Grant):
                self._sessions.slots.extend(message.slots)
            else:  # we are in the middle of a frame
                self._postponed.append(message)
        return self._sessions.slots

    # ---- results ------------------------------------------------------------------------------------------

    def _meet_sink(self, publish: str, history: str) -> None:
        if self._sink is not None:
            self._poller.unregister(self._sink.live)
            self._poller.unregister(self._sink.history)
            self._sink.close()
        self._sink = SinkReader(publish, history, self._prefixes, self._key)
        self._poller.register(self._sink.live, zmq.POLLIN)
        self._poller.register(self._sink.history, zmq.POLLIN)

    def _hand_back(self, sink: SinkReader, now: float) -> None:
        """Take results from the sink, give them to whom they belong."""
        for stream, line in sink.hear():
            self._returns.hear(stream, line)
        for lines in sink.replies():
            self._returns.fill(lines)
        for following in (*self._returns.batches(), *self._returns.full()):
            self._give(following, now)
        question = self._returns.question(now)
        if question is not None:
            sink.ask(question)

    def _give(self, following: Following, now: float) -> None:
        given = 0
        entrance = self._entrances[following.peer.entry]
        for message in upload.pack_lines([line.data for line in following.batch]):
            if not entrance.say(following.peer, message):
                break
            given += len(message.lines)
        self._returns.gave(following, given, now)
        if following.full_since is not None and now - following.full_since > STUCK_S:
            self._cut(following.peer, "it does not read its results")

    def _cut(self, peer: Caller, why: str) -> None:
        self._entrances[peer.entry].cut(peer, why)
        self._perform(self._sessions.lose(peer))
