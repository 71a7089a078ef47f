"""One image as a stream of one frame."""

import os

from zpipe.config.keys import IngestConfig
from zpipe.sources.files import FileSource


def open_image(config: IngestConfig, max_pixels: int) -> FileSource:
    """The image at `config.path`; whether it can be read shows when it is."""
    folder, name = os.path.split(config.path)
    return FileSource(folder, [name], max_pixels)
