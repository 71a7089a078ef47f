"""The control socket of a running pipeline: owns the ROUTER that `zpipe status`, `scale`, `stop` and `source` talk to.

Request and reply are one JSON object each: `{"command": "status"}`, `{"command": "scale", "counts": {"detect": 4}}`,
`{"command": "stop"}`, `{"command": "add", "source": {"path": "/more", "stream": "more"}}`, `{"command": "remove",
"stream": "more"}`, `{"command": "sources"}`; the reply is `{"ok": ...}` or `{"error": "..."}`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import zmq

from zpipe.errors import UNDECODABLE, NotRunning, ZpipeError
from zpipe.snapshot import Snapshot
from zpipe.transport.run_folder import folder_of, living

MAX_REQUEST_BYTES = 1 << 16
REPLY_TIMEOUT_MS = 5000


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked of a running pipeline. `counts` are for `scale`: workers wanted by stage, or `auto`; `source` for
    `add`: an entry of ingest; `stream` for `remove`."""

    command: str
    counts: dict[str, int | Literal["auto"]] = {}
    source: dict[str, Any] = {}
    stream: str = ""


def endpoint_of(folder: Path) -> str:
    """The control socket of the run in this folder."""
    return f"ipc://{folder}/control"


class Control:
    """The pipeline's side. `commands` maps each command to what it does; what that returns is the reply."""

    commands: dict[str, Callable[[Request], Any]]

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", folder: Path) -> None:
        self.commands = {}
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
        self.socket.bind(endpoint_of(folder))

    def answer(self) -> None:
        """Answer the requests that are there; nothing that is sent here can do more than be refused."""
        while int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            parts = self.socket.recv_multipart()
            try:
                request = msgspec.json.decode(parts[-1], type=Request)
                command = self.commands.get(request.command)
                if command is None:
                    raise ZpipeError(f"no such command: {request.command}")
                reply: dict[str, Any] = {"ok": command(request)}
            except (*UNDECODABLE, ZpipeError) as error:
                reply = {"error": str(error)}
            self.socket.send_multipart([*parts[:-1], msgspec.json.encode(reply)], zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket; a last reply leaves first."""
        self.socket.close(linger=500)


def ask_status(name: str | None) -> Snapshot:
    """How the running pipeline of this name (None: the only one) is doing. NotRunning if it is not there."""
    try:
        return msgspec.convert(ask(name, Request("status")), Snapshot)
    except msgspec.ValidationError as error:
        raise ZpipeError(f"the pipeline that runs is of another version of zpipe: {error}") from None


def ask(name: str | None, request: Request) -> Any:
    """Ask the running pipeline of this name (None: the only one). NotRunning if it is not there."""
    name = living(name)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.REQ)
    socket.linger = 0
    try:
        socket.connect(endpoint_of(folder_of(name)))
        socket.send(msgspec.json.encode(request))
        if not socket.poll(REPLY_TIMEOUT_MS):
            raise NotRunning(f"the pipeline {name!r} does not answer")
        reply = msgspec.json.decode(socket.recv())
    finally:
        socket.close()
        context.term()
    if "error" in reply:
        raise ZpipeError(reply["error"])
    return reply["ok"]
