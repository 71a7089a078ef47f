"""Endpoints that programs outside connect to: binding the sink's pair of sockets, and finding one from the other.

By convention the history is on the port after the publisher's (for `ipc://`: the same path with `.history`), so
a subscriber needs to know one endpoint only.
"""

import errno
import time

import zmq

from zpipe.errors import ZpipeError

TRIES = 50
"""How many pairs of free ports are tried: one is enough unless other programs take ports at the same moment."""

PATIENCE_S = 2.0
"""How long a given port may be taken before that is an error. A restarted sink must get its predecessor's; a free port
is from the range that the kernel takes for outgoing connections too, and one of those may have it for a moment."""


def history_of(publish: str) -> str:
    """The history's endpoint that belongs to a publisher's."""
    if publish.startswith("tcp://"):
        host, _, port = publish.rpartition(":")
        return f"{host}:{int(port) + 1}" if port.isdecimal() else f"{host}:{port}"
    return f"{publish}.history"


def bind_pair(
    publisher: "zmq.Socket[bytes]", history: "zmq.Socket[bytes]", publish: str, history_at: str | None
) -> tuple[str, str]:
    """Bind both sockets; returns the endpoints to connect to. `*` as port takes a free one (and the next, free too)."""
    free_port = publish.startswith("tcp://") and publish.endswith(":*")
    patience_s = 0.0 if free_port else PATIENCE_S
    for _ in range(TRIES):
        bound = _bind(publisher, publish, patience_s)
        wanted = history_at or history_of(bound)
        try:
            return bound, _bind(history, wanted, patience_s)
        except ZpipeError:
            if not free_port or history_at is not None:
                raise
            publisher.unbind(bound)
    raise ZpipeError(f"no two free ports, one after the other, for {publish}")


def _bind(socket: "zmq.Socket[bytes]", endpoint: str, patience_s: float) -> str:
    deadline = time.monotonic() + patience_s
    try:
        while not _bound(socket, endpoint, time.monotonic() >= deadline):
            time.sleep(0.02)
    except zmq.ZMQError as error:
        hint = " (another program, or another pipeline, listens there)" if error.errno == errno.EADDRINUSE else ""
        raise ZpipeError(f"cannot bind {endpoint}: {error.strerror}{hint}") from None
    return bytes(socket.getsockopt(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()


def _bound(socket: "zmq.Socket[bytes]", endpoint: str, is_last_try: bool) -> bool:
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        if error.errno != errno.EADDRINUSE or is_last_try:
            raise
        return False
    return True
