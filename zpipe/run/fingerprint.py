"""What decides the results of a run: the keys of its config that matter, and what is in the files that they name.

Counts, threads, timeouts, endpoints and the paths of sources decide nothing (of sources the list does). Models are told
apart by what is in their files, wherever they lie.
"""

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import msgspec

from zpipe.config.keys import Config
from zpipe.config.kinds import is_python

NO_MATTER = frozenset(["count", "timeout_s", "threads", "batch", "name"])
"""Keys of a stage that change no result beyond the third decimal."""

FILES = frozenset(["model", "labels"])
"""Keys of a stage that may name a file."""

WEIGHTS = (".bin", ".data", "_data", ".weights")
"""How files end that belong to a model of the same name."""


def fingerprint(config: Config, folder: Path) -> dict[str, Any]:
    """By key, what decides results. `folder`: where Python models are imported from."""
    found: dict[str, Any] = {
        "stages": [stage.name for stage in config.stages],
        "frames.max_pixels": config.frames.max_pixels,
        **{f"ingest.{entry.stream}.every": entry.every for entry in config.ingest},
    }
    for stage in config.stages:
        for key, value in msgspec.to_builtins(stage.config).items():
            if key in FILES and isinstance(value, str):
                found[f"{stage.name}.{key}"] = f"sha256:{digest_of(value, folder)}"
            elif key not in NO_MATTER:
                found[f"{stage.name}.{key}"] = value
    return found


def differences(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """In words. Keys that only one of them knows (another version of zpipe wrote it) are no difference."""
    found = []
    for key in was.keys() & now.keys():
        if was[key] == now[key]:
            continue
        if str(was[key]).startswith("sha256:") and str(now[key]).startswith("sha256:"):
            found.append(f"{key} is another file")
        else:
            found.append(f"{key} was {_text(was[key])}, is {_text(now[key])}")
    return sorted(found)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def digest_of(value: str, folder: Path) -> str:
    """Of what is in the files that a key names; of what is not there its name."""
    found = hashlib.sha256()
    files = files_of(value, folder)
    for path in files:
        try:
            with open(path, "rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        except OSError:  # opening the model says so
            found.update(b"unread")
    if is_python(value) or not files:
        found.update(value.encode(errors="surrogateescape"))
    return found.hexdigest()


def files_of(value: str, folder: Path) -> list[Path]:
    """The file, and those of a model's weights; of a Python class the module's, where it is found without importing."""
    if is_python(value):
        source = source_of(value.partition(":")[0], folder)
        return [source] if source is not None else []
    path = Path(value)
    beside = [path.with_name(stem + end) for stem in {path.name, path.stem} for end in WEIGHTS]
    return [path, *sorted(other for other in beside if other != path and other.exists())]


def source_of(module: str, folder: Path) -> Path | None:
    """The file of a Python module: in the config's folder, in the current one, or installed."""
    parts = module.split(".")
    for base in (folder, Path.cwd()):
        for path in (base.joinpath(*parts).with_suffix(".py"), base.joinpath(*parts, "__init__.py")):
            if path.is_file():
                return path
    try:
        root = importlib.util.find_spec(parts[0])
    except (ImportError, ValueError):
        return None
    if root is None or root.origin is None or not os.path.isfile(root.origin):
        return None
    path = Path(root.origin).parent.joinpath(*parts[1:])
    found = [Path(root.origin)] if len(parts) == 1 else [path.with_suffix(".py"), path / "__init__.py"]
    return next((each for each in found if each.is_file()), None)
