"""The links: owns the ZeroMQ sockets that frames' messages travel on.

The broker has one PULL inbox, which every worker pushes to, and one PUSH socket per worker. It binds them all; workers
connect. With a socket per worker the broker decides who gets a frame (plain PUSH fan-out deals round-robin, whatever
the peers' speed, and drops the queue of a peer that dies), and a replacement has an endpoint of its own, so nothing
queued for its predecessor reaches it. One inbox instead of one per stage: a stage is known from the worker's number,
and the broker polls one socket.

No high-water marks: credit bounds what is under way (rules/credit.py).
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import zmq

from zpipe import wire
from zpipe.errors import WireError

BURST = 256
"""Most parts taken from the inbox before the broker looks at its other sockets again."""

BEAT_MS = 1000
"""A worker that waits shows a sign of life so often."""

QUICK_NS, MOST_WAIT_NS = 500_000, 1_000_000
"""Outputs of frames that take less than half a millisecond are pushed together, but none waits longer than one."""

log = logging.getLogger(__name__)


class Links:
    """The broker's side of all links of a run."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", folder: Path) -> None:
        self._context = context
        self._folder = folder
        self._workers: dict[int, zmq.Socket[bytes]] = {}
        self.rejected = 0
        self.inbox = context.socket(zmq.PULL)
        self.inbox.set_hwm(0)
        self.inbox.setsockopt(zmq.MAXMSGSIZE, wire.MAX_BYTES)
        self.inbox.bind(inbox_of(folder))

    def attach(self, worker: int) -> None:
        """Bind the endpoint of a worker that is about to be started."""
        socket = self._context.socket(zmq.PUSH)
        socket.set_hwm(0)
        socket.linger = 0
        socket.bind(outbox_of(self._folder, worker))
        self._workers[worker] = socket

    def connected(self, worker: int) -> bool:
        """The worker's socket has a peer: only then can something be sent to it."""
        return bool(int(self._workers[worker].getsockopt(zmq.EVENTS)) & zmq.POLLOUT)

    def detach(self, worker: int) -> None:
        """Close a dead worker's socket, with all that it never took, and remove its file."""
        socket = self._workers.pop(worker, None)
        if socket is not None:
            socket.close()
            Path(outbox_of(self._folder, worker).removeprefix("ipc://")).unlink(missing_ok=True)

    def send(self, worker: int, messages: Sequence[wire.ToWorker]) -> None:
        """Hand messages to a connected worker; if it has just died, they are gone with it (the ledger still says
        that the worker holds the frames, and hears of its death). WireError if one of them is too long."""
        try:
            for part in wire.parts(messages):
                self._workers[worker].send(part, zmq.NOBLOCK)
        except zmq.Again:
            log.debug("link.unsent worker=%d", worker)

    def receive(self) -> Iterator[wire.FromWorker]:
        """The messages that are there, at most BURST parts; what is no valid message is counted and dropped."""
        for _ in range(BURST):
            try:
                parts = self.inbox.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                if len(parts) != 1:
                    raise WireError(f"it has {len(parts)} parts instead of one")
                yield from wire.decode_from_worker(parts[0])
            except WireError as error:
                self.rejected += 1
                # A PULL socket does not tell who sent it, so it is the link that is logged once.
                if self.rejected == 1:
                    log.warning('link.rejected message reason="%s" (further ones are only counted)', error)

    def close(self) -> None:
        """Close every socket; closing twice is harmless."""
        for worker in list(self._workers):
            self.detach(worker)
        self.inbox.close(linger=0)


class WorkerLink:
    """A worker's side: frames come in, outputs go out."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", folder: Path, worker: int) -> None:
        self.worker = worker
        self._waiting: list[wire.FromWorker] = []
        self._waited_ns = 0
        self.inlet = context.socket(zmq.PULL)
        self.inlet.set_hwm(0)
        self.inlet.setsockopt(zmq.MAXMSGSIZE, wire.MAX_BYTES)
        self.inlet.rcvtimeo = BEAT_MS
        self.inlet.connect(outbox_of(folder, worker))
        self._arrivals = zmq.Poller()
        self._arrivals.register(self.inlet, zmq.POLLIN)
        self._outlet = context.socket(zmq.PUSH)
        self._outlet.set_hwm(0)
        # What is sent just before the end must still leave; the broker is on this machine and reads at once.
        self._outlet.linger = 2_000
        self._outlet.connect(inbox_of(folder))

    def send(self, *messages: wire.FromWorker) -> None:
        """Push messages to the broker, after those that were `put`; it never waits."""
        self._waiting += messages
        self.flush()

    def put(self, message: wire.FromWorker, took_ns: int) -> None:
        """Push the output of a frame that took so long; that of a quick one may wait for the next, until
        such waits add up to MOST_WAIT_NS.

        What was put before a slow one leaves with it. Who calls this calls `flush` before it waits for work.
        """
        self._waiting.append(message)
        self._waited_ns += took_ns
        if took_ns > QUICK_NS or self._waited_ns > MOST_WAIT_NS:
            self.flush()

    def flush(self) -> None:
        """Push what was `put`; WireError if one of them is too long."""
        if self._waiting:
            messages, self._waiting, self._waited_ns = self._waiting, [], 0
            for part in wire.parts(messages):
                self._outlet.send(part)

    def receive(self) -> list[wire.ToWorker]:
        """The next messages; none if there were none for BEAT_MS."""
        try:
            return self._decode(self.inlet.recv())
        except zmq.Again:
            return []

    def take(self) -> list[wire.ToWorker]:
        """The next messages if there are any; never waits. (To look first costs a third of an `Again`.)"""
        return self.receive() if self._arrivals.poll(0) else []

    def _decode(self, data: bytes) -> list[wire.ToWorker]:
        try:
            return wire.decode_to_worker(data)
        except WireError as error:
            log.warning('link.rejected message reason="%s"', error)
            return []

    def close(self) -> None:
        """Close both sockets; what was sent leaves first."""
        self.inlet.close(linger=0)
        self._outlet.close()


def inbox_of(folder: Path) -> str:
    """Endpoint of the broker's inbox."""
    return f"ipc://{folder}/inbox"


def outbox_of(folder: Path, worker: int) -> str:
    """Endpoint that the broker sends to this worker on."""
    return f"ipc://{folder}/w-{worker}"
