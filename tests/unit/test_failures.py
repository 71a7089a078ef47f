"""Why frames failed, counted; how long a run takes still."""

import random

import pytest

from zpipe import messages
from zpipe.messages import Result
from zpipe.rules.eta import Eta
from zpipe.rules.failures import MOST_REASONS, Failures
from zpipe.show.display import failures_text
from zpipe.snapshot import Account, FailureCount, StreamAccount


def failed(stage: str, reason: str) -> bytes:
    return messages.pack(messages.fail(Result(stream="yard", seq=1, name="", timestamp=1), stage, reason))


def test_failures_are_grouped_by_stage_and_reason() -> None:
    """Edge 7."""
    failures = Failures()
    told = {"returned rows of shape (5,)": 17, "returned rows of shape (6,)": 4, "a": 2, "b": 1}
    bodies = [failed("detect", reason) for reason, count in told.items() for _ in range(count)]
    random.Random(7).shuffle(bodies)
    for body in bodies:
        failures.add("detect", body)
    assert failures.most_frequent() == [FailureCount("detect", *item) for item in list(told.items())[:3]]
    assert failures.at == {"detect": 24}


def test_what_a_dead_worker_logged_does_not_keep_reasons_apart() -> None:
    """Edge 7."""
    failures = Failures()
    for line in ("one", "two"):
        failures.add("detect", failed("detect", f"3 attempts: signal SIGSEGV; last log: {line}"))
    assert failures.most_frequent() == [FailureCount("detect", "3 attempts: signal SIGSEGV", 2)]


def test_reasons_without_end_take_no_memory_without_end() -> None:
    """Edge 7; bytes that are no result are counted too."""
    failures = Failures()
    for number in range(2 * MOST_REASONS):
        failures.add("ingest-yard", failed("ingest", f"img{number}.png: {'x' * 10_000}"))
    failures.add("ingest-yard", b"\xc1")
    assert failures.at["ingest-yard"] == 2 * MOST_REASONS + 1
    assert len(failures._reasons) == MOST_REASONS
    assert max(len(reason) for _, reason in failures._reasons) == 200


def test_the_end_says_why_frames_failed() -> None:
    """Edge 7."""

    def text(count: int, *failures: FailureCount) -> str:
        stream = StreamAccount("yard", 100, 100 - count, count, 0, 0)
        return failures_text(Account("yard", "r", "results.jsonl", 1.0, [stream], False, True, list(failures)))

    shape = FailureCount("detect", "returned rows of shape (5,)", 17)
    assert text(17, shape) == "17 failed: 17x detect: returned rows of shape (5,)"
    assert text(20, shape) == "20 failed: 17x detect: returned rows of shape (5,); 3 for other reasons"
    assert text(3) == "3 failed: why is in the results"  # all of them in the run that this one goes on with


def test_the_first_eta_waits_until_it_means_something() -> None:
    """Edge 13: it came with the first result."""
    eta, said = Eta(), []
    for tick in range(200):  # five a second; the first results take 10 seconds, then come 20 a second
        published = 500 + max(0, tick - 50) * 4
        eta.sample(tick / 5, published)
        said.append(eta.seconds_left(2500, 20.0 if tick > 50 else 0.0))
    first = next(tick for tick, left in enumerate(said) if left is not None)
    assert first == 76
    assert said[first] == round((2500 - 500 - 26 * 4) / 20)
    assert eta.seconds_left(None, 20.0) is None


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_an_eta_of_slow_frames_does_not_come_and_go(rate: float) -> None:
    """Edge 13: a frame in four seconds is not seen in every window of five."""
    eta = Eta()
    for second in range(41):
        eta.sample(second, second // 4)
    assert eta.seconds_left(20, rate) == 40
