"""Ordinary memory that a source loads a frame into, as ingest loads it into a slot of the shared store.

For whoever reads frames outside of a pipeline: `bench`, `draw`. Grows as it must, and is used again for the next frame.
"""

import numpy as np
from numpy.typing import NDArray


class Memory:
    """Room for one frame (protocol.py's `Slot`); what was loaded before is overwritten."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)
        self._encoded_bytes = 0
        self._pixels: NDArray[np.uint8] | None = None

    def encoded(self, size_bytes: int) -> memoryview:
        """Writable room for an encoded file."""
        self._encoded_bytes, self._pixels = size_bytes, None
        return self._of(size_bytes).data

    def pixels(self, height: int, width: int) -> NDArray[np.uint8]:
        """Writable room for a decoded picture."""
        self._pixels = self._of(height * width * 3).reshape(height, width, 3)
        return self._pixels

    @property
    def decoded(self) -> NDArray[np.uint8] | None:
        """The picture, if the source gave pixels."""
        return self._pixels

    @property
    def file(self) -> memoryview:
        """The encoded file, if the source gave one."""
        return self._memory[: self._encoded_bytes].data

    def _of(self, size_bytes: int) -> NDArray[np.uint8]:
        if len(self._memory) < size_bytes:
            self._memory = np.empty(size_bytes * 5 // 4, np.uint8)
        return self._memory[:size_bytes]
