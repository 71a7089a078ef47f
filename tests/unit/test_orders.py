"""What a worker is told comes through as it was; anything else in that place is a WireError."""

import contextlib
import json
import random

import pytest

from zpipe import orders
from zpipe.errors import WireError
from zpipe.orders import Condemned, IngestTask, Order, Reading, SinkTask, SoFar, StageTask, Subscribers, Task

TASKS: list[Task] = [
    IngestTask([Reading(3, 2)]),
    IngestTask([Reading(0, 0, 41, [Condemned(40, "3 attempts: signal SIGSEGV; last log: „ä\n")]), Reading(1, 1)]),
    StageTask(1, 4, "/home/x/models", "/var/cache"),
    SinkTask("0123456789abcdef", [SoFar(0, "yard"), SoFar(1, "gate.alice", 7)]),
    SinkTask(
        "r", [SoFar(0, "yard", 5)], [(0, 6)], ("tcp://127.0.0.1:5560", "tcp://127.0.0.1:5561"), False, Subscribers(2, 1)
    ),
]


def make(task: Task) -> Order:
    return Order("detect-0", "detect", "/run/zpipe/x", 4711, 12, 3, task)


@pytest.mark.parametrize("task", TASKS)
def test_it_comes_through(task: Task) -> None:
    argument = orders.write(make(task))
    assert orders.read(argument) == make(task)
    assert "\0" not in argument  # it is an argument of a command


GOOD = json.loads(orders.write(make(TASKS[0])))


@pytest.mark.parametrize(
    "argument",
    [
        "", "{", "[]", "null", "ingest", "\ud800",
        json.dumps({**GOOD, "worker": "12"}),
        json.dumps({**GOOD, "task": {"type": "cook"}}),
        json.dumps({**GOOD, "task": {**GOOD["task"], "streams": None}}),
        json.dumps({key: value for key, value in GOOD.items() if key != "folder"}),
        "[" * 5000,
    ],
)  # fmt: skip
def test_anything_else_is_refused(argument: str) -> None:
    with pytest.raises(WireError, match="not an order"):
        orders.read(argument)


def test_whatever_is_done_to_one_it_is_read_or_refused() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance, text = random.Random(seed), orders.write(make(TASKS[-1]))
    for _ in range(2000):
        at, until = sorted(chance.randrange(len(text)) for _ in range(2))
        garbled = text[:at] + "".join(chance.choices('{}[]",:0ae\\\0', k=chance.randrange(4))) + text[until:]
        with contextlib.suppress(WireError):
            assert isinstance(orders.read(garbled), Order)
