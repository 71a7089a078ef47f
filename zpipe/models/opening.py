"""Which runtime a model is opened in, by what the config's `model` names: a file, a library, a Python class."""

from zpipe.config.keys import ClassifyConfig, DetectConfig
from zpipe.config.kinds import is_plugin, is_python
from zpipe.models.interface import Classifier, Detector


def open_detector(
    config: "DetectConfig", threads: int, cache_dir: str | None = None, folder: str | None = None
) -> Detector:
    """Load the detect stage's model.

    `threads` is what it may compute with; `cache_dir` is where compiled models are kept; Python models are imported
    from `folder` (the config's) and the current one, a plugin's own config is looked for there. Raises ModelError.
    """
    # The imports are here so that importing this module stays cheap: not every process has a model.
    if is_python(config.model):
        from zpipe.models.python import PythonDetector

        return PythonDetector(config, threads, folder)
    if is_plugin(config.model):
        from zpipe.models.plugin import open_plugin_detector

        return open_plugin_detector(config, threads, folder)
    from zpipe.models.cache import take_turn
    from zpipe.models.core import open_core_detector

    with take_turn(cache_dir, config.model) as cache:
        return open_core_detector(config, threads, cache)


def open_classifier(
    config: "ClassifyConfig", threads: int, cache_dir: str | None = None, folder: str | None = None
) -> Classifier:
    """Load a classify stage's model; as `open_detector`."""
    if is_python(config.model):
        from zpipe.models.python import PythonClassifier

        return PythonClassifier(config, threads, folder)
    if is_plugin(config.model):
        from zpipe.models.plugin import open_plugin_classifier

        return open_plugin_classifier(config, threads, folder)
    from zpipe.models.cache import take_turn
    from zpipe.models.core import open_core_classifier

    with take_turn(cache_dir, config.model) as cache:
        return open_core_classifier(config, threads, cache)
