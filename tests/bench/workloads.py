"""The workloads of the comparison: what is read, by which models, with which settings. Made in a cache folder, anew
where they are missing, the same bytes every time; nothing of it is committed.

    W1  1080p JPEGs, each a mosaic of six photos; YOLOX-nano, SqueezeNet
    W2  a video; the same models
    W3  the demo's pages and small models
    W4  tiny JPEGs; models that do nothing (a C plugin): what is left is messaging
    W5  the photos at their own sizes; the models of W1
    4k, 20mp  mosaics of those sizes; boxes: W5's with a detector that finds a given number of them
"""

import json
import os
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = ROOT.parent / "shared" / "data"
CACHE = Path(os.environ.get("ZPIPE_BENCH_CACHE", Path.home() / ".cache" / "zpipe" / "bench"))
"""Outside the checkout: workloads, and one virtual environment per peer."""

DETECTOR = DATA / "models/detectors/yolox_nano_416.onnx"
CLASSIFIER = DATA / "models/classifiers/derived/squeezenet_fp32_dynbatch.onnx"
COCO = DATA / "labels/coco_80.txt"
IMAGENET = DATA / "labels/imagenet_1000.txt"
CONFIDENCE, IOU = 0.35, 0.45
MEAN = [104, 117, 123]

MOSAICS = 60
"""Distinct pictures of W1; longer runs go through them again (a list file repeats its lines)."""


@dataclass
class Workload:
    """What a run of it needs: a zpipe config (as a dictionary) whose list file has `frames` entries."""

    name: str
    folder: Path
    files: list[Path]
    detect: dict[str, Any] = field(default_factory=dict)
    classify: dict[str, Any] = field(default_factory=dict)

    def listed(self, frames: int) -> Path:
        """A list file of this many frames; the files again and again."""
        path = self.folder / f"{self.name}-{frames}.txt"
        path.write_text("".join(f"{self.files[i % len(self.files)]}\n" for i in range(frames)))
        return path

    def config(self, frames: int, precision: str = "auto", **sections: Any) -> Path:
        """A zpipe config over this many frames; `sections` are merged into it."""
        source = self.files[0] if self.name == "w2" else self.listed(frames)
        config: dict[str, Any] = {
            "name": f"bench-{self.name}-{os.getpid()}",
            "ingest": [{"path": str(source), "stream": "s"}],
            "detect": dict(self.detect),
            "classify": dict(self.classify),
            "sink": {"results": str(self.folder / f"{self.name}-{os.getpid()}.jsonl"), "linger_s": 1},
        }
        for stage in ("detect", "classify"):
            if str(config[stage]["model"]).endswith(".onnx"):
                config[stage]["precision"] = precision
        for section, change in sections.items():
            config[section] = {**config.get(section, {}), **change} if isinstance(change, dict) else change
        path = self.folder / f"{self.name}-{os.getpid()}.yaml"
        path.write_text(json.dumps(config))
        return path


def photos() -> list[Path]:
    """The photos with objects in them, in a fixed order."""
    return sorted([*(DATA / "images/coco").glob("*.jpg"), *(DATA / "images/darknet").glob("*.jpg")])


def mosaic(pictures: list[np.ndarray], width: int, height: int) -> np.ndarray:
    """Six pictures, three by two, each filling its cell."""
    canvas = np.zeros((height, width, 3), np.uint8)
    w, h = width // 3, height // 2
    for number, picture in enumerate(pictures):
        y, x = divmod(number, 3)
        canvas[y * h : (y + 1) * h, x * w : (x + 1) * w] = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
    return canvas


def mosaics(folder: Path, width: int, height: int, count: int) -> list[Path]:
    """`count` mosaics as JPEG of quality 90."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"mosaic{number}.jpg" for number in range(1, count + 1)]
    if not all(path.exists() for path in paths):
        pictures, rng = [cv2.imread(str(path)) for path in photos()], random.Random(4)
        for path in paths:
            part = path.with_suffix(".part.jpg")
            cv2.imwrite(str(part), mosaic(rng.sample(pictures, 6), width, height), [cv2.IMWRITE_JPEG_QUALITY, 90])
            part.replace(path)
    return paths


REAL_DETECT = {"model": str(DETECTOR), "labels": str(COCO), "confidence": CONFIDENCE, "iou": IOU}
REAL_CLASSIFY = {"model": str(CLASSIFIER), "labels": str(IMAGENET), "color": "bgr", "mean": MEAN}
DEMO = ROOT / "configs/demo"
DEMO_PIXELS = {"color": "rgb", "mean": [127.5] * 3, "scale": [1 / 127.5] * 3}


def make(name: str) -> Workload:
    """The workload of this name, its files made if they are not there."""
    folder = CACHE / "frames"
    folder.mkdir(parents=True, exist_ok=True)
    if name == "w1":
        return Workload(name, folder, mosaics(folder / "w1", 1920, 1080, MOSAICS), REAL_DETECT, REAL_CLASSIFY)
    if name == "4k":
        return Workload(name, folder, mosaics(folder / "4k", 3840, 2160, 12), REAL_DETECT, REAL_CLASSIFY)
    if name == "20mp":
        return Workload(name, folder, mosaics(folder / "20mp", 5472, 3648, 6), REAL_DETECT, REAL_CLASSIFY)
    if name == "w2":
        return Workload(name, folder, [DATA / "videos/bottle-detection.mp4"], REAL_DETECT, REAL_CLASSIFY)
    if name == "w3":
        detect = {"model": str(DEMO / "detector.onnx"), "confidence": 0.4}
        classify = {"model": str(DEMO / "classifier.onnx"), **DEMO_PIXELS, "margin": 0.1}
        return Workload(name, folder, sorted((DEMO / "scenes").glob("*.jpg")), detect, classify)
    if name == "w4":
        model = {"model": str(smallest_plugin(folder))}
        return Workload(name, folder, tiny(folder / "w4", 64), model, model)
    if name == "boxes":
        shutil.copy(HERE / "boxes.py", folder)
        return Workload(name, folder, photos(), {"model": "boxes:Boxes"}, REAL_CLASSIFY)
    if name == "w5":
        return Workload(name, folder, photos(), REAL_DETECT, REAL_CLASSIFY)
    raise SystemExit(f"no workload {name!r}")


def smallest_plugin(folder: Path) -> Path:
    """The plugin that always finds one object and one class, built: models that do nothing, in C as real ones are."""
    path, source = folder / "libnothing.so", ROOT / "tests/plugins/good.c"
    include = ["-I", str(ROOT / "ext/include")]
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", *include, str(source), "-o", str(path)], check=True)
    return path


def tiny(folder: Path, count: int) -> list[Path]:
    """JPEGs of 32x32 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"tiny{number}.jpg" for number in range(1, count + 1)]
    for number, path in enumerate(paths):
        if not path.exists():
            cv2.imwrite(str(path), np.full((32, 32, 3), number * 4, np.uint8))
    return paths


def machine() -> dict[str, Any]:
    """The processor's name and the cores that we may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
    return {"processor": name, "cores": len(os.sched_getaffinity(0))}
