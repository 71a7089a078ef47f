"""Key files: owns how they look, how they are written (private from the first byte, whole or not at all) and read.

Text that people can read, `field: value` a line. Three kinds, told by their first field:

    kind: server   public, secret                  a pair of the pipeline's own; never leaves its folder
    kind: client   public, roles, streams          somebody who is let in; the name is that of the file
    kind: key      name, public, secret, server    what a client has: its own pair, and the server's public key

Keys are Curve25519 keys in Z85, 40 characters, as everywhere in ZeroMQ. What is not exactly such a file is refused, and
what others can read, as ssh does.
"""

import glob
import os
import re
import stat
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import zmq
from zmq.utils import z85

from zpipe.errors import KeysError

ROLES = ("send", "subscribe", "node")

MOST_BYTES = 1 << 16
"""A key file has less than a thousand; an entry with many stream names some more."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
"""Of keys and senders: no dots, since streams are called SOURCE.SENDER."""

STREAM = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,39})?\*?")
"""Of streams in an entry; with `*` all that begin so."""

FIELDS = {
    "server": ("public", "secret"),
    "client": ("public", "roles", "streams"),
    "key": ("name", "public", "secret", "server"),
}
MADE_BY = {"server": "zpipe keys init", "client": "zpipe keys add", "key": "zpipe keys add"}

Content = TypeVar("Content")


@dataclass(frozen=True)
class Pair:
    """A key pair, in Z85."""

    public: str
    secret: str = field(repr=False)

    @staticmethod
    def new() -> "Pair":
        """A pair that nobody has."""
        public, secret = zmq.curve_keypair()
        return Pair(public.decode(), secret.decode())


@dataclass(frozen=True)
class Client:
    """Somebody who is let in: the roles of the key, and the names that it may send under."""

    name: str
    public: str
    roles: frozenset[str]
    streams: tuple[str, ...]

    def may_send(self, stream: str) -> bool:
        """Whether it may send under this name."""
        return "send" in self.roles and any(
            stream == own or (own.endswith("*") and stream.startswith(own[:-1])) for own in self.streams
        )


@dataclass(frozen=True)
class ClientKey:
    """What a client's file holds."""

    name: str
    pair: Pair
    server: str


def read_server(path: Path) -> Pair:
    """The pair in a file of the server."""
    return _read(path, "server", _pair)


def read_client(path: Path) -> Client:
    """The client in an entry of the folder."""
    return _read(path, "client", lambda values: _client(path.stem, values))


def read_key(path: Path) -> ClientKey:
    """What is in a client's file."""
    return _read(
        path,
        "key",
        lambda values: ClientKey(_named(values["name"]), _pair(values), _public("server", values["server"])),
    )


def server_text(pair: Pair) -> str:
    """A file of the server."""
    comment = "The pair of a pipeline's server. Secret: it never leaves this folder."
    return _text(comment, "server", public=pair.public, secret=pair.secret)


def client_text(client: Client) -> str:
    """An entry of the folder."""
    comment = f"{client.name} is let in. Roles ({', '.join(ROLES)}) and names to send under may be changed here."
    roles = " ".join(role for role in ROLES if role in client.roles)
    return _text(comment, "client", public=client.public, roles=roles, streams=" ".join(client.streams))


def key_text(key: ClientKey) -> str:
    """A client's file."""
    comment = f"Who has this file is {key.name}: keep it secret. `--key FILE` uses it."
    return _text(
        comment, "key", name=key.name, public=key.pair.public, secret=key.pair.secret, server=key.server
    )  # fmt: skip


def write_private(path: Path, text: str, *, replace: bool = False) -> None:
    """Write a file with mode 0600, whatever the umask; whoever is killed meanwhile has written nothing.

    KeysError if it is there already, unless it is to be replaced.
    """
    new = path.with_name(f".new-{os.getpid()}-{path.name}")
    try:
        for half in path.parent.glob(f".new-*-{glob.escape(path.name)}"):  # of one that was killed: a secret, too
            half.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(descriptor, 0o600)  # a umask takes from the mode that was asked for, it never adds
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            if replace:
                new.rename(path)
            else:
                os.link(new, path)  # unlike a rename it takes nobody's place
        finally:
            new.unlink(missing_ok=True)
    except FileExistsError:
        raise KeysError(f"{path} is there already, and a key is never overwritten") from None
    except OSError as error:
        raise KeysError(f"{path} cannot be written: {error.strerror}") from None


def refuse_open_to_others(status: os.stat_result, path: Path) -> None:
    """KeysError if somebody else could have written it, or, as far as it is ours, can read it."""
    kind, mode = ("folder", "700") if stat.S_ISDIR(status.st_mode) else ("file", "600")
    if status.st_uid not in (os.geteuid(), 0):
        raise KeysError(f"{path} belongs to another user, who could give himself a key: this {kind} must be yours")
    if status.st_mode & (0o022 if status.st_uid != os.geteuid() else 0o077):
        raise KeysError(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}), and so not used: chmod {mode} {path}"
        )


# ---- inside -------------------------------------------------------------------------------------------------


def _read(path: Path, kind: str, make: Callable[[dict[str, str]], Content]) -> Content:
    text = _read_text(path)
    try:
        return make(_parse(text, kind))
    except ValueError as error:
        raise KeysError(f"{path}{error}") from None


def _read_text(path: Path) -> str:
    try:
        # Not blocking: somebody may have put a FIFO there.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise KeysError(f"{path} is not a file, expected a key file")
            refuse_open_to_others(status, path)
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise KeysError(f"{path} has more than {MOST_BYTES} bytes, expected a key file")
    try:
        return data.decode("ascii")
    except UnicodeError:
        raise KeysError(f"{path} is not text, expected a key file") from None


def _parse(text: str, kind: str) -> dict[str, str]:
    """The values by field; ValueError with `:line: what is wrong`."""
    wanted = ("kind", *FIELDS[kind])
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon or name not in {"kind", *(name for names in FIELDS.values() for name in names)}:
            raise ValueError(f":{number}: not a line of a key file")
        if name in found:
            raise ValueError(f":{number}: {name} is there twice")
        found[name] = value.strip()
    if found.get("kind") != kind:
        was = f"is of kind {found['kind']}" if found.get("kind") in FIELDS else "is not a key file"
        raise ValueError(f": {was}, expected kind {kind} (made by `{MADE_BY[kind]}`)")
    for name in wanted:
        if name not in found:
            raise ValueError(f": {name} is missing")
    if extra := found.keys() - set(wanted):
        raise ValueError(f": {min(extra)} does not belong into a file of kind {kind}")
    return found


def _pair(values: dict[str, str]) -> Pair:
    pair = Pair(_public("public", values["public"]), values["secret"])
    try:
        fits = len(pair.secret) == 40 and zmq.curve_public(pair.secret.encode()).decode() == pair.public
    except zmq.ZMQError:
        fits = False
    if not fits:
        raise ValueError(": the secret is not that of the public key")
    return pair


def _client(name: str, values: dict[str, str]) -> Client:
    roles, streams = values["roles"].split(), values["streams"].split()
    _refuse_words("role", roles, lambda role: role in ROLES, f"one of {', '.join(ROLES)}")
    _refuse_words("stream", streams, lambda stream: bool(STREAM.fullmatch(stream)), "a name without dots")
    return Client(_named(name), _public("public", values["public"]), frozenset(roles), tuple(streams))


def _refuse_words(what: str, words: Iterable[str], is_right: Callable[[str], bool], expected: str) -> None:
    for word in words:
        if not is_right(word):
            raise ValueError(f": {what} '{word}' is not {expected}")


def _named(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f": '{name}' is not a name (at most 40 of A-Z a-z 0-9 _ -, no dots)")
    return name


def _public(what: str, key: str) -> str:
    try:
        if len(key) == 40 and len(z85.decode(key.encode())) == 32:
            return key
    except (ValueError, LookupError, struct.error):
        pass
    raise ValueError(f": {what} is not a key (40 characters of Z85)")


def _text(comment: str, kind: str, **values: str) -> str:
    return "".join([f"# {comment}\n", f"kind: {kind}\n", *(f"{name}: {value}\n" for name, value in values.items())])
