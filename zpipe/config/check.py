"""A tree of YAML values against the struct types: plain typed values out, misfits noted in a person's words.

`msgspec.convert` would stop at the first error and speak to programmers, so this walks the same type
information (`msgspec.inspect`) itself, one key at a time. The types decide how a scalar is read, and they
carry what the walk needs to say or do beyond them in `Meta(extra={...})`:

    words     what is expected, instead of a pattern
    lengths   the lengths a list may have
    read      the name of the reader (see `paths`) that turns the text into what the program uses
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import inspect

from zpipe.config import file as tree
from zpipe.config.problems import KeyPath, Origin, Problems, did_you_mean, find_nearest, show_text

Extra = Mapping[str, Any]
Member = tuple[inspect.Type, Extra]
ReadText = Callable[[str, Origin], str]

BAD = object()
"""Stands for a value that has been complained about, so that the entries of a list keep their numbers."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,40}")
_NUMBER = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_UNQUOTED = (inspect.BoolType, inspect.IntType, inspect.FloatType)


class ComplaintError(Exception):
    """A value does not fit; the message says what was found and what is expected."""


class MisfitError(ComplaintError):
    """It is of another kind altogether, so another member of a union may still take it."""


def check(
    node: tree.Mapping, struct: type[msgspec.Struct], readers: Mapping[str, ReadText], problems: Problems
) -> dict[str, Any]:
    """The values of the tree that fit the struct, as `msgspec.convert` takes them; the misfits noted."""
    kind = inspect.type_info(struct)
    assert isinstance(kind, inspect.StructType)
    homes: dict[str, list[str]] = {}
    _collect_homes(kind, (), homes)
    return _Checker(problems, readers, homes, node.origin.folder).section(node, kind, ())


class _Checker:
    """Reads a whole tree; problems are noted, never raised."""

    def __init__(
        self, problems: Problems, readers: Mapping[str, ReadText], homes: dict[str, list[str]], folder: str
    ) -> None:
        self.problems = problems
        self.readers = readers
        self.homes = homes
        """For each key the sections that have it."""
        self.folder = folder
        """What default paths are relative to, whoever wrote the section around them."""

    def read(self, node: tree.Node, kind: inspect.Type, path: KeyPath) -> Any:
        """The value of `node` as `kind` demands, or BAD after noting why not."""
        members = _list_members(kind)
        empty = isinstance(node, tree.Scalar) and node.is_null
        if empty and any(isinstance(member, inspect.NoneType) for member, _ in members):
            return None
        for member, extra in members:
            if isinstance(member, (inspect.AnyType, inspect.CustomType)):
                return _read_free_value(node)
            if isinstance(member, inspect.ListType) and isinstance(node, tree.Sequence):
                return self.sequence(node, member, extra, path)
            # A section whose keys are all commented out is there, and empty.
            keys = tree.Mapping({}, {}, node.origin) if empty else node
            if isinstance(member, inspect.StructType) and isinstance(keys, tree.Mapping):
                return self.section(keys, member, path)
            if isinstance(member, inspect.DictType) and isinstance(keys, tree.Mapping):
                return self.free_keys(keys, member, path)
        try:
            return self.scalar(node, members)
        except ComplaintError as error:
            self.problems.add(node.origin, path, str(error))
            return BAD

    def section(self, node: tree.Mapping, kind: inspect.StructType, path: KeyPath) -> dict[str, Any]:
        """All fields, but those that are missing or do not fit."""
        fields = {field.name: field for field in kind.fields}
        meant = {self.unknown_key(node, key, list(fields), path) for key in node.entries if key not in fields}
        values = {}
        for name, field in fields.items():
            here = (*path, name)
            if name in node.entries:
                value = self.read(node.entries[name], field.type, here)
            elif _strip_meta(field.type)[1].get("unless") in node.entries:
                value = ""
            elif field.required:
                value = BAD
                if name not in meant:  # else one mistake would be told twice
                    self.problems.add(node.origin, here, f"is missing, expected {tell_expected(field.type)}")
            else:
                value = self.default(field, node.origin, here)
            if value is not BAD:
                values[name] = value
        return values

    def default(self, field: inspect.Field, origin: Origin, path: KeyPath) -> Any:
        """The default; a path, or a section with one in it, is resolved like a given one."""
        kind, extra = _strip_meta(field.type)
        if isinstance(kind, inspect.StructType):
            return self.section(tree.Mapping({}, {}, origin), kind, path)
        if "read" in extra and isinstance(field.default, str):
            node = tree.Scalar(field.default, False, replace(origin, folder=self.folder))
            return self.read(node, field.type, path)
        return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()

    def unknown_key(self, node: tree.Mapping, key: str, valid: list[str], path: KeyPath) -> str | None:
        """Complain about the key; the valid key that it was probably meant to be."""
        near = None
        if key in self.homes:
            text = f"no such key here; it belongs to {' and '.join(self.homes[key])}"
        elif ":" in key and key.partition(":")[0] in valid:  # {path:images/} is one key to YAML
            near = key.partition(":")[0]
            text = "no such key; is the space after the colon missing?"
        elif near := find_nearest(key, valid):
            text = "no such key" + did_you_mean(near)
        else:
            text = f"no such key, expected one of {', '.join(valid)}"
        self.problems.add(node.keys[key], (*path, key), text)
        return near

    def free_keys(self, node: tree.Mapping, kind: inspect.DictType, path: KeyPath) -> dict[str, Any]:
        """A mapping with free keys."""
        read = {key: self.read(child, kind.value_type, (*path, key)) for key, child in node.entries.items()}
        return {key: value for key, value in read.items() if value is not BAD}

    def sequence(self, node: tree.Sequence, kind: inspect.ListType, extra: Extra, path: KeyPath) -> Any:
        """The entries, BAD among them; or BAD when their number is wrong."""
        number = len(node.items)
        lengths = extra.get("lengths", (number,))
        if number < (kind.min_length or 0) or number > (kind.max_length or number) or number not in lengths:
            found = f"a list of {number}" if number else "an empty list"
            self.problems.add(node.origin, path, f"{found} is not {_choose_phrase(kind, extra)}")
            return BAD
        return [self.read(item, kind.item_type, (*path, str(i))) for i, item in enumerate(node.items)]

    def scalar(self, node: tree.Node, members: list[Member]) -> Any:
        """What the first member that takes the value makes of it; raises what to say when none does."""
        outside: ComplaintError | None = None
        if isinstance(node, tree.Scalar) and not node.is_null:
            for kind, extra in members:
                try:
                    return self.one(node, kind, extra)
                except MisfitError:
                    continue
                except ComplaintError as error:
                    outside = outside or error
        raise outside or ComplaintError(_tell_misfit(node, members))

    def one(self, node: tree.Scalar, kind: inspect.Type, extra: Extra) -> Any:
        """The value as this one kind."""
        if isinstance(kind, inspect.StrType):
            return self.text(node, kind, extra)
        if isinstance(kind, inspect.LiteralType) and node.text in kind.values:
            return node.text
        if isinstance(kind, inspect.BoolType) and node.plain and node.text.lower() in _BOOLS:
            return _BOOLS[node.text.lower()]
        if isinstance(kind, (inspect.IntType, inspect.FloatType)) and node.plain:
            return _read_number(node.text, kind)
        raise MisfitError

    def text(self, node: tree.Scalar, kind: inspect.StrType, extra: Extra) -> str:
        """The text as written, through its reader if the type names one."""
        if kind.pattern is not None and not re.search(kind.pattern, node.text):
            raise ComplaintError(f"'{show_text(node.text)}' is not {_choose_phrase(kind, extra)}")
        reader = self.readers[extra["read"]] if "read" in extra else None
        return reader(node.text, node.origin) if reader else node.text


# --- the types in words -------------------------------------------------------------------------------------


def tell_expected(kind: inspect.Type) -> str:
    """What a key takes: `a whole number from 1 to 256 or auto`."""
    return " or ".join(_list_phrases(_list_members(kind)))


def _strip_meta(kind: inspect.Type) -> Member:
    """The type without the `Meta` around it, and the extra of that."""
    if isinstance(kind, inspect.Metadata):
        return kind.type, kind.extra or {}
    return kind, {}


def _list_members(kind: inspect.Type) -> list[Member]:
    """The types that a value may have: those of a union, else the one."""
    kind, extra = _strip_meta(kind)
    if isinstance(kind, inspect.UnionType):
        return [_strip_meta(member) for member in kind.types]
    return [(kind, extra)]


def _collect_homes(kind: inspect.Type, path: KeyPath, homes: dict[str, list[str]]) -> None:
    """For each key the sections that have it, to tell who put a key into the wrong one."""
    for member, _ in _list_members(kind):
        if isinstance(member, inspect.ListType):
            _collect_homes(member.item_type, path, homes)
        elif isinstance(member, inspect.StructType):
            for field in member.fields:
                sections = homes.setdefault(field.name, [])
                section = ".".join(path) or "the top of the file"
                if section not in sections:
                    sections.append(section)
                _collect_homes(field.type, (*path, field.name), homes)


def _list_phrases(members: list[Member]) -> list[str]:
    phrases: list[str] = []
    for kind, extra in members:
        if isinstance(kind, inspect.LiteralType):
            phrases += [str(value) for value in kind.values]
        elif isinstance(kind, inspect.BoolType):
            phrases += ["true", "false"]
        elif not isinstance(kind, inspect.NoneType):
            phrases.append(_choose_phrase(kind, extra))
    return phrases


def _choose_phrase(kind: inspect.Type, extra: Extra) -> str:
    if "words" in extra:
        return str(extra["words"])
    if isinstance(kind, inspect.IntType):
        return "a whole number" + _tell_range(kind)
    if isinstance(kind, inspect.FloatType):
        return "a number" + _tell_range(kind)
    if isinstance(kind, inspect.StrType):
        return "text"
    if isinstance(kind, inspect.ListType):
        return "a list" + (" of at least one entry" if kind.min_length == 1 else "")
    if isinstance(kind, inspect.StructType):
        keys = [field.name for field in kind.fields if field.required] or ["key"]
        return f"a mapping ({keys[0]}: ...)"
    return "a mapping (key: value)"


def _tell_range(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge:g} to {kind.le:g}"
    limits = (("of at least", kind.ge), ("above", kind.gt), ("of at most", kind.le), ("below", kind.lt))
    words = " and ".join(f"{words} {limit:g}" for words, limit in limits if limit is not None)
    return f" {words}" if words else ""


def _name_found(node: tree.Node) -> str:
    if isinstance(node, tree.Mapping):
        return "a mapping"
    if isinstance(node, tree.Sequence):
        return "a list"
    if node.plain and _NUMBER.fullmatch(node.text):
        return show_text(node.text)
    return f"'{show_text(node.text)}'"


def _tell_misfit(node: tree.Node, members: list[Member]) -> str:
    phrases = _list_phrases(members)
    if isinstance(node, tree.Scalar) and node.is_null:
        return f"is empty, expected {' or '.join(phrases)}"
    found = _name_found(node)
    if len(phrases) == 1:
        text = f"{found} is not {phrases[0]}"
    elif len(phrases) == 2:
        text = f"{found} is neither {phrases[0]} nor {phrases[1]}"
    else:
        text = f"{found} is none of {', '.join(phrases)}"
    return text + _give_hint(node, members)


def _give_hint(node: tree.Node, members: list[Member]) -> str:
    """What to do about a value of the wrong kind, where that can be told."""
    if not isinstance(node, tree.Scalar):
        return ""
    kinds = [kind for kind, _ in members]
    words = [str(value) for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]
    if near := find_nearest(node.text, words):
        return did_you_mean(near)
    if not node.plain and any(isinstance(kind, _UNQUOTED) for kind in kinds):
        return "; quotes make it text"
    if any(isinstance(kind, inspect.ListType) and isinstance(kind.item_type, inspect.StrType) for kind in kinds):
        return f"; write [{show_text(node.text)}]"
    return _form_of_sections(node.text, kinds)


def _form_of_sections(text: str, kinds: list[inspect.Type]) -> str:
    """How a lone text is written where a section, or a list of them, has one key that it is likely meant for."""
    for kind in kinds:
        section = _strip_meta(kind.item_type)[0] if isinstance(kind, inspect.ListType) else kind
        if isinstance(section, inspect.StructType):
            keys = [field.name for field in section.fields if field.required]
            if text and len(keys) == 1:
                form = f"{{{keys[0]}: {show_text(text)}}}"
                return f"; write {form if section is kind else f'[{form}]'}"
    return ""


# --- numbers and free values --------------------------------------------------------------------------------


def _read_number(text: str, kind: inspect.IntType | inspect.FloatType) -> int | float:
    """Decimal, whatever YAML would make of it: 010 is ten; 1:30, 0x1F, .inf and .nan are no numbers here."""
    if not _NUMBER.fullmatch(text):
        raise MisfitError
    digits = text.replace("_", "")
    number = float(digits)
    if not abs(number) < (2**63 if isinstance(kind, inspect.IntType) else math.inf):
        raise ComplaintError(f"{show_text(text)} is more than a number can hold")
    if isinstance(kind, inspect.IntType) and not number.is_integer():
        raise MisfitError
    _check_range(text, number, kind)
    if isinstance(kind, inspect.FloatType):
        return number
    # A float holds 53 bits, so only what is written as one (178e6) goes through it.
    return int(digits) if _INTEGER.fullmatch(digits) else int(number)


def _check_range(text: str, value: float, kind: inspect.IntType | inspect.FloatType) -> None:
    beyond = None
    if kind.le is not None and value > kind.le:
        beyond = f"more than {kind.le:g}"
    elif kind.lt is not None and value >= kind.lt:
        beyond = f"not below {kind.lt:g}"
    elif kind.ge is not None and value < kind.ge:
        beyond = f"less than {kind.ge:g}"
    elif kind.gt is not None and value <= kind.gt:
        beyond = f"not above {kind.gt:g}"
    if beyond:
        raise ComplaintError(f"{show_text(text)} is {beyond}, expected {_choose_phrase(kind, {})}")


def _read_free_value(node: tree.Node) -> Any:
    """Free values (`options`) as JSON reads them: numbers, true, false, null; all else is text."""
    if isinstance(node, tree.Mapping):
        return {key: _read_free_value(child) for key, child in node.entries.items()}
    if isinstance(node, tree.Sequence):
        return [_read_free_value(item) for item in node.items]
    if not node.plain:
        return node.text
    if node.is_null:
        return None
    if node.text in ("true", "false"):
        return node.text == "true"
    return _read_free_number(node.text)


def _read_free_number(text: str) -> str | int | float:
    """The number that the text is; text with leading zeros or underscores is more likely an article code."""
    if "_" in text or re.match("[-+]?0[0-9]", text):
        return text
    try:
        return _read_number(text, inspect.IntType() if _INTEGER.fullmatch(text) else inspect.FloatType())
    except ComplaintError:
        return text
