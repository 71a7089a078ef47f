"""What a frame costs in the ledger while one ingest reads 1, 100, 1,000 streams; what is kept of one that has ended.

python tests/bench/streams.py
"""

import time
import tracemalloc

from zpipe.rules.ledger import Ledger
from zpipe.wire import Picture

FRAMES, SLOTS, ENDED = 50_000, 16, 10_000
INGEST, DETECT, SINK = 1, 2, 3


def make(streams: int) -> Ledger:
    """A ledger that is ready, with so many streams."""
    ledger = Ledger(1, streams, SLOTS)
    ledger.join(DETECT, 0)
    ledger.join(SINK, 1)
    ledger.join_ingest(INGEST, range(streams))
    return ledger


def pass_on(ledger: Ledger, stream: int, seq: int) -> None:
    """One frame, from its source to its acknowledgement."""
    ledger.read(INGEST, stream, seq, Picture(next(iter(ledger.ingests[INGEST].granted)), 1), b"", False)
    ledger.output(DETECT, stream, seq, b"", False)
    ledger.published(SINK, stream, seq)


def cost_us(streams: int) -> float:
    """Microseconds a frame: of each stream one in turn."""
    ledger = make(streams)
    began = time.perf_counter()
    for number in range(FRAMES):
        pass_on(ledger, number % streams, number // streams + 1)
    return (time.perf_counter() - began) / FRAMES * 1e6


def kept_bytes() -> float:
    """Of each stream that came, had a frame and ended."""
    ledger = make(1)
    tracemalloc.start()
    for _ in range(ENDED):
        stream = ledger.add_stream()
        ledger.read_by(INGEST, stream)
        pass_on(ledger, stream, 1)
        ledger.end(INGEST, stream, drained=False)
        ledger.closed(SINK, stream)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept / ENDED


def main() -> None:
    """Each three times, in turn; the least of them."""
    counts = (1, 100, 1000)
    runs = [[cost_us(count) for count in counts] for _ in range(3)]
    for count, cost in zip(counts, map(min, zip(*runs, strict=True)), strict=True):
        print(f"{count:5} streams: {cost:.2f} us a frame")
    print(f"{kept_bytes():.0f} bytes are kept of a stream that has ended")


if __name__ == "__main__":
    main()
