"""The images that a text file lists: one path per line, relative to the list file or absolute.

Blank lines and lines that begin with `#` say nothing. An entry that is missing, or too
long for a path, is a failed frame.
"""

import codecs
import os

from zpipe.config.keys import IngestConfig
from zpipe.errors import ConfigError
from zpipe.sources.files import FileSource


def open_listfile(config: IngestConfig, max_pixels: int) -> FileSource:
    """Reads the list once; a name is the entry as it is written."""
    try:
        with open(config.path, "rb") as file:
            lines = _text(file.read()).splitlines()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"ingest path {config.path}: list file cannot be read: {reason}") from error
    if any("\0" in line for line in lines):
        raise ConfigError(f"ingest path {config.path}: binary content; a list file has one path per line")
    entries = [entry for line in lines if (entry := line.strip()) and not entry.startswith("#")]
    return FileSource(os.path.dirname(config.path), entries, max_pixels)


def _text(data: bytes) -> str:
    """UTF-8, or UTF-16 with its mark (as PowerShell writes); other bytes as in file names."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return os.fsdecode(data.removeprefix(codecs.BOM_UTF8))
