"""What a frame costs the ledger, in lines of Python that are run: the same whatever the number of streams."""

import sys
from types import FrameType
from typing import Any

from zpipe.rules.ledger import Ledger
from zpipe.wire import Picture

INGEST, DETECT, SINK = 1, 2, 3


def lines_a_frame(streams: int) -> int:
    """Lines run for one frame of each of 20 streams, after each has had one."""
    ledger, lines = Ledger(1, streams, 16), 0
    ledger.join(DETECT, 0)
    ledger.join(SINK, 1)
    ledger.join_ingest(INGEST, range(streams))

    def pass_on(stream: int, seq: int) -> None:
        ledger.read(INGEST, stream, seq, Picture(min(ledger.ingests[INGEST].granted)), b"", failed=False)
        ledger.output(DETECT, stream, seq, b"", failed=False)
        ledger.published(SINK, stream, seq)

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    for number in range(20):
        pass_on(number % streams, number // streams + 1)
    before = sys.gettrace()
    sys.settrace(count)
    try:
        for number in range(20, 40):
            pass_on(number % streams, number // streams + 1)
    finally:
        sys.settrace(before)
    return lines


def test_it_does_not_grow_with_the_streams() -> None:
    assert lines_a_frame(1) == lines_a_frame(100) == lines_a_frame(1000)
