"""YAML text to a tree that knows where each value was written, and `--set` values put into it.

This file knows YAML and nothing of what the keys mean. It reads no type out of a scalar: `007`, `on` and
`1e-3` stay the text they are until `check` knows what is expected there, so YAML's guesses (octal,
"Norway is false", "1e-3 is text") never happen. Aliases and merge keys (`<<: *base`) work; tags (`!x`) mean
nothing and are refused.
"""

import os
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from zpipe.config.problems import (
    KeyPath,
    Origin,
    Problems,
    did_you_mean,
    find_nearest_file,
    make_printable,
    show_path,
    show_text,
)
from zpipe.errors import ConfigError

MOST_BYTES = 1 << 20
"""A config is a page; with 20,000 labels in it, half a megabyte. A larger one is another file by mistake."""

MOST_DEPTH = 32
MOST_VALUES = 200_000
"""Aliases can make a small file expand without end ("billion laughs"), so depth and number are limited."""

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_KINDS = ("null", "bool", "int", "float", "str", "timestamp", "value", "merge", "seq", "map")
_KNOWN_TAGS = {_TAG + kind for kind in _KINDS}


@dataclass
class Scalar:
    """A single value as written; `plain` when without quotes."""

    text: str
    plain: bool
    origin: Origin

    @property
    def is_null(self) -> bool:
        """Nothing, `~` or `null`."""
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


@dataclass
class Sequence:
    """A list."""

    items: list["Node"]
    origin: Origin


@dataclass
class Mapping:
    """Keys and values; `keys` holds where each key was written."""

    entries: dict[str, "Node"]
    keys: dict[str, Origin]
    origin: Origin


Node = Scalar | Sequence | Mapping


def read_tree(path: str | Path, problems: Problems) -> Mapping:
    """The file's tree; ConfigError for what leaves nothing to go on with: no file, no YAML, no mapping."""
    data = _read_bytes(str(path))
    start = Origin(make_printable(str(path)), 1, _folder_of(path))
    try:
        root = _compose(_decode(data))
        if root is None:
            raise _YamlError(1, f"the file is empty, expected {_EXPECTED}")
        tree = _Converter(start, problems).node(root, ())
        if not isinstance(tree, Mapping):
            found = "a list" if isinstance(tree, Sequence) else "only text"
            raise _YamlError(tree.origin.line, f"found {found}, expected {_EXPECTED}")
    except _YamlError as error:
        raise ConfigError(replace(start, line=error.line).line_start(()) + str(error)) from None
    return tree


def origin_of(tree: Node, path: KeyPath) -> Origin:
    """Where the value at `path` was written, or the nearest thing around it."""
    for part in path:
        child = _child(tree, part)
        if child is None:
            break
        tree = child
    return tree.origin


def _child(node: Node, part: str) -> Node | None:
    if isinstance(node, Mapping):
        return node.entries.get(part)
    if isinstance(node, Sequence) and is_index(part) and int(part) < len(node.items):
        return node.items[int(part)]
    return None


def is_index(part: str) -> bool:
    """Whether a part of a key path can be the number of a list entry."""
    return part.isascii() and part.isdigit() and len(part) <= 6


def is_text(text: str) -> bool:
    """Whether it can be a path and pass through JSON: a NUL ends paths early, a lone surrogate has no UTF-8."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


# --- from bytes to PyYAML's nodes ---------------------------------------------------------------------------

_EXPECTED = "'key: value' lines (name, ingest, detect, ...)"


class _YamlError(Exception):
    """The text cannot be read further; the line counts from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _read_bytes(path: str) -> bytes:
    name = make_printable(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such file{did_you_mean(_find_near_file(path))}") from None
    except IsADirectoryError:
        raise ConfigError(f"{name}: is a directory, expected a YAML file") from None
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise ConfigError(f"{name}: cannot be read: {error}") from None
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{name}: is larger than {MOST_BYTES >> 20} MiB, so it is not a config")
    return data


def _folder_of(path: str | Path) -> str:
    try:
        return os.path.dirname(os.path.abspath(path))
    except OSError:
        raise ConfigError("the current directory no longer exists") from None


def _find_near_file(path: str) -> str | None:
    folder, name = os.path.split(path)
    near = find_nearest_file(folder or ".", name)
    return os.path.join(folder, near) if near else None


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise _YamlError(line, f"byte 0x{byte:02x} is not UTF-8, expected YAML saved as UTF-8 text") from None


def _compose(text: str) -> yaml.Node | None:
    """The root node; None when there is nothing but comments."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _YamlError(line, _explain(error, text)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _YamlError(line, f"the character {chr(error.character)!a} is not text") from None
    except RecursionError:
        raise _YamlError(1, f"is nested more than {MOST_DEPTH} deep") from None
    except (ValueError, OverflowError):  # "\UFFFFFFFF" in double quotes
        raise _YamlError(1, "a \\U escape in double quotes is not a character") from None


_EXPLANATIONS: tuple[tuple[str, str], ...] = (
    (
        "mapping values are not allowed",
        "a 'key:' where none can be: check the indentation, and put text that holds ': ' in quotes",
    ),
    ("could not find expected ':'", "not a 'key: value' line: is the colon, or the space after it, missing?"),
    ("expected <block end>", "does not fit the indentation of the lines above"),
    ("found undefined alias", "text that begins with * must be in quotes (*name repeats what &name marked)"),
    ("expected alphabetic or numeric", 'text that begins with * or & must be in quotes, as in "*.jpg"'),
    ("but found another document", "a second document begins here ('---'), expected one"),
    ("cannot start any token", "text that begins with this character must be in quotes"),
    ("found unexpected end of stream", "text in quotes does not end"),
    ("expected ',' or", "a comma or a closing bracket is missing before here"),
)
"""PyYAML's words, and a user's."""


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    """What is wrong in a user's words, and where the thing that went wrong began."""
    problem = error.problem or "cannot be read as YAML"
    here = error.problem_mark.line if error.problem_mark else 0
    lines = text.split("\n")
    line = lines[here] if here < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in problem:
        return "the line is indented with a tab; YAML indents with spaces"
    words = next((words for theirs, words in _EXPLANATIONS if theirs in problem), problem)
    began = error.context_mark.line if error.context_mark else here
    return words if began == here else f"{words} (it began in line {began + 1})"


# --- from PyYAML's nodes to the tree ------------------------------------------------------------------------


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line)


class _Converter:
    """One document's nodes to a tree: duplicate keys found, merge keys and aliases expanded."""

    def __init__(self, start: Origin, problems: Problems) -> None:
        self.start = start
        self.problems = problems
        self.values_left = MOST_VALUES

    def node(self, node: yaml.Node, path: KeyPath) -> Node:
        origin = self.origin(node)
        self.values_left -= 1
        if self.values_left < 0:
            raise _YamlError(self.start.line, f"holds more than {MOST_VALUES:,} values")
        if len(path) > MOST_DEPTH:
            raise _YamlError(origin.line, f"is nested more than {MOST_DEPTH} deep")
        if node.tag not in _KNOWN_TAGS:
            text = f"the tag {show_text(node.tag)} has no meaning here, expected a plain value"
            self.problems.add(origin, path, text)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return Sequence([self.node(item, (*path, str(i))) for i, item in enumerate(node.value)], origin)
        assert isinstance(node, yaml.ScalarNode)
        return self.scalar(node)

    def origin(self, node: yaml.Node) -> Origin:
        return Origin(self.start.file, self.start.line + _line(node), self.start.folder)

    def scalar(self, node: yaml.ScalarNode) -> Scalar:
        text = str(node.value)
        if not is_text(text):
            raise _YamlError(self.origin(node).line, f"'{show_text(text)}' holds a character that is not text")
        return Scalar(text, not node.style, self.origin(node))

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> Mapping:
        result = Mapping({}, {}, self.origin(node))
        merged = []
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged.append(value_node)
            else:
                self.entry(result, key_node, value_node, path)
        for value_node in merged:
            self.merge(result, value_node, path)
        return result

    def entry(self, result: Mapping, key_node: yaml.Node, value_node: yaml.Node, path: KeyPath) -> None:
        origin = self.origin(key_node)
        if not isinstance(key_node, yaml.ScalarNode):
            self.problems.add(origin, path, "a key is a list or a mapping, expected text")
            return
        key = self.scalar(key_node).text
        if key in result.keys:
            first = result.keys[key].line
            self.problems.add(origin, (*path, key), f"is given twice, first in line {first}, expected once")
            return
        child = self.node(value_node, (*path, key))
        if not isinstance(child, Scalar):
            child.origin = origin  # a section begins where its key stands
        result.entries[key] = child
        result.keys[key] = origin

    def merge(self, result: Mapping, value_node: yaml.Node, path: KeyPath) -> None:
        """`<<: *base` or `<<: [*a, *b]`: what is not given here is taken from there, the first one first."""
        sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
        for source in sources:
            tree = self.node(source, (*path, "<<"))
            if not isinstance(tree, Mapping):
                self.problems.add(tree.origin, (*path, "<<"), "merges something that is not a mapping")
                continue
            for key, child in tree.entries.items():
                if key not in result.entries:
                    result.entries[key] = child
                    result.keys[key] = tree.keys[key]


# --- --set --------------------------------------------------------------------------------------------------


class _CannotSetError(Exception):
    """A --set cannot be put into the tree; the message says why."""


def set_value(tree: Mapping, override: str, problems: Problems) -> None:
    """Put one `KEY=VALUE` into the tree; relative paths in it start at the current directory, as in a shell.

    A value that begins with a bracket, a brace or a quote is YAML (`[a, b]`, `{a: 1}`, `"text"`); any other
    is the plain text that it is, so that `glob=*.jpg` needs no second layer of quotes. Entries of a list have
    numbers, from 0; without one (`classify.count` when there are several stages) all entries are meant.
    """
    key, equals, text = override.partition("=")
    origin = Origin(None, 1, _folder_of("-"))
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        problems.add(origin, (override,), "expected KEY=VALUE, such as detect.confidence=0.5")
        return
    try:
        _put(tree, path, 0, _override_value(text.strip(), origin, path, problems))
    except (_CannotSetError, _YamlError) as error:
        problems.add(origin, path, str(error))


def _override_value(text: str, origin: Origin, path: KeyPath, problems: Problems) -> Node:
    if not all(map(is_text, (text, *path))):
        raise _CannotSetError(f"'{show_text(text)}' holds a character that is not text")
    if len(path) > MOST_DEPTH:
        raise _CannotSetError(f"is nested more than {MOST_DEPTH} deep")
    root = _compose(text) if text[:1] in ("[", "{", "'", '"') else None
    return Scalar(text, True, origin) if root is None else _Converter(origin, problems).node(root, path)


def _put(node: Node, path: KeyPath, depth: int, value: Node) -> None:
    """Store the value at path[depth:] below the node; what is missing on the way there is made."""
    part = path[depth]
    if isinstance(node, Sequence) and not is_index(part) and node.items:
        for entry in node.items:
            if not isinstance(entry, Mapping):
                raise _CannotSetError(f"{show_path(path[:depth])} is a list of single values")
            _put(entry, path, depth, deepcopy(value))  # each its own: another --set may change one of them
    elif depth == len(path) - 1:
        _store(node, path, value)
    else:
        _put(_make_child(node, path[: depth + 1], path[depth + 1], value.origin), path, depth + 1, value)


def _make_child(node: Node, path: KeyPath, next_part: str, origin: Origin) -> Node:
    """What is at the path; made if there is nothing: a list if it is a section and a number comes next."""
    child = _child(node, path[-1])
    if child is None or (isinstance(child, Scalar) and child.is_null):
        is_list = is_index(next_part) and len(path) == 1
        child = Sequence([], origin) if is_list else Mapping({}, {}, origin)
        _store(node, path, child)
    return child


def _store(node: Node, path: KeyPath, value: Node) -> None:
    *way, part = path
    where = show_path(tuple(way))
    if isinstance(node, Mapping):
        node.entries[part] = value
        node.keys[part] = value.origin
    elif isinstance(node, Scalar):
        raise _CannotSetError(f"{where} is a single value, expected a mapping or a list there")
    elif is_index(part) and int(part) <= len(node.items):
        node.items[int(part) : int(part) + 1] = [value]
    else:
        end = len(node.items)
        raise _CannotSetError(f"{where} is a list, expected an entry's number: 0 to {end} ({end} adds one)")
