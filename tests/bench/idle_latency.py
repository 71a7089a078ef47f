"""What the chain adds to a frame's way while nothing else is on it: the time from the moment before it is read to its
being logged, less reading (measured here, in the same state: after a pause), decode, detect and classify.

python tests/bench/idle_latency.py
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zmq
from runs import loaded, percentile, run
from workloads import make

FRAMES, PACE_S = 150, 0.2
ECHOES = 25
ECHO = """
import sys, zmq
context = zmq.Context()
there, back = context.socket(zmq.PULL), context.socket(zmq.PUSH)
there.connect(f"ipc://{sys.argv[1]}/there")
back.connect(f"ipc://{sys.argv[1]}/back")
while message := there.recv():
    back.send(message)
"""


def main() -> None:
    """Measure with pictures that come one by one, each after the last has left."""
    workload = make("w1")
    read_ms = statistics.median(reading_ms(path) for path in workload.files[:20])
    print(f"{FRAMES} frames of W1, one every {PACE_S} s; reading one takes {read_ms:.2f} ms; {loaded()}")
    print(f"a message between two processes that sleep takes {hop_ms():.2f} ms; a frame needs six")
    frames, _ = run(workload.config(FRAMES, "f32", name="idle"), "--detect", "1", "--classify", "1", pace_s=PACE_S)
    added = []
    for frame in frames[5:]:
        times = frame["timing_ms"]
        added.append(times["total"] - read_ms - times["decode"] - times["detect"] - times["classify"])
    totals = [frame["timing_ms"]["total"] for frame in frames[5:]]
    for name, values in (("total", totals), ("added by the chain", added)):
        said = ", ".join(f"{label} {percentile(values, part):.2f} ms" for label, part in (("p50", 0.5), ("p99", 0.99)))
        print(f"{name}: {said}, most {max(values):.2f} ms")


def reading_ms(path: Path) -> float:
    """What reading a file that is in the page cache takes after a pause, into memory that is there."""
    room = bytearray(path.read_bytes())
    time.sleep(PACE_S)
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        file.readinto(room)
    return (time.perf_counter() - began) * 1e3


def hop_ms() -> float:
    """One way of a message over the sockets that the links are made of, after a pause: half of there and back."""
    with tempfile.TemporaryDirectory() as folder, zmq.Context() as context:
        there, back = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        there.bind(f"ipc://{folder}/there")
        back.bind(f"ipc://{folder}/back")
        echo = subprocess.Popen([sys.executable, "-c", ECHO, folder])
        took = []
        for _ in range(ECHOES):
            time.sleep(PACE_S)
            began = time.perf_counter()
            there.send(b"a frame")
            back.recv()
            took.append((time.perf_counter() - began) / 2 * 1e3)
        there.send(b"")
        echo.wait()
        there.close()
        back.close()
    return statistics.median(took[1:])


if __name__ == "__main__":
    main()
