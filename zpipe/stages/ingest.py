"""Ingest: reads one source and puts each frame into a slot that the broker has granted."""

import logging
import time
from collections import deque
from functools import partial

from zpipe import messages, wire
from zpipe.errors import FrameError
from zpipe.images.headers import read_header
from zpipe.messages import Resolution, Result
from zpipe.orders import IngestTask
from zpipe.source import Source, SourceFrame
from zpipe.transport.board import Heart
from zpipe.transport.link import WorkerLink
from zpipe.transport.memory import take_memory
from zpipe.transport.store import PLENTY_BYTES, Slot, Store, StoreFull

log = logging.getLogger(__name__)


class Ingest:
    """The ingest worker of one stream, called `stream`, as its task says."""

    def __init__(
        self,
        link: WorkerLink,
        heart: Heart,
        store: Store,
        source: Source,
        stream: str,
        task: IngestTask,
        max_pixels: int,
    ) -> None:
        self._link = link
        self._heart = heart
        self._store = store
        self._source = source
        self._stream = stream
        self._max_pixels = max_pixels
        self._number, self._seq = task.stream, task.start
        self._condemned = {frame.seq: frame.reason for frame in task.condemned}
        self._slots: deque[int] = deque()
        self._stopping = False

    def run(self) -> None:
        """Read until the source ends or the broker says stop; then say so and wait to be dismissed."""
        frames = self._source.frames(self._seq, self._beat, self._condemned)
        ended = False
        while self._await_slot():
            self._heart.begin(self._number, self._seq)
            frame = next(frames, None)
            if frame is None:
                ended = True
                break
            message = self._read(frame, self._slots.popleft())
            self._seq += 1
            self._link.put(message, self._heart.done())
        self._heart.beat()
        if self._source.note:
            log.warning("source.note stream=%s %s", self._stream, self._source.note)
        self._link.send(wire.End(self._link.worker, self._number, self._seq - 1, self._source.skipped, not ended))
        while not self._stopping:
            self._heart.beat()
            self._listen(self._link.receive())

    def _beat(self) -> None:
        """The source goes through frames on the way to ours: that is no time on this frame."""
        self._heart.begin(self._number, self._seq)

    def _await_slot(self) -> bool:
        """Wait until there is a slot to fill; False if the broker wants no more."""
        self._listen(self._link.take())
        while not (self._slots or self._stopping):
            self._link.flush()
            self._heart.beat()
            self._listen(self._link.receive())
        return not self._stopping

    def _listen(self, messages: list[wire.ToWorker]) -> None:
        for message in messages:
            if isinstance(message, wire.Grant):
                self._slots.extend(message.slots)
            elif isinstance(message, wire.Stop):
                self._stopping = True

    def _load(self, frame: SourceFrame, slot: Slot) -> None:
        """Read the frame into its slot; wait with it for memory if need be."""
        try:
            self._fill(slot, frame)
        except StoreFull:
            fill, give_back = partial(self._fill, slot, frame), partial(self._give_back, slot)
            take_memory(fill, give_back, self._heart, self._store)

    def _fill(self, slot: Slot, frame: SourceFrame) -> None:
        frame.load(slot)
        if slot.pixels_shape is None and self._store.free_bytes < PLENTY_BYTES:
            self._reserve_pixels(slot)

    def _give_back(self, slot: Slot) -> None:
        self._link.flush()  # what is read already must go on, or nobody gives anything back
        self._listen(self._link.take())  # slots may be on their way that keep memory
        self._store.cut({slot.number, *self._slots})

    def _reserve_pixels(self, slot: Slot) -> None:
        try:
            width, height = read_header(slot.read_encoded()).upright
        except FrameError:
            return  # no image, or none that will be decoded: that is for who decodes to say
        if width * height <= self._max_pixels:
            slot.reserve_pixels(height, width)

    def _read(self, frame: SourceFrame, number: int) -> wire.Read:
        slot = self._store.empty(number)
        result = Result(stream=self._stream, seq=self._seq, name=frame.name, timestamp=time.time_ns())
        try:
            if self._seq in self._condemned:
                raise FrameError(self._condemned[self._seq])
            self._load(frame, slot)
        except FrameError as error:
            messages.fail(result, "ingest", str(error))
        pixels = slot.pixels_shape
        if pixels is not None:
            result.resolution = Resolution(width=pixels[1], height=pixels[0])
        body = wire.body_of(result, "ingest")
        return wire.Read(self._link.worker, self._number, self._seq, slot.picture, result.status == "failed", body)
