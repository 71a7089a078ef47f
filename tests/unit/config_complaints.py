"""What the tests of wrong configs share: a config without a fault, and what is said about one that has some."""

from pathlib import Path

import pytest

from zpipe.config.loading import load
from zpipe.errors import ConfigError

MINIMAL = "name: yard\ningest: [{path: images}]\ndetect: {model: m.onnx}\n"


def complaints(
    folder: Path, text: str | bytes, *overrides: str, check_files: bool = False, name: str = "c.yaml"
) -> list[str]:
    """The lines of the ConfigError, the folder left out."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load(path, list(overrides), check_files=check_files)
    return str(caught.value).replace(f"{folder}/", "").splitlines()
