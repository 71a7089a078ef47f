"""Senders while everything dies: each frame has one result, in order, as in an undisturbed run; each sender has all.

The pipeline's workers, the senders and `zpipe up` are killed at random, and the network between senders and gate is cut
and paused. `SENDERS_SEED=` repeats a run.
"""

import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from harness import ZPIPE, Pipeline, essences, free_port, make_config, make_frames, role_of, until, workers_of
from proxy import Proxy

WHAT = ["gate", "gate", "sink", "detect", "classify", "sender", "sender", "cut", "pause", "up"]
NAMES = ["alice", "bob", "carol"]


class SendingAgain:
    """`zpipe send`, started again whenever it is killed, until it has come to its end."""

    def __init__(self, frames: Path, endpoint: str, name: str, out: Path) -> None:
        self.command = [*ZPIPE, "send", str(frames), "--to", endpoint, "--as", name, "--out", str(out)]
        self.said = out.with_suffix(".stderr")
        self.kills = 0
        self.code: int | None = None
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with open(self.said, "ab") as stderr:
            return subprocess.Popen(self.command, stderr=stderr, stdin=subprocess.DEVNULL)

    def _keep(self) -> None:
        while (code := self._process.wait()) == -signal.SIGKILL:
            self._process = self._start()
        self.code = code

    @property
    def lives(self) -> bool:
        return self.code is None

    def kill(self) -> None:
        self.kills += 1
        self._process.kill()

    def join(self) -> None:
        self._thread.join(120)
        assert self.code == 0, self.said.read_text()

    def end(self) -> None:
        """Whatever it is at."""
        self._process.terminate()


def config_of(folder: Path, port: int, **changes: Any) -> Path:
    entry = {"listen": f"tcp://127.0.0.1:{port}", "stream": "gate"}
    return make_config(folder, [], ingest=[entry], sink={"linger_s": 10}, **changes)


def stop(pipeline: Pipeline) -> None:
    pipeline.process.send_signal(signal.SIGINT)
    assert pipeline.wait() == 0, pipeline.said()


def disturb(tmp_path: Path, count: int, most_kills: int, nap_ms: float) -> None:
    seed = int(os.environ.get("SENDERS_SEED", random.randrange(1 << 30)))
    print(f"SENDERS_SEED={seed}")
    rng = random.Random(seed)
    frames, port = make_frames(tmp_path / "frames", count), free_port()
    models = {"detect": {"count": 2, "options": {"nap_ms": nap_ms}}, "classify": {"count": 1}}
    config = config_of(tmp_path / "wild", port, **models)
    pipeline = Pipeline(config)
    pipeline.started()
    kills: dict[str, int] = {}
    with Proxy(f"tcp://127.0.0.1:{port}") as network:
        outs = {name: tmp_path / f"{name}.jsonl" for name in NAMES}
        senders = [SendingAgain(frames, network.endpoint, name, outs[name]) for name in NAMES]
        try:
            while any(sender.lives for sender in senders) and sum(kills.values()) < most_kills:
                time.sleep(rng.uniform(0.05, 0.4))  # not a wait for anything: the pace of disaster
                what = rng.choice(WHAT)
                if what == "up" and rng.random() < 0.5:
                    pipeline.kill()
                    pipeline = Pipeline(config, "--resume")
                    pipeline.started()
                elif what == "sender":
                    rng.choice(senders).kill()
                elif what in ("cut", "pause"):
                    network.pause()
                    time.sleep(rng.uniform(0, 0.2))
                    network.resume(cut=what == "cut")
                elif workers := [w for w in workers_of(pipeline.process.pid) if role_of(w) == what]:
                    rng.choice(workers).kill()
                else:
                    continue
                kills[what] = kills.get(what, 0) + 1
            for sender in senders:
                sender.join()
        finally:
            for sender in senders:
                sender.end()
    stop(pipeline)
    print(f"{sum(kills.values())} disturbances: {kills}")
    calm = Pipeline(config_of(tmp_path / "calm", port, detect={"count": 2}, classify={"count": 1}))
    done = subprocess.run([*ZPIPE, "send", str(frames), "--to", f"tcp://127.0.0.1:{port}", "--as", "calm"], timeout=120)
    assert done.returncode == 0
    stop(calm)
    expected = [{**line, "stream": ""} for line in essences(calm.results)]
    for name in NAMES:
        published = [line for line in pipeline.results.read_bytes().splitlines() if f'"gate.{name}"'.encode() in line]
        assert outs[name].read_bytes().splitlines() == published, f"{name} has not what was published"
        assert [{**line, "stream": ""} for line in essences(outs[name])] == expected
    assert until(lambda: len(essences(pipeline.results)) == len(NAMES) * (count + 1))


def test_senders_while_everything_dies(tmp_path: Path) -> None:
    disturb(tmp_path, 150, 12, 12)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_thousands_of_frames_and_a_hundred_kills(tmp_path: Path) -> None:
    disturb(tmp_path, 1000, 150, 25)
