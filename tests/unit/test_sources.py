"""Sources: which files are frames, under which names and numbers, and what a frame reads."""

import os
import random
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zpipe.config.keys import IngestConfig
from zpipe.errors import ConfigError, FrameError
from zpipe.sources import decoder
from zpipe.sources.decoder import Decoder
from zpipe.sources.opening import kind_of, open_source
from zpipe.sources.video import FailedFrame

LIMIT = 1_000_000


class Room:
    """Private memory, as a caller gives it."""

    def encoded(self, size_bytes):
        self.file = bytearray(size_bytes)
        return memoryview(self.file)

    def pixels(self, height, width):
        self.picture = np.zeros((height, width, 3), np.uint8)
        return self.picture


def source(path, max_pixels=LIMIT, **keys):
    return open_source(IngestConfig(path=os.fspath(path), **keys), max_pixels)


def names(opened):
    return [frame.name for frame in opened.frames()]


def loaded(frame):
    """The bytes of the file, or why not."""
    room = Room()
    try:
        frame.load(room)
    except FrameError as error:
        return str(error)
    return bytes(room.file)


@pytest.fixture
def folder(tmp_path):
    """Makes files, each holding its own name, in a new folder."""

    def make(*files):
        for file in files:
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.encode())
        return tmp_path

    return make


def test_one_image(folder):
    opened = source(folder("a.jpg") / "a.jpg")
    assert (opened.total, opened.total_is_exact, opened.skipped, opened.replayable) == (1, True, 0, True)
    assert list(opened.names()) == names(opened) == ["a.jpg"]
    assert loaded(next(opened.frames())) == b"a.jpg"
    assert list(opened.frames(2)) == []
    opened.close()
    opened.close()


def test_directory_is_in_natural_order_and_counts_what_it_skips(folder):
    files = ["img10.jpg", "img2.JPG", "img1.jpg", "IMG3.png", "notes.txt", ".hidden.jpg", "clip.mp4", "sub/x.jpg"]
    opened = source(folder(*files))
    assert names(opened) == ["img1.jpg", "img2.JPG", "IMG3.png", "img10.jpg"]
    assert (opened.total, opened.skipped) == (4, 3)
    assert [frame.name for frame in opened.frames(3)] == ["IMG3.png", "img10.jpg"]


def test_order_does_not_hang_on_the_file_system(folder, monkeypatch):
    path = folder("img1.jpg", "img01.jpg", "IMG1.jpg", "a/b.jpg", "a.jpg")
    expected = names(source(path, recursive=True))
    scandir = os.scandir

    class Shuffled:
        def __init__(self, path):
            self.entries = list(scandir(path))
            random.Random(len(self.entries)).shuffle(self.entries)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(os, "scandir", Shuffled)
    assert names(source(path, recursive=True)) == expected


def test_recursion_names_files_below_the_directory(folder):
    path = folder("b2/x.jpg", "b10/x.jpg", "b2/deep/y.png", "a.jpg", ".git/z.jpg", "b2/readme.md")
    opened = source(path, recursive=True)
    assert names(opened) == ["a.jpg", "b2/deep/y.png", "b2/x.jpg", "b10/x.jpg"]
    assert opened.skipped == 1
    assert [loaded(frame) for frame in opened.frames()] == [name.encode() for name in names(opened)]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.jpg", ["a.jpg", "cam1/a.jpg", "cam1/x/a.jpg"]),
        ("cam1/*.jpg", ["cam1/a.jpg"]),
        ("cam1/**", ["cam1/a.jpg", "cam1/x/a.jpg"]),
        ("**/x/*", ["cam1/x/a.jpg"]),
        ("**/a.jpg", ["a.jpg", "cam1/a.jpg", "cam1/x/a.jpg"]),
        ("*.raw", ["cam1/b.raw"]),
        ("[ab].*", ["a.jpg", "cam1/a.jpg", "cam1/x/a.jpg"]),
        ("nothing*", []),
    ],
)
def test_glob(folder, glob, expected):
    path = folder("a.jpg", "cam1/a.jpg", "cam1/b.raw", "cam1/x/a.jpg")
    opened = source(path, glob=glob, recursive=True)
    assert names(opened) == expected
    assert opened.total == len(expected)
    assert opened.skipped == 4 - len(expected)
    missed = f"{path} has 3 images, but none that matches the glob {glob}"  # Edge 17: not "no images"
    assert opened.note == ("" if expected else missed)


def test_links_are_followed_but_not_in_circles(folder):
    path = folder("real/a.jpg", "b.jpg")
    (path / "real" / "up").symlink_to(path)
    (path / "again").symlink_to(path / "real")
    (path / "c.jpg").symlink_to(path / "b.jpg")
    (path / "gone.jpg").symlink_to(path / "nowhere")
    opened = source(path, recursive=True)
    found = {frame.name: loaded(frame) for frame in opened.frames()}
    assert found == {
        "again/a.jpg": b"real/a.jpg",
        "b.jpg": b"b.jpg",
        "c.jpg": b"b.jpg",
        "gone.jpg": "cannot be read: No such file or directory",
        "real/a.jpg": b"real/a.jpg",
    }


def test_a_folder_is_entered_once_over_links(tmp_path):
    """Edge 28: 17 levels with two links each took 17 s, and gave 131,072 times the same picture."""
    for level in range(31):
        (tmp_path / str(level)).mkdir()
        for link in ("a", "b"):
            (tmp_path / str(level) / link).symlink_to(f"../{level + 1}")
    (tmp_path / "30" / "x.jpg").touch()
    assert names(source(tmp_path / "0", recursive=True)) == ["a/" * 30 + "x.jpg"]


def test_folder_that_cannot_be_listed_is_a_failed_frame(folder, monkeypatch):
    path = folder("a.jpg", "locked/x.jpg", "z.jpg")
    scandir = os.scandir

    def refusing(path):
        if "locked" in os.fspath(path):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    opened = source(path, recursive=True)
    assert names(opened) == ["a.jpg", "locked/", "z.jpg"]
    assert isinstance(loaded(list(opened.frames())[1]), str)
    with pytest.raises(ConfigError, match="cannot be listed: Permission denied"):
        source(path / "locked")


def test_frames_that_cannot_be_read_say_why(folder):
    path = folder("gone.jpg", "short.jpg", "huge.jpg")
    (path / "empty.jpg").touch()
    os.mkfifo(path / "pipe.jpg")
    os.truncate(path / "huge.jpg", 100 << 20)
    opened = source(path)
    frames = {frame.name: frame for frame in opened.frames()}
    (path / "gone.jpg").unlink()
    assert loaded(frames["gone.jpg"]) == "cannot be read: No such file or directory"
    assert loaded(frames["empty.jpg"]) == "the file is empty"
    assert loaded(frames["pipe.jpg"]) == "is not a regular file"
    assert "a file of 105 MB" in loaded(frames["huge.jpg"])


class NoRoom(Room):
    """Fails where memory is asked for."""

    def encoded(self, size_bytes):
        raise AssertionError(f"{size_bytes} bytes were asked for")


PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"", "not an image"),
        (PNG_START + struct.pack(">II", 8, 8), "PNG file of 1,074 MB that claims a picture of 8×8 only"),
        (PNG_START + struct.pack(">II", 1 << 15, 1 << 15), "32768×32768 is 1,073.7 megapixels"),
        (b"\xff\xd8\xff\xc0\0\x11\x08\0\x08\0\x08" + bytes(9), "JPEG file of 1,074 MB that claims"),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, 8, 8), "BMP file of 1,074 MB that claims"),
    ],
)
def test_large_files_are_refused_before_memory_is_taken(tmp_path, start, reason):
    """Edge 28: a sparse file of 1 GB, by what its first bytes say."""
    path = tmp_path / "sparse.png"
    path.write_bytes(start)
    os.truncate(path, 1 << 30)
    with pytest.raises(FrameError, match=reason):
        next(source(path, max_pixels=178_956_970).frames()).load(NoRoom())


def test_file_that_shrinks_while_it_is_read(folder):
    path = folder("a.jpg") / "a.jpg"

    class Shrinking(Room):
        def encoded(self, size_bytes):
            os.truncate(path, 2)
            return super().encoded(size_bytes)

    with pytest.raises(FrameError, match="became shorter while it was read: 2 of 5 bytes"):
        next(source(path).frames()).load(Shrinking())


def test_names_are_text_whatever_the_bytes(tmp_path):
    for name in (b"caf\xc3\xa9.jpg", b"\xff1.jpg", b"\xfe1.jpg", b"a\nb.jpg"):
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    opened = source(tmp_path)
    assert sorted(opened.names()) == sorted(["café.jpg", "\\xff1.jpg", "\\xfe1.jpg", "a\nb.jpg"])
    for frame in opened.frames():
        assert frame.name.encode() == loaded(frame).replace(b"\xff", b"\\xff").replace(b"\xfe", b"\\xfe")


def test_many_files(tmp_path):
    for number in range(3000):
        (tmp_path / f"{number}.png").touch()
    assert names(source(tmp_path)) == [f"{number}.png" for number in range(3000)]


def test_list_file(folder):
    path = folder("a.jpg", "sub/b c.jpg", "not_listed.jpg")
    lines = ["# a comment", "", "sub/b c.jpg", "  a.jpg  ", os.fspath(path / "a.jpg"), "missing.jpg", "sub", "a\0.jpg"]
    (path / "all.txt").write_bytes("\r\n".join(lines[:-1]).encode())
    opened = source(path / "all.txt")
    assert names(opened) == list(opened.names()) == ["sub/b c.jpg", "a.jpg", f"{path}/a.jpg", "missing.jpg", "sub"]
    expected = [b"sub/b c.jpg", b"a.jpg", b"a.jpg", "cannot be read: No such file or directory", "is a directory"]
    assert [loaded(frame) for frame in opened.frames()] == expected
    (path / "all.txt").write_bytes("\n".join(lines).encode())
    with pytest.raises(ConfigError, match="binary content"):
        source(path / "all.txt")


def test_an_entry_that_is_no_path_fails_by_a_name_that_fits(folder):
    """Edge 24: a line of 70 MB was lost in the wire, and the entry behind it too."""
    path = folder("a.jpg", "b.jpg")
    (path / "all.txt").write_text("a.jpg\n" + "x" * 70_000_000 + "\nb.jpg\n" + "é" * 3000)
    opened = source(path / "all.txt")
    long, accents = "x" * 100 + "… (70,000,000 bytes)", "é" * 100 + "… (6,000 bytes)"
    assert names(opened) == list(opened.names()) == ["a.jpg", long, "b.jpg", accents]
    too_long = "cannot be read: File name too long"
    assert [loaded(frame) for frame in opened.frames()] == [b"a.jpg", too_long, b"b.jpg", too_long]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_list_file_encodings(tmp_path, encoding):
    (tmp_path / "all.lst").write_text("é.jpg\nb.jpg\n", encoding)
    assert names(source(tmp_path / "all.lst")) == ["é.jpg", "b.jpg"]


def test_empty_sources(tmp_path):
    (tmp_path / "none.txt").touch()
    for opened in (source(tmp_path / "none.txt"), source(tmp_path)):
        assert opened.total == 0
        assert names(opened) == []


@pytest.mark.parametrize(
    ("file", "content", "kind"),
    [
        ("a.jpeg", b"whatever", "image"),
        ("a.MP4", b"", "video"),
        ("a.list", b"", "list file"),
        ("photo", b"\xff\xd8\xff\xe0", "image"),
        ("photo.dat", b"\x89PNG\r\n\x1a\n", "image"),
        ("clip", b"\0\0\0\x20ftypisom", "video"),
        ("clip.bin", b"\x1a\x45\xdf\xa3", "video"),
    ],
)
def test_kind_of_path(tmp_path, file, content, kind):
    (tmp_path / file).write_bytes(content)
    assert kind_of(os.fspath(tmp_path / file)) == kind


def test_paths_that_are_no_source(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07")
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    for name, reason in [
        ("model.onnx", "expected a directory, an image, a video, or a list of images"),
        ("absent", "no such file or directory"),
        ("link", "a link to nowhere"),
        ("fifo", "neither a file nor a directory"),
    ]:
        with pytest.raises(ConfigError, match=f"{name}: .*{reason}"):
            source(tmp_path / name)


def test_keys_for_another_kind(folder):
    path = folder("a.jpg")
    with pytest.raises(ConfigError, match="every works for a video only, this is: directory"):
        source(path, every=2)
    with pytest.raises(ConfigError, match="glob works for a directory only, this is: image"):
        source(path / "a.jpg", glob="*")
    with pytest.raises(ConfigError, match="recursive works for a directory"):
        source(path / "a.jpg", recursive=True)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video of 20 frames of 64×48, each brighter than the one before."""
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(os.fspath(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()
    return path


def brightness(opened, start=1):
    """Number of each frame, told by what is in it."""
    for frame in opened.frames(start):
        room = Room()
        frame.load(room)
        assert room.picture.shape == (48, 64, 3)
        yield frame.name, round(room.picture.mean() / 10) + 1


@pytest.mark.parametrize("every", [1, 3, 20, 30])
@pytest.mark.parametrize("start", [1, 2, 5])
def test_video_numbers_its_frames_exactly(clip, every, start):
    opened = source(clip, every=every)
    numbers = list(range(1, 21, every))
    assert opened.total == len(numbers)
    assert not opened.total_is_exact
    assert opened.names() is None
    assert list(brightness(opened, start)) == [(f"clip.avi#{n}", n) for n in numbers[start - 1 :]]
    assert list(brightness(opened)) == [(f"clip.avi#{n}", n) for n in numbers]  # replayable
    opened.close()
    opened.close()


def test_video_frames_that_nobody_loads_are_passed_over(clip):
    frames = source(clip).frames()
    for _ in range(6):
        next(frames)
    room = Room()
    next(frames).load(room)
    assert round(room.picture.mean() / 10) + 1 == 7


def test_video_frame_outlives_its_video(clip):
    frame = next(source(clip).frames())
    with pytest.raises(FrameError, match="closed"):
        frame.load(Room())


def test_video_above_the_pixel_limit_is_one_failed_frame(clip):
    (frame,) = source(clip, max_pixels=3000).frames()
    with pytest.raises(FrameError, match=r"64×48 is .* megapixels"):
        frame.load(Room())


def test_video_that_breaks_off_ends(clip, tmp_path):
    data = clip.read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) * 7 // 8])
    found = list(brightness(source(tmp_path / "half.avi")))
    assert 0 < len(found) < 20
    assert [number for _, number in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("content", [b"", b"no video at all", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n"])
def test_broken_video_is_one_failed_frame(tmp_path, content, capfd):
    (tmp_path / "bad.mp4").write_bytes(content)
    opened = source(tmp_path / "bad.mp4")
    (frame,) = opened.frames()
    assert frame.name == "bad.mp4#1"
    assert (opened.total, opened.total_is_exact) == (1, True)
    with pytest.raises(FrameError, match="empty" if not content else "cannot be opened"):
        frame.load(Room())
    assert list(opened.frames(2)) == []
    assert capfd.readouterr().err == ""


@pytest.mark.data
@pytest.mark.parametrize("name", ["text.mp4", "trunc_half.mp4", "zero_byte.mp4"])
def test_shared_broken_videos(data, name):
    (frame,) = source(data / "broken" / "videos" / name).frames()
    with pytest.raises(FrameError):
        frame.load(Room())


@pytest.mark.data
def test_video_of_a_turned_phone_is_upright(data, tmp_path):
    turned = bytearray((data / "videos" / "car-detection.mp4").read_bytes())
    matrix = turned.index(b"tkhd") + 4 + 40  # of the track header: identity becomes a quarter turn
    turned[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(turned)
    room = Room()
    frames = source(tmp_path / "turned.mp4").frames()
    next(frames).load(room)
    assert room.picture.shape == (768, 432, 3)
    assert room.picture.std() > 10


@pytest.mark.data
@pytest.mark.parametrize(("name", "count"), [("person_asl_walk.mkv", 89), ("car-detection.mp4", 377)])
def test_shared_videos(data, name, count):
    opened = source(data / "videos" / name, every=8)
    assert opened.total == -(-count // 8)
    assert names(opened) == [f"{name}#{number}" for number in range(1, count + 1, 8)]


# ---- going on in a video (edge 19) ----------------------------------------------------------------------------------

KINDS = [
    ("a.avi", "MJPG"),
    ("b.mkv", "MJPG"),
    ("c.mp4", "mp4v"),
    ("d.avi", "XVID"),
    ("e.ts", "mp2v"),
    ("f.webm", "VP80"),
]
EXACT = {"b.mkv", "a.avi", "c.mp4", "e.ts", "car-detection.mp4", "bottle-detection.mp4", "uneven.mp4"}
"""Those of which the container says enough that far frames must be reached without decoding all before them."""


def pixels(frame):
    room = Room()
    frame.load(room)
    return hash(room.picture.tobytes())


def remuxed(video, path, time_of):
    """The packets of a video (H.264 without B-frames) at other times, in frames of its average rate."""
    reader = cv2.VideoCapture(os.fspath(video), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    size = int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)), int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
    code, rate = int(reader.get(cv2.CAP_PROP_FOURCC)), reader.get(cv2.CAP_PROP_FPS)
    writer = cv2.VideoWriter(os.fspath(path), cv2.CAP_FFMPEG, code, rate, size, [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1])
    number = 0
    while reader.grab():
        writer.set(cv2.VIDEOWRITER_PROP_PTS, time_of(number))
        writer.set(cv2.VIDEOWRITER_PROP_KEY_FLAG, reader.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME))
        writer.write(reader.retrieve()[1].reshape(1, -1))
        number += 1
    writer.release()
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Path -> hashes of all its frames, read from the start: codecs and containers, H.264 of even and uneven rate."""
    folder, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    page = cv2.resize(rng.integers(0, 255, (30, 40, 3), np.uint8), (160, 120))
    paths = []
    for name, code in KINDS:
        writer = cv2.VideoWriter(
            os.fspath(folder / name), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 25, (160, 120)
        )
        assert writer.isOpened(), name
        for number in range(150):
            writer.write(np.roll(page, number, axis=1))
        writer.release()
        paths.append(folder / name)
    if shared := os.environ.get("ZPIPE_DATA"):
        paths += sorted((Path(shared) / "videos").iterdir())
        car = Path(shared) / "videos" / "car-detection.mp4"
        if hasattr(cv2, "VIDEOWRITER_PROP_PTS"):
            paths.append(remuxed(car, folder / "uneven.mp4", lambda number: number + number // 7 * 5))
    return {path: [pixels(frame) for frame in source(path).frames()] for path in paths}


@pytest.mark.test_all
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_frame_is_the_same_wherever_one_begins(videos, data):
    """Edge 19: bit by bit that of a reader from the start, and so are those that follow."""
    path = data.draw(st.sampled_from(sorted(videos)))
    number = data.draw(st.integers(1, len(videos[path])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "SEEK_ABOVE", 20)
        opened = source(path)
        frames = opened.frames(number)
        for expected, frame in zip(videos[path][number - 1 :][:20], frames, strict=False):
            assert frame.name == f"{path.name}#{number}"
            assert pixels(frame) == expected
            number += 1
        frames.close()


def test_far_frames_are_reached_without_decoding_all(videos):
    """Edge 19: a seek, where the container says enough; beaten for all the while."""
    for path, hashes in videos.items():
        opened, beats = Decoder(os.fspath(path)), []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoder, "SEEK_ABOVE", 20)
            assert opened.seek(len(hashes) - 1, lambda: beats.append(1)) or path.name not in EXACT  # noqa: B023
        assert opened.number in (0, len(hashes) - 2)
        assert beats or path.suffix == ".webm"
        opened.close()


def test_skipping_beats(clip):
    """Edge 19: once for each frame that is passed over."""
    beats = []
    frames = source(clip).frames(11, beat=lambda: beats.append(1))
    assert next(frames).name == "clip.avi#11"
    assert len(beats) == 10


def test_a_frame_that_must_not_be_decoded_is_passed_by(videos):
    """Edge 19: it and what depends on it fail, one result each; behind the next key frame all is as ever."""
    for path, hashes in videos.items():
        barred = len(hashes) // 3
        opened = source(path)
        found = list(opened.frames(barred, avoid=[barred]))
        lost = [isinstance(frame, FailedFrame) for frame in found].count(True)
        assert [frame.name for frame in found] == [f"{path.name}#{barred + n}" for n in range(len(found))]
        assert all(isinstance(frame, FailedFrame) for frame in found[:lost])
        assert lost >= 1
        if len(found) == lost:  # no key frame comes behind it, or nobody knows where
            assert opened.note == (
                f"video {path.name} ends at frame {barred}: what is behind it cannot be decoded without it"
            )
        else:
            assert len(found) == len(hashes) - barred + 1
            assert lost <= 20 or path.name not in ("a.avi", "b.mkv")


def test_behind_a_barred_frame_pixels_are_as_ever(videos):
    for path, hashes in videos.items():
        barred = len(hashes) // 3
        for start in (barred, barred + 40):
            for number, frame in enumerate(source(path).frames(start, avoid=[barred]), start):
                if not isinstance(frame, FailedFrame):
                    assert pixels(frame) == hashes[number - 1], (path, number)


def test_a_video_that_breaks_off_says_what_it_promised(clip, tmp_path):
    """Edge 17: the end of such a stream is not silent."""
    data = clip.read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) * 7 // 8])
    opened = source(tmp_path / "half.avi")
    count = len(names(opened))
    assert opened.note == f"video half.avi promised 20 frames, {count} could be decoded"
    list(opened.frames(5))
    assert opened.note == f"video half.avi promised 20 frames, {count} could be decoded"


def test_whole_videos_have_nothing_to_say(videos):
    for path, hashes in videos.items():
        opened = source(path)
        assert len(names(opened)) == len(hashes)
        assert opened.note == "", path
        assert opened.rate > 0
