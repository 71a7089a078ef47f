"""What users see of a frame: the typed results that are published, logged and read back.

On the wire between stages the same `Result` travels as MessagePack and is filled on its way: ingest names the
frame, detect adds its size and objects, classify their classes, the sink the rest. `results.schema.json` beside
this file is the JSON Schema of the published form; a test holds the two together.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from zpipe.errors import UNDECODABLE

SCHEMA = 1
"""Version of the published form; grows when a reader of the old one could misunderstand the new."""


class Resolution(msgspec.Struct, frozen=True, gc=False):
    """Size of the picture in pixels, upright (EXIF orientation applied)."""

    width: int
    height: int


class Detection(msgspec.Struct, frozen=True, gc=False):
    """What the detector says of an object."""

    label: str
    label_id: int
    confidence: float


class Classification(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one classify stage says of an object, best first; `label` is null below the stage's threshold.

    `value` is there for models that give a number instead of a class, `embedding` (base64 of little-endian
    float32) for those that give a vector.
    """

    stage: str
    label: str | None
    label_id: int
    confidence: float
    value: float | None = None
    embedding: str | None = None


class Object(msgspec.Struct):
    """A detected object; `x, y` is its left-top corner, all in pixels of the picture."""

    x: float
    y: float
    w: float
    h: float
    detection: Detection
    classification: list[Classification] = []


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why a frame failed, and in which stage."""

    stage: str
    reason: str


class Result(msgspec.Struct, tag_field="type", tag="frame", kw_only=True, omit_defaults=False):
    """The one result of a frame. `timestamp`: nanoseconds since 1970 when it was read; `seq` counts from 1."""

    schema: int = SCHEMA
    run: str = ""
    stream: str
    seq: int
    name: str
    status: Literal["ok", "failed"] = "ok"
    timestamp: int
    resolution: Resolution | None = None
    objects: list[Object] = []
    timing_ms: dict[str, float] = {}
    attempts: int = 1
    error: Failure | msgspec.UnsetType = msgspec.UNSET


class Eos(msgspec.Struct, tag_field="type", tag="eos", kw_only=True, omit_defaults=True):
    """End of stream: the last of its stream. `seq` is one more than the last result's.

    `drained` is there (and true) when the run was asked to stop before the source's end.
    """

    schema: int = msgspec.field(default_factory=lambda: SCHEMA)
    run: str
    stream: str
    seq: int
    ok: int
    failed: int
    dropped: int
    drained: bool = False


Published = Result | Eos

_json_decoder = msgspec.json.Decoder(Published)
_body_encoder = msgspec.msgpack.Encoder()
_body_decoder = msgspec.msgpack.Decoder(Result)


def parse(line: bytes | str) -> Published:
    """One published JSON object or line of a results file; `msgspec.DecodeError` if it is none."""
    try:
        message: Published = _json_decoder.decode(line)
    except UNDECODABLE as error:
        raise msgspec.DecodeError(str(error)) from None
    return message


def pack(result: Result) -> bytes:
    """A result on its way from stage to stage."""
    return _body_encoder.encode(result)


def unpack(body: bytes) -> Result:
    """The inverse of `pack`; `msgspec.DecodeError` if it is none."""
    try:
        return _body_decoder.decode(body)
    except UNDECODABLE as error:
        raise msgspec.DecodeError(str(error)) from None


def fail(result: Result, stage: str, reason: str) -> Result:
    """Make it the result of a frame that failed in `stage`."""
    result.status = "failed"
    result.objects = []
    result.error = Failure(stage, reason)
    return result


def topic(stream: str) -> bytes:
    """The topic that a stream is published on."""
    return b"results/" + stream.encode()


def label_of(labels: Sequence[str], label_id: int) -> str:
    """The name of a class; its number where the model has no names. Half a character of a name, which no message can
    carry, is written as `\\uNNNN`."""
    label = labels[label_id] if 0 <= label_id < len(labels) else str(label_id)
    return label if label.isascii() else label.encode(errors="backslashreplace").decode()
