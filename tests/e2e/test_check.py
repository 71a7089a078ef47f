"""`zpipe check` survives whatever it is given as a model."""

import shutil
import subprocess
from pathlib import Path

import pytest
from harness import make_config, make_frames

from zpipe.engines.local import ZPIPE

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo"

DEADLY = """
#include <stdlib.h>
__attribute__((constructor)) static void die(void) { abort(); }
"""


def check(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ZPIPE, "check", config, *options], capture_output=True, text=True, timeout=60)


def test_it_says_what_the_models_are(tmp_path: Path) -> None:
    scene = DEMO / "scenes" / "page-01.jpg"
    done = check(DEMO.parent / "demo.yaml", "--image", str(scene), "--out", str(tmp_path / "found.png"))
    assert done.returncode == 0, done.stderr
    shown = "mean: 127.5", "scale: 0.00784314", "normalize: none", "under each `normalize`", "mean, scale *  none"
    for words in ("format: yolov8", "digit", "time per call", "12 object(s)", *shown, "ok"):
        assert words in done.stdout, done.stdout
    assert "warning" not in done.stdout  # the models say nothing against their config
    assert (tmp_path / "found.png").stat().st_size > 10_000


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_a_library_that_ends_its_process(tmp_path: Path) -> None:
    source, library = tmp_path / "deadly.c", tmp_path / "libdeadly.so"
    source.write_text(DEADLY)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    config = make_config(tmp_path / "run", make_frames(tmp_path / "frames", 2), detect={"model": str(library)})
    done = check(config)
    assert done.returncode == 4
    assert f"zpipe: {library} or probe:Classify: it has ended its process: signal SIGABRT" in done.stderr
    up = subprocess.run([*ZPIPE, "up", config, "--quiet"], capture_output=True, text=True, timeout=60)
    assert up.returncode == 4
    assert f"signal SIGABRT (native code gave up), loading {library}" in up.stderr


def test_a_bad_config_and_a_bad_model(tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 1)
    assert check(make_config(tmp_path / "key", frames, detect={"modle": "x"})).returncode == 3
    (tmp_path / "empty.onnx").write_bytes(b"")
    done = check(make_config(tmp_path / "model", frames, detect={"model": str(tmp_path / "empty.onnx")}))
    assert (done.returncode, "empty.onnx" in done.stderr) == (4, True)
