"""The config as typed, frozen values: every key with its type, range and default. Reads no file."""

from typing import Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

import msgspec
from msgspec import Meta

from zpipe.wire import MOST_IN_FLIGHT

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z",
        extra={"words": "a name (at most 40 of A-Z a-z 0-9 . _ -, beginning with a letter or digit)"},
    ),
]
"""Pipelines, streams and stages: part of socket paths (107 bytes at most), topics and file names."""

Fraction = Annotated[float, Meta(ge=0, le=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1, le=256)]
Auto = Literal["auto"]
Endpoint = Annotated[
    str,
    Meta(
        pattern=r"^(tcp|ipc)://.+\Z",
        extra={"words": "an endpoint (tcp://HOST:PORT or ipc://PATH)", "read": "endpoint"},
    ),
]
ListenEndpoint = Annotated[
    str,
    Meta(
        pattern=r"^tcp://.+:[0-9]+\Z",
        extra={"words": "an endpoint with a port (tcp://HOST:PORT)", "read": "endpoint"},
    ),
]
HISTORY_SUFFIX = ".history"
"""Behind the ipc path that results are published at is the history's. (Of a tcp port it is the next.)"""

SourcePath = Annotated[str, Meta(extra={"words": "a path", "read": "source", "unless": "listen"})]
ModelPath = Annotated[str, Meta(extra={"words": "a model file or package.module:Class", "read": "model"})]
LabelsPath = Annotated[str, Meta(extra={"words": "a file with a label a line", "read": "file"})]
KeysPath = Annotated[str, Meta(extra={"words": "a folder that `zpipe keys init` made", "read": "keys"})]
ResultsPath = Annotated[str, Meta(extra={"words": "a path", "read": "output"})]
PerChannel = Annotated[
    list[float], Meta(extra={"words": "a list of one number or three (one per channel)", "lengths": (1, 3)})
]
Tiles = Annotated[
    str,
    Meta(pattern=r"^[1-9][0-9]?x[1-9][0-9]?\Z", extra={"words": "COLUMNSxROWS, such as 2x2 (at most 99x99)"}),
]
_WIDTH_HEIGHT = {"words": "a list of two numbers, [width, height]"}
InputSize = Annotated[
    list[Annotated[int, Meta(ge=1, le=16_384)]], Meta(min_length=2, max_length=2, extra=_WIDTH_HEIGHT)
]
BoxSize = Annotated[list[Annotated[float, Meta(ge=0)]], Meta(min_length=2, max_length=2, extra=_WIDTH_HEIGHT)]
DetectFormat = Literal[
    "auto", "yolov5", "yolov8", "yolov10", "yolox", "nanodet", "picodet", "detr", "rtmdet", "ssd",
    "detection-output", "ultraface", "yunet", "scrfd",
]  # fmt: skip


class Base(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all parts of the config share: frozen, by keyword, no unknown keys."""


class IngestConfig(Base, frozen=True):
    """One stream: an image, a directory, a list file or a video (`path`). Or those of all senders (`listen`)."""

    path: SourcePath
    listen: ListenEndpoint | None = None
    stream: Name | None = None
    recursive: bool = False
    glob: str | None = None
    every: Annotated[int, Meta(ge=1)] = 1
    max_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 31)] = 64 << 20
    timeout_s: PositiveFloat = 60.0


class StageConfig(Base, frozen=True, kw_only=True):
    """What all stages of the chain have in common."""

    count: Count | Auto = "auto"
    timeout_s: PositiveFloat = 60.0


class ModelConfig(StageConfig, frozen=True, kw_only=True):
    """What the stages with a model have in common."""

    model: ModelPath
    labels: LabelsPath | list[str] | None = None
    runtime: Literal["openvino", "onnxruntime"] = "openvino"
    device: str = "CPU"
    precision: Literal["auto", "f32", "bf16", "f16"] = "auto"
    threads: Count | Auto = "auto"
    color: Literal["auto", "rgb", "bgr", "gray"] = "auto"
    mean: float | PerChannel | None = None
    scale: float | PerChannel | None = None
    size: InputSize | None = None
    options: dict[str, object] = {}


class DetectConfig(ModelConfig, frozen=True, kw_only=True):
    """The detect stage."""

    format: DetectFormat = "auto"
    confidence: Fraction = 0.25
    iou: Fraction = 0.45
    max_objects: Annotated[int, Meta(ge=1, le=10_000)] = 300
    class_agnostic: bool = False
    include: list[str] | None = None
    exclude: list[str] | None = None
    confidences: dict[str, Fraction] = {}
    tiles: Tiles = "1x1"
    tile_overlap: Annotated[float, Meta(ge=0, lt=0.9)] = 0.2


class ClassifyConfig(ModelConfig, frozen=True, kw_only=True):
    """One classify stage; a chain may have none, one or several."""

    name: Name = "classify"
    output: Literal["auto", "logits", "probabilities", "sigmoid", "value", "embedding"] = "auto"
    head: str | None = None
    normalize: Literal["none", "imagenet", "0..1", "-1..1"] = "none"
    resize: Literal["stretch", "square", "letterbox"] = "stretch"
    margin: Annotated[float, Meta(ge=0, le=10)] = 0.0
    top_k: Annotated[int, Meta(ge=1, le=1000)] = 1
    threshold: Fraction = 0.0
    classes: list[str] | None = None
    min_size: BoxSize | None = None
    batch: Annotated[int, Meta(ge=1, le=1024)] | Auto = "auto"


class SinkConfig(Base, frozen=True):
    """Where results go."""

    publish: Endpoint = "tcp://127.0.0.1:*"
    history: Endpoint | None = None
    results: ResultsPath = "results.jsonl"
    wait_subscribers: Annotated[int, Meta(ge=0)] = 0
    linger_s: Annotated[float, Meta(ge=0)] = 30.0
    timeout_s: PositiveFloat = 60.0


class FramesConfig(Base, frozen=True):
    """The shared-memory store of frames in flight."""

    in_flight: Annotated[int, Meta(ge=1, le=MOST_IN_FLIGHT)] | Auto = "auto"
    max_pixels: Annotated[int, Meta(ge=1)] = 178_956_970


class Stage(NamedTuple):
    """A stage of a pipeline's chain: a row of `Config` with the config that it has there.

    `number` counts the stages of the chain from 0; `role` is the key, `name` what people read; `kind` is the class that
    does its work, as "module:Class" (`stages/loop.py` says what it must have). The workers of an `ordered` stage get
    the frames of a stream one after the other.
    """

    number: int
    role: str
    name: str
    config: StageConfig
    kind: str
    ordered: bool = False


class Config(Base, frozen=True):
    """A whole pipeline. The keys with a `stage` are its chain, in this order: a new kind of stage is one more row."""

    name: Name
    ingest: Annotated[list[IngestConfig], Meta(min_length=1)]
    detect: Annotated[DetectConfig, Meta(extra={"stage": "zpipe.stages.detect:Detect"})]
    classify: Annotated[
        ClassifyConfig | list[ClassifyConfig] | None, Meta(extra={"stage": "zpipe.stages.classify:Classify"})
    ] = None
    sink: SinkConfig = msgspec.field(default_factory=SinkConfig)
    frames: FramesConfig = msgspec.field(default_factory=FramesConfig)
    keys: KeysPath | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=1000)] = 3

    @property
    def stages(self) -> list[Stage]:
        """The chain: a stage for each entry of each row, as far as the config has them."""
        found: list[Stage] = []
        for field, row in _ROWS.items():
            given = getattr(self, field)
            for entry in given if isinstance(given, list) else [] if given is None else [given]:
                name = getattr(entry, "name", field)
                found.append(Stage(len(found), field, name, entry, row["stage"], row.get("ordered", False)))
        return found


_ROWS: dict[str, dict[str, Any]] = {
    field: hint.__metadata__[0].extra
    for field, hint in get_type_hints(Config, include_extras=True).items()
    if "stage" in (getattr(getattr(hint, "__metadata__", [None])[0], "extra", None) or {})
}

SECTIONS: dict[str, type[StageConfig]] = {
    field: next(kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and issubclass(kind, StageConfig))
    for field, hint in get_type_hints(Config).items()
    if field in _ROWS
}
"""The rows of the chain, each with the class of its entries."""
