"""Class names: from a labels file, from a list, or from what the exporter wrote into the model."""

import ast
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zpipe.errors import ModelError

if TYPE_CHECKING:
    from zpipe.config.keys import ModelConfig

INDEXED = re.compile(r"\s*(\d+)\s*[,:;\s]\s*(\S.*)")
"""A line that starts with its index, as in "0,tench, Tinca tinca"; the index and the rest."""


def read_labels(labels: str | Sequence[str]) -> list[str]:
    """The names in a file (one per line) or a list.

    An index column is dropped only if every line starts with its own index, counted from 0, and something
    different follows; so names with commas, or that start with digits, stay whole.
    """
    if not isinstance(labels, str):
        return list(labels)
    try:
        lines = Path(labels).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise ModelError(f"{labels}: the labels cannot be read: {problem}") from problem
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise ModelError(f"{labels}: the labels file is empty")
    rows = [INDEXED.fullmatch(name) for name in names]
    without = [row[2] for number, row in enumerate(rows) if row and int(row[1]) == number]
    if len(without) == len(names) and (len(names) == 1 or len(set(without)) > 1):
        return without
    return names


def read_metadata_labels(metadata: Mapping[str, str]) -> list[str]:
    """The names in a model's metadata; none if it has none that can be read.

    Ultralytics and others write `names` as the text of a Python dict or list; OpenVINO's own tools write
    `labels`, separated by spaces, with "_" for the spaces inside a name.
    """
    try:
        names = ast.literal_eval(metadata.get("names", ""))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        names = None
    if isinstance(names, dict) and all(isinstance(key, int) for key in names):
        if sorted(names) == list(range(len(names))):
            return [str(names[number]) for number in range(len(names))]
    elif isinstance(names, list | tuple):
        return [str(name) for name in names]
    return [name.replace("_", " ") for name in metadata.get("labels", "").split()]


def choose_labels(given: str | Sequence[str] | None, metadata: Mapping[str, str]) -> list[str]:
    """The names in the config, else those in the model's metadata, else none."""
    return read_metadata_labels(metadata) if given is None else read_labels(given)


def check_count(config: "ModelConfig", names: Sequence[str], classes: int) -> None:
    """ModelError if there are names, but not as many as the model has classes (-1: unknown)."""
    if names and classes >= 0 and len(names) != classes:
        given = config.labels
        source = "its metadata" if given is None else given if isinstance(given, str) else "the list in the config"
        raise ModelError(f"{config.model}: the model has {classes} classes, but {source} names {len(names)} labels")


def find_label_ids(labels: Sequence[str], name: str, key: str) -> list[int]:
    """All ids of a label; where the model has no names, the text of a number. ModelError if there is none."""
    found = [number for number, label in enumerate(labels) if label == name]
    if not found and not labels and name.isdecimal():
        found = [int(name)]
    if not found:
        near = difflib.get_close_matches(name, labels, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        known = "the model has no label names, use numbers" if not labels else f"no label of the model is {name!r}"
        raise ModelError(f"{key}: {known}{hint}")
    return found
