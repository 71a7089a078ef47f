"""What a sender keeps: each frame until its result has come, and which of them is to be sent next. Pure.

The other side of `sessions.py`. Frames get their numbers here, from the one that the pipeline wants next at the first
welcome; at each further one it goes back to what is wanted then.
"""

from collections import deque
from typing import Generic, NamedTuple, TypeVar

from zpipe.errors import SenderError

T = TypeVar("T")


class Kept(NamedTuple, Generic[T]):
    """A frame without a result."""

    seq: int
    content: T
    size: int


class Outbox(Generic[T]):
    """Frames that were put and have no result yet. `next` is the number of the next one (None before a welcome).

    `count`: how many frames there are, once no more come. `answered`: the number of the last result.
    """

    def __init__(self) -> None:
        self.next: int | None = None
        self.count: int | None = None
        self.answered = 0
        self._kept: deque[Kept[T]] = deque()
        self._kept_bytes = 0
        self._sending = 1
        self._sent_bytes = 0
        self._is_end_said = False
        self._frames = self._bytes = 0

    @property
    def waiting(self) -> int:
        """How many frames have no result yet."""
        return len(self._kept)

    def has_room(self, size: int) -> bool:
        """Whether a frame of this size may be put: more are not kept than may be sent."""
        if self.next is None:
            return False
        return not self._kept or (len(self._kept) < self._frames and self._kept_bytes + size <= self._bytes)

    def put(self, content: T, size: int) -> int:
        """Keep a frame; its number."""
        assert self.next is not None
        if self.count is not None:
            raise SenderError("the stream was ended: no frame can follow")
        seq, self.next = self.next, self.next + 1
        self._kept.append(Kept(seq, content, size))
        self._kept_bytes += size
        return seq

    def end(self) -> None:
        """No more frames come."""
        if self.count is None and self.next is not None:
            self.count = self.next - 1

    def welcome(self, following: int, frames: int, size: int) -> None:
        """The pipeline wants this frame next, and gives so much credit; SenderError if it cannot be had here."""
        if self.next is None:
            self.next = following
        self.credit(frames, size)
        self.go_back(following)

    def credit(self, frames: int, size: int) -> None:
        """So many frames and bytes may be without a result."""
        self._frames, self._bytes = frames, size

    def go_back(self, following: int) -> None:
        """Send this frame next; SenderError if it cannot be had here."""
        assert self.next is not None
        first = self._kept[0].seq if self._kept else self.next
        if following > self.next:
            raise SenderError(
                f"the pipeline has frames up to {following - 1} of this upload, and {self.next - 1} were sent from "
                "here: somebody else goes on with it; give each upload an id of its own"
            )
        if following < first:
            raise SenderError(
                f"the pipeline wants frame {following}, and frames up to {first - 1} had their results already: it is "
                "another run, which knows nothing of them; send all of it again"
            )
        self._sending = following
        self._sent_bytes = sum(kept.size for kept in self._kept if kept.seq < following)
        self._is_end_said = False

    def peek(self) -> Kept[T] | None:
        """The next frame to be sent, if one may be."""
        if self.next is None or self._sending >= self.next:
            return None
        before = self._sending - self._kept[0].seq
        kept = self._kept[before]
        has_credit = before < self._frames and self._sent_bytes + kept.size <= self._bytes
        return kept if has_credit or not before else None

    def take(self) -> Kept[T] | None:
        """The same, and from now on it counts as sent."""
        kept = self.peek()
        if kept is not None:
            self._sending += 1
            self._sent_bytes += kept.size
        return kept

    def take_end(self) -> int | None:
        """The count, once it is to be said: after the last frame, once a connection."""
        if self.count is None or self._is_end_said or self.next is None or self._sending < self.next:
            return None
        self._is_end_said = True
        return self.count

    def answer(self, seq: int) -> None:
        """The result of this frame has come, and of all before it."""
        self.answered = max(self.answered, seq)
        while self._kept and self._kept[0].seq <= seq:
            kept = self._kept.popleft()
            self._kept_bytes -= kept.size
            if kept.seq < self._sending:
                self._sent_bytes -= kept.size
        if self._kept:
            self._sending = max(self._sending, self._kept[0].seq)
        elif self.next is not None:
            self._sending = max(self._sending, min(self.next, seq + 1))
