"""What becomes of a frame that has killed too many workers: a failed result, its picture kept for its owner."""

import logging
import time
from pathlib import Path

import msgspec

from zpipe import messages, wire
from zpipe.results import quarantine
from zpipe.rules.accounts import Frame
from zpipe.transport.store import Store

log = logging.getLogger(__name__)


def condemn(frame: Frame, stream: str, results: Path, stage: str, reason: str, store: Store) -> None:
    """Write into the frame's body that it failed in `stage`, and why; keep its picture beside the file `results`."""
    try:
        result = messages.unpack(frame.body)
    except msgspec.DecodeError:  # what its workers died of, perhaps
        result = messages.Result(stream=stream, seq=frame.seq, name="", timestamp=time.time_ns())
    messages.fail(result, stage, f"{frame.attempts} attempts: {reason}")
    frame.body = wire.body_of(result, stage)
    try:
        picture = store.open(frame.picture).content(result.resolution)
        path = quarantine.keep(results.parent / "quarantine", result, picture)
        log.warning("frame.failed stream=%s seq=%d kept=%s", result.stream, result.seq, path)
    except OSError as error:
        log.warning("frame.failed stream=%s seq=%d kept=no (%s)", result.stream, result.seq, error)
