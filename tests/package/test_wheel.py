"""The wheel of a release, installed and run where there is no compiler."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import zpipe

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path("lib") / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

pytestmark = [pytest.mark.test_all, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    call([ROOT / "tests" / "package" / "wheel.sh", folder], f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel, and with what it depends on from wheels too."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    call([sys.executable, "-m", "venv", folder], os.environ["PATH"])
    run(folder, "pip", "install", "-q", "--only-binary", ":all:", str(wheel))
    return folder


def run(venv: Path, command: str, *arguments: str, folder: Path | None = None) -> str:
    """What a command of this environment says, with nothing else in PATH."""
    path = str(venv / "bin")
    assert not [tool for tool in ("g++", "c++", "gcc", "cc", "cmake") if shutil.which(tool, path=path)]
    return call([venv / "bin" / command, *arguments], path, folder)


def call(command: list[str | Path], path: str, folder: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PATH": path}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, cwd=folder, env=environment, timeout=600, **output)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def test_its_name_promises_a_glibc_and_it_names_no_folder_of_this_machine(wheel: Path) -> None:
    """A folder of the builder's in the run path would let somebody else's library in, if it is in /tmp."""
    from elftools.elf.elffile import ELFFile  # auditwheel's own reader

    assert wheel.name.startswith(f"zpipe-{zpipe.__version__}-")
    assert "-manylinux_2_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        (core,) = [name for name in archive.namelist() if name.endswith(".so")]
        elf = ELFFile(io.BytesIO(archive.read(core)))
    tags = list(elf.get_section_by_name(".dynamic").iter_tags())
    assert [tag.runpath for tag in tags if tag.entry.d_tag == "DT_RUNPATH"] == ["$ORIGIN/../openvino/libs"]
    assert not [tag for tag in tags if tag.entry.d_tag == "DT_RPATH"]


def test_the_core_finds_the_openvino_beside_it(venv: Path, tmp_path: Path) -> None:
    code = "import zpipe._core; print(open('/proc/self/maps').read())"
    maps = run(venv, "python", "-c", code, folder=tmp_path)
    found = {Path(line.split()[-1]) for line in maps.splitlines() if "libopenvino.so" in line}
    assert {file.parent for file in found} == {venv / PACKAGES / "openvino" / "libs"}


def test_the_demo_runs(venv: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    print(run(venv, "zpipe", "up", "configs/demo.yaml", "--set", f"name=wheel-{os.getpid()}", folder=tmp_path))
    results = (tmp_path / "demo-results" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line).get("status", "eos") for line in results] == ["ok"] * 20 + ["eos"]
