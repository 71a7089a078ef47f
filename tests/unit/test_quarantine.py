"""Quarantine: copies of what killed its workers, under names that fit, for their owner alone."""

import json
import os

import numpy as np
import pytest

from zpipe.messages import Result
from zpipe.results.quarantine import keep


def made(name, stream="yard"):
    return Result(stream=stream, seq=7, name=name, timestamp=0, status="failed")


def test_a_file_is_kept_byte_for_byte(tmp_path):
    path = keep(tmp_path / "quarantine", made("sub/img.png"), memoryview(b"poison"))
    assert path == tmp_path / "quarantine" / "yard-7-img.png"
    assert path.read_bytes() == b"poison"
    assert json.loads((tmp_path / "quarantine" / "yard-7-img.png.json").read_bytes())["name"] == "sub/img.png"


def test_pixels_are_kept_as_an_array(tmp_path):
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    assert np.array_equal(np.load(keep(tmp_path, made("clip.mp4#7"), pixels)), pixels)


def test_a_frame_that_was_never_read_has_its_result_kept(tmp_path):
    keep(tmp_path, made("clip.mp4#7"), None)
    assert [path.name for path in tmp_path.iterdir()] == ["yard-7-clip.mp4#7.json"]


@pytest.mark.parametrize(
    "name", ["x" * 245 + ".png", "é" * 120 + ".png", "x" * 255, "y." + "z" * 250, "a\0b.png", ".."]
)
def test_any_name_fits(tmp_path, name):
    """Edge 28: names of 245 letters."""
    for picture in (memoryview(b"poison"), np.zeros((2, 2, 3), np.uint8)):
        path = keep(tmp_path, made(name, stream="s" * 60), picture)
        assert path.parent == tmp_path
        assert path.name.removesuffix(".npy").endswith(".png") == name.endswith(".png")
        assert path.exists()
        assert path.with_name(path.name + ".json").exists()


def test_copies_are_their_owners_alone(tmp_path):
    """Edge 28: also where a file of an earlier run was open to all."""
    (tmp_path / "yard-7-img.png").touch(mode=0o666)
    mask = os.umask(0)
    try:
        path = keep(tmp_path, made("img.png"), memoryview(b"poison"))
    finally:
        os.umask(mask)
    for kept in (path, path.with_name("yard-7-img.png.json")):
        assert kept.stat().st_mode & 0o777 == 0o600
