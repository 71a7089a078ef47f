"""Frames that killed their workers, kept beside the results for their owner to look at."""

from pathlib import Path, PurePosixPath

import msgspec

from zpipe.messages import Result
from zpipe.transport.store import Slot


def keep(folder: Path, result: Result, slot: Slot) -> Path:
    """Write the frame's picture as it was read, and its result as JSON; returns the picture's path.

    Encoded frames are written byte for byte; decoded ones (video) as a NumPy array file, since whatever opens
    them should not have to decode what may be poison.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = PurePosixPath(result.name.replace("\\", "/")).name or "frame"
    path = folder / f"{result.stream}-{result.seq}-{name}"
    if slot.encoded_bytes:
        path.write_bytes(slot.read_encoded())
    elif result.resolution is not None:
        import numpy as np

        path = path.with_name(path.name + ".npy")
        np.save(path, slot.read_pixels(result.resolution.height, result.resolution.width))
    path.with_name(path.name + ".json").write_bytes(msgspec.json.encode(result))
    return path
