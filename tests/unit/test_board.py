"""The board: a row says what its worker does, and what it did when it died."""

import os
import signal
import subprocess
import sys
import time

import pytest
from harness import until

from zpipe.transport.board import BUSY, IDLE, ROWS, STARTING, Board, Heart

WRITER = """
import sys
from pathlib import Path
from zpipe.transport.board import Heart
heart = Heart(Path(sys.argv[1]), 5)
heart.beat()
heart.begin(2, 17)
heart.finish()
heart.begin(2, 18)
sys.stdin.read()
"""

BUSY_WRITER = """
import sys
from pathlib import Path
from zpipe.transport.board import Heart
heart = Heart(Path(sys.argv[1]), 5)
seq = 0
while True:
    seq += 1
    heart.begin(2, seq)
    heart.finish()
"""


@pytest.fixture
def board(tmp_path):
    board = Board(tmp_path)
    yield board
    board.close()


def test_a_row_follows_its_worker(board, tmp_path):
    board.clear(3)
    row = board.read(3)
    assert (row.state, row.working, row.done, row.busy_ns, row.subscribers) == (STARTING, None, 0, 0, 0)
    heart = Heart(tmp_path, 3)
    heart.beat()
    assert (board.read(3).state, board.read(3).working) == (IDLE, None)
    heart.begin(1, 42)
    row = board.read(3)
    assert (row.state, row.working, row.done) == (BUSY, (1, 42), 0)
    assert row.since_ns == row.beat_ns <= time.monotonic_ns()
    took_ns = heart.finish()
    row = board.read(3)
    assert (row.state, row.working, row.done, row.busy_ns) == (IDLE, None, 1, took_ns)
    heart.begin(1, 43)
    took_ns += heart.finish()
    assert (board.read(3).done, board.read(3).busy_ns) == (2, took_ns)
    heart.show_audience(7)
    heart.beat()
    assert board.read(3).subscribers == 7
    heart.close()


def test_rows_do_not_touch_each_other(board, tmp_path):
    for row in range(ROWS):
        board.clear(row)
    hearts = [Heart(tmp_path, row) for row in (0, 1, ROWS - 1)]
    for stream, heart in enumerate(hearts):
        heart.begin(stream, 2**63 - 1)
    assert [board.read(row).working for row in (0, 1, 2, ROWS - 2, ROWS - 1)] == [
        (0, 2**63 - 1), (1, 2**63 - 1), None, None, (2, 2**63 - 1)
    ]  # fmt: skip
    for heart in hearts:
        heart.close()


def test_a_row_outlives_its_writer_and_names_the_frame_to_blame(board, tmp_path):
    board.clear(5)
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE)
    until(lambda: board.read(5).done == 1 and board.read(5).state == BUSY, what="the second frame")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    row = board.read(5)
    assert (row.working, row.done) == ((2, 18), 1)
    board.clear(5)
    assert (board.read(5).working, board.read(5).done) == (None, 0)


def test_silence_is_counted_from_the_last_beat_or_from_the_beginning_of_the_frame(board, tmp_path):
    heart = Heart(tmp_path, 0)
    heart.beat()
    row = board.read(0)
    assert row.silent_s(row.beat_ns + 2_500_000_000) == pytest.approx(2.5)
    heart.begin(0, 1)
    row = board.read(0)
    assert row.silent_s(row.since_ns + 500_000_000) == pytest.approx(0.5)
    heart.close()


def test_a_row_that_is_being_written_never_looks_old(board, tmp_path):
    """A healthy worker was killed as hung, about once in some minutes at some thousand frames a second."""
    board.clear(5)
    process = subprocess.Popen([sys.executable, "-c", BUSY_WRITER, str(tmp_path)])
    try:
        until(lambda: board.read(5).done, what="the first frame")
        began_ns = time.monotonic_ns()
        rows = [board.read(5) for _ in range(100_000)]
    finally:
        process.kill()
        process.wait()
    assert {row.state for row in rows} <= {IDLE, BUSY}
    assert min(min(row.since_ns, row.beat_ns) for row in rows) > began_ns - 5e9
    assert [row.done for row in rows] == sorted(row.done for row in rows)


def test_the_file_is_private_and_really_there(board, tmp_path):
    status = (tmp_path / "board").stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_size == ROWS * 64
    assert status.st_blocks * 512 >= status.st_size


def test_a_worker_does_not_make_a_board(tmp_path):
    with pytest.raises(FileNotFoundError):
        Heart(tmp_path, 0)
    assert os.listdir(tmp_path) == []
