"""A YAML file to a config: reads it, applies overrides, reports all of its errors at once; and how a worker gets it."""

from pathlib import Path

import msgspec

from zpipe.config.keys import Config
from zpipe.errors import ConfigError


def load(path: str | Path, overrides: list[str] | None = None, *, check_files: bool = True) -> Config:
    """The config in the file, every `KEY=VALUE` of `overrides` applied, paths absolute, streams named.

    Relative paths start at the file's folder; those in an override at the current directory, as whatever is
    typed in a shell. Raises ConfigError with one line per problem. `check_files=False` leaves out whether the
    sources, models and label files exist.
    """
    # Here, since a worker, which only parses what was loaded, need not read the code that reads YAML.
    from zpipe.config.check import check
    from zpipe.config.file import origin_of, read_tree, set_value
    from zpipe.config.paths import make_readers
    from zpipe.config.problems import KeyPath, Problems
    from zpipe.config.rules import RULES

    problems = Problems()
    tree = read_tree(path, problems)
    for override in overrides or []:
        set_value(tree, override, problems)
    values = check(tree, Config, make_readers(check_files), problems)

    def report(where: KeyPath, text: str) -> None:
        problems.add(origin_of(tree, where), where, text)

    for rule in RULES:
        rule(values, report)
    problems.raise_if_any()
    return msgspec.convert(values, Config)


def dump(config: Config) -> bytes:
    """The config as JSON, to hand to a worker process; `parse` is the exact inverse."""
    return msgspec.json.encode(config)


def parse(data: bytes | str) -> Config:
    """The config that `dump` wrote. Raises ConfigError for anything else."""
    try:
        return msgspec.json.decode(data, type=Config)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ConfigError(f"not a config as zpipe hands it to its workers: {error}") from None
