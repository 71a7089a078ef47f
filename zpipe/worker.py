"""A worker process, started by the supervisor. Opens its hands, does its role, ends.

ingest     reads a source                 ingest.py
detect     a model stage                  detect.py      ┐ share the loop `work` below
classify   a model stage                  classify.py    ┘
sink       orders, logs and publishes     sink.py
"""

import argparse
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import zmq

from zpipe import messages, wire
from zpipe.config.keys import Config
from zpipe.config.loading import parse as parse_config
from zpipe.engines.local import die_with_parent
from zpipe.errors import FrameError, ZpipeError
from zpipe.messages import Result
from zpipe.transport.board import Heart
from zpipe.transport.link import WorkerLink

if TYPE_CHECKING:
    from zpipe.transport.store import Store


class Stage(Protocol):
    """What a model stage does with a frame."""

    name: str

    def work(self, frame: wire.Work) -> Result:
        """The result as far as it is known after this stage; FrameError makes the frame a `failed` result."""

    def close(self) -> None:
        """Let go of the model."""


def work(stage: Stage, link: WorkerLink, heart: Heart) -> None:
    """Take frames, work on each, pass it on, until told to stop."""
    while True:
        for message in link.receive():
            if isinstance(message, wire.Stop):
                return
            if isinstance(message, wire.Work):
                heart.busy(message.stream, message.seq)
                output = output_of(stage, link.worker, message)
                link.put(output, heart.idle())
        link.flush()
        heart.beat()


def output_of(stage: Stage, worker: int, frame: wire.Work) -> wire.Output:
    """What the stage makes of a frame; a frame that it cannot work on is a `failed` result."""
    try:
        result = stage.work(frame)
    except FrameError as error:
        result = messages.fail(messages.unpack(frame.body), stage.name, str(error))
    body = messages.pack(result)
    if len(body) > wire.MAX_BODY_BYTES:  # it would never arrive
        reason = f"its result of {len(body) / 1e6:.0f} MB is too long: lower max_objects or top_k"
        result = messages.fail(result, stage.name, reason)
        body = messages.pack(result)
    return wire.Output(worker, frame.stream, frame.seq, result.status == "failed", body)


def serve(options: argparse.Namespace, config: Config, link: WorkerLink, heart: Heart) -> None:
    """Do the role until its end.

    Imports that not every role needs are in the functions below: a worker that is replaced should be back at once, and
    numpy alone costs a tenth of a second.
    """
    if options.role == "sink":
        serve_sink(options, config, link, heart)
        return
    from zpipe.transport.store import Store

    store = Store(options.folder)
    if options.role == "ingest":
        serve_ingest(options, config, link, heart, store)
    else:
        stage = open_stage(options, config, store)
        link.send(wire.Ready(link.worker))
        work(stage, link, heart)
        stage.close()
    store.close()


def open_stage(options: argparse.Namespace, config: Config, store: "Store") -> Stage:
    """Load the model of a detect or classify stage."""
    from zpipe.models.opening import open_classifier, open_detector

    if options.role == "detect":
        from zpipe.stages.detect import Detect

        detector = open_detector(config.detect, options.threads, options.cache, options.models)
        return Detect(detector, store, config.frames.max_pixels)
    from zpipe.stages.classify import Classify

    entry = config.classifiers[options.stage - 1]
    return Classify(entry, open_classifier(entry, options.threads, options.cache, options.models), store)


def serve_ingest(options: argparse.Namespace, config: Config, link: WorkerLink, heart: Heart, store: "Store") -> None:
    """Read one stream."""
    from zpipe.sources.opening import open_source
    from zpipe.stages.ingest import Ingest

    entry = config.ingest[options.stage]
    source = open_source(entry, config.frames.max_pixels)
    link.send(wire.Ready(link.worker, source.total))
    Ingest(link, heart, store, source, (options.stage, str(entry.stream)), options.start, options.condemned).run()
    source.close()


def serve_sink(options: argparse.Namespace, config: Config, link: WorkerLink, heart: Heart) -> None:
    """Order, log and publish. Ready when as many subscribers are there as were asked for."""
    from zpipe.stages.sink import Sink

    # A restarted sink takes its predecessor's endpoints, whatever free ports those were.
    endpoints = tuple(options.endpoints) if options.endpoints else (config.sink.publish, config.sink.history)
    published = [int(number) for number in options.published.split(",")]
    under_way = [(int(stream), int(seq)) for stream, _, seq in (p.partition(":") for p in options.under_way)]
    plain, behind = options.rejoin or (0, 0)
    sink = Sink(config, link, heart, options.run, published, endpoints, under_way, options.folder, behind)
    link.send(wire.Bound(link.worker, sink.publish, sink.history))
    if options.rejoin is None:
        sink.await_subscribers(config.sink.wait_subscribers, None)
    else:
        sink.await_return(plain)
    link.send(wire.Ready(link.worker))
    sink.run()
    sink.close()


def parse(arguments: list[str]) -> argparse.Namespace:
    """The supervisor's orders."""
    parser = argparse.ArgumentParser("zpipe.worker", description=__doc__)
    parser.add_argument("role", choices=["ingest", "detect", "classify", "sink"])
    parser.add_argument("--folder", type=Path, required=True, help="run folder")
    parser.add_argument("--parent", type=int, required=True, help="process to die with")
    parser.add_argument("--worker", type=int, required=True, help="number of this worker")
    parser.add_argument("--row", type=int, required=True, help="its row of the board")
    parser.add_argument("--stage", type=int, default=0, help="number of the stage, or of the stream (ingest)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", help="folder of the model cache")
    parser.add_argument("--models", help="folder that Python models are imported from")
    parser.add_argument("--start", type=int, default=1, help="first frame to read (ingest)")
    parser.add_argument("--condemned", nargs=2, help="number of a frame that must not be read, and why (ingest)")
    parser.add_argument("--run", default="", help="id of the run (sink)")
    parser.add_argument("--published", default="", help="results published per stream (sink)")
    parser.add_argument("--under-way", nargs="*", default=[], help="STREAM:SEQ that sinks before it died on (sink)")
    parser.add_argument("--endpoints", nargs=2, help="publish and history endpoint (sink)")
    parser.add_argument("--rejoin", type=int, nargs=2, help="subscribers of the sink before it: plain, zpipe's (sink)")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run a worker; its exit code."""
    options = parse(arguments)
    die_with_parent(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    config = parse_config((options.folder / "config.json").read_bytes())
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    link = WorkerLink(context, options.folder, options.worker)
    heart = Heart(options.folder, options.row)
    try:
        serve(options, config, link, heart)
        return 0
    except ZpipeError as error:
        link.send(wire.Refused(link.worker, str(error), error.exit_code))
        return error.exit_code
    finally:
        heart.close()
        link.close()
        context.destroy(linger=0)  # not `term`: it would wait for sockets that an error has left open
