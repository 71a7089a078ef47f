"""What a worker needs of memory beyond its model and the frames: its anonymous memory in a run of W1, at most, beside
that of a process that does nothing but open the same model and call it. (Frames are in shared memory, not counted.)

python tests/bench/memory.py
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
from runs import loaded
from workloads import make

FRAMES = 200

BARE = """
import sys
import numpy
from zpipe.config.loading import load
from zpipe.models.opening import open_classifier, open_detector
config, image = load(sys.argv[1]), numpy.zeros((1080, 1920, 3), numpy.uint8)
boxes = numpy.array([[100, 100, 300, 200]] * 8, numpy.float32)
if sys.argv[2] == "detect":
    model = open_detector(config.detect, 1)
    call = lambda: model.detect(image)
else:
    model = open_classifier(config.stages[1].config, 1)
    call = lambda: model.classify(image, boxes)
for _ in range(20):
    call()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon")))
"""


def anonymous_mb(pid: int) -> float:
    """Resident memory of a process that is no file's."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1e3


def main() -> None:
    """One run, looked at when it has been steady for a while."""
    config = make("w1").config(FRAMES, "f32")
    own = {}
    for stage in ("detect", "classify"):
        done = subprocess.run([sys.executable, "-c", BARE, config, stage], check=True, capture_output=True, text=True)
        own[stage] = int(done.stdout) / 1e3
    said = ", ".join(f"{stage} {mb:.0f} MB" for stage, mb in own.items())
    print(f"a process with the model alone: {said}; {loaded()}")
    command = [sys.executable, "-m", "zpipe", "up", str(config), "--quiet", "--overwrite"]
    up = psutil.Popen([*command, "--detect", "1", "--classify", "2"], cwd=config.parent)
    most: dict[str, float] = {}
    while up.poll() is None:
        for process in [up, *up.children()]:
            try:
                role = "zpipe up" if process.pid == up.pid else json.loads(process.cmdline()[3])["role"]
                most[role] = max(most.get(role, 0), anonymous_mb(process.pid))
            except (psutil.Error, IndexError, OSError, StopIteration):
                continue  # it is just starting or ending
        time.sleep(0.2)
    for role, mb in most.items():
        beyond = f", {mb - own[role]:+.0f} beyond the model alone" if role in own else ""
        print(f"{role}: at most {mb:.0f} MB{beyond}")
    Path(json.loads(config.read_text())["sink"]["results"]).unlink()
    config.unlink()


if __name__ == "__main__":
    main()
