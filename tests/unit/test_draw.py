"""Drawing: everything inside the picture, labels beside each other, files where they belong."""

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zpipe.draw.colours import colour_of, text_colour_on
from zpipe.draw.files import write_pictures
from zpipe.draw.layout import place_labels
from zpipe.draw.look import Look
from zpipe.draw.objects import draw
from zpipe.draw.plates import plate, with_failure
from zpipe.draw.results import draw_results
from zpipe.draw.sizes import enlargement
from zpipe.draw.text import AsciiFont, UnicodeFont, font, tidy, wrap
from zpipe.errors import ConfigError, FrameError, ResultsError, ZpipeError


def thing(x, y, w, h, label="dog", label_id=16, confidence=0.9, classes=()):
    return {
        "x": x,
        "y": y,
        "w": w,
        "h": h,
        "detection": {"label": label, "label_id": label_id, "confidence": confidence},
        "classification": [
            {"stage": "classify", "label": name, "label_id": number, "confidence": 0.5}
            for number, name in enumerate(classes)
        ],
    }


def result(name, *objects, seq=1, stream="yard", **keys):
    made = {"type": "frame", "status": "ok", "name": name, "seq": seq, "stream": stream, "objects": list(objects)}
    return {**made, **keys}


def failed(name, reason="killed by SIGSEGV"):
    return result(name, status="failed", error={"stage": "detect", "reason": reason})


def gray(width, height):
    return np.full((height, width, 3), 128, np.uint8)


SIZES = [(1, 1), (32, 32), (64, 48), (640, 480), (2000, 40), (40, 2000), (5472, 3648)]


@pytest.mark.parametrize("size", SIZES)
def test_any_size(size):
    width, height = size
    image = gray(width, height)
    box = thing(0.2 * width, 0.3 * height, 0.5 * width, 0.4 * height, classes=["malamute"])
    drawn = draw(image, [box])
    factor = enlargement(width, height)
    assert drawn.shape == (height * factor, width * factor, 3)
    assert (image == 128).all()
    left, right, middle = (round(factor * part * width) for part in (0.2, 0.7, 0.45))
    row, thick = round(factor * 0.5 * height), max(6, drawn.shape[1] // 100)
    assert (drawn[row, max(0, left - thick) : left + thick] != 128).any()  # both sides of the box
    assert (drawn[row, right - thick : right + thick] != 128).any()
    if min(size) > 100:
        assert (drawn[row, middle] == 128).all()  # nothing in it


def test_small_pictures_are_enlarged_enough_for_text():
    assert enlargement(640, 480) == enlargement(480, 120) == 1
    assert enlargement(32, 32) == 15
    assert enlargement(479, 300) == 2
    assert enlargement(2000, 40) == 2  # 4096 at most
    assert enlargement(1, 9000) == 1


def test_no_objects_leave_the_picture_as_it_is():
    image = gray(640, 480)
    drawn = draw(image, [])
    assert drawn is not image
    assert np.array_equal(drawn, image)


def test_boxes_are_scaled_to_another_resolution():
    image = np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8)
    assert np.array_equal(draw(image, [thing(80, 60, 40, 30)], (400, 300)), draw(image, [thing(160, 120, 80, 60)]))


@settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 2, *[st.floats(0, 1e4)] * 2), max_size=12),
    label=st.text(max_size=60),
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
)
def test_any_boxes_and_labels(boxes, label, size):
    drawn = draw(gray(*size), [thing(*box, label=label, classes=[label]) for box in boxes])
    assert drawn.dtype == np.uint8
    assert drawn.shape[0] % size[1] == drawn.shape[1] % size[0] == 0


@settings(deadline=None)
@given(
    boxes=st.lists(st.tuples(st.floats(0, 900), st.floats(0, 700), st.floats(1, 900), st.floats(1, 700)), min_size=1),
    size=st.tuples(st.floats(1, 300), st.floats(1, 60)),
)
def test_labels_stay_inside_the_picture(boxes, size):
    areas = np.array([(x, y, min(1000, x + w), min(800, y + h)) for x, y, w, h in boxes])
    placed, _ = place_labels(areas, np.array([[size]] * len(areas)), range(len(areas)), (1000, 800), 2)
    assert (placed[:, :2] >= 0).all()
    assert (placed[:, 2:] <= (1000, 800)).all()
    assert np.allclose(placed[:, 2:] - placed[:, :2], size)


def test_labels_do_not_hide_each_other_where_there_is_room():
    line = np.array([(100 + 60 * i, 300, 140 + 60 * i, 360) for i in range(10)], float)  # digits on a line
    placed, _ = place_labels(line, np.array([[(90.0, 34.0)]] * 10), range(10), (1280, 960), 1)
    for first in range(10):
        for second in range(first):
            a, b = placed[first], placed[second]
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_labels_shrink_before_they_cover_other_boxes():
    """Edge 14: in a crowd; where there is room they keep their size."""
    forms = [(90.0, 34.0), (60.0, 24.0), (34.0, 24.0)]
    crowd = np.array([(40 * x, 60 * y, 40 * x + 30, 60 * y + 30) for x in range(12) for y in range(8)], float)
    placed, chosen = place_labels(crowd, np.array([forms] * len(crowd)), range(len(crowd)), (480, 480), 1)
    full, _ = place_labels(crowd, np.array([forms[:1]] * len(crowd)), range(len(crowd)), (480, 480), 1)
    assert hidden(placed, crowd) < hidden(full, crowd) / 2
    assert (chosen > 0).mean() > 0.9
    _, alone = place_labels(crowd[:1] + 200, np.array([forms]), range(1), (480, 480), 1)
    assert alone[0] == 0


def hidden(labels, boxes):
    """Square pixels of boxes under labels of others."""
    shared = [
        max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        for i, a in enumerate(labels)
        for j, b in enumerate(boxes)
        if i != j
    ]
    return sum(shared)


def test_colours_are_stable_distinct_and_readable():
    digits = [colour_of("classify", number, str(number)) for number in range(10)]
    assert digits == [colour_of("classify", number, str(number)) for number in range(10)]
    apart = [np.abs(np.subtract(a, b)).sum() for a in digits for b in digits if a != b]
    assert len(set(digits)) == 10
    assert min(apart) > 40
    assert colour_of("detect", None, "dog") == colour_of("detect", None, "dog") != colour_of("detect", None, "cat")
    assert text_colour_on((255, 255, 255)) != (255, 255, 255)
    assert text_colour_on((60, 20, 20)) == (255, 255, 255)


def test_labels_in_any_script():
    pages = []
    for label in ("犬", "собака", "Ä", "?"):
        page = gray(200, 60)
        font().write(page, label, 10, 40, 30, (0, 0, 0))
        pages.append(page.tobytes())
    if isinstance(font(), UnicodeFont):
        assert len(set(pages)) == 4
    assert font().width("犬", 30) > 10


def test_font_of_older_opencv():
    page = gray(200, 60)
    AsciiFont().write(page, "Hündchen 犬", 10, 40, 30, (0, 0, 0))
    assert (page != 128).any()
    assert 0 < AsciiFont().width("dog", 15) < AsciiFont().width("dog", 30) < AsciiFont().width("dogs", 30)


def test_text_in_lines():
    assert tidy(" two\nlines\x00 ") == "two lines"
    assert tidy("x" * 50, 10) == "x" * 9 + "…"
    lines = wrap("a reason " * 20 + "x" * 300, 14, 300)
    assert all(font().width(line, 14) <= 300 for line in lines)
    assert "".join(lines).replace(" ", "") == ("areason" * 20 + "x" * 300)
    assert wrap("", 14, 300) == []


@pytest.mark.parametrize("size", [(1, 1), (64, 48), (2000, 40), (1280, 960)])
def test_failed_frames_say_why(size):
    drawn = with_failure(gray(*size), failed("a.jpg", "reason " * 100))
    assert drawn.std() > 0
    for reason in ("", "it is not there"):
        assert plate(result("a.jpg"), reason).shape == (540, 960, 3)
    assert plate(failed("a.jpg"), width=20, height=20).shape == (270, 480, 3)


def pictures(*sizes):
    """find_image: gray pictures of these sizes in turn."""
    given = iter(sizes)
    return lambda result: gray(*next(given))


def test_one_file_per_frame(tmp_path):
    names = ["a.jpg", "a.jpg", "sub/b.png", "c.tif", "clip.mp4#7", "locked/", "../../x.jpg", "/etc/passwd", "ü犬\n.JPG"]
    results = [result(name, thing(5, 5, 20, 20)) for name in names] + [{"type": "eos"}]
    heard = []
    assert write_pictures(results, pictures(*[(640, 480)] * 9), tmp_path / "out", progress=heard.append) == 9
    assert heard == list(range(1, 10))
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    expected = ["a.jpg", "a-2.jpg", "sub/b.png", "c.tif.jpg", "clip.mp4-000007.jpg", "locked.jpg", "x.jpg"]
    assert written == sorted(f"out/{name}" for name in [*expected, "etc/passwd.jpg", "ü犬_.JPG"])
    for path in (tmp_path / "out").rglob("*.*"):
        assert cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)


def test_folder_per_stream(tmp_path):
    results = [result("a.jpg", stream="north"), result("a.jpg", stream=".."), result("x" * 400 + ".png")]
    write_pictures(results, pictures(*[(640, 480)] * 3), tmp_path / "out", by_stream=True)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"out/north/a.jpg", "out/a.jpg", "out/yard/" + "x" * 200 + ".png"}


def test_frames_without_image_get_a_plate(tmp_path):
    def find(result):
        if result["name"] == "bad.jpg":
            raise FrameError("truncated")
        return None if result["name"] == "gone.jpg" else gray(640, 480)

    results = [result("good.jpg"), result("gone.jpg"), failed("bad.jpg"), failed("killed.jpg")]
    assert write_pictures(results, find, tmp_path) == 4
    for name in ("gone.jpg", "bad.jpg", "killed.jpg"):
        assert cv2.imread(str(tmp_path / name)).shape == (480, 640, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi", ".mkv"])
def test_video(tmp_path, suffix):
    sizes = [(641, 479), (641, 479), (320, 240), (2000, 500)]
    results = [result("a", thing(5, 5, 99, 99)) for _ in sizes]
    path = tmp_path / "new" / f"film{suffix}"
    assert write_pictures(results, pictures(*sizes), tmp_path, path) == 4
    assert [frame.shape for frame in frames_of(path)] == [(480, 642, 3)] * 4


def test_video_of_results_that_break_off(tmp_path):
    def live():
        yield from [result("a")] * 3
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pictures(live(), lambda result: gray(640, 480), tmp_path, tmp_path / "film.mp4")
    assert len(list(frames_of(tmp_path / "film.mp4"))) == 3


def test_video_that_cannot_be_written(tmp_path):
    with pytest.raises(ZpipeError, match=r"film.gif: no video of this kind .*\.mp4"):
        write_pictures([result("a")], pictures((640, 480)), tmp_path, tmp_path / "film.gif")
    (tmp_path / "file").touch()
    with pytest.raises(ZpipeError, match="cannot be written"):
        write_pictures([result("file/a.jpg")], pictures((640, 480)), tmp_path)


def frames_of(path: Path):
    capture = cv2.VideoCapture(str(path))
    while capture.grab():
        yield capture.retrieve()[1]
    capture.release()


@pytest.fixture
def run(tmp_path):
    """A results file of two videos of 8 and 5 frames/s, and a config's `--images` for them."""
    lines, places = [], []
    for stream, rate in (("north", 8), ("south", 5)):
        places.append(f"{stream}={tmp_path / stream}.avi")
        writer = cv2.VideoWriter(f"{tmp_path / stream}.avi", cv2.VideoWriter.fourcc(*"MJPG"), rate, (640, 480))
        for seq in range(1, 5):
            writer.write(gray(640, 480))
            sure, unsure = thing(40, 200, 50, 50, classes=["a"]), thing(400, 200, 50, 50, confidence=0.3)
            lines.append(json.dumps(result(f"{stream}.avi#{seq}", sure, unsure, seq=seq, stream=stream)))
        writer.release()
    (tmp_path / "results.jsonl").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "results.jsonl"), places


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_film_per_stream_at_its_own_rate(run, tmp_path, suffix):
    """Edge 14."""
    results, places = run
    assert draw_results(results, tmp_path / f"film{suffix}", places, None) == 8
    for stream, rate in (("north", 8), ("south", 5)):
        film = tmp_path / f"film-{stream}{suffix}"
        assert len(list(frames_of(film))) == 4
        assert cv2.VideoCapture(str(film)).get(cv2.CAP_PROP_FPS) == pytest.approx(rate)
    assert draw_results(results, tmp_path / f"one{suffix}", places, None, Look(frozenset(["south"]))) == 4
    assert cv2.VideoCapture(str(tmp_path / f"one{suffix}")).get(cv2.CAP_PROP_FPS) == pytest.approx(5)


def test_pictures_of_several_streams_have_a_folder_each(run, tmp_path):
    results, places = run
    draw_results(results, tmp_path / "out", places, None)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["north", "south"]
    assert len(list((tmp_path / "out" / "north").iterdir())) == 4


def test_what_cannot_be_drawn_is_said(run, tmp_path):
    """Edge 14: a wrong file name is what is missing, not the frames; no folder is called film.gif."""
    results, places = run
    with pytest.raises(ResultsError, match=r"nowhere\.jsonl: no such file"):
        draw_results(str(tmp_path / "nowhere.jsonl"), tmp_path / "out", [], None)
    with pytest.raises(ResultsError, match="has no stream east"):
        draw_results(results, tmp_path / "out", places, None, Look(frozenset(["east", "north"])))
    for name in ("film.gif", "film.wmv", "a.jpg"):
        with pytest.raises(ConfigError, match=f"{name}: neither a folder nor a video that can be written"):
            draw_results(results, tmp_path / name, places, None)
    assert not (tmp_path / "out").exists()


def test_a_look_chooses_objects_classes_and_labels():
    """Edge 14: --min-confidence, --stage, --no-labels."""
    sure, unsure = thing(0, 0, 9, 9, classes=["a"]), thing(0, 0, 9, 9, confidence=0.3)
    assert Look().choose([sure, unsure]) == [sure, unsure]
    assert Look(min_confidence=0.5).choose([sure, unsure]) == [sure]
    assert Look(stages=frozenset(["classify"])).choose([sure]) == [sure]
    assert Look(stages=frozenset(["detect"])).choose([sure]) == [{**sure, "classification": []}]
    box = thing(100, 100, 300, 200)
    bare = draw(gray(640, 480), [box], with_labels=False)
    assert (bare[:90] == 128).all()
    assert (bare[100:110] != 128).any()
    assert (draw(gray(640, 480), [box])[:95] != 128).any()


def test_many_objects():
    rng = random.Random(0)
    objects = [thing(rng.uniform(0, 1800), rng.uniform(0, 1000), 60, 60, confidence=rng.random()) for _ in range(300)]
    assert draw(gray(1920, 1080), objects).shape == (1080, 1920, 3)
