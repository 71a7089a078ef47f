"""Any file, any --set: a config or a ConfigError, and nothing else. Any config: through JSON and back, the same."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from zpipe.config.keys import Config
from zpipe.config.loading import dump, load, parse
from zpipe.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
LINE = re.compile(r"(.*c\.yaml:\d+: |--set .*: |\.\.\. and \d+ more$).*")

relaxed = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

Attempt = Callable[..., Config | None]


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """Load a text with overrides; what comes of it must be one of the two."""
    monkeypatch.chdir(tmp_path)

    def attempt(text: str | bytes, *overrides: str, check_files: bool = False) -> Config | None:
        Path("c.yaml").write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
        try:
            config = load("c.yaml", list(overrides), check_files=check_files)
        except ConfigError as error:
            for line in str(error).split("\n"):
                assert LINE.fullmatch(line), line
                assert line.isprintable()
            return None
        assert parse(dump(config)) == config
        names = [entry.stream for entry in config.ingest]
        assert None not in names
        assert len(set(names)) == len(names)
        return config

    return attempt


# --- texts ---

YAML_BITS = st.sampled_from(
    [": ", "- ", "\n", "\n  ", "\n\t", "[", "]", "{", "}", ", ", "'", '"', "#", "&a ", "*a", "<<: ", "!!int ", "!x ",
     "|\n ", ">-\n ", "---\n", "...\n", "%YAML 1.1\n", "? ", "~", "null", "1", "-0.5", "1e999", ".inf", "0x1", "true",
     "name", "ingest", "path", "detect", "model", "classify", "sink", "publish", "tcp://x:1", "ipc://x", "auto", "a:b",
     "\\", "\0", "\x85", "\u2028", "\ufeff", "é", "\U0001f600", "=", "@", "`"]
)  # fmt: skip


@relaxed
@given(text=st.lists(YAML_BITS | st.text(max_size=3), max_size=40).map("".join))
def test_random_text(attempt: Attempt, text: str) -> None:
    attempt(text)


@relaxed
@given(data=st.binary(max_size=60))
def test_random_bytes(attempt: Attempt, data: bytes) -> None:
    attempt(data)


# --- structures that look like a config, with anything in them ---


def keys_of(kind: inspect.Type) -> set[str]:
    if isinstance(kind, inspect.Metadata):
        return keys_of(kind.type)
    if isinstance(kind, inspect.UnionType):
        return set().union(*map(keys_of, kind.types))
    if isinstance(kind, inspect.ListType):
        return keys_of(kind.item_type)
    if isinstance(kind, inspect.StructType):
        return {field.name for field in kind.fields}.union(*(keys_of(field.type) for field in kind.fields))
    return set()


KEYS = st.sampled_from(sorted(keys_of(inspect.type_info(Config)))) | st.text(max_size=5)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["auto", "rgb", "a.onnx", "m:C", "tcp://h:5", "ipc://x", "2x2", "", " ", "/", "~", "..", "*"])
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30
)
CONFIG_LIKE = st.fixed_dictionaries(
    {"name": st.just("x") | ANYTHING, "ingest": st.just([{"path": "a"}]) | ANYTHING, "detect": ANYTHING},
    optional={"classify": ANYTHING, "sink": ANYTHING, "frames": ANYTHING, "max_attempts": ANYTHING},
)


@relaxed
@given(value=CONFIG_LIKE, flow=st.booleans(), check_files=st.booleans())
def test_random_structures(attempt: Attempt, value: Any, flow: bool, check_files: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    attempt(text, check_files=check_files)


OVERRIDE_KEYS = st.lists(KEYS | st.integers(-1, 3).map(str), min_size=1, max_size=5).map(".".join)
OVERRIDES = st.tuples(OVERRIDE_KEYS, ANYTHING).map(lambda pair: f"{pair[0]}={msgspec.json.encode(pair[1]).decode()}")


@relaxed
@given(overrides=st.lists(OVERRIDES | st.text(max_size=20), max_size=4))
def test_random_overrides(attempt: Attempt, overrides: list[str]) -> None:
    attempt("name: x\ningest: [{path: a}]\ndetect: {model: m}\nclassify: [{model: a}]\n", *overrides)


# --- the reference config, damaged ---

BITS = [
    ":",
    " ",
    "  ",
    "\t",
    "-",
    "'",
    '"',
    "[",
    "{",
    "}",
    "#",
    "\n",
    "null",
    "0",
    "-1",
    "1e9",
    "x",
    "&a",
    "*a",
    "!",
    "é",
]


def damaged(lines: list[str], chance: random.Random) -> str:
    """A few lines lost, doubled, moved or changed within."""
    lines = list(lines)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[at])
            case 2:
                lines.insert(chance.randrange(len(lines)), lines.pop(at))
            case 3:
                cut = chance.randint(0, len(lines[at]))
                lines[at] = lines[at][:cut] + chance.choice(BITS) + lines[at][cut:]
            case _:
                cut = chance.randint(0, len(lines[at]))
                lines[at] = lines[at][:cut] + lines[at][cut + 1 :]
    return "\n".join(lines)


@relaxed
@given(seed=st.integers(0, 2**32))
def test_a_damaged_reference(attempt: Attempt, seed: int) -> None:
    lines = [
        line
        for line in (CONFIGS / "reference.yaml").read_text().splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    attempt(damaged(lines, random.Random(seed)))


# --- through JSON and back ---

JSON_SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)  # fmt: skip
JSON_VALUES = st.recursive(
    JSON_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


def values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """What the type allows."""
    match kind:
        case inspect.Metadata():
            return values(kind.type)
        case inspect.UnionType():
            return st.one_of([values(member) for member in kind.types])
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return st.integers(kind.ge, kind.le if kind.le is not None else 2**63 - 1)
        case inspect.FloatType():
            low = kind.ge if kind.ge is not None else kind.gt
            high = kind.le if kind.le is not None else kind.lt
            return st.floats(
                low, high, exclude_min=kind.gt is not None, exclude_max=kind.lt is not None,
                allow_nan=False, allow_infinity=False,
            )  # fmt: skip
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.StrType():
            return st.from_regex(kind.pattern) if kind.pattern else st.text()
        case inspect.ListType():
            return st.lists(values(kind.item_type), min_size=kind.min_length or 0, max_size=kind.max_length or 3)
        case inspect.DictType():
            return st.dictionaries(st.text(), values(kind.value_type), max_size=3)
        case inspect.StructType():
            fields = {field.name: values(field.type) for field in kind.fields}
            return st.fixed_dictionaries(fields).map(lambda given: kind.cls(**given))
    assert isinstance(kind, inspect.CustomType)  # object: the options
    return JSON_VALUES


@relaxed
@given(config=values(inspect.type_info(Config)))
def test_any_config_through_json_and_back(config: Config) -> None:
    assert parse(dump(config)) == config


@relaxed
@given(data=st.binary(max_size=100))
def test_parse_of_anything(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse(data)
