"""A broker and sinks for the tests of links, ended after each."""

from typing import Any

import pytest
import zmq
from fake_broker import FakeBroker, RunningSink
from reading import Reader

from zpipe.client import subscription as client
from zpipe.client.subscription import Subscription


@pytest.fixture
def broker():
    made = FakeBroker()
    yield made
    made.close()


@pytest.fixture
def start_sink(broker, tmp_path):
    """Starts a sink; what still runs at the end of the test is crashed."""
    started = []

    def start(*streams, **options):
        results = options.pop("results", tmp_path / "results.jsonl")
        sink = RunningSink(broker, results, list(streams or ["yard"]), **options)
        started.append(sink)
        return sink

    yield start
    for sink in started:
        if sink.alive:
            sink.crash()


@pytest.fixture
def dealer(broker):
    """A socket to ask the history with."""
    socket = broker.context.socket(zmq.DEALER)
    socket.linger = 0
    yield socket
    socket.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subscriptions that ask the history soon and often."""
    monkeypatch.setattr(client, "QUIET_MS", 50)
    monkeypatch.setattr(client, "FIRST_REPLY_MS", 50)
    monkeypatch.setattr(client, "LAST_REPLY_MS", 200)


@pytest.fixture
def read():
    """Subscribes and reads on a thread."""
    readers: list[Reader] = []

    def read(endpoint: str, stream: str | None = None, first: int | None = 1, **options: Any) -> Reader:
        subscription = Subscription(endpoint, stream, first, ends=True, timeout_s=30, **options)
        readers.append(Reader(subscription))
        return readers[-1]

    yield read
    for reader in readers:
        reader.leave()
