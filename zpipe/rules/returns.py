"""How results go back to senders: each line once a connection and in order, whatever the gate does not hear. Pure.

Lines come live from the sink and, where one was missed, from its history. A line counts as returned when it was given
to the sender's socket; while that is full, lines are not kept here: the history has them. At most one question is under
way at a time, of each stream in turn, so that what all this costs does not depend on who misses how much.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from zpipe.errors import UNDECODABLE
from zpipe.rules.sessions import Caller

QUIET_S, MOST_QUIET_S = 0.5, 4.0
"""Results that do not come are asked for after so long, then less and less often."""

REPLY_S = 2.0
"""A question without a reply for so long is asked again."""

MOST_KEPT = 64
"""Lines that are kept for a socket that is full."""

STUCK_S = 30.0
"""Who has not taken a line for so long, though there are some, does not read."""


class ResultLine(NamedTuple):
    """A published line: its number, and whether it is the end of its stream."""

    seq: int
    is_end: bool
    data: bytes


class Question(NamedTuple):
    """The lines of a stream from number `first` on, please."""

    stream: str
    first: int


class ResultHead(msgspec.Struct):
    """As much of a line as must be known here."""

    type: str
    seq: int


_head = msgspec.json.Decoder(ResultHead)


def read_line(data: bytes) -> ResultLine | None:
    """A published line; None if it is none."""
    try:
        head = _head.decode(data)
    except UNDECODABLE:
        return None
    return ResultLine(head.seq, head.type == "eos", data)


@dataclass(slots=True, eq=False)
class Following:
    """A sender that gets results. `next`: the number of its next line; `last`: the last that is known to come.

    `batch`: lines for it that were not given to its socket yet. `is_behind`: it is in the queue for the history.
    `full_since`: since when its socket takes nothing.
    """

    peer: Caller
    stream: str
    next: int
    last: int
    quiet_at: float
    quiet_s: float = QUIET_S
    batch: list[ResultLine] = field(default_factory=list)
    is_behind: bool = False
    is_done: bool = False
    full_since: float | None = None


class Returns:
    """All senders' results."""

    def __init__(self) -> None:
        self._all: dict[str, Following] = {}
        self._touched: dict[str, Following] = {}
        self._behind: deque[Following] = deque()
        self._asked: Question | None = None
        self._asked_at = 0.0

    def follow(self, peer: Caller, stream: str, first: int, last: int, now: float) -> None:
        """The peer wants the results of the stream from now on."""
        self.leave(stream)
        following = self._all[stream] = Following(peer, stream, first, last, now + QUIET_S)
        if last >= first:
            self._fall_behind(following)

    def leave(self, stream: str) -> None:
        """Nobody wants them any more."""
        following = self._all.pop(stream, None)
        self._touched.pop(stream, None)
        if following is not None and following.is_behind:
            self._behind.remove(following)

    def expect(self, stream: str, last: int) -> None:
        """There will be lines up to this number."""
        following = self._all.get(stream)
        if following is not None:
            following.last = max(following.last, last)

    def hear(self, stream: str, line: ResultLine) -> None:
        """Take a live line."""
        following = self._all.get(stream)
        if following is None or following.is_done:
            return
        expected = following.next + len(following.batch)
        following.last = max(following.last, line.seq)
        if following.full_since is not None:
            return
        if line.seq > expected:
            self._fall_behind(following)
        elif line.seq == expected:
            self._add(following, line)

    def tick(self, now: float) -> None:
        """Some time has passed: results that should have come by now are asked for."""
        for following in self._all.values():
            is_due = following.last >= following.next and now >= following.quiet_at
            if is_due and following.full_since is None and not following.is_done:
                following.quiet_s = min(2 * following.quiet_s, MOST_QUIET_S)
                following.quiet_at = now + following.quiet_s
                self._fall_behind(following)

    def question(self, now: float) -> Question | None:
        """What to ask the history now, if anything."""
        if self._asked is not None and now - self._asked_at < REPLY_S:
            return None
        self._asked = None
        while self._behind:
            following = self._behind.popleft()
            following.is_behind = False
            if following.full_since is None and not following.is_done and not following.batch:
                self._asked, self._asked_at = Question(following.stream, following.next), now
                break
        return self._asked

    def fill(self, lines: Sequence[bytes]) -> None:
        """Take the history's reply."""
        asked, self._asked = self._asked, None
        following = self._all.get(asked.stream) if asked is not None else None
        if following is None or following.is_done or following.full_since is not None:
            return
        for line in filter(None, map(read_line, lines)):
            if line.seq == following.next + len(following.batch):
                self._add(following, line)
        if lines and following.last >= following.next + len(following.batch):
            self._fall_behind(following)  # there may be more of it

    def batches(self) -> list[Following]:
        """Who has lines to be given to their sockets; of each it is to be told how many were (`gave`)."""
        touched, self._touched = self._touched, {}
        return list(touched.values())

    def full(self) -> list[Following]:
        """Whose sockets were full: to be tried again."""
        return [following for following in self._all.values() if following.full_since is not None]

    def gave(self, following: Following, count: int, now: float) -> None:
        """Its socket has taken the first `count` lines of its batch, and is full if that is not all."""
        if count:
            following.is_done = following.batch[count - 1].is_end
            following.next += count
            following.quiet_s, following.quiet_at = QUIET_S, now + QUIET_S
        del following.batch[:count]
        was_full = following.full_since is not None
        if following.batch:
            following.full_since = now if count else following.full_since or now
            del following.batch[MOST_KEPT:]
        elif was_full:
            following.full_since = None
            if following.last >= following.next:
                self._fall_behind(following)

    @property
    def is_done(self) -> bool:
        """Everybody has everything that is known to come."""
        return all(following.is_done or following.next > following.last for following in self._all.values())

    def _add(self, following: Following, line: ResultLine) -> None:
        following.batch.append(line)
        self._touched[following.stream] = following

    def _fall_behind(self, following: Following) -> None:
        if not following.is_behind:
            following.is_behind = True
            self._behind.append(following)
