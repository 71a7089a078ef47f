"""Which objects count: thresholds per class, include and exclude lists, what a classify stage leaves out.

The same for every runtime.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zpipe.messages import Object
from zpipe.models.labels import find_label_ids

if TYPE_CHECKING:
    from zpipe.config.keys import ClassifyConfig, DetectConfig

NEVER = 2.0
"""A confidence that no box has: the threshold of classes that are not wanted."""


def find_thresholds(config: "DetectConfig", labels: Sequence[str]) -> tuple[list[float], float]:
    """The least confidence per class and for ids beyond, from `confidence(s)`, `include` and `exclude`."""

    def ids(names: Sequence[str], key: str) -> list[int]:
        return [number for name in names for number in find_label_ids(labels, name, f"{config.model}: {key}")]

    special = {
        number: value for name, value in config.confidences.items() for number in ids([name], f"confidences.{name}")
    }
    wanted = None if config.include is None else set(ids(config.include, "include"))
    unwanted = set(ids(config.exclude or [], "exclude"))
    count = max([len(labels), *(number + 1 for number in {*special, *(wanted or ()), *unwanted})])
    per_class = [
        NEVER
        if number in unwanted or (wanted is not None and number not in wanted)
        else special.get(number, config.confidence)
        for number in range(count)
    ]
    return per_class, config.confidence if wanted is None else NEVER


def find_eligible(config: "ClassifyConfig", objects: Sequence[Object]) -> Sequence[Object]:
    """Those of the objects that the stage classifies: `classes` and `min_size`."""
    if config.classes is not None:
        objects = [item for item in objects if item.detection.label in config.classes]
    if config.min_size is not None:
        width, height = config.min_size
        objects = [item for item in objects if item.w >= width and item.h >= height]
    return objects
