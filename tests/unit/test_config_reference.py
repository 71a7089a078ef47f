"""The configs that ship: they load, and the reference tells the truth about every key."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec import inspect

from zpipe.config import file as tree
from zpipe.config.keys import Config
from zpipe.config.loading import load
from zpipe.config.problems import KeyPath, Problems

CONFIGS = Path(__file__).parents[2] / "configs"
REFERENCE = CONFIGS / "reference.yaml"
SECTIONS = {("sink",), ("frames",)}
"""Their defaults are those of the keys in them."""

Field = tuple[KeyPath, inspect.Field]


def fields(kind: inspect.Type, path: KeyPath = ()) -> Iterator[Field]:
    """Every key of every struct, with where it stands in the reference (an entry of a list is the first one)."""
    match kind:
        case inspect.Metadata():
            yield from fields(kind.type, path)
        case inspect.UnionType():  # classify: one stage or a list of them; the reference shows the one
            structs = [member for member in kind.types if isinstance(member, inspect.StructType)]
            for struct in structs:
                yield from fields(struct, path)
        case inspect.ListType():
            yield from fields(kind.item_type, (*path, "0"))
        case inspect.StructType():
            for field in kind.fields:
                yield (*path, field.name), field
                yield from fields(field.type, (*path, field.name))


ALL_FIELDS = list(fields(inspect.type_info(Config)))
LINES = REFERENCE.read_text().splitlines()
TREE = tree.read_tree(REFERENCE, Problems())


def comment_above(path: KeyPath) -> str:
    """The comment lines directly above a key."""
    *way, key = path
    node: tree.Node = TREE
    for part in way:
        node = node.entries[part] if isinstance(node, tree.Mapping) else node.items[int(part)]  # type: ignore[union-attr]
    assert isinstance(node, tree.Mapping)
    assert key in node.keys, f"{'.'.join(path)} is not in the reference"
    first = last = node.keys[key].line - 1
    while LINES[first - 1].lstrip().startswith("#"):
        first -= 1
    return "\n".join(line.strip() for line in LINES[first:last])


def default_of(field: inspect.Field) -> Any:
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return msgspec.to_builtins(default)


@pytest.mark.parametrize(("path", "field"), ALL_FIELDS, ids=[".".join(path) for path, _ in ALL_FIELDS])
def test_every_key_is_there_and_its_default_is_true(path: KeyPath, field: inspect.Field) -> None:
    comment = comment_above(path)
    if path in SECTIONS:
        assert comment
    elif field.required:
        assert comment.endswith("REQUIRED")
    else:
        stated = re.search(r"# Default: (.+)\Z", comment)
        assert stated, f"no default is stated of {path}"
        assert yaml.safe_load(stated[1]) == default_of(field)


def test_every_value_but_the_required_is_the_default() -> None:
    config = load(REFERENCE, check_files=False)
    for path, field in ALL_FIELDS:
        value: Any = config
        for part in path:
            value = value[int(part)] if isinstance(value, list) else getattr(value, part)
        if not field.required and len(path) > 1 and path[-1] not in ("stream", "results"):  # these are filled in
            assert msgspec.to_builtins(value) == default_of(field), path
    assert config.ingest[0].stream == "images"
    assert config.sink.results == str(CONFIGS / "results.jsonl")
    assert config.max_attempts == Config.__struct_defaults__[-1]


def test_the_choices_of_a_key_are_all_named() -> None:
    for path, field in ALL_FIELDS:
        kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        for kind in kinds:
            # A key that classify shares with detect is explained there.
            if isinstance(kind, inspect.LiteralType) and "As in detect" not in comment_above(path):
                for word in kind.values:
                    assert re.search(rf"(?<![\w-]){re.escape(str(word))}(?![\w-])", comment_above(path)), (path, word)


def test_the_limits_of_a_key_are_stated() -> None:
    for path, field in ALL_FIELDS:
        kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        for kind in kinds:
            if isinstance(kind, inspect.IntType) and kind.le is not None:
                comment = comment_above(path)
                assert f"{kind.ge} to {kind.le}." in comment or "As in detect" in comment, path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_that_ships_can_be_read(path: Path) -> None:
    load(path, check_files=False)


@pytest.mark.data
def test_yolo_and_imagenet_with_real_models(data: Path) -> None:
    models, labels = data / "models", data / "labels"
    config = load(
        CONFIGS / "yolo-imagenet.yaml",
        [
            f"ingest.0.path={data}/images/darknet",
            f"detect.model={models}/detectors/yolox_nano_416.onnx",
            f"detect.labels={labels}/coco_80.txt",
            f"classify.model={models}/classifiers/derived/squeezenet_fp32_dynbatch.onnx",
            f"classify.labels={labels}/imagenet_1000.txt",
        ],
    )
    assert config.stages[1].config.mean == [104.0, 117.0, 123.0]
