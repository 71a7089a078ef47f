"""The run's record: written whole, its checksums follow the results file, its fingerprint knows what matters."""

import os
import threading
import time
from pathlib import Path

import msgspec
import pytest
from test_results_file import eos, frame

from zpipe.config.keys import ClassifyConfig, Config, DetectConfig, IngestConfig
from zpipe.errors import FrameError, ResultsError
from zpipe.results.file import ResultsFile, Successor
from zpipe.results.record import SUM_EVERY_BYTES, Record
from zpipe.run.fingerprint import differences, fingerprint
from zpipe.sources import changes
from zpipe.sources.listing import open_listed, read_listing
from zpipe.sources.room import Memory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture
def record(path: Path) -> Record:
    made = Record(path)
    made.begin("r1", {"a": 1})
    return made


def test_what_is_begun_is_read_again_and_goes_with_its_file(path: Path, record: Record) -> None:
    record.keep_list("yard", b"list")
    assert record.is_of("r1")
    assert not record.is_of("r2")
    record.move(path.with_name("other.jsonl"))
    moved = Record(path.with_name("other.jsonl"))
    assert moved.is_of("r1")
    assert moved.list_of("yard") == b"list"
    assert record.read() is None
    moved.begin("r2", {})
    assert moved.list_of("yard") is None, "it is another run's"
    assert sorted(each.name for each in moved.folder.iterdir()) == ["run.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"run": 1}', b'{"run":"r","decides":{},"schema":2}', b"\xff"])
def test_a_record_that_cannot_be_read_is_refused(content: bytes, record: Record) -> None:
    (record.folder / "run.json").write_bytes(content)
    with pytest.raises(ResultsError, match="the run's record"):
        record.read()


def test_checksums_follow_the_file(path: Path, record: Record) -> None:
    """Edge 22: a flipped bit anywhere before the last checksum is found; they grow by the block, not by the line."""
    file = ResultsFile(path, fresh=True)
    count = 3 * SUM_EVERY_BYTES // len(frame("a", 1))
    for seq in range(1, count + 1):
        if seq == count // 2:  # another sink goes on in the middle of a block
            file.close()
            file = ResultsFile(path, fresh=False)
        file.append("a", seq, frame("a", seq), "ok")
    file.append("a", count + 1, eos("a", count + 1), None)
    whole = path.read_bytes()
    assert 3 <= len(record.sums.read()) <= 4
    assert record.sums.read()[-1][0] == len(whole), "the end is covered"
    with open(path, "r+b") as opened:
        assert record.sums.first_damaged(path) is None
        for at in (0, len(whole) // 2, len(whole) - 2):
            opened.seek(at)
            opened.write(bytes([whole[at] ^ 1]))
            opened.flush()
            begin, end = record.sums.first_damaged(path) or (0, 0)
            assert begin <= at < end
            opened.seek(at)
            opened.write(whole[at : at + 1])
            opened.flush()
    os.truncate(path, len(whole) // 2)
    ResultsFile(path, fresh=False)
    ends = [end for end, _ in record.sums.read()]
    assert ends
    assert ends[-1] <= path.stat().st_size


def test_zeros_at_the_end_are_no_damage(path: Path, record: Record) -> None:
    """They are what a power failure leaves: cut off, and computed again."""
    file = ResultsFile(path, fresh=True)
    file.append("a", 1, frame("a", 1), "ok")
    file.append("a", 2, eos("a", 2), None)
    size = len(frame("a", 1)) + 1
    os.truncate(path, size)
    os.truncate(path, record.sums.read()[0][0])
    assert record.sums.first_damaged(path) is None


def test_half_a_line_of_checksums_is_none(record: Record) -> None:
    record.sums.add(100, 1)
    with open(record.folder / "sums", "ab") as file:
        file.write(b"200 00")
    assert record.sums.read() == [(100, 1)]


def test_ends_that_are_taken_out_take_their_checksums_with_them(path: Path, record: Record) -> None:
    file = ResultsFile(path, fresh=True)
    for stream, seq, line, status in (
        ("a", 1, frame("a", 1), "ok"), ("b", 1, frame("b", 1), "ok"), ("a", 2, eos("a", 2), None),
        ("b", 2, eos("b", 2, drained=True), None),
    ):  # fmt: skip
        file.append(stream, seq, line, status)
    file.close()
    kept = record.sums.read()[0]
    file = ResultsFile(path, fresh=False, undrain=True)
    assert record.sums.read() == [kept]
    file.append("b", 2, eos("b", 2), None)
    assert record.sums.first_damaged(path) is None


@pytest.mark.parametrize("cut", [0, 10, -1])
def test_a_file_that_was_cut_takes_no_further_line(cut: int, path: Path) -> None:
    """Edge 22: what was written then stood behind a hole of zeros."""
    file = ResultsFile(path, fresh=True)
    file.append("a", 1, frame("a", 1), "ok")
    size = path.stat().st_size
    os.truncate(path, size + cut if cut < 0 else cut)
    with pytest.raises(ResultsError, match="makes it whole"):
        file.append("a", 2, frame("a", 2), "ok")
    assert path.stat().st_size < size


def test_a_successor_that_fails_leaves_nothing(path: Path) -> None:
    path.write_bytes(b"what was there")
    with pytest.raises(ZeroDivisionError), Successor(path):
        raise ZeroDivisionError
    assert path.read_bytes() == b"what was there"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


# ---- what decides results ------------------------------------------------------------------------------------


def config(folder: Path, **detect: object) -> Config:
    for name in ("a.onnx", "b.onnx"):
        (folder / name).write_text("model")
    settings = msgspec.convert({"model": str(folder / "a.onnx"), **detect}, DetectConfig)
    return Config(
        name="x", ingest=[IngestConfig(path="p", stream="yard")], detect=settings,
        classify=ClassifyConfig(model="mine:Class"),
    )  # fmt: skip


def test_what_decides_nothing_is_no_difference(tmp_path: Path) -> None:
    was = fingerprint(config(tmp_path), tmp_path)
    now = fingerprint(config(tmp_path, model=str(tmp_path / "b.onnx"), count=7, threads=2, timeout_s=1), tmp_path)
    assert differences(was, now) == []


def test_each_difference_is_named(tmp_path: Path) -> None:
    """Edge 4: thresholds, labels, a model's file, its weights, a Python class."""
    (tmp_path / "mine.py").write_text("class Class: pass")
    (tmp_path / "labels.txt").write_text("cat")
    before = config(tmp_path, labels=str(tmp_path / "labels.txt"))
    was = fingerprint(before, tmp_path)
    now = fingerprint(config(tmp_path, confidence=0.5, labels=["cat"]), tmp_path)
    assert differences(was, now)[0] == "detect.confidence was 0.25, is 0.5"
    assert differences(was, now)[1].startswith("detect.labels was ")
    (tmp_path / "labels.txt").write_text("dog")
    (tmp_path / "a.bin").write_text("weights")
    (tmp_path / "mine.py").write_text("class Class: labels = []")
    assert differences(was, fingerprint(before, tmp_path)) == [
        "classify.model is another file", "detect.labels is another file", "detect.model is another file",
    ]  # fmt: skip


# ---- the list of a source ------------------------------------------------------------------------------------


def test_a_list_is_made_once(tmp_path: Path) -> None:
    """Edge 18: what comes later is not on it; what is gone or has changed says so, under its number."""
    folder, kept, memory = tmp_path / "in", tmp_path / "in.list", Memory()
    folder.mkdir()
    for name in ("1.png", "2.png", os.fsdecode(b"3\xff.png"), "4.png"):
        (folder / name).write_bytes(b"12345")
    entry = IngestConfig(path=str(folder))
    assert [f.name for f in open_listed(entry, 100, kept).frames()] == ["1.png", "2.png", "3\\xff.png", "4.png"]
    (folder / "0.png").write_bytes(b"new")
    (folder / "1.png").unlink()
    (folder / "2.png").write_bytes(b"123456")
    os.utime(folder / "4.png", (1, 1))
    source = open_listed(entry, 100, kept)
    assert source.total == 4
    said = []
    for each in source.frames():
        try:
            each.load(memory)
            said.append("")
        except FrameError as error:
            said.append(str(error).partition(":")[0])
    assert said == ["is gone", "has changed since the run began", "", "has changed since the run began"]
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert open_listed(entry, 100, kept).total == 4


def test_a_long_list_is_made_in_time(tmp_path: Path) -> None:
    """Edge 18: 100,000 files a second at least, beside listing itself; here a tenth of them, with time to spare."""
    folder, kept = tmp_path / "in", tmp_path / "in.list"
    folder.mkdir()
    (folder / "0.png").write_bytes(b"1")
    for number in range(1, 10_000):
        os.link(folder / "0.png", folder / f"{number}.png")
    entry = IngestConfig(path=str(folder))
    open_listed(entry, 100, kept)
    began = time.monotonic()
    assert open_listed(entry, 100, kept).total == 10_000
    assert time.monotonic() - began < 0.5
    assert kept.stat().st_size < 400_000
    with pytest.raises(ResultsError, match="cannot be read"):
        read_listing(kept.read_bytes()[:-1])


def test_a_mount_that_hangs_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edge 18: `up --resume` looks at the files itself."""
    hangs = threading.Event()
    monkeypatch.setattr(changes, "ANSWER_S", 0.05)
    monkeypatch.setattr(changes, "open_source", lambda *_: hangs.wait())
    with pytest.raises(ResultsError, match=r"in does not answer: .*a mount that hangs"):
        changes.open_in_time(IngestConfig(path=str(tmp_path / "in")), 100)
    hangs.set()


def test_what_is_said_of_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Edge 18: what changed is refused by name, what is new is said, what is gone is no reason not to go on."""
    folder, kept = tmp_path / "in", tmp_path / "in.list"
    folder.mkdir()
    for number in range(1, 7):
        (folder / f"{number}.png").write_bytes(b"12345")
    entry = IngestConfig(path=str(folder), stream="in")
    open_listed(entry, 100, kept)
    done = ["1.png", "2.png"]
    (folder / "1.png").write_bytes(b"has its result already")
    (folder / "3.png").unlink()
    (folder / "0.png").touch()
    changes.check_in_time(entry, 100, kept.read_bytes(), done)
    assert "1 new since the run began, not read: '0.png'" in caplog.text
    with pytest.raises(ResultsError, match=r"frame 2 of stream in was 'b.png', and is '2.png' on the list"):
        changes.check_in_time(entry, 100, kept.read_bytes(), ["1.png", "b.png"])
    for number in range(4, 7):
        os.utime(folder / f"{number}.png", (1, 1))
    with pytest.raises(ResultsError, match=r"'4.png', '5.png', '6.png' are not as listed then"):
        changes.check_in_time(entry, 100, kept.read_bytes(), done)
