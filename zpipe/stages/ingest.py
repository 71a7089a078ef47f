"""Ingest: reads sources, a frame of each in turn, and puts each frame into a slot that the broker has granted."""

import time
from collections import deque
from collections.abc import Collection, Sequence
from functools import partial

from zpipe import messages, wire
from zpipe.errors import FrameError
from zpipe.images.headers import size_to_decode
from zpipe.messages import Resolution, Result
from zpipe.source import SourceFrame
from zpipe.stages.reading import StreamReading
from zpipe.transport.board import Heart
from zpipe.transport.filling import Filler
from zpipe.transport.link import WorkerLink
from zpipe.transport.store import Store

OPENING = 0
"""In place of a frame's number on the board: the stream's source is being opened."""


class Ingest:
    """The ingest worker of these streams."""

    def __init__(
        self, link: WorkerLink, heart: Heart, store: Store, streams: Sequence[StreamReading], max_pixels: int
    ) -> None:
        self._link = link
        self._heart = heart
        self._store = store
        self._turns = deque(streams)
        self._filler = Filler(store, heart, partial(size_to_decode, max_pixels=max_pixels), self._let_go)
        self._slots: deque[int] = deque()
        self._left: set[int] = set()
        self._stopping = False

    def run(self) -> None:
        """Read until every source has ended or the broker says stop; then wait to be dismissed."""
        for stream in self._turns:
            if stream.source is not None:
                self._say_listed(stream)
                continue
            self._heart.begin(stream.number, OPENING)
            stream.check()
        while self._turns and self._await_slot():
            if self._left:
                self._leave()
            else:
                self._take_turn(self._turns[0])
        for stream in self._turns:
            self._end(stream, drained=True)
        while not self._stopping:
            self._heart.beat()
            self._listen(self._link.receive())

    def _take_turn(self, stream: StreamReading) -> None:
        """Read a frame of the stream, and let the next one have its turn."""
        if stream.source is None:
            self._open(stream)
        frame = stream.next_frame()
        if frame is None:
            self._turns.popleft()
            self._end(stream, drained=False)
            return
        message = self._read(stream, frame, self._slots.popleft())
        stream.seq += 1
        self._link.put(message, self._heart.done())
        self._turns.rotate(-1)

    def _open(self, stream: StreamReading) -> None:
        self._link.flush()  # it may take long, and what is read already can go on
        self._heart.begin(stream.number, OPENING)
        stream.open()
        self._say_listed(stream)

    def _say_listed(self, stream: StreamReading) -> None:
        assert stream.source is not None
        self._link.send(wire.Listed(self._link.worker, stream.number, stream.source.total))

    def _leave(self) -> None:
        """Read no more of the streams that the broker has named."""
        for stream in [stream for stream in self._turns if stream.number in self._left]:
            self._turns.remove(stream)
            self._end(stream, drained=True)
        self._left.clear()

    def _end(self, stream: StreamReading, drained: bool) -> None:
        self._heart.beat()
        count, skipped = stream.seq - 1, stream.close()
        self._link.send(wire.End(self._link.worker, stream.number, count, skipped, drained))

    def _await_slot(self) -> bool:
        """Wait until there is a slot to fill or a stream to leave; False if the broker wants no more."""
        self._listen(self._link.take())
        while not (self._slots or self._left or self._stopping):
            self._link.flush()
            self._heart.beat()
            self._listen(self._link.receive())
        return not self._stopping

    def _listen(self, messages: list[wire.ToWorker]) -> None:
        for message in messages:
            if isinstance(message, wire.Grant):
                self._slots.extend(message.slots)
            elif isinstance(message, wire.Recall):
                self._link.send(wire.GaveBack(self._link.worker, list(self._slots)))
                self._slots.clear()
            elif isinstance(message, wire.Leave):
                self._left.add(message.stream)
            elif isinstance(message, wire.Stop):
                self._stopping = True

    def _let_go(self) -> Collection[int]:
        """Memory is waited for: what is read already must go on, or nobody gives anything back."""
        self._link.flush()
        self._listen(self._link.take())  # slots may be on their way that keep memory
        return self._slots

    def _read(self, stream: StreamReading, frame: SourceFrame, number: int) -> wire.Read:
        slot, seq = self._store.empty(number), stream.seq
        result = Result(stream=stream.name, seq=seq, name=frame.name, timestamp=time.time_ns())
        try:
            if seq in stream.condemned:
                raise FrameError(stream.condemned[seq])
            self._filler.fill(slot, frame)
        except FrameError as error:
            messages.fail(result, "ingest", str(error))
        pixels = slot.pixels_shape
        if pixels is not None:
            result.resolution = Resolution(width=pixels[1], height=pixels[0])
        body = wire.body_of(result, "ingest")
        return wire.Read(self._link.worker, stream.number, seq, slot.picture, result.status == "failed", body)
