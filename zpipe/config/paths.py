"""Paths in a config: what they are relative to, whether they exist, what was probably meant.

Each reader turns the text of one kind of key into an absolute path, or raises ComplaintError.
"""

import os
import re
import unicodedata
from collections.abc import Mapping

from zpipe.config.check import ComplaintError, ReadText
from zpipe.config.file import is_text
from zpipe.config.keys import HISTORY_SUFFIX
from zpipe.config.kinds import is_python
from zpipe.config.problems import Origin, did_you_mean, find_nearest_file, make_printable, show_text

MOST_SOCKET_PATH_BYTES = 107
"""sun_path of a Unix socket on Linux: 108 bytes with its end."""

LAST_PORT = 65535


def make_readers(check_files: bool) -> Mapping[str, ReadText]:
    """The readers that `Meta(extra={"read": ...})` of the structs name."""

    def source(text: str, origin: Origin) -> str:
        path = resolve(text, origin)
        return require_existing(path, text, "file or directory") if check_files else path

    def file(text: str, origin: Origin) -> str:
        path = resolve(text, origin)
        return require_existing(path, text, "file") if check_files else path

    def model(text: str, origin: Origin) -> str:
        return text if is_python(text) else file(text, origin)

    def output(text: str, origin: Origin) -> str:
        path = resolve(text, origin)
        return require_writable(path) if check_files else path

    def keys(text: str, origin: Origin) -> str:
        path = resolve(text, origin)
        if check_files and not os.path.isdir(path):
            raise ComplaintError(f"no such folder: {make_printable(path)}; `zpipe keys init` makes it")
        return path

    return {"source": source, "file": file, "model": model, "output": output, "endpoint": endpoint, "keys": keys}


def resolve(text: str, origin: Origin) -> str:
    """The absolute path: `~` expanded; relative ones start at the config's folder, in --set at the current."""
    if not text.strip():
        raise ComplaintError("is empty, expected a path")
    path = os.path.join(origin.folder, os.path.expanduser(text))
    if not is_text(path):  # the folder's name, in bytes that are not UTF-8
        raise ComplaintError(f"the path {make_printable(path)} is not UTF-8, expected a folder whose name is")
    tidy = os.path.normpath(path)
    # `link/../x` is not `x` when link points elsewhere; only then the dots stay.
    return tidy if os.path.realpath(tidy) == os.path.realpath(path) else path


def endpoint(text: str, origin: Origin) -> str:
    """A ZeroMQ endpoint; a relative ipc path is resolved, a tcp one must have a port."""
    transport, _, rest = text.partition("://")
    if transport == "tcp":
        host, _, port = rest.rpartition(":")
        in_range = re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= LAST_PORT
        if not host or not (in_range or port == "*"):
            wanted = f"tcp://HOST:PORT, the port 1 to {LAST_PORT}, or * for a free one"
            raise ComplaintError(f"'{show_text(text)}' has no host or no port, expected {wanted}")
        return text
    if rest.startswith(("@", "*")):  # ZeroMQ's abstract and wildcard names are not files
        return text
    path = resolve(rest, origin)
    length = len(os.fsencode(path + HISTORY_SUFFIX))
    if length > MOST_SOCKET_PATH_BYTES:
        limit = MOST_SOCKET_PATH_BYTES - len(HISTORY_SUFFIX)
        raise ComplaintError(
            f"the path {make_printable(path)} is too long for a socket, expected at most {limit} bytes"
        )
    return f"ipc://{path}"


def require_existing(path: str, text: str, wanted: str) -> str:
    """The path if it is there, readable, and a file where that is wanted; else ComplaintError, near names."""
    if not os.path.exists(path):
        raise ComplaintError(f"no such {wanted}: {make_printable(path)}" + _find_near(path, text))
    if wanted == "file" and os.path.isdir(path):
        raise ComplaintError(f"{make_printable(path)} is a directory, expected a file")
    if not os.access(path, os.R_OK):
        raise ComplaintError(f"{make_printable(path)} cannot be read: permission denied")
    return path


def require_writable(path: str) -> str:
    """The path if a file can be written there (its folders are made when missing); else ComplaintError."""
    if os.path.isdir(path):
        raise ComplaintError(f"{make_printable(path)} is a directory, expected a file to write")
    there = path
    while not os.path.lexists(there) and there != "/":
        there = os.path.dirname(there)
    if there != path and not os.path.isdir(there):
        raise ComplaintError(f"{make_printable(there)} is not a directory, so {make_printable(path)} cannot be written")
    if not os.access(there, os.W_OK):
        raise ComplaintError(f"{make_printable(there)} cannot be written: permission denied")
    return path


def _find_near(path: str, text: str) -> str:
    """What the missing path was probably meant to be."""
    folder, name = os.path.split(path)
    while not os.path.isdir(folder) and folder != "/":
        folder, name = os.path.split(folder)
    hint = f" (no {make_printable(name)} in {make_printable(folder)})" if folder != os.path.dirname(path) else ""
    near = find_nearest_file(folder, name)
    if near is None and os.path.exists(text):
        return hint + "; it is there from the current directory, but paths start at the config's folder"
    return hint + did_you_mean(near)


def stream_name(path: str) -> str:
    """The default stream of a source: its file or directory name without suffix, made a valid name."""
    name = os.path.basename(path.rstrip("/"))
    if not os.path.isdir(path):
        name = os.path.splitext(name)[0]
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    valid = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).lstrip("._-")[:40].rstrip("._-")
    return valid or "stream"
