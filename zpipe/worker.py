"""A worker process, started by the supervisor with one order. Opens its hands, does its role, ends.

    ingest              reads sources                      stages/ingest.py
    gate                takes what senders send            gate/gate.py
    detect, classify    work for a model stage             stages/detect.py, classify.py in the loop of stages/loop.py
    sink                orders, logs and publishes         stages/sink.py

Imports that not every role needs are in the functions below: a worker that is replaced should be back at once, and
numpy alone costs a tenth of a second.
"""

import logging
import signal
from functools import partial
from pathlib import Path

import zmq

from zpipe import orders, wire
from zpipe.config.keys import Config
from zpipe.config.loading import parse
from zpipe.engines.local import die_with_parent
from zpipe.errors import ZpipeError
from zpipe.orders import GateTask, IngestTask, Order, SinkTask, StageTask
from zpipe.transport.board import Heart
from zpipe.transport.link import WorkerLink

GATE_PATIENCE_S = 10.0
"""How long a gate waits for an endpoint that somebody has: one that was killed may not be quite gone from it."""


def main(arguments: list[str]) -> int:
    """Run a worker; its exit code."""
    order = orders.read(arguments[0])
    die_with_parent(order.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    folder = Path(order.folder)
    config = parse((folder / "config.json").read_bytes())
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    link = WorkerLink(context, folder, order.worker)
    heart = Heart(folder, order.row)
    try:
        serve(order, config, link, heart)
        return 0
    except ZpipeError as error:
        link.send(wire.Refused(link.worker, str(error)[: wire.MOST_REASON], error.exit_code))
        return error.exit_code
    finally:
        heart.close()
        link.close()
        context.destroy(linger=0)  # not `term`: it would wait for sockets that an error has left open


def serve(order: Order, config: Config, link: WorkerLink, heart: Heart) -> None:
    """Do the task until its end."""
    match order.task:
        case IngestTask() as task:
            serve_ingest(task, order, config, link, heart)
        case GateTask():
            serve_gate(order, config, link, heart)
        case StageTask() as task:
            serve_stage(task, order, config, link, heart)
        case SinkTask() as task:
            serve_sink(task, order, config, link, heart)


def serve_ingest(task: IngestTask, order: Order, config: Config, link: WorkerLink, heart: Heart) -> None:
    """Read streams. One that is alone is opened before anything is said; of several, each when it is its turn."""
    from zpipe.sources.listing import check_listed, open_listed
    from zpipe.stages.ingest import Ingest
    from zpipe.stages.reading import Opening, StreamReading
    from zpipe.transport.store import Store

    max_pixels, store = config.frames.max_pixels, Store(order.folder)
    streams = []
    for reading in task.streams:
        entry = config.ingest[reading.entry]
        kept = Path(order.folder) / f"{entry.stream}.list"
        opening = Opening(partial(check_listed, entry, kept), partial(open_listed, entry, max_pixels, kept))
        streams.append(StreamReading(reading, str(entry.stream), opening, heart))
    if len(streams) == 1:
        streams[0].open()
    link.send(wire.Ready(link.worker))
    Ingest(link, heart, store, streams, max_pixels).run()
    store.close()


def serve_gate(order: Order, config: Config, link: WorkerLink, heart: Heart) -> None:
    """Take what senders send, and hand their results back."""
    from zpipe.gate.entrances import Entrances
    from zpipe.gate.gate import Gate
    from zpipe.transport.endpoints import wait_for
    from zpipe.transport.store import Store

    store, entrances = Store(order.folder), Entrances(config, wait_for(GATE_PATIENCE_S))
    link.send(wire.Ready(link.worker))
    gate = Gate(link, heart, store, config, entrances)
    gate.run()
    gate.close()
    entrances.close()
    store.close()


def serve_stage(task: StageTask, order: Order, config: Config, link: WorkerLink, heart: Heart) -> None:
    """Load the model of a stage, work on frames."""
    from zpipe.stages.closing import let_go
    from zpipe.stages.loop import Loop, Means, open_stage
    from zpipe.transport.store import Store

    store = Store(order.folder)
    stage = open_stage(config.stages[task.stage], Means(task.threads, task.cache, task.models))
    link.send(wire.Ready(link.worker))
    Loop(stage, link, heart, store, config.frames.max_pixels, task.careful).run()
    let_go(stage)
    store.close()


def serve_sink(task: SinkTask, order: Order, config: Config, link: WorkerLink, heart: Heart) -> None:
    """Order, log and publish. Ready when as many subscribers are there as were asked for."""
    from zpipe.stages.sink import Sink

    sink = Sink(config, link, heart, task, Path(order.folder) / f"echo-{order.worker}")
    link.send(wire.Bound(link.worker, *sink.out.endpoints))
    if task.audience is None:
        sink.await_subscribers(config.sink.wait_subscribers)
    else:
        sink.await_return(task.audience.plain)
    link.send(wire.Ready(link.worker))
    sink.run()
    sink.close()
