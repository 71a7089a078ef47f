"""Models in shared libraries, `model: ./libmine.so`: the C ABI of zpipe_plugin.h, which the core loads."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from zpipe import _core
from zpipe.errors import ModelError
from zpipe.models.core import CoreClassifier, CoreDetector, call_for_model, check_file
from zpipe.models.labels import read_labels

if TYPE_CHECKING:
    from zpipe.config.keys import ClassifyConfig, DetectConfig, ModelConfig

Core = TypeVar("Core", _core.Detector, _core.Classifier)


def open_plugin_detector(config: "DetectConfig", threads: int, folder: str | None) -> CoreDetector:
    """The detector in a shared library."""
    core = _open(_core.open_plugin_detector, config, threads, folder, max_objects=config.max_objects)
    return CoreDetector(core, config, labels_of(config, core.labels))


def open_plugin_classifier(config: "ClassifyConfig", threads: int, folder: str | None) -> CoreClassifier:
    """The classifier in a shared library."""
    own = {"top_k": config.top_k, "threshold": config.threshold}
    core = _open(_core.open_plugin_classifier, config, threads, folder, **own)
    return CoreClassifier(core, config, labels_of(config, core.labels))


def _open(
    open_plugin: Callable[..., Core], config: "ModelConfig", threads: int, folder: str | None, **own: float
) -> Core:
    """The library, opened with what both kinds are told and with its kind's `own`."""
    check_file(config.model)
    return call_for_model(
        lambda: open_plugin(
            config.model,
            device=config.device,
            config_path=config_path(config, folder),
            options=options_text(config),
            values=option_values(config.options),
            threads=threads,
            **own,
        )
    )


def include_folder() -> str:
    """Where the headers lie: beside the core, whatever the kind of installation."""
    return str(Path(_core.__file__).parent / "include")


def config_path(config: "ModelConfig", folder: str | None) -> str:
    """`options.config`, relative to the config's folder, or nothing."""
    path = config.options.get("config", "")
    if not isinstance(path, str):
        raise ModelError(f"{config.model}: options.config is the path of the plugin's own config, got {path!r}")
    return os.path.join(folder or os.getcwd(), path) if path else ""


def options_text(config: "ModelConfig") -> str:
    """`options` as JSON."""
    return json.dumps(config.options, default=str)


def option_values(options: object, name: str = "") -> dict[str, str | float | bool]:
    """The single values in `options`, by name; those in lists and mappings as --set calls them: "sizes.0"."""
    if isinstance(options, dict | list):
        children = options.items() if isinstance(options, dict) else enumerate(options)
        values: dict[str, str | float | bool] = {}
        for key, child in children:
            values |= option_values(child, f"{name}.{key}" if name else str(key))
        return values
    if options is None:  # not set
        return {}
    return {name: options if isinstance(options, bool | int | float) else str(options)}


def labels_of(config: "ModelConfig", own: Sequence[str]) -> list[str]:
    """The names in the config, else the plugin's own."""
    return list(own) if config.labels is None else read_labels(config.labels)
