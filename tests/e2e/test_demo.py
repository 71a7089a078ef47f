"""The demo that ships: found and read as well as the README says."""

import json
import os
import subprocess
import uuid
from pathlib import Path

from zpipe.engines.local import ZPIPE

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo"


def overlap(a: dict, b: dict) -> float:
    """Intersection over union of two boxes."""
    width = min(a["x"] + a["w"], b["x"] + b["w"]) - max(a["x"], b["x"])
    height = min(a["y"] + a["h"], b["y"] + b["h"]) - max(a["y"], b["y"])
    common = max(0.0, width) * max(0.0, height)
    return common / (a["w"] * a["h"] + b["w"] * b["h"] - common)


def test_digits_are_found_and_read(tmp_path: Path) -> None:
    truth = {
        Path(scene["file"]).name: scene["digits"] for scene in json.loads((DEMO / "truth.json").read_text())["scenes"]
    }
    assert len(truth) >= 16
    settings = [f"--set=sink.results={tmp_path}/results.jsonl", f"--set=name=demo-{uuid.uuid4().hex[:8]}"]
    subprocess.run([*ZPIPE, "up", DEMO.parent / "demo.yaml", "--quiet", *settings], check=True, timeout=100)
    digits = found = read = wrong = 0
    for line in (tmp_path / "results.jsonl").read_text().splitlines():
        result = json.loads(line)
        if result["type"] != "frame":
            continue
        left = list(truth[result["name"]])
        digits += len(left)
        for item in sorted(result["objects"], key=lambda o: -o["detection"]["confidence"]):
            best = max(left, key=lambda t: overlap(item, t), default=None)
            if best is None or overlap(item, best) < 0.5:
                wrong += 1
                continue
            left.remove(best)
            found += 1
            read += item["classification"][0]["label"] == str(best["label"])
    print(f"{digits} digits, {found} found, {read} read right, {wrong} boxes without a digit")
    assert digits >= 100
    assert found / digits >= 0.95
    assert read / found >= 0.93
    assert wrong / digits <= 0.05


def test_many_workers_compile_into_an_empty_cache_at_once(tmp_path: Path) -> None:
    settings = [f"--set=sink.results={tmp_path}/results.jsonl", f"--set=name=demo-{uuid.uuid4().hex[:8]}"]
    command = [*ZPIPE, "up", DEMO.parent / "demo.yaml", "--quiet", "--detect=4", "--classify=4", *settings]
    subprocess.run(command, check=True, timeout=100, env={**os.environ, "ZPIPE_CACHE": str(tmp_path / "cache")})
    assert list((tmp_path / "cache").glob("*.blob"))
