"""What a socket's monitor tells of its connections. pyzmq's own reader imports asyncio, 20 ms of every start."""

import struct

import zmq

_EVENT = struct.Struct("=Hi")


def read_event(monitor: "zmq.Socket[bytes]") -> tuple[int, int]:
    """The next event: which (`zmq.EVENT_*`), and of which descriptor, or its value (zmq_socket_monitor)."""
    told, _endpoint = monitor.recv_multipart()
    event, value = _EVENT.unpack(told)
    return event, value
