"""A stranger who means harm, as a process of its own: `attacker.py KIND HOST PORT [SHARE]`. Speaks ZMTP 3.0 by hand, as
fast as the kernel takes it, and connects again whenever it is cut off, as libzmq does."""

import contextlib
import os
import socket
import sys
import time

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
AGAIN_S = 0.1


def frame(body: bytes, flags: int = 0) -> bytes:
    return bytes([flags, len(body)]) + body if len(body) < 256 else bytes([flags | 2]) + len(body).to_bytes(8) + body


def connect(host: str, port: int, kind: str) -> socket.socket:
    """A connection after its handshake as a socket of this kind."""
    made = socket.create_connection((host, port), 5)
    try:
        made.sendall(GREETING + frame(b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4) + kind.encode(), 4))
        made.recv(64)
    except OSError:  # whoever has attacked before is not let in at once
        made.close()
        raise
    return made


def flood() -> bytes:
    """Subscribe and unsubscribe."""
    return (frame(b"\x01results/") + frame(b"\x00results/")) * 5000


def topics() -> bytes:
    """Ever new topics."""
    return b"".join(frame(b"\x01" + os.urandom(200)) for _ in range(500))


def parts() -> bytes:
    """A message that never ends."""
    return frame(b"", 1) * 50_000


SAYS = {"flood": ("SUB", flood), "topics": ("SUB", topics), "parts": ("DEALER", parts), "endless": ("SUB", parts)}


def burn(share: float) -> None:
    """Harmless: uses this share of a processor."""
    while True:
        before = time.process_time()
        flood()
        time.sleep((time.process_time() - before) * (1 / share - 1))


def stay_deaf(host: str, port: int, count: int) -> None:
    """Many who subscribe to all and never read."""
    deaf: list[socket.socket] = []
    while True:
        with contextlib.suppress(OSError):
            while len(deaf) < count:
                deaf.append(connect(host, port, "SUB"))
                deaf[-1].sendall(frame(b"\x01"))
        time.sleep(AGAIN_S)


def ask_and_never_read(host: str, port: int, count: int) -> None:
    """Many who ask for all there is, again and again, and never read."""
    deaf: list[socket.socket] = []
    question = frame(b"\x94\xa1a\xa4yard\x01\xc2")
    while True:
        with contextlib.suppress(OSError):
            if len(deaf) < count:
                deaf.append(connect(host, port, "DEALER"))
        for one in deaf:
            with contextlib.suppress(OSError):
                one.sendall(question)
        time.sleep(0.001)


def main(kind: str, host: str, port: int, share: float = 1.0) -> None:
    if kind == "burn":
        burn(max(share, 0.01))
    if kind == "deaf":
        stay_deaf(host, port, 400)
    if kind == "askers":
        ask_and_never_read(host, port, 400)
    socket_kind, says = SAYS[kind]
    while True:
        with contextlib.suppress(OSError), connect(host, port, socket_kind) as made:
            while True:
                made.sendall(says())
        time.sleep(AGAIN_S)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(float, sys.argv[4:]))
