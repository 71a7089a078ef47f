"""`zpipe draw`: finds the picture of each result again, in the sources of the run, and has it drawn."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from zpipe.config.keys import FramesConfig, IngestConfig
from zpipe.config.loading import load
from zpipe.draw.files import CODECS, RATE, write_pictures
from zpipe.draw.look import ALL, Look
from zpipe.errors import UNDECODABLE, ConfigError, ResultsError
from zpipe.images.decoding import decode
from zpipe.pixels import Pixels
from zpipe.source import SourceFrame
from zpipe.sources.files import IMAGE_SUFFIXES
from zpipe.sources.opening import open_source
from zpipe.sources.room import Memory
from zpipe.sources.video import VIDEO_SUFFIXES

Progress = Callable[[int], None]


def draw_results(
    results: str,
    out: Path,
    places: list[str],
    config: str | None,
    look: Look = ALL,
    progress: Progress = lambda done: None,
    key: str | None = None,
) -> int:
    """Draw the frames of a results file, or of an endpoint as they come; how many pictures were written.

    `places` are `[STREAM=]PATH`: where the frames of a stream (or of the only one) are. Without any the sources of
    `config` are used. `out` is a folder, or a video file if it has a video's suffix; several streams have a folder
    or a video each. `key`: our key file, for an endpoint that has keys.
    """
    if not _is_endpoint(results) and not Path(results).is_file():
        raise ResultsError(f"{results}: no such file; a results file or an endpoint (tcp://...) is drawn")
    sources = sources_of(places, config)
    _check_out(out, sources)
    streams = set(filter(look.wants, _streams_of(results, sources)))
    if look.streams - streams and not _is_endpoint(results):
        raise ResultsError(f"{results} has no stream {', '.join(sorted(look.streams - streams))}")
    pictures = Pictures(sources)
    video = out if out.suffix.lower() in CODECS else None
    return write_pictures(
        *(read(results, key), pictures.find, out, video, progress),
        look=look,
        by_stream=len(streams) > 1 and len(look.streams) != 1,
        rate_of=pictures.rate_of,
    )


def _check_out(out: Path, sources: dict[str, IngestConfig]) -> None:
    """Refuse what would replace the frames themselves, or become a folder that is called as a file."""
    for entry in sources.values():
        if out.resolve() == Path(entry.path).resolve():
            raise ConfigError(f"{out}: the frames are there, and pictures of the same names would replace them")
    suffix = out.suffix.lower()
    if suffix in (VIDEO_SUFFIXES | IMAGE_SUFFIXES) - CODECS.keys() and not out.is_dir():
        raise ConfigError(f"{out}: neither a folder nor a video that can be written ({', '.join(CODECS)})")


def _is_endpoint(results: str) -> bool:
    return results.startswith(("tcp://", "ipc://"))


def _streams_of(results: str, sources: dict[str, IngestConfig]) -> set[str]:
    """The streams of a file; of an endpoint those that there are sources of."""
    if _is_endpoint(results):
        return set(sources)
    return {result["stream"] for result in read(results)}


def read(results: str, key: str | None = None) -> Iterator[dict[str, Any]]:
    """The frames' results, from a file or live."""
    if _is_endpoint(results):
        from zpipe.client.subscription import subscribe

        for result in subscribe(results, from_start=True, key=key):
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
        self._readers: dict[str, FrameReader] = {}

    def find(self, result: dict[str, Any]) -> Pixels | None:
        """The picture (height, width, 3) BGR of a result; None if it is not there, FrameError if it is broken."""
        stream = result["stream"]
        entry = self._sources.get(stream) or self._sources.get("")
        if entry is None:
            return None
        reader = self._readers.get(stream)
        if reader is None or reader.seq > result["seq"]:
            reader = self._readers[stream] = FrameReader(entry, result["seq"])
        return reader.read(result["seq"])

    def rate_of(self, stream: str) -> float:
        """Frames per second of a stream that a picture was found of, as its source has them."""
        reader = self._readers.get(stream)
        return (reader and reader.rate) or RATE


class FrameReader:
    """One source, read from a number on."""

    def __init__(self, entry: IngestConfig, first: int) -> None:
        self._source = open_source(entry, FramesConfig().max_pixels)
        self._frames = self._source.frames(first)
        self.rate = self._source.rate
        self.seq = first

    def read(self, seq: int) -> Pixels | None:
        """The picture of frame `seq`, which must not be before the last one that was read."""
        while (frame := next(self._frames, None)) is not None:
            self.seq += 1
            if self.seq > seq:
                return picture_of(frame)
        return None


def picture_of(frame: SourceFrame) -> Pixels:
    """A source's frame as a picture (height, width, 3) BGR; FrameError if it cannot be read or decoded."""
    room = Memory()
    frame.load(room)
    picture = room.decoded
    return decode(room.file, Memory().pixels, FramesConfig().max_pixels) if picture is None else picture
