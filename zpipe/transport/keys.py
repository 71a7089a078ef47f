"""The folder of keys: owns who is let in. Made and changed by `zpipe keys`, read anew by running pipelines.

    server.key        the server's pair
    server-old.key    the one before it, while some clients know only that (`zpipe keys renew` to `zpipe keys retire`)
    NAME.client       a client's public key, its roles and the names that it may send under

A client has a file of its own, elsewhere (key_files.py says what is in each). Who has the server's secret owns the
pipeline, and may use this folder in place of a client's file.
"""

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from zpipe.errors import KeysError
from zpipe.transport.key_files import (
    NAME,
    ROLES,
    STREAM,
    Client,
    ClientKey,
    Pair,
    client_text,
    key_text,
    read_client,
    read_key,
    read_server,
    refuse_open_to_others,
    server_text,
    write_private,
)

LOOK_S = 0.25
"""So often the folder is looked at, at most: who is removed loses access within a second."""

SERVER, OLD, ENTRY = "server.key", "server-old.key", ".client"

Seen = dict[str, tuple[int, ...]]
"""Of each file by name: what changes when it is written."""

log = logging.getLogger(__name__)


class Keys:
    """The folder as it is now; safe to be asked from several threads.

    Opened strictly: anything wrong with it is a KeysError. Later, an entry that cannot be read lets nobody in.
    `changes` counts how often somebody came, went, or was changed; `pairs` are the server's, the newest first, another
    list when they have changed.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.pairs = read_pairs(self.folder)
        self.changes = 0
        self._owner = Client("owner", self.pairs[0].public, frozenset(ROLES), ("*",))
        self._lock = threading.Lock()
        self._changed_ns = self.folder.stat().st_mtime_ns
        self._seen = _look_at(self.folder)
        self._by_file = {name: read_client(self.folder / name) for name in self._seen if name.endswith(ENTRY)}
        self._clients = {client.public: client for client in self._by_file.values()}
        self._next_look = time.monotonic() + LOOK_S

    @property
    def clients(self) -> list[Client]:
        """All, by name."""
        self.look()
        return sorted(self._clients.values(), key=lambda client: client.name)

    def find(self, user_id: str) -> Client | None:
        """Who has this public key (the `User-Id` of a message), as of now."""
        self.look()
        return self._owner if user_id in [pair.public for pair in self.pairs] else self._clients.get(user_id)

    def may(self, user_id: str, role: str) -> bool:
        """Whether who has this key may do so, as of now."""
        client = self.find(user_id)
        return client is not None and role in client.roles

    def may_send(self, user_id: str, stream: str) -> bool:
        """Whether who has this key may send under this name, as of now."""
        client = self.find(user_id)
        return client is not None and client.may_send(stream)

    def look(self, at_once: bool = False) -> None:
        """Read what has changed in the folder, if it was not looked at just now; `at_once`: also if somebody came or
        went since (which is cheap to see, so who knocks with unknown keys costs little)."""
        with self._lock:
            is_due = time.monotonic() >= self._next_look
            if not (is_due or at_once):
                return
            try:
                status = self.folder.stat()
                if not is_due and status.st_mtime_ns == self._changed_ns:
                    return
                self._next_look, self._changed_ns = time.monotonic() + LOOK_S, status.st_mtime_ns
                refuse_open_to_others(status, self.folder)
                seen = _look_at(self.folder)
            except (KeysError, OSError) as error:
                self._next_look = time.monotonic() + LOOK_S
                seen = {}
                if self._seen:
                    log.warning('keys.unreadable nobody is let in: "%s"', error)
            if seen != self._seen:
                self._take(seen)

    def _take(self, seen: Seen) -> None:
        if any(seen.get(name) != self._seen.get(name) for name in (SERVER, OLD)):
            self._take_pairs()
        by_file = {}
        for name, marks in seen.items():
            if name in (SERVER, OLD):
                continue
            if self._seen.get(name) == marks and name in self._by_file:
                by_file[name] = self._by_file[name]
                continue
            try:
                by_file[name] = read_client(self.folder / name)
            except KeysError as error:
                log.warning('keys.unreadable entry: "%s"', error)
        self._seen, self._by_file = seen, by_file
        self._clients = {client.public: client for client in by_file.values()}
        self.changes += 1

    def _take_pairs(self) -> None:
        try:
            self.pairs = read_pairs(self.folder)
        except KeysError as error:
            log.warning('keys.unreadable the pairs stay as they were: "%s"', error)


def read_pairs(folder: Path) -> list[Pair]:
    """The server's pair, and the one before it if it still serves."""
    try:
        refuse_open_to_others(folder.stat(), folder)
    except OSError as error:
        raise KeysError(f"{folder}: {error.strerror}; `zpipe keys init {folder}` makes it") from None
    if not (folder / SERVER).exists():
        raise KeysError(f"{folder} is no folder of keys: `zpipe keys init {folder}` makes it one")
    pairs = [read_server(folder / SERVER)]
    if (folder / OLD).exists():
        pairs.append(read_server(folder / OLD))
    return list(dict.fromkeys(pairs))  # a `renew` that was killed between its two steps has left one twice


def read_own_key(path: Path | str) -> ClientKey:
    """What a client connects with: its file, or the folder of keys itself, for who owns it.

    Of two pairs that is the older one: a pipeline that has not looked yet does not serve the newer.
    """
    path = Path(path)
    if not path.is_dir():
        return read_key(path)
    pair = read_pairs(path)[-1]
    return ClientKey("owner", pair, pair.public)


# ---- what `zpipe keys` does ---------------------------------------------------------------------------------


def init(folder: Path) -> None:
    """Make the folder, private, with a pair for the server."""
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)
            folder.chmod(0o700)  # whatever the umask took
        with _locked(folder):
            if (folder / SERVER).exists():
                raise KeysError(f"{folder} has keys already")
            if found := sorted(entry.name for entry in folder.iterdir()):
                raise KeysError(f"{folder} is not empty ({found[0]}), expected a new folder")
            write_private(folder / SERVER, server_text(Pair.new()))
    except OSError as error:
        raise KeysError(f"{folder} cannot be made: {error.strerror}") from None


def add(folder: Path, name: str, roles: list[str], streams: list[str], out: Path) -> Client:
    """Make a key for a client: its file at `out`, its entry in the folder. `streams`: none given: the name itself."""
    if not NAME.fullmatch(name):
        raise KeysError(f"'{name}' is not a name (at most 40 of A-Z a-z 0-9 _ -, no dots)")
    for stream in streams:
        if not STREAM.fullmatch(stream):
            raise KeysError(f"'{stream}' is not the name of a sender (no dots; NAME* for all that begin so)")
    pair = Pair.new()
    client = Client(name, pair.public, frozenset(roles), tuple(streams or [name]))
    with _locked(folder):
        server = read_pairs(folder)[0].public
        if (folder / f"{name}{ENTRY}").exists():
            raise KeysError(f"{name} has a key already: `zpipe keys remove {name}` first, or take another name")
        # The client's file first: who is killed in between has made a key that opens nothing.
        write_private(out, key_text(ClientKey(name, pair, server)))
        try:
            write_private(folder / f"{name}{ENTRY}", client_text(client))
        except KeysError:
            out.unlink(missing_ok=True)
            raise
    return client


def remove(folder: Path, name: str) -> None:
    """Let a client in no more, nor stay."""
    with _locked(folder):
        try:
            (folder / f"{name}{ENTRY}").unlink()
        except FileNotFoundError:
            known = ", ".join(sorted(path.stem for path in folder.glob(f"*{ENTRY}"))) or "none"
            raise KeysError(f"there is no key of {name} in {folder} (there: {known})") from None


def renew(folder: Path) -> str:
    """A new pair for the server, beside the one that clients know; its public key."""
    with _locked(folder):
        pairs = read_pairs(folder)
        if len(pairs) > 1:
            raise KeysError(f"{folder} has two pairs already: `zpipe keys retire` ends the old one")
        pair = Pair.new()
        write_private(folder / OLD, server_text(pairs[0]), replace=True)
        write_private(folder / SERVER, server_text(pair), replace=True)
        return pair.public


def retire(folder: Path) -> None:
    """End the pair that the server had before."""
    with _locked(folder):
        try:
            (folder / OLD).unlink()
        except FileNotFoundError:
            raise KeysError(f"{folder} has one pair only: `zpipe keys renew` makes another") from None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One at a time changes a folder. What one that was killed has left half is removed."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KeysError(f"{folder}: {error.strerror}; `zpipe keys init {folder}` makes it") from None
    try:
        refuse_open_to_others(os.fstat(lock), folder)
        fcntl.flock(lock, fcntl.LOCK_EX)
        for half in folder.glob(".new-*"):
            half.unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)


def _look_at(folder: Path) -> Seen:
    """The entries of the folder, and the server's pairs."""
    seen: Seen = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if (entry.name.endswith(ENTRY) and not entry.name.startswith(".")) or entry.name in (SERVER, OLD):
                with contextlib.suppress(FileNotFoundError):  # removed just now
                    status = entry.stat()
                    seen[entry.name] = (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode)
    return seen
