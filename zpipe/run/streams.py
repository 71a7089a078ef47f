"""The streams of a run by number: what they are called, where they come from. What became of their frames is not here.

Numbers are the ledger's: those of the config come first, others as they come. None is used twice.
"""

import re
from dataclasses import dataclass, replace

from zpipe.config.keys import Config, IngestConfig
from zpipe.errors import ZpipeError

SENDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
"""The name of a sender: no dots, so that it can be told from what is around it in the name of a stream."""


def listens(entry: IngestConfig) -> bool:
    """Whether the entry has no source of its own: others open streams below it."""
    return bool(getattr(entry, "listen", None))


@dataclass(frozen=True, slots=True)
class StreamOrigin:
    """Where a stream comes from: ingest entry number `entry`; below one that listens also which `sender` opened it, for
    which `upload` (None: not known any more)."""

    name: str
    entry: int
    sender: str = ""
    upload: str | None = ""


class Streams:
    """All streams of a run. `entries` are the config's entries of ingest, and those that were added since."""

    def __init__(self, config: Config) -> None:
        self.entries = list(config.ingest)
        self._origins: list[StreamOrigin] = []
        self._numbers: dict[str, int] = {}
        self._of_sender: dict[tuple[int, str], list[int]] = {}
        self._of_upload: dict[tuple[int, str, str], int] = {}
        for number, entry in enumerate(config.ingest):
            if not listens(entry):
                self.add(StreamOrigin(str(entry.stream), number))

    def __len__(self) -> int:
        return len(self._origins)

    def __getitem__(self, number: int) -> StreamOrigin:
        return self._origins[number]

    @property
    def listening(self) -> list[int]:
        """The numbers of the entries that others open streams below."""
        return [number for number, entry in enumerate(self.entries) if listens(entry)]

    def name(self, number: int) -> str:
        """What the stream is called in full."""
        return self._origins[number].name

    def find(self, name: str) -> int | None:
        """The number of the stream of this name."""
        return self._numbers.get(name)

    def source_of(self, number: int) -> IngestConfig | None:
        """What ingest reads the stream from; None if a sender gives it."""
        entry = self.entries[self._origins[number].entry]
        return None if listens(entry) else entry

    def add(self, origin: StreamOrigin) -> int:
        """One more stream; its number. ZpipeError if there is one of its name already."""
        if origin.name in self._numbers:
            raise ZpipeError(f"there is a stream {origin.name} already")
        number = self._numbers[origin.name] = len(self._origins)
        self._origins.append(origin)
        if origin.sender:
            self._of_sender.setdefault((origin.entry, origin.sender), []).append(number)
            if origin.upload:
                self._of_upload[origin.entry, origin.sender, origin.upload] = number
        return number

    def claim(self, number: int, upload: str) -> StreamOrigin:
        """This upload goes on with a stream of which nobody knew any more for which it was."""
        origin = self._origins[number] = replace(self._origins[number], upload=upload)
        self._of_upload[origin.entry, origin.sender, upload] = number
        return origin

    def newest_of(self, entry: int, sender: str) -> int | None:
        """The stream that this sender has opened last."""
        numbers = self._of_sender.get((entry, sender))
        return numbers[-1] if numbers else None

    def of_upload(self, entry: int, sender: str, upload: str) -> int | None:
        """The stream of this very upload."""
        return self._of_upload.get((entry, sender, upload))

    def next_origin(self, entry: int, sender: str, upload: str) -> StreamOrigin:
        """What a new upload of the sender is called: `gate.alice`, then `gate.alice.2`."""
        before = len(self._of_sender.get((entry, sender), ()))
        name = f"{self.entries[entry].stream}.{sender}"
        return StreamOrigin(name if not before else f"{name}.{before + 1}", entry, sender, upload)

    def below(self, name: str) -> StreamOrigin | None:
        """The origin of a stream by its name alone, if it can be one that a sender has opened."""
        for number in self.listening:
            prefix = f"{self.entries[number].stream}."
            sender, _, again = name.removeprefix(prefix).partition(".")
            if name.startswith(prefix) and SENDER.fullmatch(sender) and (not again or again.isdecimal()):
                return StreamOrigin(name, number, sender, None)
        return None
