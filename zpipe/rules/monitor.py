"""What a socket's monitor says of its connections. Pure. pyzmq's own reader of it imports asyncio, 20 ms of a start."""

import struct
from collections.abc import Sequence

_EVENT = struct.Struct("=Hi")


def parse_event(parts: Sequence[bytes]) -> tuple[int, int]:
    """Which event (`zmq.EVENT_*`), and of which descriptor, or its value (zmq_socket_monitor)."""
    event, value = _EVENT.unpack(parts[0])
    return event, value
