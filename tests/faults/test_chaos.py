"""Any process may die at any moment: the results are line for line those of the undisturbed run."""

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from harness import Pipeline, essence, essences, make_config, make_frames, role_of, run, workers_of

from zpipe.client import Subscription

FRAMES = 2000


@pytest.mark.timeout(280)
def test_a_random_process_is_killed_again_and_again(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 30)))
    print(f"CHAOS_SEED={seed}")
    rng = random.Random(seed)
    frames = make_frames(tmp_path / "frames", FRAMES)
    # A frame is blamed for the death of the process that worked on it, and the killer here does not ask whether it
    # was guilty: with the default of 3 an innocent frame could be condemned.
    changes = {"detect": {"count": 3, "options": {"nap_ms": 5}}, "classify": {"count": 3}, "max_attempts": 50}
    calm = run(make_config(tmp_path / "calm", frames, **changes))
    pipeline = Pipeline(make_config(tmp_path / "chaos", frames, **changes))
    started = pipeline.started()
    seen: list[dict] = []
    watcher = threading.Thread(target=watch, args=(started["publish"], seen))
    watcher.start()
    killed = dict.fromkeys(("ingest", "detect", "classify", "sink"), 0)
    while pipeline.process.poll() is None:
        time.sleep(rng.uniform(0.05, 0.3))
        living = sorted((p for p in workers_of(pipeline.process.pid) if role_of(p)), key=lambda p: p.pid)
        if living:
            victim = rng.choice(living)
            role = role_of(victim)
            victim.send_signal(signal.SIGKILL)
            killed[role or "sink"] += 1
    assert pipeline.wait() == 0, pipeline.said()
    watcher.join(30)
    print(f"killed {killed}")
    assert sum(killed.values()) > 20
    assert essences(pipeline.results) == calm
    assert seen == calm
    assert pipeline.events[-1]["balanced"]


def watch(endpoint: str, seen: list[dict]) -> None:
    with Subscription(endpoint, first=1, ends=True, timeout_s=60) as results:
        while True:
            try:
                seen.append(essence(results.next_line()[0]))
            except StopIteration:
                return
