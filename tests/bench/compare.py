"""zpipe beside its peers: the same pictures, models, precision and cores, in alternating runs. One command:

    python tests/bench/compare.py                    # all peers, five runs of each
    python tests/bench/compare.py --peers loop,queue --runs 3 --frames 120

Each peer is a script in peers/, run in a virtual environment of its own that this script makes in the cache folder
(ZPIPE_BENCH_CACHE, ~/.cache/zpipe/bench). What counts is frames/s from the first tenth of the frames on, by the moments
at which their results were there: starting is left out, for everybody. A peer whose answers differ is void.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

import runs
from workloads import CACHE, CONFIDENCE, HERE, IOU, MEAN, Workload, machine, make

PEERS = HERE / "peers"
NEAR = 0.03
"""Confidences differ by so much at most: decoders of JPEG round differently. Objects this near to it may differ."""

LEAST_OVERLAP = 0.98
MOST_DIFFERENT = 0.005
"""Share of objects that may differ where two boxes are equally good or NMS is on the edge."""

TIMEOUT_S = 1800
OPENVINO = "openvino==2026.4.1"
"""As zpipe is built with (pyproject.toml)."""

COMMON = [OPENVINO, "opencv-python-headless", "numpy"]


@dataclass
class Peer:
    """A peer: its script, and what its environment needs."""

    name: str
    what: str
    script: str
    environment: str
    needs: list[str] = field(default_factory=list)

    def python(self) -> Path:
        """The interpreter of its environment, made if it is not there; CalledProcessError with what pip said."""
        folder = CACHE / "venvs" / self.environment
        done, wanted = folder / "installed.json", json.dumps([*COMMON, *self.needs])
        if not done.exists() or done.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=True)
            command = [folder / "bin/python", "-m", "pip", "install", "-q", *COMMON, *self.needs]
            subprocess.run(command, check=True, capture_output=True, text=True)
            done.write_text(wanted)
        return folder / "bin/python"


ALL = {
    peer.name: peer
    for peer in (
        Peer("loop", "(a) a loop, all cores a call", "loop.py", "plain", ["imagezmq"]),
        Peer("queue", "(a) AsyncInferQueue", "queue_loop.py", "plain", ["imagezmq"]),
        Peer("replaced", "(b) the replaced design", "replaced/client.py", "plain", ["imagezmq"]),
        Peer("openfilter", "(c) OpenFilter", "openfilter_chain.py", "openfilter", ["openfilter"]),
        Peer("imagezmq", "(d) imagezmq", "imagezmq_hub.py", "plain", ["imagezmq"]),
        Peer("ray", "(e) Ray Data", "ray_data.py", "ray", ["ray[data]", "pillow"]),
    )
}

Rows = list[list[float]]
"""Objects of a frame: x, y, w, h, confidence, label_id, class_id, class_confidence."""


@dataclass
class Run:
    """One run of one of them."""

    frames_per_s: float
    first_s: float
    answers: list[Rows]


def rate_of(done: list[float]) -> float:
    """Frames/s from the first tenth on, of a peer that was done with its frames at these moments."""
    done = sorted(done)
    skipped = max(1, len(done) // 10)
    return (len(done) - skipped) / (done[-1] - done[skipped - 1])


def run_zpipe(workload: Workload, frames: int, precision: str, options: list[str]) -> Run:
    """A run of `zpipe up`; options as on its command line."""
    lines, began = runs.run(workload.config(frames, precision), *options)
    return Run(runs.rate_of(lines), min(map(runs.done_at, lines)) - began, [rows_of(line) for line in lines])


def rows_of(line: dict) -> Rows:
    """The objects of a line of zpipe's results."""
    rows = []
    for item in line["objects"]:
        kind = item["classification"][0] if item["classification"] else {"label_id": -1, "confidence": 0}
        seen = item["detection"]
        rows.append([item["x"], item["y"], item["w"], item["h"], seen["confidence"], seen["label_id"],
                     kind["label_id"], kind["confidence"]])  # fmt: skip
    return rows


def run_peer(peer: Peer, job: Path) -> Run:
    """A run of a peer over the job's frames."""
    told = json.loads(job.read_text())
    began = time.time()
    command = [str(peer.python()), str(PEERS / peer.script), str(job)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode or not Path(told["out"]).exists():
        raise RuntimeError((done.stderr.strip() or done.stdout.strip() or "no answer").splitlines()[-1][:200])
    lines = [json.loads(line) for line in Path(told["out"]).read_text().splitlines()]
    Path(told["out"]).unlink()
    if sorted(line["n"] for line in lines) != list(range(len(told["files"]))):
        raise RuntimeError(f"{len(lines)} answers for {len(told['files'])} frames")
    answers = [line["objects"] for line in sorted(lines, key=lambda line: line["n"])]
    moments = [line["done"] for line in lines]
    return Run(rate_of(moments), min(moments) - began, answers)


def overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(w, 0.0) * max(h, 0.0)
    return both / max(1e-9, a[2] * a[3] + b[2] * b[3] - both)


def different(mine: Rows, theirs: Rows) -> int:
    """Objects of one that the other has not: same label, overlap, confidence; class unless it is a close call."""
    count = 0
    for some, others in ((mine, theirs), (theirs, mine)):
        for row in some:
            if row[4] < CONFIDENCE + NEAR:
                continue
            labelled = [o for o in others if o[5] == row[5] and abs(o[4] - row[4]) <= NEAR]
            same = [o for o in labelled if overlap(row, o) >= LEAST_OVERLAP]
            alike = [o for o in same if o[6] == row[6] or (abs(o[7] - row[7]) <= NEAR and row[7] < 0.5)]
            count += not alike
    return count


def verdict(reference: Run, run: Run) -> str:
    """`same`, or why the row is void."""
    objects = sum(map(len, reference.answers))
    count = sum(different(a, b) for a, b in zip(reference.answers, run.answers, strict=True))
    if count > MOST_DIFFERENT * objects:
        return f"VOID: {count} of {objects} objects differ"
    return f"same ({sum(map(len, run.answers))} objects, {count} differ)"


def job_file(workload: Workload, frames: int, precision: str, **more: object) -> Path:
    """What the peers are told."""
    path = CACHE / f"job-{os.getpid()}.json"
    files = [str(workload.files[i % len(workload.files)]) for i in range(frames)]
    told = {
        "files": files, "detector": workload.detect["model"], "classifier": workload.classify["model"],
        "confidence": CONFIDENCE, "iou": IOU, "mean": MEAN, "precision": precision, "cores": machine()["cores"],
        "out": str(path.with_suffix(".answers")), "library": str(library()), "port": 5571, "pace_s": None, **more,
    }  # fmt: skip
    path.write_text(json.dumps(told))
    return path


def library() -> Path:
    """The replaced design's C++ library, built against the openvino wheel of the peers' environment."""
    path, source = CACHE / "libreplaced.so", PEERS / "replaced/library.cpp"
    if path.exists() and path.stat().st_mtime > source.stat().st_mtime:
        return path
    found = subprocess.run(
        [ALL["replaced"].python(), "-c", "import openvino; print(openvino.__path__[0])"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    wheel = Path(found.stdout.strip())
    libs = wheel / "libs"
    name = next(libs.glob("libopenvino.so.*")).name
    command = [
        "g++", "-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-pthread", f"-I{wheel / 'include'}",
        str(source), "-o", str(path), f"-L{libs}", f"-l:{name}", f"-Wl,-rpath,{libs}",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return path


def main() -> None:
    """Run all of them in turn, as often as asked, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--peers", default=",".join(ALL))
    parser.add_argument("--precision", default="f32", help="of every model: f32, bf16 or auto (OpenVINO's choice)")
    parser.add_argument("--counts", default="auto", help="zpipe's workers: auto, or detect x classify as 2x1")
    told = parser.parse_args()
    workload = make("w1")
    options = []
    if told.counts != "auto":
        detect, classify = told.counts.split("x")
        options = ["--detect", detect, "--classify", classify]
    job = job_file(workload, told.frames, told.precision)
    found_of: dict[str, list[Run]] = {"zpipe": [], **{name: [] for name in told.peers.split(",") if name}}
    failures: dict[str, str] = {}
    loads = [os.getloadavg()[0]]
    for turn in range(told.runs):
        for name, found in found_of.items():
            if name in failures:
                continue
            try:
                if name == "zpipe":
                    found.append(run_zpipe(workload, told.frames, told.precision, options))
                else:
                    found.append(run_peer(ALL[name], job))
                say(f"run {turn + 1}: {name} {found[-1].frames_per_s:.2f} frames/s")
            except (subprocess.SubprocessError, RuntimeError, OSError) as error:
                failures[name] = " ".join(str(getattr(error, "stderr", None) or error).split())[-160:]
                say(f"run {turn + 1}: {name} failed: {failures[name]}")
        loads.append(os.getloadavg()[0])
    job.unlink()
    show(told, found_of, failures, loads)


def show(
    told: argparse.Namespace, found_of: dict[str, list[Run]], failures: dict[str, str], loads: list[float]
) -> None:
    """The table, as Markdown."""
    about = machine()
    print(f"\n{datetime.datetime.now():%Y-%m-%d %H:%M}, {about['processor']}, {about['cores']} cores, "
          f"load before each round {' '.join(f'{load:.1f}' for load in loads)}")  # fmt: skip
    print(f"`python tests/bench/compare.py {' '.join(sys.argv[1:])}` (W1, {told.frames} frames, {told.precision})\n")
    print("| | frames/s (median of runs; least to most) | zpipe is faster by | first result after | answers |")
    print("|---|---|---|---|---|")
    own = statistics.median(run.frames_per_s for run in found_of["zpipe"])
    for name, found in found_of.items():
        what = "zpipe" if name == "zpipe" else ALL[name].what
        if not found:
            print(f"| {what} | - | - | - | not run: {failures[name]} |")
            continue
        rates = sorted(run.frames_per_s for run in found)
        same = "" if name == "zpipe" else verdict(found_of["zpipe"][0], found[0])
        ratio = own / statistics.median(rates)
        first = statistics.median(run.first_s for run in found)
        print(f"| {what} | {statistics.median(rates):.2f} ({rates[0]:.2f} to {rates[-1]:.2f}) | {ratio:.2f}x "
              f"| {first:.1f} s | {same} |")  # fmt: skip


def say(text: str) -> None:
    """Progress, for who watches."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
