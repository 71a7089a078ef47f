"""Endpoints that programs outside connect to: binding the sink's pair of sockets, and finding one from the other.

By convention the history is on the port after the publisher's (for `ipc://`: the same path with `.history`), so
a subscriber needs to know one endpoint only.
"""

import errno

import zmq

from zpipe.errors import ZpipeError

TRIES = 50
"""How many pairs of free ports are tried: one is enough unless other programs take ports at the same moment."""


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
    for _ in range(TRIES):
        bound = _bind(publisher, publish)
        wanted = history_at or history_of(bound)
        try:
            return bound, _bind(history, wanted)
        except ZpipeError:
            if not free_port or history_at is not None:
                raise
            publisher.unbind(bound)
    raise ZpipeError(f"no two free ports, one after the other, for {publish}")


def _bind(socket: "zmq.Socket[bytes]", endpoint: str) -> str:
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        hint = " (another program, or another pipeline, listens there)" if error.errno == errno.EADDRINUSE else ""
        raise ZpipeError(f"cannot bind {endpoint}: {error.strerror}{hint}") from None
    return bytes(socket.getsockopt(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()
