"""Any process may die at any moment: the results are line for line those of the undisturbed run."""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import psutil
import pytest
import zmq
from harness import (
    RED,
    Pipeline,
    essence,
    essences,
    free_port,
    make_config,
    make_frames,
    png,
    role_of,
    run,
    until,
    workers_of,
)

from zpipe.client.subscription import Subscription
from zpipe.errors import ZpipeError
from zpipe.transport.control import Request, ask

FRAMES = 2000
IN_VAIN = 24
"""Kills of the pipeline's eight workers without a result in between."""

POISON = {"left": (3, 500), "right": (998,)}
"""Frames that kill their worker, in each of two streams."""


@pytest.mark.timeout(280)
def test_a_random_process_is_killed_again_and_again(tmp_path: Path) -> None:
    rng = seeded()
    killed = compare_with_calm(tmp_path, rng, bursts=0.01)
    print(f"killed {dict(killed)}")
    assert sum(killed.values()) > 20


@pytest.mark.nightly
@pytest.mark.timeout(3000)
def test_a_thousand_kills(tmp_path: Path) -> None:
    """Run after run until there were so many; more of them in bursts, which hit workers that are starting."""
    rng, killed, runs = seeded(), Counter[str](), 0
    while sum(killed.values()) < 1000:
        runs += 1
        killed += compare_with_calm(tmp_path / str(runs), rng, bursts=0.05)
    print(f"killed {dict(killed)} in {runs} runs")


def seeded() -> random.Random:
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 30)))
    print(f"CHAOS_SEED={seed}")
    return random.Random(seed)


def compare_with_calm(folder: Path, rng: random.Random, bursts: float) -> Counter[str]:
    """A run whose workers are killed until its end, whose folder gets files meanwhile, against one that is left alone
    and has the files as they were at the start: file and subscriber have the same, line for line. Kills by role."""
    frames = make_frames(folder / "frames", FRAMES)
    # Edge 21: no frame is blamed for the death of a worker that was killed from outside, not even once.
    changes = {"detect": {"count": 3, "options": {"nap_ms": 5}}, "classify": {"count": 3}, "max_attempts": 1}
    calm = run(make_config(folder / "calm", frames, **changes))
    pipeline = Pipeline(make_config(folder / "chaos", frames, **changes))
    started = pipeline.started()
    seen: list[dict] = []
    watcher = threading.Thread(target=watch, args=(started["publish"], seen))
    watcher.start()
    killed = kill_on(pipeline, rng, bursts, frames)
    assert pipeline.wait() == 0, pipeline.said()
    watcher.join(30)
    assert essences(pipeline.results) == calm
    assert seen == calm
    assert pipeline.events[-1]["balanced"]
    return killed


def kill_on(pipeline: Pipeline, rng: random.Random, bursts: float, frames: Path) -> Counter[str]:
    """Kill a random worker every 50 to 300 ms, and sometimes every 20 ms for a second; put files between those of the
    source, which are none of the run's. Until it ends; kills by role.

    After IN_VAIN kills without a result one is waited for: on a busy machine workers die faster than they start.
    """
    killed, added = Counter[str](), 0
    size, at = 0, 0
    while pipeline.process.poll() is None:
        if pipeline.results.stat().st_size > size:
            size, at = pipeline.results.stat().st_size, killed.total()
        elif killed.total() - at > IN_VAIN:
            time.sleep(0.1)
            continue
        for pause_s in [0.02] * 50 if rng.random() < bursts else [rng.uniform(0.05, 0.3)]:
            time.sleep(pause_s)
            living = sorted((p for p in workers_of(pipeline.process.pid) if role_of(p)), key=lambda p: p.pid)
            if living:
                victim = rng.choice(living)
                killed[role_of(victim) or "sink"] += 1
                with contextlib.suppress(psutil.Error):
                    victim.send_signal(signal.SIGKILL)
        added += 1
        (frames / f"img{rng.randrange(FRAMES)}-{added}.png").write_bytes(png(RED))
    return killed


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_everything_at_once(tmp_path: Path) -> None:
    """Kills, stops, scaling, poison, `zpipe up` killed and resumed; two streams, and subscribers all along."""
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 30)))
    print(f"CHAOS_SEED={seed}")
    rng = random.Random(seed)
    sources = [make_frames(tmp_path / name, 1000, dict.fromkeys(poison, RED)) for name, poison in POISON.items()]
    calm_sources = [make_frames(tmp_path / "calm" / name, 1000) for name in POISON]
    changes = {"classify": {"count": 2}, "max_attempts": 50}
    calm = run(make_config(tmp_path / "calm", calm_sources, **changes))
    port = free_port()
    config = make_config(
        tmp_path / "chaos", sources, detect={"count": 2, "timeout_s": 2, "options": {"nap_ms": 10, "deadly": True}},
        classify={"count": 2, "timeout_s": 2}, max_attempts=8, sink={"publish": f"tcp://127.0.0.1:{port}"},
    )  # fmt: skip
    pipeline = Pipeline(config)
    pipeline.started()
    seen: dict[str, list[dict]] = {name: [] for name in POISON}
    watchers = [threading.Thread(target=watch, args=(f"tcp://127.0.0.1:{port}", seen[name], name)) for name in POISON]
    for watcher in watchers:
        watcher.start()
    done: dict[str, int] = defaultdict(int)
    while pipeline.process.poll() is None:
        time.sleep(rng.uniform(0.05, 0.4))  # the killer's pace
        living = sorted((p for p in workers_of(pipeline.process.pid) if role_of(p)), key=lambda p: p.pid)
        what = rng.choices(["kill", "stop", "scale", "up"], [10, 1, 3, 1])[0]
        with contextlib.suppress(ZpipeError, psutil.Error, zmq.ZMQError):
            if what == "up" and pipeline.count() < 1900:
                pipeline.kill()
                until(lambda: not pipeline.children(), timeout_s=2)  # noqa: B023
                pipeline = Pipeline(config, "--resume")
            elif what == "scale":
                ask(pipeline.name, Request("scale", {rng.choice(["detect", "classify"]): rng.randint(1, 4)}))
            elif living:
                rng.choice(living).send_signal(signal.SIGSTOP if what == "stop" else signal.SIGKILL)
            done[what] += 1
    assert pipeline.wait() == 0, pipeline.said()
    print(dict(done))
    for watcher in watchers:
        watcher.join(60)
    found = essences(pipeline.results)
    assert [line for name in POISON for line in seen[name]] == found
    for line, expected in zip(found, calm, strict=True):
        if line["type"] == "eos":
            assert line["ok"] + line["failed"] == 1000
        elif line["seq"] in POISON[line["stream"]]:
            assert line["error"]["stage"] == "detect"
            assert "8 attempts" in line["error"]["reason"]
        else:
            assert line == expected


def watch(endpoint: str, seen: list[dict], stream: str | None = None) -> None:
    with Subscription(endpoint, stream, first=1, ends=True, timeout_s=60) as results:
        while True:
            try:
                seen.append(essence(results.next_line()[0]))
            except StopIteration:
                return
