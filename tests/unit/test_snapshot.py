"""What a run says of itself comes through JSON as it was, however it is read."""

from typing import Any

import msgspec
import pytest

from zpipe.snapshot import (
    Account,
    FailureCount,
    MemorySnapshot,
    Snapshot,
    StageSnapshot,
    StreamAccount,
    StreamSnapshot,
    WorkerSnapshot,
)

FAILURES = FailureCount("detect", "no pixels", 2)


def make_stage(role: str) -> StageSnapshot:
    workers = [
        WorkerSnapshot(f"{role}-0", 4711, "idle", 1, 40, 0.3),
        WorkerSnapshot(f"{role}-1", 4712, "busy", 2, 9, 0),
    ]
    return StageSnapshot(role, role, 2, workers, 3, 3, 49, 1, 12.5, 0.75, 1, 2)


def make_stream(name: str, total: int | None) -> StreamSnapshot:
    return StreamSnapshot(name, 12, 10, 8, 1, 1, 2, total, 4, False)


def make_snapshot(*totals: int | None) -> Snapshot:
    stages = [make_stage(role) for role in ("ingest", "detect", "classify", "sink")]
    streams = [make_stream(f"s{number}", total) for number, total in enumerate(totals)]
    return Snapshot(
        "yard", "0123", 4700, "running", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "results.jsonl", 0, 1.5, 30.25,
        20, 4, 16, stages, streams, MemorySnapshot(1 << 20, 1 << 28), 1, 0, 61, [FAILURES],
    )  # fmt: skip


ACCOUNT = Account(
    "yard", "0123", "r.jsonl", 9.5, [StreamAccount("a", 3, 2, 1, 0, 5)], drained=False, balanced=True, failures=[]
)


@pytest.mark.parametrize("value", [make_snapshot(100, None), make_snapshot(), ACCOUNT])
def test_it_comes_through_json(value: Any) -> None:
    data = msgspec.json.encode(value)
    assert msgspec.json.decode(data, type=type(value)) == value
    assert msgspec.convert(msgspec.json.decode(data), type(value)) == value  # as the control socket's asker reads it


def test_a_total_is_known_where_all_are() -> None:
    assert make_snapshot(100, 20).total == 120
    assert make_snapshot(100, None).total is None
    assert make_snapshot().total == 0


def test_ingest_and_sink_have_no_number_to_choose() -> None:
    assert [stage.has_models for stage in make_snapshot().stages] == [False, True, True, False]


def test_nobody_changes_one() -> None:
    with pytest.raises(AttributeError):
        make_snapshot().state = "done"  # type: ignore[misc]
