"""What it costs to send a frame: CPU of all processes together, per JPEG of 300 KB over loopback TCP.

    python tests/bench/senders.py [frames]

The same frames go through the same pipeline three times: from a folder, from a sender, and from one with a key. They
are no JPEG, so that nobody decodes them: each is a failed frame, the cheapest that there is. What the processes of the
pipeline and the sender take is read from the kernel, from the first result to the last. Sending is what `gate` and
`sender` take; the difference of `all` is what it costs beyond reading a file.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import Pipeline, free_port, make_config

import zpipe
from zpipe.transport import keys

PICTURE_BYTES = 300_000


def cpu_s(processes: "list[psutil.Process]") -> dict[str, float]:
    """CPU time by role."""
    found: dict[str, float] = {}
    for process in processes:
        arguments = process.cmdline()
        role = "up"
        if "worker" in arguments:
            role = json.loads(arguments[arguments.index("worker") + 1])["role"]
        times = process.cpu_times()
        found[role] = found.get(role, 0) + times.user + times.system
    return found


def spent(before: dict[str, float], after: dict[str, float], frames: int) -> dict[str, float]:
    """Milliseconds a frame, by role."""
    return {role: round((after[role] - before.get(role, 0)) / frames * 1e3, 3) for role in sorted(after)}


def run(folder: Path, frames: int, from_sender: bool, with_keys: bool) -> dict[str, float]:
    """A run; CPU milliseconds a frame by role, the sender's (all of this process) as `sender`."""
    picture, port = os.urandom(PICTURE_BYTES), free_port()
    if from_sender:
        ingest = [{"listen": f"tcp://127.0.0.1:{port}", "stream": "gate"}]
    else:
        (folder / "frames").mkdir()
        for number in range(frames):
            os.link(picture_file(folder, picture), folder / "frames" / f"{number}.jpg")
        ingest = [{"path": str(folder / "frames"), "stream": "folder"}]
    key = None
    if with_keys:
        keys.init(folder / "keys")
        key = folder / "bench.key"
        keys.add(folder / "keys", "bench", ["send"], [], key)
    secured = {"keys": str(folder / "keys")} if with_keys else {}
    config = make_config(folder, [], ingest=ingest, detect={"count": 1}, classify=None, **secured)
    pipeline = Pipeline(config, "--wait-subscribers", "0" if from_sender else "1")
    pipeline.started()
    tree = psutil.Process(pipeline.process.pid)
    if from_sender:
        with zpipe.send(f"tcp://127.0.0.1:{port}", name="bench", key=key, timeout_s=30) as sender:
            sender.put(picture, "warm")
            list(sender.results())
            before, own = cpu_s([tree, *tree.children()]), time.process_time()
            began = time.monotonic()
            for number in range(frames):
                sender.put(picture, f"{number}.jpg")
            sender.end()
            count = sum(1 for _ in sender.results())
            took_s = time.monotonic() - began
            found = spent(before, cpu_s([tree, *tree.children()]), count)
            found["sender"] = round((time.process_time() - own) / count * 1e3, 3)
        pipeline.process.terminate()
    else:
        results = zpipe.subscribe(pipeline.started()["publish"], from_start=True)
        before = cpu_s([tree, *tree.children()])
        began = time.monotonic()
        count = 0
        for _ in results:
            count += 1
            if count == frames - 1:
                break
        took_s = time.monotonic() - began
        found = spent(before, cpu_s([tree, *tree.children()]), count)
        results.close()  # type: ignore[attr-defined]
    pipeline.wait()
    found["all"] = round(sum(found.values()), 3)
    found["frames/s"] = round(count / took_s, 1)
    return found


def picture_file(folder: Path, picture: bytes) -> Path:
    path = folder / "one.jpg"
    if not path.exists():
        path.write_bytes(picture)
    return path


if __name__ == "__main__":
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    for way in ("folder", "sender", "sender with keys"):
        with tempfile.TemporaryDirectory() as folder:
            print(way, run(Path(folder), frames, way != "folder", way.endswith("keys")), flush=True)
