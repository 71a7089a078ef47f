"""What keys cost: CPU of both ends together, a message from PUB to SUB over loopback TCP, in clear and with CURVE.

    python tests/bench/curve.py

Bare sockets. A result of 5 objects is about 1 KB.
"""

import time

import zmq

from zpipe.transport.key_files import Pair

SIZES = {200: 100_000, 1_000: 100_000, 10_000: 30_000, 300_000: 2_000}
"""Bytes of a message, and how many of them are sent."""

ROUNDS = 3
AT_ONCE = 100


def measure(size: int, count: int, pair: Pair | None) -> float:
    """CPU a message, microseconds: the least of some rounds."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(2)
    with context, context.socket(zmq.XPUB) as publisher, context.socket(zmq.SUB) as subscriber:
        if pair is not None:
            publisher.curve_server, publisher.curve_secretkey = True, pair.secret.encode()
            client = Pair.new()
            subscriber.curve_publickey, subscriber.curve_secretkey = client.public.encode(), client.secret.encode()
            subscriber.curve_serverkey = pair.public.encode()
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        subscriber.subscribe(b"results/")
        subscriber.connect(f"tcp://127.0.0.1:{port}")
        assert publisher.poll(5000), "it does not come"
        publisher.recv()
        return min(send(publisher, subscriber, bytes(size), count) for _ in range(ROUNDS))


def send(publisher: "zmq.Socket[bytes]", subscriber: "zmq.Socket[bytes]", line: bytes, count: int) -> float:
    """Send so many, receive them; CPU of each, microseconds."""
    began = time.process_time()
    for _ in range(count // AT_ONCE):
        for _ in range(AT_ONCE):
            publisher.send_multipart((b"results/yard", line))
        for _ in range(AT_ONCE):
            subscriber.recv_multipart()
    return (time.process_time() - began) / count * 1e6


if __name__ == "__main__":
    for size, count in SIZES.items():
        clear, secured = measure(size, count, None), measure(size, count, Pair.new())
        print(f"{size:>7} bytes: {clear:6.1f} us in clear, {secured:6.1f} us with keys, {secured - clear:+.1f}")
