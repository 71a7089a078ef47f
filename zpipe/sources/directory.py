"""The images of a directory, in natural order (`img2` before `img10`), with its subdirectories if asked.

A file with an image suffix is a frame even when it turns out unreadable; so is a subdirectory that cannot be
listed (named `sub/`), since nobody knows how many images are missing from the results. Everything else is
skipped and counted; `note` says what a glob left out where nothing is left. Hidden files and folders are not
looked at: editors and file servers put theirs there.
"""

import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from natsort import natsort_keygen, ns

from zpipe.config.keys import IngestConfig
from zpipe.errors import ConfigError
from zpipe.sources.files import IMAGE_SUFFIXES, FileSource


def open_directory(config: IngestConfig, max_pixels: int) -> FileSource:
    """Lists the directory once: files that come later are of the next run."""
    scan = _Scan(config.path, config.recursive, _wanted(config.glob))
    files = list(scan)
    note = ""
    if scan.unmatched and not files:
        note = f"{config.path} has {scan.unmatched} images, but none that matches the glob {config.glob}"
    return FileSource(config.path, files, max_pixels, scan.skipped, note)


class _Scan:
    """Iterates over the frames of a directory as paths relative to it; counts what it skips."""

    def __init__(self, root: str, recursive: bool, wanted: Callable[[str], bool]) -> None:
        self._root = root
        self._recursive = recursive
        self._wanted = wanted
        self._sort_key = natsort_keygen(alg=ns.IGNORECASE)
        self.skipped = 0
        self.unmatched = 0
        """Those of the skipped that are images, and do not match the glob."""

    def __iter__(self) -> Iterator[str]:
        # A stack, not recursion: folders may nest deeper than Python may. Each folder comes with the
        # identities of those above it, so that a link back up is not followed for ever; a link elsewhere is.
        # Over links a folder is entered once: there may be a million ways to it, with two links on each of 20 levels.
        pending = [("", False, frozenset[tuple[int, int]]())]
        entered_by_links = set[tuple[int, int]]()
        while pending:
            path, is_linked, above = pending.pop()
            if path and not path.endswith("/"):
                yield path
                continue
            try:
                status = os.stat(os.path.join(self._root, path))
                identity = status.st_dev, status.st_ino
                is_linked = is_linked or (path != "" and os.path.islink(os.path.join(self._root, path[:-1])))
                if identity in above or (is_linked and identity in entered_by_links):
                    continue
                entries = self._entries(path)
            except OSError as error:
                if not path:
                    reason = f"ingest path {self._root}: cannot be listed: {error.strerror}"
                    raise ConfigError(reason) from error
                yield path
                continue
            if is_linked:
                entered_by_links.add(identity)
            pending += [(entry, is_linked, above | {identity}) for entry in reversed(entries)]

    def _entries(self, folder: str) -> list[str]:
        """Files and (with a `/` behind) folders to look at, in natural order."""
        names = []
        with os.scandir(os.path.join(self._root, folder)) as entries:
            for entry in entries:
                if _is_folder(entry):
                    if self._recursive and not entry.name.startswith("."):
                        names.append(entry.name + "/")
                elif not entry.name.startswith(".") and self._wanted(folder + entry.name):
                    names.append(entry.name)
                else:
                    self.skipped += 1
                    self.unmatched += not entry.name.startswith(".") and _has_image_suffix(entry.name)
        # The name itself settles what natural order calls equal (img1, img01, IMG1): scandir has no order.
        names.sort(key=lambda name: (self._sort_key(name), name))
        return [folder + name for name in names]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to where nobody may look: reading it will say so
        return False


def _wanted(glob: str | None) -> Callable[[str], bool]:
    """Whether a path relative to the directory is a frame: by image suffix and, if given, by glob.

    A pattern without `/` is for the file name in any folder; with one it is for the whole path, where `**`
    stands for any number of folders. One that ends in a suffix (`*.img`) decides alone what is an image.
    """
    if glob is None:
        return _has_image_suffix
    pattern = (glob if "/" in glob else "**/" + glob).split("/")
    suffix = os.path.splitext(pattern[-1])[1]
    if suffix and not any(character in suffix for character in "*?["):
        return lambda path: _matches(path.split("/"), pattern)
    return lambda path: _has_image_suffix(path) and _matches(path.split("/"), pattern)


def _has_image_suffix(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def _matches(path: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(path[at:], pattern[1:]) for at in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])
