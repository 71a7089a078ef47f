"""What a config file becomes: values, paths, streams, stages, overrides."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zpipe.config.keys import ClassifyConfig, Config, DetectConfig, IngestConfig
from zpipe.config.loading import dump, load, parse
from zpipe.errors import ConfigError

MINIMAL = "name: yard\ningest: [{path: images}]\ndetect: {model: m.onnx}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what MINIMAL needs."""
    (tmp_path / "images").mkdir()
    (tmp_path / "m.onnx").touch()
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, text: str, *overrides: str, check_files: bool = False) -> Config:
    return load(written(folder, text), list(overrides), check_files=check_files)


def test_three_keys_are_enough(folder: Path) -> None:
    config = loaded(folder, MINIMAL, check_files=True)
    assert config == Config(
        name="yard",
        ingest=[IngestConfig(path=str(folder / "images"), stream="images")],
        detect=DetectConfig(model=str(folder / "m.onnx")),
        sink=config.sink,
    )
    assert config.sink.results == str(folder / "results.jsonl")
    assert config.stages[1:] == []


# --- how scalars are read ---


@pytest.mark.parametrize("text", ["007", "on", "no", "1e-3", "1.10", "2024-01-01", "'7'", "0x1F", "null-1"])
def test_text_stays_as_written(folder: Path, text: str) -> None:
    config = loaded(folder, MINIMAL.replace("yard", text))
    assert config.name == text.strip("'")


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", 0.5), ("1", 1.0), ("1e-3", 0.001), (".5", 0.5), ("0", 0.0), ("5E-1", 0.5), ("1.", 1.0)],
)
def test_numbers_are_decimal(folder: Path, text: str, value: float) -> None:
    confidence = loaded(folder, MINIMAL, f"detect.confidence={text}").detect.confidence
    assert confidence == value
    assert type(confidence) is float


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 10), ("1_000_000", 1_000_000), ("178e6", 178_000_000), ("9007199254740993", 9007199254740993)],
)
def test_whole_numbers(folder: Path, text: str, value: int) -> None:
    assert loaded(folder, MINIMAL, f"frames.max_pixels={text}").frames.max_pixels == value


@pytest.mark.parametrize(("text", "value"), [("true", True), ("off", False), ("Yes", True), ("no", False)])
def test_booleans(folder: Path, text: str, value: bool) -> None:
    assert loaded(folder, MINIMAL, f"ingest.0.recursive={text}").ingest[0].recursive is value


def test_labels_in_a_list_are_text(folder: Path) -> None:
    config = loaded(folder, MINIMAL, "detect.labels=[0, 1.0, no, ~x, 'a b', on]")
    assert config.detect.labels == ["0", "1.0", "no", "~x", "a b", "on"]


def test_keys_of_free_mappings_are_text(folder: Path) -> None:
    config = loaded(folder, MINIMAL, "detect.confidences={0: 0.5, no: 1, traffic light: 0}")
    assert config.detect.confidences == {"0": 0.5, "no": 1.0, "traffic light": 0.0}


def test_options_are_read_as_json_would(folder: Path) -> None:
    text = "{a: 1, b: 1e-3, c: true, d: no, e: null, f: [1, {g: 'x'}], h: '1', i: 010, j: 1_0, k: .inf, l: -7}"
    config = loaded(folder, MINIMAL, "detect.model=m.so", f"detect.options={text}")
    assert config.detect.options == {
        "a": 1, "b": 0.001, "c": True, "d": "no", "e": None, "f": [1, {"g": "x"}],
        "h": "1", "i": "010", "j": "1_0", "k": ".inf", "l": -7,
    }  # fmt: skip


def test_an_empty_section_has_its_defaults(folder: Path) -> None:
    config = loaded(folder, MINIMAL + "sink:\n  # publish: x\nframes:\nclassify:\n")
    assert config.sink.linger_s == 30.0
    assert config.sink.results == str(folder / "results.jsonl")
    assert config.frames.in_flight == "auto"
    assert config.classify is None


def test_anchors_and_merge_keys(folder: Path) -> None:
    text = MINIMAL + (
        "classify:\n"
        "  - &base {name: a, model: a.onnx, labels: &names [x, y], top_k: 2}\n"
        "  - {<<: *base, name: b}\n"
        "  - {name: c, model: c.onnx, labels: *names}\n"
    )
    a, b, c = (stage.config for stage in loaded(folder, text).stages[1:])
    assert (b.name, b.model, b.labels, b.top_k) == ("b", a.model, ["x", "y"], 2)
    assert (c.name, c.labels, c.top_k) == ("c", ["x", "y"], 1)


def test_mean_and_scale(folder: Path) -> None:
    config = loaded(folder, MINIMAL, "detect.mean=127", "detect.scale=[1, 2, 3]")
    assert (config.detect.mean, config.detect.scale) == (127.0, [1.0, 2.0, 3.0])
    assert loaded(folder, MINIMAL, "detect.mean=[5]").detect.mean == [5.0]


def test_a_byte_order_mark_and_windows_line_ends(folder: Path) -> None:
    path = folder / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load(path).name == "yard"


# --- paths ---


def test_relative_paths_start_at_the_config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    text = (
        "name: x\n"
        "ingest: [{path: ../in/}, {path: ~/photos/cam.1/a.b.mp4}, {path: /abs/./list.txt}]\n"
        "detect: {model: m.onnx, labels: l.txt}\n"
        "classify: {model: models.plates:PlateReader, labels: [a]}\n"
        "sink: {results: out/r.jsonl, publish: ipc://results.sock, history: ipc:///tmp/h}\n"
    )
    config = loaded(folder, text)
    assert [entry.path for entry in config.ingest] == [
        str(folder.parent / "in"),
        "/home/me/photos/cam.1/a.b.mp4",
        "/abs/list.txt",
    ]
    assert [entry.stream for entry in config.ingest] == ["in", "a.b", "list"]
    assert (config.detect.model, config.detect.labels) == (str(folder / "m.onnx"), str(folder / "l.txt"))
    assert config.stages[1].config.model == "models.plates:PlateReader"
    assert config.sink.results == str(folder / "out/r.jsonl")
    assert config.sink.publish == f"ipc://{folder}/results.sock"
    assert config.sink.history == "ipc:///tmp/h"


def test_relative_paths_of_overrides_start_at_the_current_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    config = loaded(folder, MINIMAL, "sink.results=r.jsonl", "ingest.0.path=../in")
    assert config.sink.results == str(folder / "sub/r.jsonl")
    assert config.ingest[0].path == str(folder / "in")


def test_an_override_does_not_move_default_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    for override in ("sink.linger_s=1", "sink={linger_s: 1}"):
        assert loaded(folder, MINIMAL, override).sink.results == str(folder / "results.jsonl")


def test_dots_behind_a_link_stay(folder: Path) -> None:
    (folder / "far/away").mkdir(parents=True)
    (folder / "link").symlink_to("far/away")
    (folder / "far/x.onnx").touch()
    config = loaded(folder, MINIMAL, f"detect.model={folder}/link/../x.onnx")
    assert os.path.samefile(config.detect.model, folder / "far/x.onnx")


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        ("images", "images"),
        ("café.mp4", "cafe"),
        ("my photos (2).list.txt", "my-photos-2-.list"),
        ("..hidden.txt", "hidden"),
        ("日本.png", "stream"),
        ("a" * 60 + ".png", "a" * 40),
        ("/", "stream"),
    ],
)
def test_the_default_stream_is_the_name_of_the_path(folder: Path, path: str, stream: str) -> None:
    text = MINIMAL.replace("path: images", f'path: "{path}"')
    assert loaded(folder, text).ingest[0].stream == stream


def test_a_directory_keeps_its_dots(folder: Path) -> None:
    (folder / "2026.11.23").mkdir()
    assert loaded(folder, MINIMAL, f"ingest.0.path={folder}/2026.11.23").ingest[0].stream == "2026.11.23"


# --- stages ---


def test_classify_is_nothing_one_or_several(folder: Path) -> None:
    assert loaded(folder, MINIMAL + "classify: []\n").stages[1:] == []
    one = loaded(folder, MINIMAL + "classify: {model: a}\n")
    assert [stage.config for stage in one.stages[1:]] == [ClassifyConfig(model=str(folder / "a"))]
    several = loaded(folder, MINIMAL + "classify: [{model: a}, {name: b, model: a}]\n")
    assert [stage.name for stage in several.stages[1:]] == ["classify", "b"]


# --- overrides ---


def test_overrides_win_and_make_what_is_missing(folder: Path) -> None:
    config = loaded(
        folder,
        MINIMAL,
        "detect.count=2",
        "detect.count=3",
        "detect.include=[person, dog]",
        "detect.model=m.so",
        "detect.options.a.b=1",
        "classify.model=/c.onnx",
        "ingest.1.path=/other",
        "ingest.0.glob=*.jpg",
        "sink.publish=tcp://127.0.0.1:5560",
        "detect.device=",
        "detect.device='AUTO'",
    )
    assert config.detect.count == 3
    assert config.detect.include == ["person", "dog"]
    assert config.detect.options == {"a": {"b": 1}}
    assert config.detect.device == "AUTO"
    assert config.stages[1].config.model == "/c.onnx"
    assert [(entry.path, entry.stream) for entry in config.ingest] == [
        (str(folder / "images"), "images"),
        ("/other", "other"),
    ]
    assert config.ingest[0].glob == "*.jpg"
    assert config.sink.publish == "tcp://127.0.0.1:5560"


def test_an_override_replaces_a_wrong_value(folder: Path) -> None:
    text = MINIMAL.replace("m.onnx", "m.onnx, confidence: much, labels: gone.txt")
    config = loaded(folder, text, "detect.confidence=1", "detect.labels=null", check_files=True)
    assert (config.detect.confidence, config.detect.labels) == (1.0, None)


def test_an_override_into_a_list_of_stages(folder: Path) -> None:
    text = MINIMAL + "classify: [{name: a, model: a}, {name: b, model: b}]\n"
    assert loaded(folder, text, "classify.1.count=2").stages[2].config.count == 2


def test_an_override_without_a_number_is_for_all_entries(folder: Path) -> None:
    text = MINIMAL + "classify: [{name: a, model: a.so}, {name: b, model: b.so}]\n"
    config = loaded(folder, text, "classify.options={x: 1}", "classify.0.options.x=2", "classify.count=3")
    assert [stage.config.count for stage in config.stages[1:]] == [3, 3]
    assert [stage.config.options for stage in config.stages[1:]] == [{"x": 2}, {"x": 1}]


# --- to workers ---


def test_dump_and_parse(folder: Path) -> None:
    config = loaded(folder, MINIMAL + "classify: [{model: a, mean: 1, min_size: [1, 2]}]\n")
    assert parse(dump(config)) == config
    assert parse(dump(config).decode()) == config


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[]", '{"name": "\ud800"}', b'{"name": 1}'])
def test_parse_of_anything_else(data: bytes | str) -> None:
    with pytest.raises(ConfigError, match="not a config"):
        parse(data)


def test_importing_the_config_loads_no_sockets_and_no_pixels() -> None:
    code = "import sys, zpipe.config; print({'zmq', 'cv2', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
