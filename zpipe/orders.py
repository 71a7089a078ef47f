"""What a worker is told when it is started: one `Order`, as one JSON argument of its command line.

Written by the supervisor, read by `worker.py`. What a worker does for its role is its `task`; the rest all workers get.
"""

import msgspec

from zpipe.errors import UNDECODABLE, WireError


class Condemned(msgspec.Struct, frozen=True):
    """A frame that must not be read, and why: reading it has killed every ingest that tried."""

    seq: int
    reason: str


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """Read stream number `stream`, the source of ingest entry number `entry` of the config, from frame `start` on,
    without touching the `condemned` ones."""

    stream: int
    entry: int
    start: int = 1
    condemned: list[Condemned] = []


class IngestTask(msgspec.Struct, frozen=True, tag="ingest"):
    """Read these streams."""

    streams: list[Reading]


class GateTask(msgspec.Struct, frozen=True, tag="gate"):
    """Take what senders send, at all entries of `ingest` that listen. Which streams those are, they say."""


class StageTask(msgspec.Struct, frozen=True, tag="stage"):
    """Work for model stage number `stage` of the chain.

    `threads`: how many it may compute with; `models`: folder that Python models are imported from; `cache`: folder of
    compiled models; `careful`: others of the stage have died by themselves, so it must be clear at any moment which
    frame is in work.
    """

    stage: int
    threads: int
    models: str
    cache: str
    careful: bool = False


class Subscribers(msgspec.Struct, frozen=True):
    """The subscribers of a sink: plain ones, and zpipe's that have not everything yet."""

    plain: int
    behind: int


class SoFar(msgspec.Struct, frozen=True, omit_defaults=True):
    """Stream number `stream`, called `name`, of which the first so many results are `published`."""

    stream: int
    name: str
    published: int = 0


class SinkTask(msgspec.Struct, frozen=True, tag="sink"):
    """Publish run `run`; `streams` are those whose end is not published yet (others come as messages). `listens`: that
    they are all published is not the end, senders may open others.

    Of the sinks before this one: the (stream, seq) that they died on (None: not known, so any that is in the results
    file); the endpoints that they had, to be taken again, and whether to wait for them without end; their subscribers,
    to be waited for (None: it is the first).
    """

    run: str
    streams: list[SoFar]
    under_way: list[tuple[int, int]] | None = None
    endpoints: tuple[str, str] | None = None
    is_patient: bool = True
    audience: Subscribers | None = None
    listens: bool = False


Task = IngestTask | GateTask | StageTask | SinkTask


class Order(msgspec.Struct, frozen=True):
    """All that a worker is told. `name` is what people read; `worker` its number on the wire, `row` of the board."""

    name: str
    role: str
    folder: str
    parent: int
    worker: int
    row: int
    task: Task


_decoder = msgspec.json.Decoder(Order)


def write(order: Order) -> str:
    """The order as an argument."""
    return msgspec.json.encode(order).decode()


def read(argument: str) -> Order:
    """The order in an argument; WireError if it is none."""
    try:
        return _decoder.decode(argument)
    except UNDECODABLE as error:
        raise WireError(f"not an order for a worker: {error}") from None
