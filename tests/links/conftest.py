"""A broker and sinks for the tests of links, ended after each."""

import pytest
import zmq
from fake_broker import FakeBroker, RunningSink


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
