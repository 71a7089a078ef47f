"""Every command and snippet of the README, run in its order as a reader would."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import free_port

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
TWO_LINES = re.search(r"<!-- ci: two lines -->.*?<!-- end -->", README, re.DOTALL)
assert TWO_LINES is not None
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.replace(TWO_LINES.group(), ""), re.DOTALL | re.MULTILINE)
IMAGES = 150


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the reader has it: the clone's configs, their own images and models."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "images").mkdir()
    scenes = sorted((ROOT / "configs" / "demo" / "scenes").glob("*.jpg"))
    for number in range(IMAGES):
        os.link(shutil.copy(scenes[number % len(scenes)], folder / "one.jpg"), folder / "images" / f"img{number}.jpg")
        (folder / "one.jpg").unlink()
    shutil.copy(scenes[0], folder / "images" / "photo.jpg")
    (folder / "models").mkdir()
    for model in ("detector.onnx", "classifier.onnx"):
        shutil.copy(ROOT / "configs" / "demo" / model, folder / "models" / model)
    return folder


def execute(command: list[str], folder: Path, cores: set[int] | None = None) -> str:
    """What the command says; on these cores only, if some are named."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with confined(cores):
        done = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, timeout=100, **output)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@contextlib.contextmanager
def confined(cores: set[int] | None) -> Iterator[None]:
    """What is started inside has only these cores."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or all_cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_cores)


@pytest.mark.test_all
@pytest.mark.timeout(300)
def test_every_block_runs(place: Path) -> None:
    assert len(BLOCKS) >= 9
    # What the first of the two lines runs.
    execute(["zpipe", "up", "configs/demo.yaml", "--set", f"name=demo-{os.getpid()}"], place)
    gate_port, gate = free_port(), place / "configs" / "gate.yaml"
    gate.write_text(gate.read_text().replace("5570", str(gate_port)).replace("name: gate", f"name: gate-{os.getpid()}"))
    for language, text in BLOCKS:
        port = free_port()
        text = text.replace("5560", str(port)).replace("5570", str(gate_port))
        text = text.replace("zpipe stop gate", f"zpipe stop gate-{os.getpid()}")
        # Other pipelines may run on the machine, of a `yard` even.
        text = re.sub(r"(name:|status|stop|--name) yard\b", rf"\1 yard-{os.getpid()}", text)
        if language == "yaml":
            (place / "yard.yaml").write_text(text)
        elif language == "sh":
            # On one core a bench has two settings to try instead of five.
            cores = {min(os.sched_getaffinity(0))} if "zpipe bench" in text else None
            print(execute(["bash", "-euc", text], place, cores))
        elif language == "json":
            validate(json.loads(text))
        elif language == "cpp":
            (place / "middle.cpp").write_text(text)
        elif language == "python" and "class Corners" in text:
            (place / "corners.py").write_text(text)
        elif language == "python" and str(gate_port) in text:
            run_as_sender(text, place)
        elif language == "python" and str(port) in text:
            run_as_subscriber(text, port, place)
        elif language == "python":
            (place / "snippet.py").write_text(text)
            assert execute([sys.executable, "snippet.py"], place).count("\n") >= IMAGES
    assert (place / "found.png").stat().st_size > 10_000
    assert (place / "objects.csv").read_text().count("\n") > IMAGES
    assert len(list((place / "demo-results" / "pictures").iterdir())) >= 16


def run_as_subscriber(text: str, port: int, place: Path) -> None:
    """A snippet that subscribes to a pipeline, which is started for it."""
    publish = f"sink.publish=tcp://127.0.0.1:{port}"
    zpipe = Path(sys.executable).parent / "zpipe"
    pipeline = subprocess.Popen(
        [zpipe, "up", "yard.yaml", "--quiet", "--overwrite", "--wait-subscribers", "1", "--set", publish], cwd=place
    )
    (place / "snippet.py").write_text(text)
    assert execute([sys.executable, "snippet.py"], place).count("\n") == IMAGES + 1
    assert pipeline.wait(30) == 0


def run_as_sender(text: str, place: Path) -> None:
    """A snippet that sends to the pipeline that listens, which is started for it."""
    zpipe = Path(sys.executable).parent / "zpipe"
    pipeline = subprocess.Popen([zpipe, "up", "configs/gate.yaml", "--quiet", "--overwrite"], cwd=place)
    (place / "snippet.py").write_text(text.replace('"photos"', '"images"'))
    assert execute([sys.executable, "snippet.py"], place).count("\n") in (1, IMAGES + 1)
    pipeline.send_signal(signal.SIGINT)
    assert pipeline.wait(30) == 0


def validate(message: object) -> None:
    import jsonschema

    jsonschema.validate(message, json.loads((ROOT / "zpipe" / "results.schema.json").read_text()))


def test_every_file_that_is_named_exists() -> None:
    for name in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`(zpipe/[\w/]+\.(?:py|json))`", README):
        assert (ROOT / name).exists(), name


def test_the_walk_of_a_frame_names_at_most_ten_files() -> None:
    tour = README.partition("## Code tour")[2].partition("Where to go on")[0]
    files = re.findall(r"^\| `([\w/.]+)`", tour, re.MULTILINE)
    assert all((ROOT / file).is_file() for file in files)
    assert 5 < len(files) <= 10
