"""A subscription that is sent what is not a result, by whoever it is: nothing changes for it."""

from typing import Any

import msgspec
import pytest
from fake_broker import RUN
from harness import until
from reading import YARD, end, publish

from zpipe.messages import Eos, Result
from zpipe.rules import history

pytestmark = pytest.mark.usefixtures("impatient")


def result(**changes: Any) -> bytes:
    fields: dict[str, Any] = {"run": RUN, "stream": "yard", "seq": 12, "name": "forged", "timestamp": 1}
    return msgspec.json.encode(Result(**{**fields, **changes}))


GARBAGE = [
    [b"results/yard"],
    [b"results/yard", b""],
    [b"results/yard", b"not JSON"],
    [b"results/yard", b'{"type":"frame"}'],
    [b"results/yard", b'{"type":"frame","stream":"\xff"}'],
    [b"results/yard", b'{"x":' + b"[" * 100_000],
    [b"results/yard", result(stream="other")],
    [b"results/yard", result(seq=-1)],
    [b"results/yard", result(seq=5)],
    [b"results/yard", result(seq=1000)],
    [b"results/yard", result(run="nobody's")],
    [b"results/yard", result(), b"and more"],
    [b"results/", b"\xff" * 1000],
    [b"results/yard", msgspec.json.encode(Eos(run="other", stream="yard", seq=11, ok=0, failed=0, dropped=0))],
]


def test_garbage_on_the_topic_changes_nothing(broker, start_sink, read) -> None:
    sink = start_sink()
    reader = read(sink.publish)
    publish(broker, sink, *range(1, 11))
    reader.wait_for(10)
    sink.wait_for_subscribers(1)
    for parts in GARBAGE:
        sink.do(lambda parts=parts: sink.sink.out.live.send_multipart(parts))
    publish(broker, sink, *range(11, 31))
    end(sink, 30)
    assert reader.ended() == YARD
    assert not any(b"forged" in line for line in reader.lines)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\xc1",
        b"\x93\xa1\xff\x90\x90",
        b"\x94" + b"\x91" * 100_000,
        msgspec.msgpack.encode(history.Reply(RUN, [history.StreamState("yard", 9, False)], [b"no", b"\xff", b"{}"])),
        msgspec.msgpack.encode(history.Reply(RUN, [], [])),
    ],
)
def test_a_history_that_answers_nonsense_changes_nothing(broker, start_sink, read, reply) -> None:
    sink = start_sink()
    reader = read(sink.publish)
    publish(broker, sink, *range(1, 11))
    reader.wait_for(10)
    answer, sent = sink.sink.out.answer, []

    def nonsense(*_: object) -> None:
        parts = sink.sink.out.requests.recv_multipart()
        sink.sink.out.requests.send_multipart([*parts[:-1], reply])
        sent.append(1)

    sink.do(lambda: setattr(sink.sink.out, "answer", nonsense))
    until(lambda: len(sent) > 2)
    sink.do(lambda: setattr(sink.sink.out, "answer", answer))
    publish(broker, sink, *range(11, 31))
    end(sink, 30)
    assert reader.ended() == YARD
