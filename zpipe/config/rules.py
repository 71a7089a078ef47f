"""What must hold between the keys of a config, beyond the type of each.

A rule gets all values, defaults included, but those that were wrong: they are missing, or in a list not a dict.
It reports what it finds, so these mistakes stand in one list with all others.
"""

import os
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

from msgspec.structs import fields

from zpipe.config.keys import SECTIONS, IngestConfig
from zpipe.config.kinds import LISTEN_KEYS, SOURCE_OF_KEY, is_plugin, is_python
from zpipe.config.paths import LAST_PORT, stream_name
from zpipe.config.problems import KeyPath

Values = dict[str, Any]
Complain = Callable[[KeyPath, str], None]

OF_MODEL_FILES = {
    "runtime", "precision", "color", "mean", "scale", "size", "format", "iou", "class_agnostic", "tiles",
    "tile_overlap", "output", "head", "normalize", "resize", "margin", "batch",
}  # fmt: skip
"""Keys that say how zpipe reads a model file, runs it, and prepares its pixels. A shared library gets the picture, and
`device`, and does all this by itself; so does a Python class, which gets no `device` either."""

DEFAULTS = {section: {field.name: field.default for field in fields(kind)} for section, kind in SECTIONS.items()}
"""A key at its default asks for nothing, so it is nobody's mistake."""

INGEST_DEFAULTS = {field.name: field.default for field in fields(IngestConfig)}

FIXED_STAGES = ("ingest", *(section for section, defaults in DEFAULTS.items() if "name" not in defaults), "sink")
"""They are called as their section is."""


def name_streams(config: Values, complain: Complain) -> None:
    """Each entry of ingest gets a stream: its own, or that of its path; no two the same."""
    owners: dict[str, int] = {}
    for i, entry in _number_entries(config.get("ingest")):
        if "stream" not in entry or (entry["stream"] is None and "path" not in entry):
            continue
        given = entry["stream"]
        name = entry["stream"] = given or (stream_name(entry["path"]) if entry["path"] else "gate")
        if name in owners:
            source = "" if given else ", taken from the path,"
            complain(
                ("ingest", str(i), "stream"),
                f"'{name}'{source} is already the stream of ingest.{owners[name]}, expected another for each",
            )
        owners.setdefault(name, i)


def check_sources(config: Values, complain: Complain) -> None:
    """Frames of an entry come from a path or from senders."""
    for i, entry in _number_entries(config.get("ingest")):
        if not {"path", "listen"} <= entry.keys():
            continue
        if entry["path"] and entry["listen"] is not None:
            complain(("ingest", str(i), "listen"), "stands beside path, expected one of them")
        others = SOURCE_OF_KEY if entry["listen"] is not None else LISTEN_KEYS
        for key in others:
            if entry.get(key, INGEST_DEFAULTS[key]) != INGEST_DEFAULTS[key]:
                where = "a path" if entry["listen"] is not None else "`listen`"
                complain(("ingest", str(i), key), f"does nothing here, expected it beside {where} only")


def check_source_keys(config: Values, complain: Complain) -> None:
    """What a path is can be told from here as far as directory or file; who opens it (sources/) knows the rest."""
    for i, entry in _number_entries(config.get("ingest")):
        path = entry.get("path", "")
        found = "directory" if os.path.isdir(path) else "file"
        for key, wanted in SOURCE_OF_KEY.items():
            is_set = entry.get(key, INGEST_DEFAULTS[key]) != INGEST_DEFAULTS[key]
            if is_set and os.path.exists(path) and (found == "directory") != (wanted == "directory"):
                text = f"{os.path.basename(path)} is a {found}, expected it for a {wanted} only"
                complain(("ingest", str(i), key), text)


def check_stage_names(config: Values, complain: Complain) -> None:
    """Stages are told apart by name: in results, `zpipe scale`, process names."""
    owners: dict[str, KeyPath] = {}
    for path, stage in _stages(config):
        name = stage.get("name")
        if name is None:
            continue
        if name in FIXED_STAGES:
            complain((*path, "name"), f"'{name}' is another stage of the pipeline, expected a name of its own")
        elif name in owners:
            owner = ".".join(owners[name])
            complain((*path, "name"), f"'{name}' is already the name of {owner}, expected another for each")
        owners.setdefault(name, path)


def check_normalization(config: Values, complain: Complain) -> None:
    """`normalize` is a preset of mean and scale, so it cannot stand beside them."""
    for path, stage in _stages(config):
        preset = stage.get("normalize")
        given = [key for key in ("mean", "scale") if stage.get(key) is not None]
        if preset not in (None, "none") and given:
            both = " and ".join(given)
            complain((*path, "normalize"), f"'{preset}' sets mean and scale, expected it without {both}")


def check_model_keys(config: Values, complain: Complain) -> None:
    """What a model of the user's own does not get would do nothing and say nothing; nor do files get `options`."""
    for path, stage in _stages(config):
        model = stage.get("model", "")
        name = os.path.basename(model)
        if is_python(model):
            kind, ignored = "Python class", {*OF_MODEL_FILES, "device"}
        elif is_plugin(model):
            kind, ignored = "shared library", OF_MODEL_FILES
        else:
            if model and stage.get("options"):
                complain((*path, "options"), f"{name} is a model file, expected them for a .so or a Python class only")
            continue
        for key in sorted(ignored & stage.keys()):
            if stage[key] != DEFAULTS[path[0]][key]:
                text = f"{name} is a {kind}, which would not be told of it, expected it for a model file only"
                complain((*path, key), text + "; what a model of your own reads goes into `options`")


def check_classes(config: Values, complain: Complain) -> None:
    """A class cannot be both wanted and not."""
    detect = config.get("detect", {})
    excluded = detect.get("exclude") or []
    for name in detect.get("include") or []:
        if name in excluded and isinstance(name, str):
            complain(("detect", "exclude"), f"'{name}' is in include as well, expected it in one of them")


def check_history(config: Values, complain: Complain) -> None:
    """History is served beside publication, by default on the next port."""
    sink = config.get("sink", {})
    if not {"publish", "history"} <= sink.keys():
        return
    publish, history = sink["publish"], sink["history"]
    if history is None and publish.endswith(f":{LAST_PORT}"):
        complain(
            ("sink", "publish"),
            f"after port {LAST_PORT} is none for history, expected a lower one or `history`",
        )
    if history == publish and not publish.endswith("*"):
        complain(("sink", "history"), "is the same as publish, expected an endpoint of its own")


def check_loopback(config: Values, complain: Complain) -> None:
    """Results leave the machine, and frames come to it, only encrypted, for those who have a key."""
    if config.get("keys", "given, and wrong") is not None:
        return
    endpoints: dict[KeyPath, object] = {
        ("sink", key): config.get("sink", {}).get(key) for key in ("publish", "history")
    }
    for i, entry in _number_entries(config.get("ingest")):
        endpoints["ingest", str(i), "listen"] = entry.get("listen")
    for where, endpoint in endpoints.items():
        if isinstance(endpoint, str) and endpoint.startswith("tcp://") and not _is_loopback(endpoint):
            complain(
                where,
                f"'{endpoint}' listens beyond this machine, which takes keys: type `zpipe keys init keys/` beside "
                "the config and write `keys: keys/` into it, or use an address like tcp://127.0.0.1:5560",
            )


def check_listening(config: Values, complain: Complain) -> None:
    """An endpoint can be bound once."""
    owners: dict[str, int] = {}
    for i, entry in _number_entries(config.get("ingest")):
        endpoint = entry.get("listen")
        if endpoint in owners:
            text = f"'{endpoint}' is already that of ingest.{owners[endpoint]}, expected another for each"
            complain(("ingest", str(i), "listen"), text)
        if endpoint is not None:
            owners.setdefault(endpoint, i)


def check_slots(config: Values, complain: Complain) -> None:
    """A stream without a slot would never be read."""
    slots, streams = config.get("frames", {}).get("in_flight"), len(config.get("ingest") or [])
    if isinstance(slots, int) and slots < streams:
        complain(("frames", "in_flight"), f"{slots} is less than the {streams} streams, expected one each at least")


RULES = (
    name_streams,
    check_sources,
    check_source_keys,
    check_stage_names,
    check_normalization,
    check_model_keys,
    check_classes,
    check_history,
    check_loopback,
    check_listening,
    check_slots,
)


def _is_loopback(endpoint: str) -> bool:
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "lo")


def _stages(config: Values) -> Iterator[tuple[KeyPath, Values]]:
    """The stages of the chain with their key paths."""
    for section in SECTIONS:
        entries = config.get(section)
        if isinstance(entries, dict):
            yield (section,), entries
        for i, entry in _number_entries(entries):
            yield (section, str(i)), entry


def _number_entries(entries: object) -> Iterator[tuple[int, Values]]:
    """The entries of a list that were read, with their numbers."""
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict):
            yield i, entry
