"""Frames that killed their workers, kept beside the results for their owner to look at.

Nothing here reads a slot, decodes, or decides what is condemned. A copy is its owner's alone (mode 0600) whatever the
picture's was: who runs the pipeline may read more than others, and what comes from a sender or a camera has no mode.
"""

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

import msgspec

from zpipe.messages import Result

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_NAME_BYTES = 255 - len(".npy.json")
"""Of a copy's name: with what is put behind it, it must still be one (NAME_MAX of Linux)."""

MOST_SUFFIX_BYTES = 16


def keep(folder: Path, result: Result, picture: "memoryview | NDArray[np.uint8] | None") -> Path:
    """Write the frame's picture as it was read, and its result as JSON; returns the picture's path.

    `picture`: the encoded file, written byte for byte; or pixels (video), written as a NumPy array file, since whatever
    opens it should not have to decode what may be poison; or None, when it was never read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _make_name(result)
    if isinstance(picture, memoryview):
        with _create(path) as file:
            file.write(picture)
    elif picture is not None:
        import numpy as np

        path = path.with_name(path.name + ".npy")
        with _create(path) as file:
            np.save(file, picture)
    with _create(path.with_name(path.name + ".json")) as file:
        file.write(msgspec.json.encode(result))
    return path


def _make_name(result: Result) -> str:
    """`<stream>-<seq>-<the frame's file name>`, shortened before its suffix where a file name may not be that long."""
    name = PurePosixPath(result.name.replace("\\", "/").replace("\0", "_")).name or "frame"
    whole = os.fsencode(f"{result.stream}-{result.seq}-{name}")
    stem, suffix = os.path.splitext(whole)
    if len(suffix) > MOST_SUFFIX_BYTES:
        stem, suffix = whole, b""
    return stem[: MOST_NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix.decode(errors="ignore")


def _create(path: Path) -> IO[bytes]:
    """A new file that nobody else may read, in place of one of an earlier run."""
    with suppress(FileNotFoundError):
        path.unlink()
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
