"""What the ledger is written in: a frame in flight, the account of a stream, who holds what, and what is to be done.

Plain records; the rules about them are the ledger's.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from zpipe.wire import Picture


@dataclass(slots=True, eq=False)
class Frame:
    """A frame in flight. `body` is what the last stage said of it (opaque here); `attempts` counts from 1."""

    stream: int
    seq: int
    picture: Picture
    body: bytes
    failed: bool = False
    stage: int = 0
    holder: int | None = None
    attempts: int = 1


class SendFrame(NamedTuple):
    """Give the frame to the worker."""

    worker: int
    frame: Frame


class CondemnFrame(NamedTuple):
    """The frame has killed too many workers of this stage: write that into its body; the sink gets it next."""

    frame: Frame
    stage: int


class GrantSlots(NamedTuple):
    """Let the ingest worker put frames into these slots."""

    worker: int
    slots: list[int]


class RecallSlots(NamedTuple):
    """Let the ingest worker give back the slots that it does not fill at this moment: another one has none."""

    worker: int


class CloseStream(NamedTuple):
    """All `total` results of the stream are published: let the sink publish its end of stream."""

    worker: int
    stream: int
    total: int


class LeaveStream(NamedTuple):
    """Let the ingest worker read no more of the stream; it goes on with its others."""

    worker: int
    stream: int


class DismissWorker(NamedTuple):
    """The worker holds nothing and gets nothing more: let it stop."""

    worker: int


Action = SendFrame | CondemnFrame | GrantSlots | RecallSlots | CloseStream | LeaveStream | DismissWorker


@dataclass(slots=True)
class Stream:
    """The account of one stream. `read` counts accepted frames; `count` is their final number once it is known.

    `reader`: the living ingest worker that reads it; `leaving`: nothing more of it is to be read. `closing`: the sink
    that was told to publish the end. `suspect`: the frame that the last ingest was reading when it died, and `attempts`
    how often that happened, counted from 1. (The suspect is not always the next frame to be read: frames that the dead
    ingest had read before it may not have been sent.)
    """

    read: int = 0
    published: int = 0
    ok: int = 0
    failed: int = 0
    dropped: int = 0
    count: int | None = None
    reader: int | None = None
    leaving: bool = False
    drained: bool = False
    closed: bool = False
    closing: int | None = None
    suspect: int = 0
    attempts: int = 1

    @property
    def in_flight(self) -> int:
        """Frames of it that are not published yet."""
        return self.read - self.published

    @property
    def balanced(self) -> bool:
        """Every frame that was read has one published result."""
        return self.closed and self.read == self.published == self.ok + self.failed


@dataclass(slots=True)
class Holder:
    """A living worker of a stage and what it holds, oldest first."""

    stage: int
    depth: int
    held: dict[tuple[int, int], Frame] = field(default_factory=dict)
    retiring: bool = False


@dataclass(slots=True)
class Reader:
    """A living ingest worker: the streams that it reads and that have not ended, the slots that it may still fill.

    `in_flight`: frames of those streams together. `stays`: it is not sent home after its last stream, others may come.
    `recalled`: it was asked for its slots back, and has got none since.
    """

    stays: bool = False
    streams: set[int] = field(default_factory=set)
    granted: set[int] = field(default_factory=set)
    in_flight: int = 0
    recalled: bool = False

    @property
    def used(self) -> int:
        """Slots that its frames have, or may have."""
        return self.in_flight + len(self.granted)
