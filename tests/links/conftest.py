"""A broker and sinks for the tests of links, ended after each."""

import pytest
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
