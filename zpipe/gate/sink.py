"""What the gate hears of the sink: results as they are published, and from its history those that were missed."""

import uuid
from collections.abc import Iterator, Sequence

import msgspec
import zmq

from zpipe import messages
from zpipe.rules import history
from zpipe.rules.returns import Question, ResultLine, read_line
from zpipe.transport.curve import is_secured, secure_client

BURST = 256
"""Live results that are taken before others have their turn."""


class SinkReader:
    """A subscriber of the sink at these endpoints, of all streams whose names begin with one of `prefixes`.

    `key`: the folder of keys, which is ours.
    """

    def __init__(self, publish: str, history_at: str, prefixes: Sequence[str], key: str | None) -> None:
        self._id = uuid.uuid4().hex
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self.live, self.history = context.socket(zmq.SUB), context.socket(zmq.DEALER)
        self.history.set_hwm(4)
        for prefix in prefixes:
            self.live.subscribe(messages.topic(prefix))
        self.live.subscribe(history.SUBSCRIBER + self._id.encode())
        for socket, endpoint in ((self.live, publish), (self.history, history_at)):
            if key is not None and is_secured(endpoint):
                secure_client(socket, key)
            socket.connect(endpoint)

    def hear(self) -> Iterator[tuple[str, ResultLine]]:
        """Live lines and their streams, a bounded number of them."""
        for _ in range(BURST):
            try:
                topic, data = self.live.recv_multipart(zmq.NOBLOCK)
            except (zmq.Again, ValueError):
                return
            line = read_line(data)
            if line is not None:
                yield topic.removeprefix(history.RESULTS).decode(errors="replace"), line

    def ask(self, question: Question) -> None:
        """Ask the history. If it is away, one of the next times will do."""
        self._tell(history.LinesRequest(self._id, question.stream, question.first))

    def replies(self) -> Iterator[list[bytes]]:
        """The lines of replies that have come."""
        while self.history.poll(0):
            try:
                yield history.read_reply(self.history.recv()).lines
            except msgspec.DecodeError:
                yield []

    def leave(self) -> None:
        """Everything is here: the sink need not wait for us."""
        self._tell(history.LinesRequest(self._id, done=True))

    def close(self) -> None:
        """Close both sockets; a farewell leaves first."""
        self.live.close(linger=0)
        self.history.close(linger=500)

    def _tell(self, request: history.LinesRequest) -> None:
        try:
            self.history.send(history.write_request(request), zmq.NOBLOCK)
        except zmq.Again:
            return
