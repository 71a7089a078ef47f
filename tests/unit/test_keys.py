"""The folder of keys and key files: private from the first byte, whole or not at all, read strictly."""

import os
import re
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import until

from zpipe.engines.local import ZPIPE
from zpipe.errors import KeysError
from zpipe.rules.refusals import MOST_KEPT, REST, Refusals
from zpipe.transport import keys as folder_of_keys
from zpipe.transport.key_files import ROLES, read_client, read_key, read_server
from zpipe.transport.keys import Keys


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder_of_keys.init(tmp_path / "keys")
    return tmp_path / "keys"


def add(keys: Path, name: str, *streams: str, roles: tuple[str, ...] = ("send", "subscribe")) -> Path:
    out = keys.parent / f"{name}.key"
    folder_of_keys.add(keys, name, list(roles), list(streams), out)
    return out


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ZPIPE, "keys", *arguments], cwd=folder, capture_output=True, text=True, timeout=60)


# ---- the files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_all_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder_of_keys.init(tmp_path / "keys")
        add(tmp_path / "keys", "alice")
        folder_of_keys.renew(tmp_path / "keys")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "keys") == 0o700
    files = [tmp_path / "alice.key", *(tmp_path / "keys").iterdir()]
    assert {path.name for path in files} == {"alice.key", "alice.client", "server.key", "server-old.key"}
    assert {mode_of(path) for path in files} == {0o600}


def test_a_file_is_private_from_its_first_byte(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With umask 0: each file that is made is looked at the moment it is there, before anything is in it."""
    seen = []
    open_file = os.open

    def watched(path: str | Path, flags: int, *mode: int) -> int:
        descriptor = open_file(path, flags, *mode)
        if flags & os.O_CREAT:
            status = os.fstat(descriptor)
            seen.append((stat.S_IMODE(status.st_mode), status.st_size, bool(flags & os.O_EXCL)))
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    before = os.umask(0)
    try:
        add(keys, "alice")
    finally:
        os.umask(before)
    assert seen == [(0o600, 0, True)] * 2


def test_a_client_gets_its_own_pair_and_the_servers_public_key_only(keys: Path) -> None:
    text = (file := add(keys, "alice")).read_text()
    server = read_server(keys / "server.key")
    key = read_key(file)
    assert key.server == server.public
    assert server.secret not in text
    assert key.pair.secret not in (keys / "alice.client").read_text()
    assert key.pair.secret not in repr(key)
    assert read_client(keys / "alice.client").public == key.pair.public


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: "", "is not a key file, expected kind key"),
        (lambda text: text.replace("kind: key", "kind: server"), "is of kind server, expected kind key"),
        (lambda text: text + "name: bob\n", ":7: name is there twice"),
        (lambda text: text + "roles: send\n", "roles does not belong into a file of kind key"),
        (lambda text: text + "secrets: no\n", ":7: not a line of a key file"),
        (lambda text: text + "\0", ":7: not a line of a key file"),
        (lambda text: text[: text.index("secret: ")], "secret is missing"),
        (lambda text: re.sub("secret: .*", f"secret: {40 * '0'}", text), "the secret is not that of the public key"),
        (lambda text: text[:-9] + "\n", "server is not a key"),
        (lambda text: text[:-9] + "~~~~~~~~\n", "server is not a key"),
        (lambda text: text[:-9] + "########\n", "server is not a key"),
        (lambda text: text.replace("name: alice", "name: a.b"), "'a.b' is not a name"),
        (lambda text: text.replace("alice", "älice"), "is not text"),
        (lambda text: text * 400, "has more than 65536 bytes"),
    ],
)
def test_what_is_no_key_file_is_one_clear_error(keys: Path, change, complaint: str) -> None:
    file = add(keys, "alice")
    file.write_text(change(file.read_text()))
    with pytest.raises(KeysError) as error:
        read_key(file)
    assert complaint in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_others_can_read_is_refused(keys: Path) -> None:
    file = add(keys, "alice")
    file.chmod(0o640)
    with pytest.raises(KeysError, match=rf"open to others \(mode 0640\).*chmod 600 {file}"):
        read_key(file)
    keys.chmod(0o755)
    for use in (Keys, folder_of_keys.renew, folder_of_keys.retire, lambda folder: folder_of_keys.remove(folder, "a")):
        with pytest.raises(KeysError, match=f"chmod 700 {keys}"):
            use(keys)


def test_what_is_not_there_or_no_file(keys: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path, words in (("nix", "No such file"), ("fifo", "is not a file")):
        with pytest.raises(KeysError, match=words):
            read_key(tmp_path / path)
    (tmp_path / "empty").mkdir(0o700)
    for path in ("nix", "empty"):
        with pytest.raises(KeysError, match=f"`zpipe keys init {tmp_path / path}` makes it"):
            Keys(tmp_path / path)


# ---- the folder ---------------------------------------------------------------------------------------------


def test_roles_and_names(keys: Path) -> None:
    ids = {name: read_key(file).pair.public for name, file in (
        ("alice", add(keys, "alice")), ("gateway", add(keys, "gateway", "yard-*", "door", roles=("send",))),
        ("listener", add(keys, "listener", roles=("subscribe",))),
    )}  # fmt: skip
    found = Keys(keys)
    may = {name: {role for role in ROLES if found.may(public, role)} for name, public in ids.items()}
    assert may == {"alice": {"send", "subscribe"}, "gateway": {"send"}, "listener": {"subscribe"}}
    for name, stream, allowed in (
        ("alice", "alice", True),
        ("alice", "alice2", False),
        ("alice", "bob", False),
        ("alice", "", False),
        ("gateway", "yard-7", True),
        ("gateway", "yard-", True),
        ("gateway", "yard", False),
        ("gateway", "gateway", False),
        ("gateway", "door", True),
        ("listener", "listener", False),
    ):
        assert found.may_send(ids[name], stream) == allowed, (name, stream)
    assert not found.may("nobody", "send")
    assert not found.may_send("", "alice")


def test_a_change_is_seen_within_a_second(keys: Path) -> None:
    public = read_key(add(keys, "alice")).pair.public
    found = Keys(keys)
    assert found.may(public, "send")
    text = (keys / "alice.client").read_text()
    (keys / "alice.client").write_text(text.replace("roles: send subscribe", "roles: subscribe"))
    until(lambda: not found.may(public, "send"), 1)
    assert found.may(public, "subscribe")
    (keys / "alice.client").write_text(text.replace("roles: send", "roles: sing"))
    until(lambda: not found.may(public, "subscribe"), 1, "a bad entry lets nobody in")
    (keys / "alice.client").write_text(text)
    until(lambda: found.may(public, "send"), 1)
    folder_of_keys.remove(keys, "alice")
    until(lambda: not found.may(public, "send"), 1)
    other = read_key(add(keys, "bob")).pair.public
    until(lambda: found.may(other, "send"), 1)
    keys.rename(keys.with_name("elsewhere"))
    until(lambda: not found.may(other, "send"), 1, "without a folder nobody is let in")


def test_a_name_that_comes_again_has_another_key(keys: Path) -> None:
    """Who was removed does not get back in with his old file when the name is given anew."""
    old = read_key(add(keys, "alice")).pair.public
    folder_of_keys.remove(keys, "alice")
    (keys.parent / "alice.key").unlink()
    new = read_key(add(keys, "alice")).pair.public
    found = Keys(keys)
    assert (found.may(old, "send"), found.may(new, "send")) == (False, True)


def test_two_pairs_until_the_old_one_is_retired(keys: Path) -> None:
    old = read_key(add(keys, "alice")).server
    new = folder_of_keys.renew(keys)
    assert [pair.public for pair in folder_of_keys.read_pairs(keys)] == [new, old]
    assert read_key(add(keys, "bob")).server == new
    with pytest.raises(KeysError, match="two pairs already"):
        folder_of_keys.renew(keys)
    folder_of_keys.retire(keys)
    assert [pair.public for pair in folder_of_keys.read_pairs(keys)] == [new]
    with pytest.raises(KeysError, match="one pair only"):
        folder_of_keys.retire(keys)


def test_nothing_is_overwritten(keys: Path) -> None:
    file = add(keys, "alice")
    before = {path: path.read_bytes() for path in [file, *keys.iterdir()]}
    with pytest.raises(KeysError, match="has keys already"):
        folder_of_keys.init(keys)
    with pytest.raises(KeysError, match="alice has a key already"):
        folder_of_keys.add(keys, "alice", ["send"], [], keys.parent / "other.key")
    with pytest.raises(KeysError, match=r"alice.key is there already"):
        folder_of_keys.add(keys, "bob", ["send"], [], file)
    with pytest.raises(KeysError, match="cannot be written: No such file"):
        folder_of_keys.add(keys, "bob", ["send"], [], keys.parent / "nowhere" / "bob.key")
    assert {path: path.read_bytes() for path in [file, *keys.iterdir()]} == before
    assert not (keys.parent / "other.key").exists()


@pytest.mark.parametrize("name", ["", "a.b", "../alice", "-x", "a" * 41, "a b", "ä", "a\n"])
def test_a_bad_name_makes_nothing(keys: Path, name: str) -> None:
    with pytest.raises(KeysError, match="is not a name"):
        folder_of_keys.add(keys, name, ["send"], [], keys.parent / "out.key")
    with pytest.raises(KeysError, match="is not the name of a sender"):
        folder_of_keys.add(keys, "alice", ["send"], [name or "."], keys.parent / "out.key")
    assert not (keys.parent / "out.key").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from zpipe.transport import keys
step, calls = int(sys.argv[1]), 0
def dying(work):
    def do(*arguments, **options):
        global calls
        calls += 1
        if calls == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*arguments, **options)
    return do
for name in ("open", "fchmod", "fsync", "link", "unlink"):
    setattr(os, name, dying(getattr(os, name)))
keys.add(Path("keys"), "alice", ["send"], [], Path("alice.key"))
"""


def test_a_kill_in_the_middle_leaves_no_half_entry(keys: Path) -> None:
    """`keys add` is killed at each of its steps: there is no entry or a whole one, and the next `add` goes through."""
    for step in range(1, 40):
        done = subprocess.run([sys.executable, "-c", KILLED, str(step)], cwd=keys.parent, timeout=60)
        file = keys.parent / "alice.key"
        found = Keys(keys).clients  # strict: a half entry is an error
        if found:
            assert found[0].public == read_key(file).pair.public
        if file.exists():
            read_key(file)
            file.unlink()
        folder_of_keys.add(keys, f"bob{step}", ["send"], [], file)
        assert not list(keys.parent.glob(".*")) + list(keys.glob(".*")), "the half of a killed one is left"
        file.unlink()
        (keys / "alice.client").unlink(missing_ok=True)
        folder_of_keys.remove(keys, f"bob{step}")
        if done.returncode == 0:
            assert step > 10
            return
        assert done.returncode == -signal.SIGKILL
    pytest.fail("it never comes to its end")


def test_many_at_once(keys: Path) -> None:
    """Different names all get in; of two of one name, one."""
    names = [f"client{number % 6}" for number in range(12)]

    def run(number: int) -> int:
        return command(keys.parent, "add", names[number], "--out", f"{number}.key").returncode

    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(run, range(12)))
    assert sorted(codes) == [0] * 6 + [3] * 6
    clients = {client.name: client.public for client in Keys(keys).clients}
    assert sorted(clients) == sorted(set(names))
    for number, code in enumerate(codes):
        file = keys.parent / f"{number}.key"
        assert file.exists() == (code == 0)
        if code == 0:
            assert read_key(file).pair.public == clients[names[number]]


# ---- the command --------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path) -> None:
    assert command(tmp_path, "init", "keys").returncode == 0
    assert command(tmp_path, "add", "alice").returncode == 0
    assert command(tmp_path, "add", "bob", "--role", "send", "--stream", "yard-*", "--out", "b.key").returncode == 0
    said = command(tmp_path, "list").stdout
    assert "alice: " in said
    assert "send, subscribe as alice" in said
    assert "send as yard-*" in said
    again = command(tmp_path, "add", "alice")
    assert (again.returncode, again.stderr.count("\n")) == (3, 1)
    assert command(tmp_path, "remove", "alice").returncode == 0
    gone = command(tmp_path, "remove", "alice")
    assert "there is no key of alice in keys (there: bob)" in gone.stderr
    assert command(tmp_path, "renew").stdout.startswith("server: ")
    assert command(tmp_path, "retire").returncode == 0
    assert "alice" not in command(tmp_path, "list").stdout
    assert command(tmp_path, "add", "carol", "--role", "boss").returncode == 2


def test_who_is_refused_is_told_of_at_the_1st_the_10th_the_100th_time() -> None:
    refusals = Refusals()
    told = [count for _ in range(1000) if (line := refusals.heard("a", "why")) is not None for count in [line[1]]]
    assert told == [1, 10, 100, 1000]
    assert refusals.heard("b", "why") == ("b", 1)
    assert refusals.count == 1001
    lines = [refusals.heard(f"host{number}", "why") for number in range(10 * MOST_KEPT)]
    assert sum(line is not None and line[0] == REST for line in lines) < 6
