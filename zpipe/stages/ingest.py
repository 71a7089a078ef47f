"""Ingest: reads one source and puts each frame into a slot that the broker has granted."""

import logging
import time
from collections import deque

from zpipe import messages, wire
from zpipe.errors import FrameError
from zpipe.messages import Resolution, Result
from zpipe.orders import IngestTask
from zpipe.source import Source, SourceFrame
from zpipe.transport.board import Heart
from zpipe.transport.link import WorkerLink
from zpipe.transport.store import Store

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
    ) -> None:
        self._link = link
        self._heart = heart
        self._store = store
        self._source = source
        self._stream = stream
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
            self._link.put(message, self._heart.finish())
        self._heart.beat()
        if self._source.note:
            log.warning("source.note stream=%s %s", self._stream, self._source.note)
        self._link.send(wire.End(self._link.worker, self._seq - 1, self._source.skipped, not ended))
        while not self._stopping:
            self._listen(self._link.receive())

    def _beat(self) -> None:
        """The source goes through frames on the way to ours: that is no time on this frame."""
        self._heart.begin(self._number, self._seq)

    def _await_slot(self) -> bool:
        """Wait until there is a slot to fill; False if the broker wants no more."""
        self._listen(self._link.take())
        while not (self._slots or self._stopping):
            self._link.flush()
            self._listen(self._link.receive())
        return not self._stopping

    def _listen(self, messages: list[wire.ToWorker]) -> None:
        if not messages and not self._slots:
            self._heart.beat()
        for message in messages:
            if isinstance(message, wire.Grant):
                self._slots.extend(message.slots)
            elif isinstance(message, wire.Stop):
                self._stopping = True

    def _read(self, frame: SourceFrame, number: int) -> wire.Read:
        slot = self._store.empty(number)
        result = Result(stream=self._stream, seq=self._seq, name=frame.name, timestamp=time.time_ns())
        try:
            if self._seq in self._condemned:
                raise FrameError(self._condemned[self._seq])
            frame.load(slot)
        except FrameError as error:
            messages.fail(result, "ingest", str(error))
        pixels = slot.pixels_shape
        if pixels is not None:
            result.resolution = Resolution(width=pixels[1], height=pixels[0])
        body = wire.body_of(result, "ingest")
        return wire.Read(self._link.worker, self._seq, slot.picture, result.status == "failed", body)
