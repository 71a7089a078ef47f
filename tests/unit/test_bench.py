"""`zpipe bench`: which counts are tried and recommended, the sample of frames, the table and the charts."""

import os
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from rich.console import Console

from zpipe.bench import chart, command, counts, table
from zpipe.bench.bare import Bare
from zpipe.bench.frames import Sample, pick_evenly
from zpipe.bench.measure import Report, count_settings, recommend, stage_costs
from zpipe.bench.pipeline import Figures, Latency, Tail
from zpipe.bench.scratch import make_scratch
from zpipe.config.keys import Config
from zpipe.config.loading import load
from zpipe.engines.machine import cpu_seconds_of_family, private_bytes
from zpipe.errors import ConfigError
from zpipe.sources.room import Memory

BARE = Bare(
    {"read": 0.2, "decode": 4.0, "detect": 12.0, "classify": 31.0},
    frames=100,
    failed=1,
    objects_per_frame=7.5,
    sample=50,
)


def test_the_next_bench_clears_what_a_killed_one_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = [f"zpipe-bench-{dead.pid}-left", f"zpipe-bench-{os.getpid()}-living", "zpipe-bench-notes", "other"]
    for name in names:
        (tmp_path / name / "inside").mkdir(parents=True)
    with make_scratch() as folder:
        found = {path.name for path in tmp_path.iterdir()}
        assert found == {*names[1:], Path(folder).name}
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])


def figures(detect: int, classify: int, rate: float, auto: bool = False) -> Figures:
    return Figures(
        counts={"detect": detect, "classify": classify}, auto=auto, frames_per_s=rate, cpu_ms=48.0,
        latency_ms=Latency(80.0, 120.0, 200.0), processes_mb=300.0, frames_mb=90.0, frames=300, failed=0, seconds=10.0,
    )  # fmt: skip


def report(runs: list[Figures]) -> Report:
    return Report(
        config="yard & co.yaml", date="2026-11-23T12:00:00+00:00", version="0.1.0", processor="Some <CPU>", load=0.1,
        cores=2, seconds=10.0, bare=BARE, bare_all=BARE, bound=42.4, bound_all=41.0, runs=runs,
        recommended=recommend(runs),
    )  # fmt: skip


def config_of(folder: Path, text: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(text)
    return load(path, check_files=False)


# ---- counts -------------------------------------------------------------------------------------------------------


def test_on_two_cores_all_counts_are_tried() -> None:
    assert counts.propose_counts([16.0, 31.0], 2) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_on_many_cores_the_corners_and_what_is_about_the_balance() -> None:
    tried = counts.propose_counts([10.0, 30.0], 16)
    assert {(1, 1), (1, 16), (16, 1), (16, 16), (4, 12)} <= set(tried)
    assert (5, 13) in tried
    assert len(tried) <= counts.MOST_RUNS


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("cost", [[1.0], [0.0, 0.0], [1.0, 1000.0], [5.0, 1.0, 2.0]])
def test_counts_are_between_one_and_the_cores(cost: list[float], cores: int) -> None:
    tried = counts.propose_counts(cost, cores)
    assert tried
    assert len(set(tried)) == len(tried)
    assert all(len(each) == len(cost) and min(each) >= 1 and max(each) <= cores for each in tried)


def test_auto_is_recommended_unless_the_counts_that_would_be_were_faster() -> None:
    """Edge 10: it was recommended where it was worse."""
    assert recommend([figures(1, 2, 30.0), figures(2, 2, 30.0, auto=True)]) is None
    assert recommend([figures(1, 2, 29.6), figures(2, 2, 30.0), figures(2, 2, 29.7, auto=True)]) is None
    assert recommend([figures(1, 2, 30.0), figures(2, 2, 29.9, auto=True)]) == {"detect": 1, "classify": 2}
    assert recommend([figures(1, 2, 30.0), figures(2, 2, 28.0, auto=True)]) == {"detect": 1, "classify": 2}


def test_of_counts_that_are_as_good_the_fewest_workers_are_recommended() -> None:
    runs = [figures(1, 1, 20.0), figures(1, 2, 29.6), figures(2, 2, 30.0), figures(2, 2, 20.0, auto=True)]
    assert recommend(runs) == {"detect": 1, "classify": 2}


CHAIN = "name: a\ningest: [{path: x.txt, stream: s}]\ndetect: {model: m.onnx}\n"


@pytest.mark.parametrize(
    ("classify", "settings"),
    [
        ("", ["detect.count=2"]),
        ("classify: {model: k.onnx}\n", ["detect.count=2", "classify.count=3"]),
        (
            "classify: [{model: k.onnx, name: kind}, {model: k.onnx, name: colour}]\n",
            ["detect.count=2", "classify.0.count=3", "classify.1.count=4"],
        ),
    ],
)
def test_settings_of_counts_fit_the_chain(classify: str, settings: list[str], tmp_path: Path) -> None:
    chain = config_of(tmp_path, CHAIN + classify)
    assert count_settings(chain, (2, 3, 4)) == settings
    assert count_settings(chain, None) == [setting.partition("=")[0] + "=auto" for setting in settings]


def test_decoding_is_a_cost_of_detect_unless_ingest_decodes(tmp_path: Path) -> None:
    chain = config_of(tmp_path, CHAIN + "classify: {model: k.onnx}\n")
    assert stage_costs(chain, BARE) == [16.0, 31.0]
    video = msgspec.structs.replace(BARE, cost_ms={"decode": 4.0, "detect": 12.0, "classify": 31.0})
    assert stage_costs(chain, video) == [12.0, 31.0]


# ---- the sample -----------------------------------------------------------------------------------------------------


def test_a_sample_is_spread_over_the_files() -> None:
    assert pick_evenly([str(n) for n in range(10)], 5) == ["0", "2", "4", "6", "8"]
    assert pick_evenly(["a", "b"], 5) == ["a", "b"]


def test_a_sample_goes_round_and_leaves_out_what_a_list_cannot_hold(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("img1.png", "img2.png", "img10.png", "two\nlines.png"):
        (images / name).write_bytes(b"x")
    sample = Sample(
        config_of(tmp_path, f"name: a\ningest: [{{path: {images}, stream: s}}]\ndetect: {{model: m.onnx}}\n")
    )
    assert len(sample) == 3
    assert not sample.is_video
    entries = sample.write_sources(tmp_path, 6)
    lines = Path(str(entries[0]["path"])).read_text().splitlines()
    assert [Path(line).name for line in lines[:4]] == ["img1.png", "img2.png", "img10.png", "img1.png"]
    assert entries[0]["stream"] == "s"
    sample.limit(1)
    assert [frame.name for frame in sample.go_through()] == ["img1.png"]


def test_nothing_to_measure_with_is_said(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    chain = config_of(tmp_path, f"name: a\ningest: [{{path: {tmp_path}/none, stream: s}}]\ndetect: {{model: m.onnx}}\n")
    with pytest.raises(ConfigError, match="no frames to measure"):
        Sample(chain)


def test_a_room_holds_a_file_or_pixels() -> None:
    room = Memory()
    room.encoded(3)[:] = b"abc"
    assert bytes(room.file) == b"abc"
    assert room.decoded is None
    room.pixels(1000, 1000)[:] = 7
    assert room.decoded is not None
    assert int(np.sum(room.decoded, dtype=np.int64)) == 21_000_000


# ---- what a run wrote -----------------------------------------------------------------------------------------


def test_a_results_file_is_followed_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    tail = Tail(path)
    tail.read()
    assert tail.total_ms == []
    frame = '{"type": "frame", "status": "ok", "timing_ms": {"total": 5.5}}\n'
    path.write_text(frame + frame[:20])
    tail.read()
    assert tail.total_ms == [5.5]
    path.write_text(frame + frame.replace("ok", "failed") + '{"type": "eos"}\n')
    tail.read()
    assert tail.failed == [False, True]
    assert tail.ended


def test_cpu_time_of_a_process_that_is_gone_is_none() -> None:
    assert cpu_seconds_of_family(1 << 30) == 0.0
    assert private_bytes(1 << 30) == 0
    assert private_bytes(os.getpid()) > 1 << 20


# ---- showing it -----------------------------------------------------------------------------------------------------

RUNS = [figures(1, 1, 20.0), figures(1, 2, 29.6), figures(2, 2, 30.0, auto=True)]


def test_what_was_measured_is_shown_however_little() -> None:
    """Edge 10: 35 s of measuring were thrown away."""
    assert "not one frame" in table.advise(report([]))
    few = msgspec.structs.replace(RUNS[0], frames=3)
    assert "of few frames, 3 in one run" in table.advise(report([few]))
    assert chart.shapes_of(report([]))


def test_the_table_fits_80_columns() -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    table.show(report(RUNS), console)
    console.file.close()
    text = console.export_text()
    assert "auto 2x2" in text
    assert "80/120/200" in text
    assert "…" not in text
    assert "count: auto" in text


def test_the_json_has_what_follows_from_the_figures() -> None:
    told = msgspec.json.decode(command.json_of(report(RUNS)))
    assert told["bare"]["total_ms"] == pytest.approx(47.2)
    assert told["runs"][0]["overhead_ms"] == pytest.approx(0.8)
    assert told["runs"][0]["overhead"] == pytest.approx(0.8 / 47.2)
    assert told["recommended"] is None
    assert told["schema"] == 1


@pytest.mark.parametrize("suffix", chart.SUFFIXES)
def test_charts_are_what_their_names_say(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"report{suffix}"
    chart.save(report(RUNS), path)
    data = path.read_bytes()
    if suffix == ".png":
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        return
    svg = data.decode()
    start, end = svg.index("<svg"), svg.index("</svg>") + 6
    texts = [element.text for element in ElementTree.fromstring(svg[start:end]).iter() if element.text]
    assert "auto 2x2" in texts
    assert any(text and "Some <CPU>" in text for text in texts)
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
