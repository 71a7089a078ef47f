"""Which kind of source a path is, and the source of it: by suffix, else by the first bytes.

Nothing here lists, reads or decodes frames; each kind has a file of its own.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from zpipe.config.keys import IngestConfig
from zpipe.config.kinds import SOURCE_OF_KEY
from zpipe.errors import ConfigError
from zpipe.images.headers import sniff
from zpipe.source import Source
from zpipe.sources.directory import open_directory
from zpipe.sources.files import IMAGE_SUFFIXES
from zpipe.sources.image import open_image
from zpipe.sources.listfile import open_listfile
from zpipe.sources.video import VIDEO_SUFFIXES, open_video

OPENERS: dict[str, Callable[[IngestConfig, int], Source]] = {
    "directory": open_directory,
    "image": open_image,
    "list file": open_listfile,
    "video": open_video,
}

LIST_SUFFIXES = frozenset([".txt", ".lst", ".list"])

VIDEO_STARTS = re.compile(
    rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI |FLV\x01|\x47.{187}\x47|\0\0\x01[\xb3\xba]|OggS"
    rb"|\x30\x26\xb2\x75",
    re.DOTALL,
)
"""MP4 and MOV, Matroska and WebM, AVI, FLV, MPEG transport and program streams, Ogg, ASF and WMV."""


def open_source(config: IngestConfig, max_pixels: int) -> Source:
    """The source of one stream; `ConfigError` if its path is none, or a key not for this kind of source."""
    return OPENERS[check_source(config)](config, max_pixels)


def check_source(config: IngestConfig) -> str:
    """The kind of a source; `ConfigError` as from `open_source`, as far as that can be told without opening it."""
    kind = kind_of(config.path)
    unset = IngestConfig(path=config.path)
    for key, wanted in SOURCE_OF_KEY.items():
        if kind != wanted and getattr(config, key) != getattr(unset, key):
            raise ConfigError(f"ingest path {config.path}: {key} works for a {wanted} only, this is: {kind}")
    return kind


def kind_of(path: str) -> str:
    """A key of `OPENERS`: by suffix, else by the first bytes; cheap, opens no decoder. Else `ConfigError`."""
    if os.path.isdir(path):
        return "directory"
    if not os.path.exists(path):
        missing = "a link to nowhere" if os.path.islink(path) else "no such file or directory"
        raise ConfigError(f"ingest path {path}: {missing}")
    if not os.path.isfile(path):
        raise ConfigError(f"ingest path {path}: neither a file nor a directory")
    suffix = Path(path).suffix.lower()
    suffixes = {"image": IMAGE_SUFFIXES, "video": VIDEO_SUFFIXES, "list file": LIST_SUFFIXES}
    for kind in suffixes:
        if suffix in suffixes[kind]:
            return kind
    return _kind_by_content(path)


def _kind_by_content(path: str) -> str:
    try:
        with open(path, "rb") as file:
            start = file.read(256)
    except OSError as error:
        raise ConfigError(f"ingest path {path}: cannot be read: {error.strerror}") from error
    if sniff(start):
        return "image"
    if VIDEO_STARTS.match(start):
        return "video"
    raise ConfigError(
        f"ingest path {path}: of no known kind; expected a directory, an image, a video, or a list of images"
        f" ({', '.join(sorted(LIST_SUFFIXES))})"
    )
