"""How a picture gets into a slot of the store: with all the memory that its frame will need, waited for if need be."""

from collections.abc import Callable, Collection
from functools import partial

from zpipe.source import SourceFrame
from zpipe.transport.board import Heart
from zpipe.transport.memory import take_memory
from zpipe.transport.store import PLENTY_BYTES, Slot, Store, StoreFull

SizeOf = Callable[[memoryview], tuple[int, int] | None]
"""(width, height) in pixels of an encoded picture that will be decoded; None: it will not be."""


class Filler:
    """Of one process. `let_go`: called while memory is waited for, so that what was read goes on; returns the slots
    that lie idle here."""

    def __init__(self, store: Store, heart: Heart, size_of: SizeOf, let_go: Callable[[], Collection[int]]) -> None:
        self._store = store
        self._heart = heart
        self._size_of = size_of
        self._let_go = let_go

    def fill(self, slot: Slot, frame: SourceFrame) -> None:
        """Read the frame into its slot; FrameError if it cannot be read. Waits for memory if need be."""
        try:
            self._load(slot, frame)
        except StoreFull:
            load, give_back = partial(self._load, slot, frame), partial(self._give_back, slot)
            take_memory(load, give_back, self._heart, self._store)

    def _load(self, slot: Slot, frame: SourceFrame) -> None:
        frame.load(slot)
        if slot.pixels_shape is None and self._store.free_bytes < PLENTY_BYTES:
            size = self._size_of(slot.read_encoded())
            if size is not None:
                slot.reserve_pixels(size[1], size[0])

    def _give_back(self, slot: Slot) -> None:
        self._store.cut({slot.number, *self._let_go()})
