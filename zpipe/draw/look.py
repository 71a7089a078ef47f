"""What of the results is drawn: which streams, which objects, which classes, with or without labels."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Look(NamedTuple):
    """A choice; what is empty chooses all."""

    streams: frozenset[str] = frozenset()
    min_confidence: float = 0.0
    """Least of an object's detection."""
    stages: frozenset[str] = frozenset()
    """Whose classes are drawn, below the detection; `detect` has none."""
    with_labels: bool = True

    def wants(self, stream: str) -> bool:
        """Whether the frames of the stream are drawn."""
        return not self.streams or stream in self.streams

    def choose(self, objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The objects of a result that are drawn, with the classes that are."""
        return [
            {**item, "classification": [best for best in item.get("classification") or () if self._names(best)]}
            for item in objects
            if item["detection"]["confidence"] >= self.min_confidence
        ]

    def _names(self, best: Mapping[str, Any]) -> bool:
        return not self.stages or best["stage"] in self.stages


ALL = Look()
