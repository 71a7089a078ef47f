"""The results file: what is written is whole, what is cut goes on, and any line is found again."""

import os
import resource
import subprocess
import sys
import time

import msgspec
import pytest

from zpipe.errors import ResultsError
from zpipe.messages import Eos, Result
from zpipe.results import file as results_file
from zpipe.results.file import INDEX_STEP, ResultsFile, check_unlocked, heads, run_in


def frame(stream, seq, status="ok", run="r1", pad=""):
    return msgspec.json.encode(
        Result(stream=stream, seq=seq, name=f"img{seq}.png{pad}", status=status, timestamp=1, run=run)
    )


def eos(stream, seq, drained=False, run="r1"):
    return msgspec.json.encode(Eos(run=run, stream=stream, seq=seq, ok=seq - 1, failed=0, dropped=0, drained=drained))


def write(path, *lines):
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.jsonl"


def test_what_is_appended_is_in_the_file_and_in_the_account(path):
    file = ResultsFile(path, fresh=True)
    lines = [frame("a", 1), frame("b", 1, "failed"), frame("a", 2), eos("a", 3)]
    for line, (stream, seq, status) in zip(
        lines, [("a", 1, "ok"), ("b", 1, "failed"), ("a", 2, "ok"), ("a", 3, None)], strict=True
    ):
        file.append(stream, seq, line, status)
    assert path.read_bytes().split(b"\n") == [*lines, b""]
    for found in (file, ResultsFile(path, fresh=False)):
        a, b = found.stream("a"), found.stream("b")
        assert (a.seq, a.ok, a.failed, a.closed) == (2, 2, 0, True)
        assert (b.seq, b.ok, b.failed, b.closed) == (1, 0, 1, False)
        assert found.stream("c").seq == 0
        found.close()
        found.close()
    assert file.run is None
    assert found.run == "r1"


def test_a_fresh_file_is_empty_and_its_folders_are_made(tmp_path):
    path = tmp_path / "out" / "of" / "this" / "run.jsonl"
    ResultsFile(path, fresh=True).append("a", 1, frame("a", 1), "ok")
    file = ResultsFile(path, fresh=True)
    assert path.read_bytes() == b""
    assert file.streams == {}


@pytest.mark.parametrize("left", [1, 10, len(frame("a", 3)) - 1, len(frame("a", 3))])
def test_half_a_line_at_the_end_is_cut_off(path, left):
    whole = [frame("a", 1), frame("a", 2)]
    write(path, *whole)
    with open(path, "ab") as file:
        file.write(frame("a", 3)[:left])
    file = ResultsFile(path, fresh=False)
    assert path.read_bytes() == b"".join(line + b"\n" for line in whole)
    file.append("a", 3, frame("a", 3), "ok")
    assert path.read_bytes().splitlines() == [*whole, frame("a", 3)]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([b"hello"], "byte 0: not a line of a results file"),
        ([b'{"type": "frame"}'], "missing required field"),
        ([frame("a", 1), b""], rf"byte {len(frame('a', 1)) + 1}: not a line"),
        ([frame("a", 1), b"\x00\x00\x00"], "not a line"),
        ([b'{"type":"frame","run":"\xff\xfe","stream":"a","seq":1}'], "utf-8"),
        ([b'{"x":' + b"[" * 100_000], "not a line"),
        ([frame("a", 2)], "a 2 follows a 0"),
        ([frame("a", 1), frame("a", 1)], "a 1 follows a 1"),
        ([frame("a", 1), frame("b", 1), frame("a", 3)], "a 3 follows a 1"),
        ([frame("a", 1), eos("a", 2), frame("a", 3)], "a 3 follows a 1"),
        ([frame("a", 1), eos("a", 3)], "a 3 follows a 1"),
    ],
)
def test_what_is_damaged_before_its_last_line_is_refused_and_left_as_it_is(path, lines, complaint):
    write(path, *lines, b'{"half')
    before = path.read_bytes()
    with pytest.raises(ResultsError, match=complaint):
        ResultsFile(path, fresh=False)
    assert path.read_bytes() == before


def test_a_folder_is_no_results_file(tmp_path):
    with pytest.raises(ResultsError, match="Is a directory"):
        ResultsFile(tmp_path, fresh=False)


# ---- ends of drained streams -------------------------------------------------------------------------------


def test_a_run_that_goes_on_takes_the_ends_of_drained_streams_out(path):
    lines = [frame("a", 1), frame("b", 1), eos("a", 2, drained=True), frame("c", 1), eos("c", 2), eos("b", 2, True)]
    write(path, *lines)
    file = ResultsFile(path, fresh=False, undrain=True, lock=True)
    assert path.read_bytes().splitlines() == [lines[0], lines[1], lines[3], lines[4]]
    assert {name: log.closed for name, log in file.streams.items()} == {"a": False, "b": False, "c": True}
    file.append("a", 2, frame("a", 2), "ok")
    assert file.lines("a", 1) == [frame("a", 1), frame("a", 2)]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with pytest.raises(ResultsError, match="written by another pipeline"):
        check_unlocked(path)  # the new file is locked as the old one was


def test_a_restarted_sink_leaves_them_in(path):
    """Of two drained streams one has its end already when the sink dies: that end was published and counts."""
    lines = [frame("a", 1), frame("b", 1), eos("a", 2, drained=True)]
    write(path, *lines)
    file = ResultsFile(path, fresh=False)
    assert path.read_bytes().splitlines() == lines
    assert file.stream("a").closed
    assert file.lines("a", 2) == [lines[2]]


# ---- reading from any number --------------------------------------------------------------------------------


def test_reading_begins_at_any_number_of_any_of_several_streams(path):
    counts = {"a": 2500, "b": 1300, "c": 64, "d": 0}
    file = ResultsFile(path, fresh=True)
    left = dict(counts)
    while any(left.values()):
        for stream, step in (("a", 2), ("b", 1), ("c", 1)):
            for _ in range(min(step, left[stream])):
                seq = counts[stream] - left[stream] + 1
                file.append(stream, seq, frame(stream, seq), "ok")
                left[stream] -= 1
    for stream, count in counts.items():
        file.append(stream, count + 1, eos(stream, count + 1), None)
    for found in (file, ResultsFile(path, fresh=False)):
        for stream, count in counts.items():
            for first in {1, 2, 63, 64, 65, 128, 129, 1000, count - 1, count, count + 1}:
                if first < 1:
                    continue
                expected = [frame(stream, seq) for seq in range(first, count + 1)] + [eos(stream, count + 1)]
                assert found.lines(stream, first) == (expected[:1000] if first <= count + 1 else [])
                assert found.lines(stream, first, most=3) == (expected[:3] if first <= count + 1 else [])
            assert found.lines(stream, count + 2) == []
    assert found.lines("e", 1) == []
    assert len(found.stream("a").offsets) == -(-2500 // INDEX_STEP)


def test_a_reply_is_bounded_in_bytes_but_has_one_line_at_least(path):
    file = ResultsFile(path, fresh=True)
    for seq in range(1, 11):
        file.append("a", seq, frame("a", seq, pad="x" * 300_000), "ok")
    assert len(file.lines("a", 1)) == 4  # the one that passes 1 MiB is the last
    assert len(file.lines("a", 1, most_bytes=1)) == 1


def test_reading_stops_at_the_last_line_of_the_stream_not_of_the_file(path, monkeypatch):
    """Else the sink reads all that other streams wrote since, and publishes nothing meanwhile."""
    file = ResultsFile(path, fresh=True)
    file.append("a", 1, frame("a", 1), "ok")
    for seq in range(1, 5000):
        file.append("b", seq, frame("b", seq, pad="x" * 100), "ok")
    read = []
    pread = os.pread
    monkeypatch.setattr(results_file.os, "pread", lambda *args: read.append(args) or pread(*args))
    assert file.lines("a", 1) == [frame("a", 1)]
    assert len(read) == 1
    file.append("a", 2, eos("a", 2), None)
    assert file.lines("a", 2) == [eos("a", 2)]
    assert len(read) == 2


def test_a_rare_streams_lines_come_in_several_replies(path, monkeypatch):
    monkeypatch.setattr(results_file, "MOST_SCANNED_BYTES", 20_000)
    file = ResultsFile(path, fresh=True)
    for seq in range(1, 101):
        file.append("a", seq, frame("a", seq), "ok")
        for other in range(1, 21):
            file.append("b", (seq - 1) * 20 + other, frame("b", (seq - 1) * 20 + other), "ok")
    found = []
    while len(found) < 100:
        more = file.lines("a", len(found) + 1)
        assert 1 <= len(more) < 20
        found += more
    assert found == [frame("a", seq) for seq in range(1, 101)]


# ---- no room ------------------------------------------------------------------------------------------------

FULL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_results_file import frame
from zpipe.errors import ResultsError
from zpipe.results.file import ResultsFile
path = Path(sys.argv[1])
file = ResultsFile(path, fresh=True)
file.append("a", 1, frame("a", 1), "ok")
size = path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
try:
    file.append("a", 2, frame("a", 2), "ok")
except ResultsError as error:
    print(error)
assert file.stream("a").seq == 1
assert path.stat().st_size == size
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.append("a", 2, frame("a", 2), "ok")
"""


def test_a_full_disk_leaves_the_file_as_it_was(path):
    """A limit on the file's size stands in for the disk: the kernel writes what fits, then refuses, as with ENOSPC."""
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("the size of files is limited already")
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(path), os.path.dirname(__file__)], capture_output=True, text=True, check=True
    )
    assert "File too large" in said.stdout
    assert str(path) in said.stdout
    assert path.read_bytes().splitlines() == [frame("a", 1), frame("a", 2)]


# ---- whose it is --------------------------------------------------------------------------------------------


def test_two_pipelines_do_not_write_one_file(path):
    file = ResultsFile(path, fresh=True, lock=True)
    file.append("a", 1, frame("a", 1), "ok")
    with pytest.raises(ResultsError, match="written by another pipeline"):
        ResultsFile(path, fresh=True, lock=True)
    assert path.read_bytes() == frame("a", 1) + b"\n", "it was emptied by who may not"
    ResultsFile(path, fresh=False).close()  # the pipeline's own sink
    file.close()
    check_unlocked(path)
    ResultsFile(path, fresh=True, lock=True).close()


@pytest.mark.parametrize(
    ("lines", "unfinished"),
    [
        ([], False),
        ([frame("a", 1), eos("a", 2)], False),
        ([frame("a", 1)], True),
        ([frame("a", 1), eos("a", 2, drained=True)], True),
        ([frame("a", 1), eos("a", 2), frame("b", 1)], True),
        ([eos("a", 1), eos("b", 1)], False),
    ],
)
def test_what_is_unfinished(path, lines, unfinished):
    write(path, *lines)
    assert run_in(path, ["a"]) == ("r1" if lines else None, not unfinished)


def test_a_stream_that_had_not_begun_is_unfinished_too(path):
    write(path, frame("a", 1), eos("a", 2))
    assert not run_in(path, ["a", "b"])[1]
    assert run_in(path, ["b"])[1]  # another pipeline's file, and done


def test_what_is_no_results_file_is_not_taken_for_one(path):
    path.write_text("Dear diary,\n")
    with pytest.raises(ResultsError, match=r"byte 0: not a line"):
        run_in(path, ["a"])
    assert path.read_text() == "Dear diary,\n"
    write(path, frame("a", 1), eos("a", 2))
    assert [(head.type, head.seq, head.name) for head in heads(path)] == [("frame", 1, "img1.png"), ("eos", 2, "")]


def test_a_long_file_is_read_in_time(path):
    lines = [frame("a", seq, pad="x" * 500) for seq in range(1, 20_001)]
    write(path, *lines)
    began = time.monotonic()
    file = ResultsFile(path, fresh=False)
    assert time.monotonic() - began < 5
    assert file.stream("a").seq == 20_000
