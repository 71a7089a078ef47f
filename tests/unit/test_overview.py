"""What a person sees in a terminal: a table that fits, sentences."""

from collections.abc import Collection

import pytest

from zpipe.show.overview import overview
from zpipe.show.sentences import sentence_of
from zpipe.snapshot import MemorySnapshot, Snapshot, StageSnapshot, StreamSnapshot, WorkerSnapshot


def stage(name: str, role: str, wanted: int = 1, failed: int = 0) -> StageSnapshot:
    worker = WorkerSnapshot(name, 1, "idle", 0, 1234, 0.0)
    return StageSnapshot(name, role, wanted, [worker] * wanted, 0, 2, 1234, failed, 123.4, 0.71, 0, 0)


def snapshot(streams: list[str], ended: Collection[str] = ()) -> Snapshot:
    stages = [stage(f"ingest-{stream}", "ingest", int(stream not in ended)) for stream in streams]
    stages += [stage("detect", "detect", 2, failed=17), stage("classify", "classify"), stage("sink", "sink")]
    accounts = [StreamSnapshot(stream, 9, 9, 9, 17, 0, 0, 100, 0, False) for stream in streams]
    return Snapshot(
        name="yard", run="r", pid=1, state="running", publish="tcp://127.0.0.1:1", history="", results="r.jsonl",
        wait_subscribers=0, elapsed_s=1.0, frames_per_s=123.4, published=9, in_flight=3, slots=9, stages=stages,
        streams=accounts, memory=MemorySnapshot(1, 1), stale=0, rejected=0, eta_s=108, failures=[],
    )  # fmt: skip


CAMERAS = ["north-gate-camera", "south-gate-camera", "west-gate-camera"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_table_fits_and_names_stay_whole(width: int) -> None:
    """Edge 13: at 60 columns three cameras were called `inge…`."""
    lines = overview(snapshot(CAMERAS), width)
    assert max(map(len, lines)) <= width
    header, *rows = lines[lines.index(next(line for line in lines if line.startswith("stage"))) :]
    assert [row.split()[0] for row in rows] == [*(f"ingest-{name}" for name in CAMERAS), "detect", "classify", "sink"]
    assert [row.split()[header.split().index("failed")] for row in rows] == ["0", "0", "0", "17", "0", "0"]
    assert ("restarts" in header) is (width >= 80)


def test_a_very_narrow_table_still_fits() -> None:
    """Edge 13."""
    assert max(map(len, overview(snapshot(CAMERAS), 20))) <= 20


def test_of_many_streams_eight_are_shown() -> None:
    """Edge 13: those that still run."""
    names = [f"s{number}" for number in range(40)]
    lines = overview(snapshot(names, ended={"s0", "s2"}), 80)
    shown = [line.split()[0] for line in lines[2:]]
    wanted = ["s1", "s3", "s4", "s5", "s6", "s7", "s8", "s9"]
    assert shown == [*(f"ingest-{name}" for name in wanted), "and", "detect", "classify", "sink"]
    assert "and 32 more" in lines


def test_names_do_not_steer_the_terminal() -> None:
    """Edge 28."""
    assert "\x1b" not in "".join(overview(snapshot(["a\x1b[2J"]), 80))


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ("pipeline.draining", "nothing more is read; what is in flight is finished (Ctrl-C again stops at once)"),
        ("stage.balanced stage=detect count=3 (was 1)", "detect: 3 worker(s) from now on"),
        (
            'worker.lost worker=detect-0 pid=77 reason="signal SIGSEGV (crash in native code)"',
            "detect-0 (pid 77) is gone and will be replaced: signal SIGSEGV (crash in native code)",
        ),
        (
            "frame.failed stream=yard seq=7 kept=/tmp/q/yard-7.png",
            "frame 7 of yard has failed: its workers died on it; its picture: /tmp/q/yard-7.png",
        ),
        ("sink: sink.left subscribers=2 linger_s=5", "2 subscriber(s) did not catch up within 5 s"),
        ("ingest-a: source.note stream=a no more frames", "stream a: no more frames"),
        ("detect-0: what a model says", "detect-0: what a model says"),
        ("other.event key=1", "other.event key=1"),
        ("worker.lost of another form", "worker.lost of another form"),
    ],
)
def test_people_read_sentences(record: str, sentence: str) -> None:
    """Edge 13: they read `pipeline.draining`."""
    assert sentence_of(record) == sentence
