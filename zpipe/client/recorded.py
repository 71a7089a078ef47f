"""Results that are written already: reads a results file as a subscription reads a topic. Changes nothing in it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from zpipe import messages
from zpipe.errors import ResultsError
from zpipe.messages import Published
from zpipe.results.file import whole_lines


def read_recorded(
    path: str | Path, stream: str | None = None, first: int | None = None
) -> Iterator[tuple[bytes, Published]]:
    """The lines of a results file, as they were published and as typed values. A half written last line is none.

    `stream`: only this one; `first`: from this number of each stream on. ResultsError if the file cannot be read, or at
    a line that is no result.
    """
    try:
        with open(path, "rb") as file:
            for number, (_, line) in enumerate(whole_lines(file.fileno()), 1):
                message = _parse(path, number, line)
                if stream in (None, message.stream) and message.seq >= (first or 1):
                    yield line, message
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from None


def _parse(path: str | Path, number: int, line: bytes) -> Published:
    try:
        return messages.parse(line)
    except msgspec.DecodeError as error:
        raise ResultsError(f"{path}:{number}: not a result: {error}") from None
