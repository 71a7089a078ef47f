"""Workers that say what they cannot mean: it is counted, they are replaced, and the run goes on as if nothing were."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
from harness import Pipeline, essences, make_config, until, workers_of

from zpipe import wire
from zpipe.transport.link import inbox_of
from zpipe.transport.run_folder import folder_of

pytestmark = pytest.mark.test_all

FORGED: dict[str, Callable[[int], wire.FromWorker]] = {
    "ready-twice": wire.Ready,
    "end": lambda worker: wire.End(worker, 0, 3, 0, False),
    "published": lambda worker: wire.PublishedUpTo(worker, 0, 3),
    "bound": lambda worker: wire.Bound(worker, "tcp://127.0.0.1:1", "tcp://127.0.0.1:2"),
    "output": lambda worker: wire.Output(worker, 0, 1, False, b"nonsense"),
}


def number_of(pipeline: Pipeline, name: str) -> int:
    """The number on the wire of the living worker of this name."""
    orders = [json.loads(process.cmdline()[3]) for process in workers_of(pipeline.process.pid)]
    return next(int(order["worker"]) for order in orders if order["name"] == name)


def say(pipeline: Pipeline, message: wire.FromWorker) -> None:
    """Push a message to the broker, as only the same user can."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.connect(inbox_of(folder_of(pipeline.name)))
    for part in wire.parts([message]):
        socket.send(part)
    socket.close(linger=5000)
    context.term()


@pytest.mark.parametrize(
    ("worker", "said"),
    [
        ("detect-0", "ready-twice"),
        ("detect-0", "end"),
        ("classify-0", "end"),
        ("ingest", "end"),
        ("ingest", "output"),
        ("sink", "ready-twice"),
        ("classify-0", "published"),
        ("detect-0", "bound"),
    ],
)
def test_nonsense(worker: str, said: str, frames: Path, calm: list[dict[str, Any]], tmp_path: Path) -> None:
    """Edge 27: Ready twice and End from detect hung the run, End from classify ended the broker, an early End cut the
    run short with exit code 0."""
    options = {"nap_ms": 8}
    config = make_config(
        tmp_path, frames, detect={"count": 1, "options": options}, classify={"count": 1}, frames={"in_flight": 16}
    )
    pipeline = Pipeline(config)
    pipeline.reaches(10)
    before = pipeline.workers()[worker]
    say(pipeline, FORGED[said](number_of(pipeline, worker)))
    until(lambda: pipeline.status()["rejected"] == 1, what="a count")
    until(lambda: pipeline.workers().get(worker, before) != before, what="another in its place")
    assert pipeline.wait() == 0, pipeline.said()
    assert essences(pipeline.results) == calm
    assert f"worker.lost worker={worker} " in pipeline.said()
    assert "broken: it" in pipeline.said()
