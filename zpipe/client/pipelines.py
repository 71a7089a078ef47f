"""The pipelines that run here, as `zpipe status`, `scale`, `stop`, `source` see them: asks their control sockets."""

import os
import time
from typing import Literal

import msgspec

from zpipe.config.keys import IngestConfig
from zpipe.config.paths import stream_name
from zpipe.errors import ConfigError, NotRunning
from zpipe.snapshot import Snapshot, SourceState
from zpipe.sources.opening import check_source
from zpipe.transport.control import Request, ask, ask_status
from zpipe.transport.run_folder import all_living, living

LOOK_S = 0.1


def status_of_all() -> list[Snapshot]:
    """What every running pipeline says; one that ends meanwhile, or does not answer, says nothing."""
    found = []
    for name in all_living():
        try:
            found.append(ask_status(name))
        except NotRunning:
            continue
    return found


def scale(name: str | None, counts: dict[str, int | Literal["auto"]]) -> dict[str, int]:
    """Give stages other counts of workers (or `auto`); how many each stage is to have now."""
    now: dict[str, int] = ask(name, Request("scale", counts))
    return now


def add_source(name: str | None, path: str, stream: str | None, **keys: object) -> str:
    """Have a pipeline read one more source; the name of its stream. `keys`: others of an entry of ingest.

    ConfigError if it is plain that the source cannot be opened.
    """
    path = os.path.abspath(os.path.expanduser(path))
    try:
        entry = msgspec.convert({"path": path, "stream": stream or stream_name(path), **keys}, IngestConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path} cannot be added: {error}") from None
    check_source(entry)
    return str(ask(name, Request("add", source=msgspec.to_builtins(entry))))


def remove_source(name: str | None, stream: str) -> None:
    """Have a pipeline read no more of a stream: it ends where it stands."""
    ask(name, Request("remove", stream=stream))


def list_sources(name: str | None) -> list[SourceState]:
    """Where the frames of a pipeline come from."""
    return msgspec.convert(ask(name, Request("sources")), list[SourceState])


def stop(name: str | None, wait: bool) -> str:
    """Have a pipeline drain; its state. `wait`: until it has ended."""
    name = living(name)
    state = str(ask(name, Request("stop")))
    while wait and name in all_living():
        time.sleep(LOOK_S)
    return "ended" if wait else state
