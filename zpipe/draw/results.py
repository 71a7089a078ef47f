"""`zpipe draw`: finds the picture of each result again, in the sources of the run, and has it drawn."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from zpipe.config.keys import FramesConfig, IngestConfig
from zpipe.config.loading import load
from zpipe.draw.files import CODECS, write_pictures
from zpipe.errors import UNDECODABLE, ConfigError, ResultsError
from zpipe.images.decoding import decode
from zpipe.source import SourceFrame
from zpipe.sources.opening import open_source

Progress = Callable[[int], None]


def draw_results(
    results: str, out: Path, places: list[str], config: str | None, progress: Progress = lambda done: None
) -> int:
    """Draw every frame of a results file, or of an endpoint as they come; how many pictures were written.

    `places` are `[STREAM=]PATH`: where the frames of a stream (or of the only one) are. Without any the sources of
    `config` are used. `out` is a folder, or a video file if it has a video's suffix.
    """
    sources = sources_of(places, config)
    for entry in sources.values():
        if out.resolve() == Path(entry.path).resolve():
            raise ConfigError(f"{out}: the frames are there, and pictures of the same names would replace them")
    pictures = Pictures(sources)
    video = out if out.suffix.lower() in CODECS else None
    folder = out.parent if video is not None else out
    return write_pictures(read(results), pictures.find, folder, video, progress)


def read(results: str) -> Iterator[dict[str, Any]]:
    """The frames' results, from a file or live."""
    if results.startswith(("tcp://", "ipc://")):
        from zpipe.client.subscription import subscribe

        for result in subscribe(results, from_start=True):
            yield msgspec.to_builtins(result)
        return
    try:
        with open(results, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    found = msgspec.json.decode(line)
                    if found["type"] == "frame":
                        yield found
                except (*UNDECODABLE, KeyError, TypeError) as error:
                    if line.endswith(b"\n"):
                        raise ResultsError(f"{results}:{number}: not a result: {error}") from None
    except OSError as error:
        raise ResultsError(f"{results}: {error.strerror}") from None


def sources_of(places: list[str], config: str | None) -> dict[str, IngestConfig]:
    """Where each stream's frames are; the key `` stands for every stream."""
    if places:
        named = [place.partition("=") for place in places]
        return {stream if found else "": IngestConfig(path=path if found else stream) for stream, found, path in named}
    if config is None:
        raise ConfigError("say where the frames are: --config with the run's config, or --images [STREAM=]PATH")
    return {str(entry.stream): entry for entry in load(config).ingest}


class Pictures:
    """The frames of all streams, read again in order; going back begins anew."""

    def __init__(self, sources: dict[str, IngestConfig]) -> None:
        self._sources = sources
        self._readers: dict[str, Reader] = {}

    def find(self, result: dict[str, Any]) -> NDArray[np.uint8] | None:
        """The picture (height, width, 3) BGR of a result; None if it is not there, FrameError if it is broken."""
        stream = result["stream"]
        entry = self._sources.get(stream) or self._sources.get("")
        if entry is None:
            return None
        reader = self._readers.get(stream)
        if reader is None or reader.seq > result["seq"]:
            reader = self._readers[stream] = Reader(entry, result["seq"])
        return reader.read(result["seq"])


class Reader:
    """One source, read from a number on."""

    def __init__(self, entry: IngestConfig, first: int) -> None:
        self._source = open_source(entry, FramesConfig().max_pixels)
        self._frames = self._source.frames(first)
        self.seq = first

    def read(self, seq: int) -> NDArray[np.uint8] | None:
        """The picture of frame `seq`, which must not be before the last one that was read."""
        while (frame := next(self._frames, None)) is not None:
            self.seq += 1
            if self.seq > seq:
                return picture_of(frame)
        return None


class Memory:
    """A slot in ordinary memory."""

    data: NDArray[np.uint8]
    decoded = False

    def encoded(self, size_bytes: int) -> memoryview:
        """Room for an encoded file."""
        self.data, self.decoded = np.empty(size_bytes, np.uint8), False
        return self.data.data

    def pixels(self, height: int, width: int) -> NDArray[np.uint8]:
        """Room for a decoded picture."""
        self.data, self.decoded = np.empty((height, width, 3), np.uint8), True
        return self.data


def picture_of(frame: SourceFrame) -> NDArray[np.uint8]:
    """A source's frame as a picture (height, width, 3) BGR; FrameError if it cannot be read or decoded."""
    slot = Memory()
    frame.load(slot)
    return slot.data if slot.decoded else decode(slot.data.tobytes(), Memory().pixels, FramesConfig().max_pixels)
