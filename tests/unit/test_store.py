"""The store of frames: the same memory in every process, all of it really there."""

import os
import subprocess
import sys

import numpy as np
import pytest

from zpipe.errors import FrameError
from zpipe.transport import store as frames
from zpipe.transport.store import PAGE, NeverFits, Store, StoreFull
from zpipe.wire import Picture

OTHER = """
import sys
import numpy as np
from zpipe.transport.store import Store
from zpipe.wire import Picture
store = Store(sys.argv[1])
slot = store.open(Picture(0, 5))
assert bytes(slot.read_encoded()) == b"bytes", bytes(slot.read_encoded())
pixels = slot.read_pixels(3, 4)
assert pixels[2, 3].tolist() == [1, 2, 3]
pixels[0, 0] = 9, 8, 7
big = store.empty(1).pixels(500, 500)
big[:] = 77
print(id(big) != 0)
"""


def holes(path):
    """Bytes of a file that have no memory yet: the first touch of one in a full tmpfs is a SIGBUS."""
    status = path.stat()
    return max(0, status.st_size - status.st_blocks * 512)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    yield store
    store.close()
    store.close()


def test_two_processes_see_the_same_picture(store, tmp_path):
    slot = store.empty(0)
    slot.encoded(5)[:] = b"bytes"
    pixels = slot.pixels(3, 4)
    pixels[2, 3] = 1, 2, 3
    subprocess.run([sys.executable, "-c", OTHER, str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    assert pixels[0, 0].tolist() == [9, 8, 7]
    assert slot.read_pixels(3, 4)[0, 0].tolist() == [9, 8, 7]
    assert np.all(store.empty(1).read_pixels(500, 500) == 77)


def test_nothing_is_copied(store):
    slot = store.empty(0)
    view, again = slot.pixels(10, 10), slot.read_pixels(10, 10)
    view[5, 5] = 42
    assert again[5, 5].tolist() == [42, 42, 42]
    assert view.base is not None
    assert view.flags.writeable
    assert view.flags.c_contiguous


def test_pixels_begin_on_the_page_after_the_encoded_frame(store, tmp_path):
    slot = store.empty(0)
    slot.encoded(PAGE + 1)[:] = b"e" * (PAGE + 1)
    slot.pixels(1, 1)[:] = 255
    assert (tmp_path / "slot-0").stat().st_size == 3 * PAGE
    assert bytes(slot.read_encoded()) == b"e" * (PAGE + 1)
    assert (tmp_path / "slot-0").read_bytes()[2 * PAGE : 2 * PAGE + 3] == b"\xff\xff\xff"


def test_it_says_whether_its_pixels_were_asked_for(store):
    slot = store.empty(0)
    slot.encoded(10)
    assert slot.pixels_shape is None
    slot.pixels(3, 5)
    assert slot.pixels_shape == (3, 5)
    assert store.open(Picture(0, 10)).pixels_shape is None  # another frame


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE, PAGE + 1])
def test_an_encoded_frame_of_any_size(store, size):
    slot = store.empty(0)
    room = slot.encoded(size)
    assert len(room) == size
    room[:] = b"x" * size
    assert bytes(store.open(Picture(0, size)).read_encoded()) == b"x" * size


def test_a_slot_grows_and_what_was_handed_out_stays_valid(store):
    slot = store.empty(0)
    small = slot.pixels(10, 10)
    small[:] = 1
    large = slot.pixels(1000, 1000)
    large[999, 999] = 2
    assert np.all(small == 1)
    assert np.all(large[0, :10] == 1)
    small[0, 0] = 3
    assert large[0, 0].tolist() == [3, 3, 3]


def test_a_slot_that_another_process_made_larger_is_mapped_anew(store, tmp_path):
    ours = store.empty(0)
    ours.pixels(2, 2)
    other = Store(tmp_path)
    other.empty(0).pixels(800, 800)[799, 799] = 5
    assert ours.read_pixels(800, 800)[799, 799].tolist() == [5, 5, 5]
    other.close()


def test_a_slot_far_larger_than_needed_is_cut(store, tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "KEEP_BYTES", 100 * PAGE)
    path, slot = tmp_path / "slot-0", store.empty(0)
    slot.encoded(1000 * PAGE)
    slot.encoded(501 * PAGE)
    assert path.stat().st_size == 1000 * PAGE, "half is not far"
    slot.encoded(10)
    assert path.stat().st_size == PAGE
    slot.encoded(100 * PAGE)
    slot.encoded(10)
    assert path.stat().st_size == 100 * PAGE, "what is small enough is kept"
    assert store.total_bytes() == 100 * PAGE


def test_who_has_a_slot_mapped_that_was_cut_sees_the_next_frame(store, tmp_path, monkeypatch):
    """Detect has mapped a large frame; ingest cuts the slot for a small one; detect makes it larger again."""
    monkeypatch.setattr(frames, "KEEP_BYTES", 10 * PAGE)
    detect = Store(tmp_path)
    store.empty(0).encoded(10)[:] = b"first file"
    detect.open(Picture(0, 10)).pixels(200, 200)[:] = 1
    store.empty(0).encoded(11)[:] = b"second file"
    assert (tmp_path / "slot-0").stat().st_size == PAGE
    slot = detect.open(Picture(0, 11))
    assert bytes(slot.read_encoded()) == b"second file"
    pixels = slot.pixels(200, 200)
    assert np.all(pixels == 0)
    pixels[:] = 2
    assert np.all(store.open(Picture(0, 11)).read_pixels(200, 200) == 2)
    detect.close()


def test_a_hole_is_never_handed_out(store, tmp_path):
    slot = store.empty(0)
    slot.encoded(3 * PAGE + 1)
    assert holes(tmp_path / "slot-0") == 0
    slot.pixels(700, 900)
    assert holes(tmp_path / "slot-0") == 0


def test_a_frame_that_is_not_there_is_an_error_not_a_crash(store, tmp_path):
    store.empty(0).encoded(10)
    with pytest.raises(FrameError, match=f"its slot holds {PAGE} bytes instead of"):
        store.open(Picture(0, 10)).read_pixels(100, 100)
    with pytest.raises(FrameError, match="its slot holds 0 bytes instead of 99"):
        store.open(Picture(1, 99)).read_encoded()


FULL = """
import os, resource, sys
from zpipe.errors import FrameError
from zpipe.transport.store import Store
from zpipe.wire import Picture
path = sys.argv[1] + "/slot-0"
store = Store(sys.argv[1])
slot = store.empty(0)
slot.encoded(10)[:] = b"0123456789"
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for ask in (lambda: slot.encoded(2 << 20), lambda: store.open(Picture(0, 10)).pixels(1000, 1000)):
    try:
        ask()
    except FrameError as error:
        print(error)
assert os.stat(path).st_size <= 1 << 20
assert bytes(store.open(Picture(0, 10)).read_encoded()) == b"0123456789"
store.open(Picture(0, 10)).pixels(100, 100)[:] = 7
store.close()
"""


def test_a_frame_without_room_is_a_frame_error(tmp_path):
    """A limit on the file's size stands in for full memory: what is asked for is refused as a whole."""
    said = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "no shared memory for a frame of 2.1 MB in /dev/shm" in said.stdout
    assert "no shared memory for a frame of 3.0 MB in /dev/shm: File too large" in said.stdout
    assert "lower frames.in_flight" in said.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
def test_a_full_tmpfs(tmp_path):
    """Edge 5: what others may give back is told from what can never be had; idle slots give back what they keep."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this container may not mount")
    try:
        store = Store(tmp_path)
        slot = store.empty(0)
        slot.encoded(1000)[:] = b"x" * 1000
        with pytest.raises(NeverFits, match=r"needs 3\.0 MB of shared memory, and /dev/shm has 1\.0 MB in all"):
            slot.pixels(1000, 1000)
        slot.pixels(100, 100)[:] = 7
        store.empty(1).encoded(900_000)
        with pytest.raises(StoreFull, match="no shared memory for a frame") as caught:
            store.empty(2).reserve_pixels(500, 500)
        assert store.free_bytes < caught.value.needed_bytes == 184 * PAGE
        store.cut({1, 2, 3})
        assert store.free_bytes >= caught.value.needed_bytes
        store.empty(2).reserve_pixels(500, 500)
        assert bytes(store.open(Picture(0, 1000)).read_encoded()) == b"x" * 1000
        store.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_slots_are_private_and_closing_keeps_what_is_still_looked_at(store, tmp_path):
    pixels = store.empty(3).pixels(2, 2)
    pixels[:] = 6
    assert (tmp_path / "slot-3").stat().st_mode & 0o777 == 0o600
    before = len(os.listdir("/proc/self/fd"))
    store.close()
    assert len(os.listdir("/proc/self/fd")) <= before - 1
    assert np.all(pixels == 6)
