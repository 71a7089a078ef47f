"""What has come and gone while a run lived, for who continues it: a file of the run's record, one JSON object a line.

Only grows, written by `up` alone. Half a line at the end (its writer was killed) is none: what it was about had not
begun.
"""

import contextlib
from pathlib import Path

import msgspec

from zpipe.config.keys import IngestConfig
from zpipe.errors import UNDECODABLE


class SourceAdded(msgspec.Struct, frozen=True, tag="added"):
    """A source that the config does not have."""

    source: IngestConfig


class StreamOpened(msgspec.Struct, frozen=True, tag="opened"):
    """A stream that `sender` opened below the entry of ingest that is called `entry`, for which `upload`."""

    stream: str
    entry: str
    sender: str
    upload: str | None


class StreamRemoved(msgspec.Struct, frozen=True, tag="removed"):
    """A stream of which no more is to be read."""

    stream: str


Event = SourceAdded | StreamOpened | StreamRemoved

_decoder = msgspec.json.Decoder(Event)


class News:
    """The file at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Event]:
        """All of it, as far as it can be read."""
        found: list[Event] = []
        with contextlib.suppress(OSError, *UNDECODABLE):
            for line in self.path.read_bytes().split(b"\n")[:-1]:
                found.append(_decoder.decode(line))
        return found

    def add(self, *events: Event) -> None:
        """One line each."""
        if events:
            with open(self.path, "ab") as file:
                file.write(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
