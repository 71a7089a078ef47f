"""What is wrong with a config, in lines that a person can act on; the nearest valid word for a misspelt one.

A `Problem` line is `file:line: key.path: what was found, what is expected`. They are collected and raised
together: somebody who has made five mistakes wants to see five lines, not to start five times.
"""

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from zpipe.errors import ConfigError

KeyPath = tuple[str, ...]
"""Where in the config: ("ingest", "0", "path"); shown, and given to --set, as ingest.0.path."""

MOST_LINES = 50
"""More than a screenful of errors has one cause; the rest is counted."""

MOST_SHOWN = 60
"""Characters of a found value that a line repeats."""


MOST_LISTED = 10_000
"""Entries of a folder that are looked at for a near name; nobody waits for a million."""


@dataclass(frozen=True)
class Origin:
    """Where a value was written; `folder` is what a relative path in it starts at."""

    file: str | None
    """The file as the user named it; None for a value from --set."""
    line: int
    folder: str

    def line_start(self, path: KeyPath) -> str:
        """`file:line: key.path: `, or `--set key.path: `."""
        where = show_path(path)
        if self.file is None:
            return f"--set {where}: "
        return f"{self.file}:{self.line}: {where}: " if where else f"{self.file}:{self.line}: "


@dataclass
class Problems:
    """All that was found wrong so far."""

    found: list[tuple[float, str]] = field(default_factory=list)

    def add(self, origin: Origin, path: KeyPath, text: str) -> None:
        """Note one problem of the value at `path`, which was written at `origin`."""
        order = float("inf") if origin.file is None else origin.line
        self.found.append((order, origin.line_start(path) + text))

    def lines(self) -> list[str]:
        """One line per problem: the file's in its order, then those of --set."""
        lines = [text for _, text in sorted(self.found, key=lambda entry: entry[0])]
        lines = list(dict.fromkeys(lines))  # a value used twice through a YAML alias is wrong once
        if len(lines) > MOST_LINES:
            lines[MOST_LINES:] = [f"... and {len(lines) - MOST_LINES} more"]
        return lines

    def raise_if_any(self) -> None:
        """Raise all of them as one ConfigError."""
        if self.found:
            raise ConfigError("\n".join(self.lines()))


def show_text(text: str) -> str:
    """The text so that it fits into one line of a terminal: cut when long, escaped when not printable."""
    if len(text) > MOST_SHOWN:
        text = text[: MOST_SHOWN - 3] + "..."
    return make_printable(text)


def make_printable(text: str) -> str:
    """The text, escaped if it would break a line or a terminal; uncut, for the end of a path matters most."""
    return text if text.isprintable() else ascii(text)[1:-1]


def show_path(path: KeyPath) -> str:
    """The key path as --set takes it."""
    return ".".join(show_text(part) for part in path)


def find_nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid word that `word` was probably meant to be: other case, a beginning of it, a typing error."""
    by_plain_form = {_plain_form(option): option for option in valid}
    plain = _plain_form(word)
    if plain in by_plain_form:
        return by_plain_form[plain]
    starts = [option for form, option in by_plain_form.items() if len(plain) >= 3 and form.startswith(plain)]
    if len(starts) == 1:
        return starts[0]
    close = difflib.get_close_matches(plain[:100], by_plain_form, n=1, cutoff=0.6)
    return by_plain_form[close[0]] if close else None


def find_nearest_file(folder: str, name: str) -> str | None:
    """The entry of the folder that `name` was probably meant to be; None if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MOST_LISTED)]
    except OSError:
        return None
    # Without suffixes, or every .onnx would look a little like every other.
    stem = find_nearest(_stem(name), map(_stem, names))
    alike = [entry for entry in names if _stem(entry) == stem]
    return next(iter(difflib.get_close_matches(name, alike, n=1, cutoff=0)), None)


def did_you_mean(word: str | None) -> str:
    """`; did you mean WORD?`, or nothing without a word."""
    return f"; did you mean {make_printable(word)}?" if word else ""


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _plain_form(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")
