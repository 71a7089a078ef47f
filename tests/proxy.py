"""A TCP proxy that tests pause, resume and cut: a network between subscriber and sink."""

import selectors
import socket
import threading
from types import TracebackType

ROOM_BYTES = 4096
"""The kernel's buffers in the proxy are small, so that a pause is felt at once."""


class Proxy:
    """Forwards connections to `endpoint` (tcp://host:port); `self.endpoint` is where it listens, `passed` all that
    went through it, in both directions."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._wake, self._waker = socket.socketpair()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._orders: list[str] = []
        self.passed = bytearray()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Nothing moves in either direction, no connection is made; none is closed."""
        self._order("pause")

    def resume(self, cut: bool = False) -> None:
        """Go on; with `cut` all connections are closed first, with what was in them."""
        if cut:
            self._order("cut")
        self._order("resume")

    def close(self) -> None:
        """End it."""
        self._order("close")
        self._thread.join()
        for sock in (self._listener, self._wake, self._waker):  # not on the thread: it may be done before we have sent
            sock.close()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _order(self, order: str) -> None:
        self._orders.append(order)
        self._waker.send(b".")

    def _serve(self) -> None:
        paused = False
        while True:
            with selectors.DefaultSelector() as selector:
                selector.register(self._wake, selectors.EVENT_READ)
                if not paused:
                    for sock in (self._listener, *self._peers):
                        selector.register(sock, selectors.EVENT_READ)
                ready = [key.fileobj for key, _ in selector.select()]
            for sock in ready:
                if sock is self._wake:
                    self._wake.recv(64)
                elif sock is self._listener:
                    self._accept()
                elif sock in self._peers:
                    self._forward(sock)
            while self._orders:
                order = self._orders.pop(0)
                if order in ("cut", "close"):
                    for sock in list(self._peers):
                        self._drop(sock)
                if order == "close":
                    return
                paused = order == "pause"

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM_BYTES)
        try:
            server.connect(self._target)
        except OSError:
            client.close()
            server.close()
            return
        self._peers[client], self._peers[server] = server, client

    def _forward(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(ROOM_BYTES)
            if data:
                self.passed += data
                self._peers[sock].sendall(data)
                return
        except OSError:
            pass
        self._drop(sock)

    def _drop(self, sock: socket.socket) -> None:
        peer = self._peers.pop(sock, None)
        if peer is not None:
            self._peers.pop(peer, None)
            sock.close()
            peer.close()
