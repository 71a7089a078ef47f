"""A hundred files that are no model, or a broken one: `zpipe check` and `zpipe up` say so, and never crash."""

import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import openvino
import pytest
from built import compiled, needs_compilers
from damage import KINDS, damaged
from harness import make_config, make_frames

from zpipe.engines.local import ZPIPE

DETECTOR = Path(__file__).resolve().parents[2] / "configs" / "demo" / "detector.onnx"


def foreign_files(folder: Path, rng: random.Random) -> Iterator[tuple[str, Path]]:
    """100 of them: what is wrong, and the file."""
    openvino.save_model(openvino.Core().read_model(DETECTOR), folder / "whole.xml")
    library = Path(compiled("good.c", folder / "whole.so"))
    wholes = {".onnx": DETECTOR.read_bytes(), ".xml": (folder / "whole.xml").read_bytes(), ".so": library.read_bytes()}
    weights = (folder / "whole.bin").read_bytes()
    for number in range(27):
        for suffix, whole in wholes.items():
            # A library with flipped bits is code that may do anything: cut off or overwritten is enough for it.
            kind = KINDS[number % len(KINDS)] if suffix != ".so" else ("truncated", "zeroed")[number % 2]
            path = folder / f"damaged-{number}{suffix}"
            path.write_bytes(damaged(whole, kind, rng))
            if suffix == ".xml":
                path.with_suffix(".bin").write_bytes(weights)
            yield kind, path
    others = {
        "text": b"This is no model.\n" * 20, "empty": b"", "html": b"<!DOCTYPE html><html>404</html>",
        "noise": rng.randbytes(5000), "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    }  # fmt: skip
    for suffix in wholes:
        for kind, data in others.items():
            path = folder / f"{kind}{suffix}"
            path.write_bytes(data)
            yield kind, path
        (folder / f"folder{suffix}").mkdir()
        yield "directory", folder / f"folder{suffix}"
    other = folder / "swapped.onnx"
    other.write_bytes(wholes[".xml"])
    yield "another kind", other


@needs_compilers
@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_a_hundred_foreign_files(tmp_path: Path) -> None:
    seed = int(os.environ.get("FOREIGN_SEED", random.randrange(1 << 30)))
    print(f"FOREIGN_SEED={seed}")
    (tmp_path / "models").mkdir()
    frames, outcomes = make_frames(tmp_path / "frames", 2), Counter[tuple[str, int]]()
    for number, (kind, path) in enumerate(foreign_files(tmp_path / "models", random.Random(seed))):
        config = make_config(tmp_path / "run", frames, detect={"model": str(path), "count": 1}, classify=None)
        for command in ("check", "up") if number % 5 == 0 else ("check",):
            options = ["--quiet", "--overwrite"] if command == "up" else []
            done = subprocess.run([*ZPIPE, command, str(config), *options], capture_output=True, text=True, timeout=100)
            outcomes[kind, done.returncode] += 1
            said = done.stderr
            harmless = done.returncode == 0 and kind in KINDS  # where nothing reads, damage does nothing
            assert harmless or done.returncode in (3, 4), f"{path.name} ({kind}): {done.returncode} {said}"
            assert harmless or (path.name in said and "Traceback" not in said), f"{path.name} ({kind}): {said}"
    print({f"{kind}: exit code {code}": count for (kind, code), count in sorted(outcomes.items())})
    assert sum(outcomes.values()) >= 100
