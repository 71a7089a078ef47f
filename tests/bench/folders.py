"""A hundred folders of five pictures, a stream each, against the same pictures in one folder: whole runs, in turn.

python tests/bench/folders.py [w3|w4|w5]
"""

import os
import shutil
import statistics
import sys
import time
from pathlib import Path

from runs import loaded, run
from workloads import Workload, make

FOLDERS, PICTURES, RUNS = 100, 5, 5


def fill(folder: Path, files: list[Path]) -> list[Path]:
    """The pictures linked into FOLDERS folders, and all of them into one more, which comes last."""
    shutil.rmtree(folder, ignore_errors=True)
    folders = [folder / f"part{number}" for number in range(FOLDERS)]
    for each in (*folders, folder / "all"):
        each.mkdir(parents=True)
    for number in range(FOLDERS * PICTURES):
        file = files[number % len(files)]
        for place in (folders[number // PICTURES], folder / "all"):
            os.symlink(file, place / f"img{number}{file.suffix}")
    return [*folders, folder / "all"]


def seconds(workload: Workload, folders: list[Path]) -> float:
    """How long a whole run over these folders takes."""
    entries = [{"path": str(folder), "stream": folder.name} for folder in folders]
    config = workload.config(1, ingest=entries)
    began = time.monotonic()
    frames, _ = run(config)
    took_s = time.monotonic() - began
    assert len(frames) == FOLDERS * PICTURES
    return took_s


def main() -> None:
    """Run one and the other by turns; the first pair fills caches and does not count."""
    workload = make(sys.argv[1] if len(sys.argv) > 1 else "w3")
    *many, one = fill(workload.folder / "folders", workload.files)
    pairs = [(seconds(workload, many), seconds(workload, [one])) for _ in range(RUNS + 1)][1:]
    apart, together = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{workload.name}: {FOLDERS} folders {apart:.2f} s, one {together:.2f} s: {ratio:.2f} times; {loaded()}")


if __name__ == "__main__":
    main()
