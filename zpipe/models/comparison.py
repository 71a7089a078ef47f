"""One object under each normalisation, side by side: which is right a person sees at once, and no program can tell."""

import textwrap
from dataclasses import dataclass

import msgspec
import numpy as np

from zpipe.config.keys import ClassifyConfig
from zpipe.messages import Object, label_of
from zpipe.models.filters import find_eligible
from zpipe.models.interface import Classifier, Detector
from zpipe.models.normalization import PRESETS
from zpipe.models.opening import open_classifier
from zpipe.pixels import Pixels

BEST = 3
LONGEST_LABEL = 24
"""Letters; four columns stand side by side."""


@dataclass(frozen=True)
class Column:
    """What the model says with one normalisation."""

    title: str
    best: list[str]
    """Labels with their confidences, the best first."""


def can_compare(model: Detector | Classifier | None) -> bool:
    """Whether the config decides what the model is given, and the model answers with classes."""
    told = model.describe() if model is not None else {}
    return "normalize" in told and told["output"] not in ("value", "embedding")


def compare(config: ClassifyConfig, image: Pixels, box: list[float], threads: int) -> list[Column]:
    """The best classes of a box (x, y, w, h) for each preset, and for the config's own numbers; the one in effect has
    a star."""
    bare = msgspec.structs.replace(config, normalize="none", mean=None, scale=None, top_k=BEST, threshold=0.0)
    choices: dict[str, ClassifyConfig] = {"none": bare}
    choices |= {name: msgspec.structs.replace(bare, normalize=name) for name in PRESETS}
    in_effect: str = config.normalize
    if config.mean is not None or config.scale is not None:
        in_effect = "mean, scale"
        choices = {in_effect: msgspec.structs.replace(bare, mean=config.mean, scale=config.scale), **choices}
    return [
        Column(f"{title} *" if title == in_effect else title, find_best(choice, image, box, threads))
        for title, choice in choices.items()
    ]


def find_best(config: ClassifyConfig, image: Pixels, box: list[float], threads: int) -> list[str]:
    """The best classes of a box, as text."""
    classifier = open_classifier(config, threads)
    found = classifier.classify(image, np.array([box], np.float32))
    labels = classifier.labels
    classifier.close()
    pairs = zip(found.label_ids[0].tolist(), found.confidences[0].tolist(), strict=True)
    return [
        f"{textwrap.shorten(label_of(labels, label_id), LONGEST_LABEL, placeholder='…')} {confidence:.3f}"
        for label_id, confidence in pairs
        if label_id >= 0
    ]


def choose_box(config: ClassifyConfig, image: Pixels, objects: list[Object]) -> tuple[str, list[float]]:
    """What to compare on, in words, and its box: the surest object that is classified, else the whole picture."""
    wanted = find_eligible(config, objects)
    if not wanted:
        return "the whole picture", [0.0, 0.0, float(image.shape[1]), float(image.shape[0])]
    item = wanted[0]  # they come by falling confidence
    return f"the {item.detection.label} at {item.x:.0f},{item.y:.0f}", [item.x, item.y, item.w, item.h]
