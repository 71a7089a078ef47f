"""Results as they are published: the types, the JSON Schema and what is written hold together."""

import base64
import json
import struct
from pathlib import Path

import jsonschema
import msgspec
import pytest
from msgspec import inspect

import zpipe
from zpipe import messages
from zpipe.config import keys as config
from zpipe.messages import (
    Classification,
    Detection,
    Eos,
    Failure,
    Object,
    Resolution,
    Result,
    fail,
    label_of,
    pack,
    parse,
    topic,
    unpack,
)

SCHEMA = json.loads((Path(zpipe.__file__).parent / "results.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
TYPES = (Result, Eos, Resolution, Object, Detection, Classification, Failure)


def ok() -> Result:
    vector = base64.b64encode(struct.pack("<3f", 1.5, -2, 0)).decode()
    classes = [
        Classification("breed", "dog", 3, 0.77),
        Classification("breed", None, -1, 0.1),
        Classification("age", "years", 0, 0.0, value=-3.5),
        Classification("look", None, -1, 0.0, embedding=vector),
    ]
    return Result(
        run="4f3a", stream="yard", seq=17, name="img17.jpg", timestamp=1766480000123456789,
        resolution=Resolution(1920, 1080),
        objects=[
            Object(12.0, 40.5, 88.1, 190.0, Detection("person", 0, 0.91), classes),
            Object(0.0, 0.0, 1920.0, 1080.0, Detection("7", 7, 1.0)),
        ],
        timing_ms={"decode": 9.81, "detect": 20.0, "breed": 3.2, "total": 41.0},
    )  # fmt: skip


def failed(resolution: Resolution | None = None) -> Result:
    result = Result(run="4f3a", stream="yard", seq=1, name="b.jpg", timestamp=1, resolution=resolution, attempts=3)
    return fail(result, "detect", "3 attempts: signal SIGSEGV (crash in native code)")


def eos(drained: bool = False) -> Eos:
    return Eos(run="4f3a", stream="yard", seq=18, ok=16, failed=1, dropped=0, drained=drained)


def published(message: Result | Eos) -> dict:
    return json.loads(msgspec.json.encode(message))


GOOD = {
    "ok": ok(),
    "ok, nothing found": Result(run="r", stream="a.b-c_1", seq=1, name="", timestamp=0, resolution=Resolution(1, 1)),
    "failed": failed(),
    "failed after decoding": failed(Resolution(640, 480)),
    "eos": eos(),
    "eos, drained": eos(drained=True),
    "eos of an empty stream": Eos(run="r", stream="a", seq=1, ok=0, failed=0, dropped=0),
}

# (which good one, where in it, what is put there; ... takes it away)
WRONG = [
    ("ok", ["type"], "end"),
    ("ok", ["type"], ...),
    ("ok", ["schema"], 2),
    ("ok", ["schema"], ...),
    ("ok", ["run"], ""),
    ("ok", ["stream"], "a/b"),
    ("ok", ["stream"], "x" * 41),
    ("ok", ["seq"], 0),
    ("ok", ["seq"], "17"),
    ("ok", ["seq"], 1.5),
    ("ok", ["name"], None),
    ("ok", ["status"], "good"),
    ("ok", ["timestamp"], -1),
    ("ok", ["timestamp"], "now"),
    ("ok", ["resolution"], ...),
    ("ok", ["resolution", "width"], 0),
    ("ok", ["resolution", "depth"], 3),
    ("ok", ["objects"], None),
    ("ok", ["objects"], ...),
    ("ok", ["objects", 0, "x"], -1),
    ("ok", ["objects", 0, "x"], None),
    ("ok", ["objects", 0, "w"], "88"),
    ("ok", ["objects", 0, "classification"], ...),
    ("ok", ["objects", 0, "detection"], ...),
    ("ok", ["objects", 0, "bbox"], [1, 2, 3, 4]),
    ("ok", ["objects", 0, "detection", "confidence"], 1.01),
    ("ok", ["objects", 0, "detection", "label"], None),
    ("ok", ["objects", 0, "detection", "label_id"], -1),
    ("ok", ["objects", 0, "classification", 0, "stage"], ""),
    ("ok", ["objects", 0, "classification", 0, "label"], ...),
    ("ok", ["objects", 0, "classification", 0, "label_id"], -2),
    ("ok", ["objects", 0, "classification", 2, "value"], None),
    ("ok", ["objects", 0, "classification", 3, "embedding"], "no base64!"),
    ("ok", ["objects", 0, "classification", 0, "probability"], 0.5),
    ("ok", ["timing_ms", "detect"], "20 ms"),
    ("ok", ["timing_ms"], ...),
    ("ok", ["attempts"], 0),
    ("ok", ["error"], {"stage": "detect", "reason": "none"}),
    ("ok", ["error"], None),
    ("ok", ["frame_num"], 17),
    ("failed", ["error"], ...),
    ("failed", ["error", "reason"], ""),
    ("failed", ["error", "signal"], 11),
    ("failed", ["objects"], published(ok())["objects"]),
    ("failed", ["status"], "ok"),
    ("eos", ["ok"], -1),
    ("eos", ["ok"], ...),
    ("eos", ["dropped"], ...),
    ("eos", ["drained"], False),
    ("eos", ["count"], 17),
    ("eos", ["seq"], 0),
    ("eos", ["type"], "frame"),
]


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["schema"]["const"] == messages.SCHEMA


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_published_is_valid_and_read_back(kind: str) -> None:
    line = msgspec.json.encode(GOOD[kind])
    VALIDATOR.validate(json.loads(line))
    assert parse(line) == parse(line.decode()) == GOOD[kind]


@pytest.mark.parametrize(("kind", "where", "what"), WRONG)
def test_what_is_not_as_it_should_be_is_not_valid(kind: str, where: list, what: object) -> None:
    message = published(GOOD[kind])
    inner = message
    for step in where[:-1]:
        inner = inner[step]
    if what is ...:
        del inner[where[-1]]
    else:
        inner[where[-1]] = what
    assert not VALIDATOR.is_valid(message)


def test_schema_and_types_name_the_same_fields() -> None:
    for kind in TYPES:
        described, info = SCHEMA["$defs"][kind.__name__], inspect.type_info(kind)
        names = {field.encode_name for field in info.fields} | ({info.tag_field} if info.tag_field else set())
        assert described["properties"].keys() == names, kind
        assert described["additionalProperties"] is False, kind
        least = json.loads(msgspec.json.encode(LEAST[kind]))
        assert set(described["required"]) == least.keys(), f"{kind}: what is always there"


LEAST = {
    Result: Result(stream="a", seq=1, name="", timestamp=1),
    Eos: Eos(run="r", stream="a", seq=1, ok=0, failed=0, dropped=0),
    Resolution: Resolution(1, 1),
    Object: Object(0, 0, 1, 1, Detection("a", 0, 1)),
    Detection: Detection("a", 0, 1),
    Classification: Classification("a", None, 0, 0),
    Failure: Failure("detect", "why"),
}


def test_everything_in_the_schema_is_described() -> None:
    def walk(schema: dict, at: str) -> None:
        for name, field in schema.get("properties", {}).items():
            if (isinstance(field, dict) and "const" not in field) or name == "drained":
                assert "description" in field or "$ref" in field, f"{at}.{name}"
                walk(field, f"{at}.{name}")

    for name, schema in SCHEMA["$defs"].items():
        assert schema["description"], name
        walk(schema, name)


def test_stream_names_are_those_of_the_config() -> None:
    pattern = next(meta.pattern for meta in config.Name.__metadata__)
    assert SCHEMA["$defs"]["stream"]["pattern"] == pattern.replace(r"\Z", "$")


def test_the_design_s_example_is_a_result() -> None:
    line = """{"schema": 1, "type": "frame", "run": "x", "stream": "yard", "seq": 17, "name": "i.jpg", "status": "ok",
     "timestamp": 1766480000123456789, "resolution": {"width": 1920, "height": 1080},
     "objects": [{"x": 12.0, "y": 40.5, "w": 88.1, "h": 190.0,
                  "detection": {"label": "person", "label_id": 0, "confidence": 0.91},
                  "classification": [{"stage": "classify", "label": "a", "label_id": 3, "confidence": 0.77}]}],
     "timing_ms": {"decode": 1, "detect": 2.5, "classify": 1, "total": 9}, "attempts": 1}"""
    VALIDATOR.validate(json.loads(line))
    result = parse(line)
    assert isinstance(result, Result)
    assert result.objects[0].classification[0].confidence == 0.77
    end = '{"schema": 1, "type": "eos", "run": "x", "stream": "yard", "seq": 18, "ok": 16, "failed": 1, "dropped": 0}'
    VALIDATOR.validate(json.loads(end))
    assert parse(end) == Eos(run="x", stream="yard", seq=18, ok=16, failed=1, dropped=0)


@pytest.mark.parametrize("kind", ["ok", "ok, nothing found", "failed", "failed after decoding"])
def test_a_result_travels_from_stage_to_stage(kind: str) -> None:
    assert unpack(pack(GOOD[kind])) == GOOD[kind]


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x80", b"\x81\xa4type\xa3eos", b"\x83\xa4type\xa5frame\xa6stream\xa1\xff", pack(ok())[:-1],
     b"\x82\xa4type\xa5frame\xa1x" + b"\x91" * 100_000],
)  # fmt: skip
def test_what_is_no_result_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(data)


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[]", b"null", b'{"type": "frame"}', b'{"type": "other"}', b'{"type":"frame","stream":"\xff"}',
     msgspec.json.encode(ok())[:-1], msgspec.json.encode(ok()) + b"x", '{"type": "eos", "run": "\ud800"}',
     b'{"x":' + b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_line_is_a_decode_error(line: bytes | str) -> None:
    with pytest.raises(msgspec.DecodeError):
        parse(line)


def test_a_failed_result_has_no_objects() -> None:
    result = fail(ok(), "breed", "its model said no")
    assert (result.status, result.objects, result.error) == ("failed", [], Failure("breed", "its model said no"))
    VALIDATOR.validate(published(result))


def test_topics_and_labels() -> None:
    assert topic("yard") == b"results/yard"
    assert topic("") == b"results/"
    assert [label_of(["a", "b"], number) for number in (0, 1, 2, -1)] == ["a", "b", "2", "-1"]
