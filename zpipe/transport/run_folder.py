"""The run folder: one private (0700) folder in shared memory that holds all that a pipeline leaves on the machine.

    lock            held (flock) by `zpipe up` for as long as it lives; the kernel lets go of it when it dies
    config.json     what the workers read their stage from
    STREAM.list     the frames of a stream as they were listed first (sources/listing.py)
    board           heartbeats (board.py)
    slot-N          frames in flight (store.py)
    inbox, w-N      sockets of the links (link.py); control: the control socket (control.py)

Who holds the lock owns the folder. So a folder whose lock is free is of a dead run, whatever its process
number says, and the next start of any pipeline of the same user clears it; a living one is never touched.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import time
from pathlib import Path
from types import TracebackType

from zpipe.errors import AlreadyRunning, NotRunning, ZpipeError
from zpipe.transport.store import SHARED_MEMORY

GLANCE_S = 0.5
"""Others hold a lock for a moment, to see whether its owner lives or to clear what a dead run has left."""


def _prefix() -> str:
    return f"zpipe-{os.getuid()}-"


def folder_of(name: str) -> Path:
    """Where the pipeline of this name keeps its run folder."""
    return SHARED_MEMORY / f"{_prefix()}{name}"


class RunFolder:
    """The run folder of a pipeline, created and locked; `AlreadyRunning` if a living pipeline has the name."""

    def __init__(self, name: str) -> None:
        clear_dead_runs()
        self.path = folder_of(name)
        deadline = time.monotonic() + GLANCE_S
        while (lock := _take_lock(self.path)) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        self._lock = lock
        if self._lock is None:
            raise AlreadyRunning(
                f"a pipeline named {name!r} is already running: stop it with `zpipe stop {name}`, "
                "or give this one another name (`--set name=...`)"
            )
        _empty(self.path)  # its owner may have died after the dead were cleared

    def close(self) -> None:
        """Remove the folder with all that is in it, then let go of the name. Closing twice is harmless."""
        if self._lock is not None:
            _remove(self.path)
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def clear_dead_runs() -> None:
    """Remove this user's run folders that no living process holds."""
    for path in SHARED_MEMORY.glob(f"{_prefix()}*"):
        if not _is_ours(path):
            continue
        with contextlib.suppress(FileNotFoundError):  # its owner, or another cleaner, was faster
            lock = _lock_in(path)
            if lock is not None:
                _remove(path)
                os.close(lock)


def all_living() -> list[str]:
    """The names of all pipelines of this user that run here."""
    return sorted(
        p.name[len(_prefix()) :] for p in SHARED_MEMORY.glob(f"{_prefix()}*") if _is_ours(p) and _is_locked(p)
    )


def living(name: str | None = None) -> str:
    """The name of the pipeline that runs here: `name` if it does, or the only one; else `NotRunning`."""
    names = all_living()
    if name is not None:
        if name not in names:
            raise NotRunning(
                f"no pipeline named {name!r} is running" + (f" (running: {', '.join(names)})" if names else "")
            )
        return name
    if not names:
        raise NotRunning("no pipeline is running")
    if len(names) > 1:
        raise NotRunning(f"several pipelines are running: say which ({', '.join(names)})")
    return names[0]


def _take_lock(path: Path) -> int | None:
    """Create the folder if need be and lock it; None if another process holds it."""
    while True:
        with contextlib.suppress(FileExistsError):  # something that is no folder: refused in the next line
            path.mkdir(mode=0o700, exist_ok=True)
        # Its last owner, or a cleaner, may remove it between any two of these calls.
        with contextlib.suppress(FileNotFoundError):
            if not _is_private(path.lstat()):
                raise ZpipeError(f"{path} is not a private folder of this user: remove it")
            return _lock_in(path)


def _lock_in(path: Path) -> int | None:
    """Lock a folder; None if another process holds it, FileNotFoundError if it is gone."""
    lock = os.open(path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The owner before us may have removed the folder while we waited: then this lock guards nothing.
        if os.stat(path / "lock").st_ino != os.fstat(lock).st_ino:
            raise FileNotFoundError(path)
    except BlockingIOError:
        os.close(lock)
        return None
    except FileNotFoundError:
        os.close(lock)
        raise
    return lock


def _remove(path: Path) -> None:
    """Remove a folder that we have locked. The lock goes last: without it the folder would be another's at once, while
    we still remove what is in there. Who has made a new one by then keeps the folder."""
    _empty(path)
    (path / "lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.rmdir()


def _empty(path: Path) -> None:
    """Remove all but the lock."""
    for entry in path.iterdir():
        if entry.name == "lock":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _is_locked(path: Path) -> bool:
    try:
        lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # A shared request: it fails while the owner lives, and two who ask at once do not see each other.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _is_ours(path: Path) -> bool:
    try:
        return _is_private(path.lstat())
    except FileNotFoundError:
        return False


def _is_private(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
