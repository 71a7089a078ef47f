"""The folder of compiled models; owns who may write to it.

OpenVINO writes its cache without a thought of others: of two workers that compile the same model at the same moment, as
the workers of a stage do at the first start, one may fail on the other's half-made file. So they take turns, model by
model; who comes second finds it compiled and has saved the time.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def take_turn(folder: str | None, model: str) -> Iterator[str | None]:
    """Have the cache to oneself for this model file while the block compiles it; gives the folder to use.

    None where there is no cache: none was wanted, or its folder cannot be written to.
    """
    if folder is None:
        yield None
        return
    name = hashlib.sha256(os.path.realpath(model).encode(errors="surrogateescape")).hexdigest()[:16]
    try:
        os.makedirs(folder, exist_ok=True)
        lock = os.open(os.path.join(folder, f"{name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        yield None
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a process that dies lets go of it
        yield folder
    finally:
        os.close(lock)


def cache_folder() -> str:
    """Where compiled models are kept from run to run; ZPIPE_CACHE sets another folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("ZPIPE_CACHE") or os.path.join(base, "zpipe", "models")
