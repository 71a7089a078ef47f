"""How the levels 0..255 of a pixel become a classifier's numbers: presets, and whether the model speaks for another.

Nothing tells for sure how a classifier was trained, and a wrong normalisation gives no error, only wrong classes. So
what a file says of itself is compared with the config; it is never taken instead of it.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from zpipe.errors import ModelError

if TYPE_CHECKING:
    from zpipe.config.keys import ClassifyConfig

Triple = tuple[float, float, float]

PRESETS: dict[str, tuple[Triple, Triple]] = {
    "imagenet": ((123.675, 116.28, 103.53), (1 / 58.395, 1 / 57.12, 1 / 57.375)),  # torchvision's, for 0..255
    "0..1": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
    "-1..1": ((127.5, 127.5, 127.5), (1 / 127.5, 1 / 127.5, 1 / 127.5)),
}
"""`normalize`: mean and scale of levels 0..255, for RGB: (level - mean) * scale."""

ARITHMETIC = {"Subtract", "Add", "Multiply", "Divide", "BatchNormInference"}
"""Before a graph's first convolution these are a normalisation of its own."""

MEAN_KEYS = ("mean", "mean_values", "image_mean", "input_mean", "img_mean", "pixel_mean")
"""Where exporters write it: OpenVINO's tools, transformers, timm and others."""

IMAGENET_NETWORKS = re.compile(
    r"(?<![a-z])(imagenet|resnet|resnext|densenet|efficientnet|mobilenet|convnext|regnet|shufflenet|squeezenet|mnasnet"
    r"|vgg|vit|deit|swin|timm|torchvision)",
    re.IGNORECASE,
)
ULTRALYTICS_CLASSIFIER = re.compile(r"(?<![a-z])yolo\w*[-_]cls", re.IGNORECASE)


def read_triple(value: float | list[float] | None, key: str) -> Triple | None:
    """One number per channel of `mean` or `scale`; a single number is for all."""
    if value is None:
        return None
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) == 1:
        numbers = numbers * 3
    if len(numbers) != 3:
        raise ModelError(f"{key}: one number or three, in the order of `color`; got {len(numbers)}")
    if key == "scale" and 0 in numbers:
        raise ModelError("scale: values are multiplied by it, so with 0 the model would see nothing")
    return numbers[0], numbers[1], numbers[2]


def find_pixel_rule(config: "ClassifyConfig") -> tuple[Triple | None, Triple | None, str]:
    """Mean, scale and colour order of a classifier: numbers, or a preset, which is meant for RGB."""
    if config.normalize == "none":
        return read_triple(config.mean, "mean"), read_triple(config.scale, "scale"), config.color
    if config.mean is not None or config.scale is not None:
        raise ModelError(f"normalize: {config.normalize!r} already says mean and scale; leave out one of them")
    mean, scale = PRESETS[config.normalize]
    if config.color == "bgr":
        mean, scale = (mean[2], mean[1], mean[0]), (scale[2], scale[1], scale[0])
    return mean, scale, "rgb" if config.color == "auto" else config.color


def find_doubts(config: "ClassifyConfig", head: Sequence[str], metadata: Mapping[str, str]) -> Iterator[str]:
    """What the file, its graph or its name say against the config's normalisation, a sentence each.

    `head`: kinds of the graph's operations before its first convolution.
    """
    own = [kind for kind in head if kind in ARITHMETIC]
    is_set = config.normalize != "none" or config.mean is not None or config.scale is not None
    if own:
        if is_set:
            yield f"the graph normalises by itself ({', '.join(own)} before all else); that of the config comes on top"
        return
    told = list(read_metadata(config, metadata))
    yield from told
    if not is_set and not told:
        yield from read_name(os.path.basename(config.model))


def read_metadata(config: "ClassifyConfig", metadata: Mapping[str, str]) -> Iterator[str]:
    """Whether the exporter wrote another mean or scale into the file."""
    mean, scale, _ = find_pixel_rule(config)
    used = sorted(mean or (0.0, 0.0, 0.0))  # the order of the channels is another question
    for key in MEAN_KEYS:
        stated = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", metadata.get(key, ""))]
        if len(stated) not in (1, 3):
            continue
        levels = sorted((stated * 3)[:3] if max(stated) > 1 else [255 * number for number in (stated * 3)[:3]])
        if any(abs(level - other) > 1 for level, other in zip(levels, used, strict=True)):
            yield f"the metadata says {key}: {metadata[key]}, but the mean in effect is another"
    if metadata.get("task") == "classify" and "stride" in metadata and abs((scale or (1.0,))[0] - 1 / 255) > 1e-5:
        yield "the metadata is of Ultralytics, whose classifiers take `normalize: 0..1`"


def read_name(name: str) -> Iterator[str]:
    """What networks of that name mostly want, if it is known; nothing is set."""
    if found := ULTRALYTICS_CLASSIFIER.search(name):
        yield f"no normalisation is set, and the name says {found[0]}: such networks take `normalize: 0..1`"
    elif found := IMAGENET_NETWORKS.search(name):
        yield f"no normalisation is set, and the name says {found[0]}: such networks mostly take `normalize: imagenet`"
