"""What a path in a config is: a model file, a shared library, a class in Python; and which keys a kind of source has.

Opens none of them.
"""

SOURCE_OF_KEY = {"recursive": "directory", "glob": "directory", "every": "video"}
"""Keys of an ingest entry that are for one kind of source; elsewhere they would do nothing and say nothing."""

LISTEN_KEYS = ("max_bytes",)
"""Keys that are for senders (`listen`) only."""


def is_plugin(model: str) -> bool:
    """Whether this is a shared library: `libmine.so`, `libmine.so.1.2`."""
    name = model.rpartition("/")[2]
    return name.endswith(".so") or ".so." in name


def is_python(model: str) -> bool:
    """Whether this is `package.module:Class` rather than a file."""
    module, colon, name = model.partition(":")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))
