"""What deaths cost, and whether anything grows: measures, prints tables, gates nothing.

    python tests/bench/recovery.py latency              a detect worker of two is SIGKILLed: how late is its frame?
    python tests/bench/recovery.py throughput           the same run undisturbed and with 20 kills
    python tests/bench/recovery.py soak --frames 100000 memory, descriptors, sockets, shared memory of every process

All with models that do nothing but take time: `nap` sleeps (a model on another device), `work` computes.
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
import zmq
from harness import Pipeline, fd_count, make_config, make_frames, role_of, until, workers_of

from zpipe import orders
from zpipe.errors import ZpipeError
from zpipe.transport.board import BUSY, Board, Row
from zpipe.transport.control import Request, ask
from zpipe.transport.run_folder import folder_of


class Listener(threading.Thread):
    """A plain subscriber that notes when each number came."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self.came: dict[int, float] = {}
        self._context: zmq.Context[Any] = zmq.Context()
        self._sub = self._context.socket(zmq.SUB)
        self._sub.subscribe(b"results/")
        self._sub.connect(endpoint)
        self.start()

    def run(self) -> None:
        kind = ""
        while kind != "eos":
            message = json.loads(self._sub.recv_multipart()[1])
            kind = message["type"]
            self.came.setdefault(message["seq"], time.monotonic())
        self._sub.close()
        self._context.term()


class ReadOnlyBoard(Board):
    """The board of a running pipeline, looked at from outside."""

    def __init__(self, folder: Path) -> None:
        import mmap

        with open(folder / "board", "rb") as file:
            self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def of(self, process: psutil.Process) -> Row:
        """The row of a worker process."""
        return self.read(orders.read(process.cmdline()[3]).row)


def workers(pipeline: Pipeline, role: str) -> list[psutil.Process]:
    return [process for process in workers_of(pipeline.process.pid) if role_of(process) == role]


def ready(pipeline: Pipeline, stage: str) -> int:
    """How many workers of the stage are ready; 0 if the run has ended."""
    try:
        stages = ask(pipeline.name, Request("status"))["stages"]
    except ZpipeError:
        return 0
    return sum(w["state"] != "starting" for s in stages if s["stage"] == stage for w in s["workers"])


def start(folder: Path, frames: Path, options: dict[str, float], **changes: Any) -> tuple[Pipeline, Listener]:
    """A run with two detect workers of these options, which are its bottleneck."""
    config = make_config(
        folder, frames, detect={"count": 2, "options": options}, classify={"count": 1}, max_attempts=1000, **changes
    )
    pipeline = Pipeline(config, "--wait-subscribers", "1")
    return pipeline, Listener(pipeline.started()["publish"])


# ---- latency --------------------------------------------------------------------------------------------------


def latency(folder: Path, kills: int, frame_ms: float) -> None:
    """SIGKILL to the publication of the frame that the victim worked on."""
    print(f"SIGKILL of one of two detect workers, {frame_ms:g} ms a frame, {kills} kills")
    print(
        f"{'model':6} {'median':>8} {'p90':>8} {'longest':>8}   less the frame's own work: {'median':>8} {'longest':>8}"
    )
    frames = make_frames(folder / "frames", 200)
    listed = folder / "frames.txt"
    listed.write_text("\n".join(f"frames/img{1 + n % 200}.png" for n in range(200_000)))
    for kind in ("nap", "work"):
        pipeline, listener = start(folder / kind, listed, {f"{kind}_ms": frame_ms})
        board = ReadOnlyBoard(folder_of(pipeline.name))
        took: list[float] = []
        while len(took) < kills:
            until(lambda: ready(pipeline, "detect") == 2)  # noqa: B023
            time.sleep(random.uniform(0.2, 0.4))
            victim = random.choice(workers(pipeline, "detect"))
            victim.send_signal(signal.SIGSTOP)  # so that its row tells the truth
            row = board.of(victim)
            began = time.monotonic()
            victim.send_signal(signal.SIGKILL)
            if row.state == BUSY:
                came = until(lambda: listener.came.get(row.seq))  # noqa: B023
                took.append((came - began) * 1000)
        pipeline.process.send_signal(signal.SIGTERM)
        assert pipeline.wait() == 0, pipeline.said()
        listener.join()
        took.sort()
        middle, p90 = statistics.median(took), took[int(len(took) * 0.9)]
        print(
            f"{kind:6} {middle:5.0f} ms {p90:5.0f} ms {took[-1]:5.0f} ms {'':29} "
            f"{middle - frame_ms:5.0f} ms {took[-1] - frame_ms:5.0f} ms"
        )
    assert frames.exists()


# ---- throughput -----------------------------------------------------------------------------------------------


class Timed(NamedTuple):
    took_s: float
    """First to last result."""
    missing_s: float
    """Worker-seconds that replaced workers were not there: being started."""


def timed(folder: Path, frames: Path, options: dict[str, float], kills: int, count: int) -> Timed:
    """A run of `count` frames with so many kills of detect workers, evenly spread."""
    pipeline, listener = start(folder, frames, options)
    missing_s = 0.0
    for number in range(1, kills + 1):
        until(lambda: len(listener.came) >= count * number // (kills + 1), 120)  # noqa: B023
        random.choice(workers(pipeline, "detect")).send_signal(signal.SIGKILL)
        began = time.monotonic()
        until(lambda: ready(pipeline, "detect") == 1, 5)
        until(lambda: ready(pipeline, "detect") == 2)
        missing_s += time.monotonic() - began
    assert pipeline.wait() == 0, pipeline.said()
    listener.join()
    return Timed(listener.came[count] - listener.came[1], missing_s)


def throughput(folder: Path, kills: int, frame_ms: float, count: int) -> None:
    """Frames per second with and without kills."""
    print(f"{count} frames of {frame_ms:g} ms, two detect workers, {kills} kills of one of them")
    print(f"{'model':6} {'undisturbed':>12} {'with kills':>12} {'loss':>7} {'of it: start-up':>16} {'rest':>7}")
    make_frames(folder / "frames", 200)
    listed = folder / "frames.txt"
    listed.write_text("\n".join(f"frames/img{1 + n % 200}.png" for n in range(count)))
    for kind in ("nap", "work"):
        options = {f"{kind}_ms": frame_ms}
        calm = timed(folder / f"{kind}-calm", listed, options, 0, count)
        shaken = timed(folder / f"{kind}-shaken", listed, options, kills, count)
        loss_s = shaken.took_s - calm.took_s
        start_up_s = shaken.missing_s / 2  # one of two workers was missing
        print(
            f"{kind:6} {count / calm.took_s:8.1f} f/s {count / shaken.took_s:8.1f} f/s {loss_s / calm.took_s:7.1%} "
            f"{start_up_s / calm.took_s:16.1%} {(loss_s - start_up_s) / calm.took_s:7.1%}"
        )


# ---- soak -----------------------------------------------------------------------------------------------------


YOUNG_S = 5.0
"""A process that is younger is still being started: nothing is said of it."""


class Sample(NamedTuple):
    """What a process holds: resident and private MB, file descriptors, sockets among them, threads."""

    rss_mb: float
    private_mb: float
    fds: int
    sockets: int
    threads: int


def sample_of(process: psutil.Process) -> Sample:
    memory = process.memory_full_info()
    files = [os.readlink(f.path) for f in os.scandir(f"/proc/{process.pid}/fd") if os.path.lexists(f.path)]
    sockets = sum(name.startswith("socket:") for name in files)
    return Sample(memory.rss / 1e6, memory.uss / 1e6, fd_count(process.pid), sockets, process.num_threads())


def soak(folder: Path, count: int, frame_ms: float, every_s: float, kills_per_minute: float, keep: Path | None) -> None:
    """A long run; samples of every process on the way, all of them kept in a file if wanted."""
    make_frames(folder / "frames", 1000)
    listed = folder / "frames.txt"
    listed.write_text("\n".join(f"frames/img{1 + n % 1000}.png" for n in range(count)))
    config = make_config(
        folder, listed, detect={"count": 2, "options": {"work_ms": frame_ms}}, classify={"count": 1}, max_attempts=1000
    )
    pipeline = Pipeline(config)
    endpoint = pipeline.started()["publish"]
    heard = threading.Thread(target=hear, args=(endpoint,), daemon=True)
    heard.start()
    run_folder, up = folder_of(pipeline.name), psutil.Process(pipeline.process.pid)
    began = time.monotonic()
    samples: dict[str, list[tuple[float, Sample]]] = defaultdict(list)
    shared: list[tuple[float, float, int]] = []
    next_kill = began + (60 / kills_per_minute if kills_per_minute else float("inf"))
    kills = 0
    while pipeline.process.poll() is None:
        now = time.monotonic()
        try:
            names = {pid: name for name, pid in pipeline.workers().items()}
            for process in [up, *workers_of(up.pid)]:
                name = "up" if process.pid == up.pid else names.get(process.pid, "")
                if name and time.time() - process.create_time() > YOUNG_S:
                    samples[name].append((now - began, sample_of(process)))
            entries = [entry.stat() for entry in os.scandir(run_folder)]
            shared.append((now - began, sum(e.st_blocks * 512 for e in entries) / 1e6, len(entries)))
            if now >= next_kill:
                next_kill, kills = now + 60 / kills_per_minute, kills + 1
                random.choice([p for p in workers_of(up.pid) if role_of(p)]).send_signal(signal.SIGKILL)
        except (psutil.Error, OSError, ZpipeError, IndexError):
            continue  # it ends, or a worker did at this moment
        time.sleep(every_s)
    took_s = time.monotonic() - began
    assert pipeline.wait() == 0, pipeline.said()
    heard.join(30)
    print(f"{count} frames in {took_s:.0f} s ({count / took_s:.0f}/s), {kills} kills, a subscriber throughout")
    print(f"{'process':14} {'samples':>7}  at 1 minute -> at the end: RSS MB, private MB, fds, sockets, threads")
    for name, taken in sorted(samples.items()):
        after = [sample for at, sample in taken if at >= min(60, took_s / 2)]
        if len(after) > 1:
            pairs = "  ".join(f"{first:.0f} -> {last:.0f}" for first, last in zip(after[0], after[-1], strict=True))
            print(f"{name:14} {len(taken):7}  {pairs}")
    later = [(size, files) for at, size, files in shared if at >= min(60, took_s / 2)]
    print(f"run folder: {later[0][0]:.1f} -> {later[-1][0]:.1f} MB, {later[0][1]} -> {later[-1][1]} files")
    if keep is not None:
        rows = [{"process": name, "at_s": at, **s._asdict()} for name, taken in samples.items() for at, s in taken]
        keep.write_text("".join(json.dumps(row) + "\n" for row in rows))


def hear(endpoint: str) -> None:
    """Take all results, as a subscriber would."""
    from zpipe.client.subscription import Subscription

    with Subscription(endpoint, first=1, timeout_s=60) as results:
        for _ in results:
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["latency", "throughput", "soak"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--frame-ms", type=float, help="work of a detect worker (20; soak 5)")
    parser.add_argument("--frames", type=int, help="(throughput 2000, soak 100000)")
    parser.add_argument("--every-s", type=float, default=2.0, help="between two samples of the soak")
    parser.add_argument("--kills-per-minute", type=float, default=0.0, help="in the soak")
    parser.add_argument("--samples", type=Path, help="keep all samples of the soak in this file")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    random.seed(options.seed)
    print(f"seed {options.seed}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="zpipe-recovery-") as name:
        folder = Path(name)
        if options.what == "latency":
            latency(folder, options.kills, options.frame_ms or 20)
        elif options.what == "throughput":
            throughput(folder, options.kills, options.frame_ms or 20, options.frames or 2000)
        else:
            count, frame_ms = options.frames or 100_000, options.frame_ms or 5
            soak(folder, count, frame_ms, options.every_s, options.kills_per_minute, options.samples)


if __name__ == "__main__":
    main()
