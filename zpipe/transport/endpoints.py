"""Endpoints that programs outside connect to: binding the sink's pair of sockets, and finding one from the other.

By convention the history is on the port after the publisher's (for `ipc://`: the same path with `.history`), so
a subscriber needs to know one endpoint only.
"""

import contextlib
import errno
import random
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from zpipe.config.keys import HISTORY_SUFFIX
from zpipe.errors import ZpipeError

TRIES = 200
"""How many pairs of ports are tried, at random, before there are no free ones."""

PATIENCE_S = 2.0
"""How long a given port may be taken before that is an error: a sink that was killed may not be quite gone."""

PAUSE_S = 0.02
"""So long between two tries."""

Wait = Callable[[str], bool]
"""Called while somebody else has this endpoint: waits a little; whether to try again."""

BindOne = Callable[["zmq.Socket[bytes]", str], object]
"""Binds a socket to an endpoint: its own `bind`, or that of a socket with keys (`curve.py`)."""

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_PORT, LAST_PORT = 10_000, 65_534


class _TakenError(ZpipeError):
    """Somebody else has the endpoint."""


def history_of(publish: str) -> str:
    """The history's endpoint that belongs to a publisher's."""
    if publish.startswith("tcp://"):
        host, _, port = publish.rpartition(":")
        return f"{host}:{int(port) + 1}" if port.isdecimal() else f"{host}:{port}"
    return f"{publish}{HISTORY_SUFFIX}"


def free_ports() -> range:
    """Where to look for a free port: where the kernel takes none for outgoing connections.

    If it did, a subscriber that connects again and again to a sink that is being restarted would sooner or later be
    given that very port, be connected to itself (TCP allows that), and keep the sink from it for good.
    """
    try:
        low, high = map(int, OUTGOING.read_text().split())
    except (OSError, ValueError):
        low, high = 32_768, 60_999
    around = range(FIRST_PORT, low), range(high + 1, LAST_PORT)
    best = max(around, key=len)
    return best if len(best) > TRIES else range(FIRST_PORT, LAST_PORT)


def bind_pair(
    publisher: "zmq.Socket[bytes]",
    history: "zmq.Socket[bytes]",
    publish: str,
    history_at: str | None,
    wait: Wait | None = None,
    bind: BindOne = lambda socket, endpoint: socket.bind(endpoint),
) -> tuple[str, str]:
    """Bind both sockets; returns the endpoints to connect to. `*` as port takes a free one (and the next, free too).

    `wait`: how long for an endpoint that somebody has (None: PATIENCE_S).
    """
    wait = wait or wait_for(PATIENCE_S)
    if not (publish.startswith("tcp://") and publish.endswith(":*")):
        bound = _bind(publisher, publish, wait, bind)
        return bound, _bind(history, history_at or history_of(bound), wait, bind)
    fixed = _bind(history, history_at, wait, bind) if history_at is not None else None
    for port in random.sample(free_ports(), TRIES):
        with contextlib.suppress(_TakenError):
            bound = _bind(publisher, f"{publish.removesuffix('*')}{port}", _give_up, bind)
            try:
                return bound, fixed or _bind(history, history_of(bound), _give_up, bind)
            except _TakenError:
                publisher.unbind(bound)
    raise ZpipeError(f"no two free ports, one after the other, for {publish}")


def bind_one(public: "zmq.Socket[bytes]", endpoint: str, wait: Wait, bind: BindOne) -> str:
    """Bind a socket; returns the endpoint to connect to. `wait` and `bind` as in `bind_pair`."""
    return _bind(public, endpoint, wait, bind)


def wait_for(patience_s: float) -> Wait:
    """Wait for so long from now on."""
    deadline = time.monotonic() + patience_s

    def wait(endpoint: str) -> bool:
        time.sleep(PAUSE_S)
        return time.monotonic() < deadline

    return wait


def _give_up(endpoint: str) -> bool:
    return False


def _bind(socket: "zmq.Socket[bytes]", endpoint: str, wait: Wait, bind: BindOne) -> str:
    while True:
        try:
            bind(socket, endpoint)
            return bytes(socket.getsockopt(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()
        except zmq.ZMQError as error:
            said = f"cannot bind {endpoint}: {error.strerror}"
            if error.errno != errno.EADDRINUSE:
                raise ZpipeError(said) from None
            if not wait(endpoint):
                raise _TakenError(f"{said} (another program, or another pipeline, listens there)") from None
