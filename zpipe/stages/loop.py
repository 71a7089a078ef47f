"""The loop of a worker of a model stage, and what such a stage must have. Starts nobody, opens no socket.

The class of a stage is named in its row of `config.keys.Config`; a new kind of stage is a file with such a class here,
and a row there.
"""

import time
from functools import partial
from importlib import import_module
from typing import NamedTuple, Protocol

from zpipe import messages, wire
from zpipe.config.keys import Stage
from zpipe.errors import FrameError
from zpipe.images.decoding import decode
from zpipe.messages import Resolution, Result
from zpipe.models.interface import Classifier, Detector
from zpipe.pixels import Pixels
from zpipe.source import do_nothing
from zpipe.transport.board import Heart
from zpipe.transport.link import WorkerLink
from zpipe.transport.memory import take_memory
from zpipe.transport.store import Slot, Store, StoreFull

MOST_WAIT_S = 10.0
"""A frame that holds its encoded bytes and waits for room for its pixels is given up after so long."""


class Means(NamedTuple):
    """What a stage may use: threads to compute with, the folders of compiled models and of Python ones."""

    threads: int
    cache: str | None
    models: str | None


class View(Protocol):
    """The picture of a frame for who needs to see it."""

    def pixels(self) -> Pixels:
        """Its pixels; FrameError if it cannot be decoded."""


class StageWork(Protocol):
    """What a worker of a stage does. A class of this shape is made by `open_stage(stage, means)`."""

    name: str
    model: Detector | Classifier | None

    def __init__(self, stage: Stage, means: Means) -> None:
        """Load what is needed; ModelError if it cannot be."""

    def work(self, result: Result, view: View) -> None:
        """Add to the result what this stage says of the frame; FrameError makes it a `failed` result."""

    def rehearse(self, image: Pixels) -> None:
        """One call of the model, whatever is in the image: for who measures it."""

    def close(self) -> None:
        """Let go of the model."""


class Loop:
    """Takes frames, works on each, passes it on.

    `careful`: workers before this one have died, so each output leaves before the next frame is touched. Where several
    leave together, the one of whose frame the process dies as it sends cannot be told from the others.
    """

    def __init__(
        self, stage: StageWork, link: WorkerLink, heart: Heart, store: Store, max_pixels: int, careful: bool = False
    ) -> None:
        self._stage = stage
        self._link = link
        self._heart = heart
        self._store = store
        self._max_pixels = max_pixels
        self._careful = careful

    def run(self) -> None:
        """Until told to stop."""
        while True:
            for message in self._link.receive():
                if isinstance(message, wire.Stop):
                    return
                if isinstance(message, wire.Work):
                    self._heart.begin(message.stream, message.seq)
                    output = self.output_of(message)
                    self._link.put(output, self._heart.done())
                    if self._careful:
                        self._link.flush()
            self._link.flush()
            self._heart.beat()

    def output_of(self, frame: wire.Work) -> wire.Output:
        """What the stage makes of a frame; a frame that it cannot work on is a `failed` result."""
        result = messages.unpack(frame.body)
        picture = StoredPicture(self._store, self._heart, self._max_pixels, frame.picture, result)
        began = time.perf_counter()
        try:
            self._stage.work(result, picture)
            took_s = time.perf_counter() - began - picture.took_s
            result.timing_ms[self._stage.name] = round(took_s * 1e3, 3)
        except FrameError as error:
            messages.fail(result, self._stage.name, str(error))
        body = wire.body_of(result, self._stage.name)
        return wire.Output(self._link.worker, frame.stream, frame.seq, result.status == "failed", body)


class StoredPicture:
    """A frame's picture in the store; the first stage that wants to see it decodes it, straight into its slot."""

    def __init__(self, store: Store, heart: Heart, max_pixels: int, where: wire.Picture, result: Result) -> None:
        self._store = store
        self._heart = heart
        self._max_pixels = max_pixels
        self._where = where
        self._result = result
        self.took_s = 0.0

    def pixels(self) -> Pixels:
        """The pixels that all stages share; the result has their size then. FrameError if it cannot be decoded."""
        began = time.perf_counter()
        slot, size = self._store.open(self._where), self._result.resolution
        if size is not None:
            image = slot.read_pixels(size.height, size.width)
        else:
            image = decode(slot.read_encoded(), partial(self._take_room, slot), self._max_pixels)
            self._result.resolution = Resolution(image.shape[1], image.shape[0])
        self.took_s += time.perf_counter() - began
        self._result.timing_ms.setdefault("decode", round(self.took_s * 1e3, 3))
        return image

    def _take_room(self, slot: Slot, height: int, width: int) -> Pixels:
        """Memory for the pixels. Where it was short, ingest has taken it; but a header may be wrong, or memory may have
        become short since. Then others give some back, or all wait for each other, and one must end that."""
        try:
            return slot.pixels(height, width)
        except StoreFull:
            take = partial(slot.pixels, height, width)
            return take_memory(take, do_nothing, self._heart, self._store, MOST_WAIT_S)


class DecodedPicture:
    """A picture in memory, for who shows one to a stage outside of a pipeline."""

    def __init__(self, image: Pixels) -> None:
        self._image = image

    def pixels(self) -> Pixels:
        """The image."""
        return self._image


def open_stage(stage: Stage, means: Means) -> StageWork:
    """The work of a stage of the chain, its model loaded; ModelError if that is not possible."""
    module, _, name = stage.kind.partition(":")
    work: StageWork = getattr(import_module(module), name)(stage, means)
    return work
