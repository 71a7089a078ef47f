"""What is said about a config that is wrong: each line, word for word."""

from pathlib import Path

import pytest
from config_complaints import MINIMAL, complaints

from zpipe.config.loading import load
from zpipe.config.problems import MOST_LINES, find_nearest


def detect(tmp_path: Path, line: str) -> list[str]:
    """The complaints about one line in the detect section, which is line 5 of the file."""
    text = f"name: yard\ningest: [{{path: images}}]\ndetect:\n  model: m.onnx\n  {line}\n"
    return [found.removeprefix("c.yaml:5: detect.") for found in complaints(tmp_path, text)]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        # numbers
        ("confidence: 1.5", "confidence: 1.5 is more than 1, expected a number from 0 to 1"),
        ("confidence: -1", "confidence: -1 is less than 0, expected a number from 0 to 1"),
        ("confidence: 0,5", "confidence: '0,5' is not a number from 0 to 1"),
        ("confidence: '0.5'", "confidence: '0.5' is not a number from 0 to 1; quotes make it text"),
        ("confidence: .nan", "confidence: '.nan' is not a number from 0 to 1"),
        ("confidence: 1e999", "confidence: 1e999 is more than a number can hold"),
        ("confidence: 1:30", "confidence: '1:30' is not a number from 0 to 1"),
        ("confidence:", "confidence: is empty, expected a number from 0 to 1"),
        ("confidence: [1]", "confidence: a list is not a number from 0 to 1"),
        ("confidence: {a: 1}", "confidence: a mapping is not a number from 0 to 1"),
        ("timeout_s: 0", "timeout_s: 0 is not above 0, expected a number above 0"),
        ("tile_overlap: 0.9", "tile_overlap: 0.9 is not below 0.9, expected a number of at least 0 and below 0.9"),
        ("max_objects: 2.5", "max_objects: 2.5 is not a whole number from 1 to 10000"),
        ("max_objects: 99999999999999999999", "max_objects: 99999999999999999999 is more than a number can hold"),
        # a word or a number
        ("count: two", "count: 'two' is neither a whole number from 1 to 256 nor auto"),
        ("count: Auto", "count: 'Auto' is neither a whole number from 1 to 256 nor auto; did you mean auto?"),
        ("count: 0", "count: 0 is less than 1, expected a whole number from 1 to 256"),
        ("count: true", "count: 'true' is neither a whole number from 1 to 256 nor auto"),
        # words
        ("color: brg", "color: 'brg' is none of auto, bgr, gray, rgb; did you mean rgb?"),
        ("precision: fp32", "precision: 'fp32' is none of auto, bf16, f16, f32; did you mean f32?"),
        ("format: yolo8", "yolov8"),
        ("class_agnostic: 1", "class_agnostic: 1 is neither true nor false"),
        ("class_agnostic: 'true'", "class_agnostic: 'true' is neither true nor false; quotes make it text"),
        ("tiles: 2", "tiles: '2' is not COLUMNSxROWS, such as 2x2 (at most 99x99)"),
        ("tiles: 0x2", "tiles: '0x2' is not COLUMNSxROWS, such as 2x2 (at most 99x99)"),
        # lists and mappings
        ("include: person", "include: 'person' is not a list; write [person]"),
        ("include: [a, [b]]", "include.1: a list is not text"),
        ("include: [a, ~]", "include.1: is empty, expected text"),
        ("mean: [1, 2]", "mean: a list of 2 is not a list of one number or three (one per channel)"),
        ("mean: []", "mean: an empty list is not a list of one number or three (one per channel)"),
        ("mean: [1, 2, x]", "mean.2: 'x' is not a number"),
        ("mean: dark", "mean: 'dark' is neither a number nor a list of one number or three (one per channel)"),
        ("size: [416]", "size: a list of 1 is not a list of two numbers, [width, height]"),
        ("size: [416, 0]", "size.1: 0 is less than 1, expected a whole number from 1 to 16384"),
        ("size: 416", "size: 416 is not a list of two numbers, [width, height]"),
        ("options: 5", "options: 5 is not a mapping (key: value)"),
        ("confidences: {person: 2}", "confidences.person: 2 is more than 1, expected a number from 0 to 1"),
        # keys
        ("confidnce: 1", "confidnce: no such key; did you mean confidence?"),
        ("conf: 1", "conf"),
        ("Max-Objects: 1", "Max-Objects: no such key; did you mean max_objects?"),
        ("top_k: 1", "top_k: no such key here; it belongs to classify"),
        ("path: 1", "path: no such key here; it belongs to ingest"),
        ("7: 1", "7: no such key, expected one of count, timeout_s, model, labels, "),
        ("iou: 0.5\n  iou: 0.6", "c.yaml:6: detect.iou: is given twice, first in line 5, expected once"),
        ("[a]: 1", "c.yaml:5: detect: a key is a list or a mapping, expected text"),
        ("iou: !!python/name:os.system 0.5", "iou: the tag tag:yaml.org,2002:python/name:os.system has no meaning"),
        # no path at all
        ("labels: ''", "labels: is empty, expected a path"),
    ],
)  # fmt: skip
def test_one_wrong_line(tmp_path: Path, line: str, complaint: str) -> None:
    found = detect(tmp_path, line)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["c.yaml:1: the file is empty, expected 'key: value' lines (name, ingest, detect, ...)"]),
        ("# only\n", ["c.yaml:1: the file is empty, expected 'key: value' lines (name, ingest, detect, ...)"]),
        ("- a\n", ["c.yaml:1: found a list, expected 'key: value' lines (name, ingest, detect, ...)"]),
        ("name:yard\n", ["c.yaml:1: found only text, expected 'key: value' lines (name, ingest, detect, ...)"]),
        (
            "sink: {results: x}\n",
            [
                "c.yaml:1: name: is missing, expected a name (at most 40 of A-Z a-z 0-9 . _ -, beginning with a "
                "letter or digit)",
                "c.yaml:1: ingest: is missing, expected a list of at least one entry",
                "c.yaml:1: detect: is missing, expected a mapping (model: ...)",
            ],
        ),
        (
            "name: a b\ningest: []\n\ndetect:\n\n  count: 1\n",
            [
                "c.yaml:1: name: 'a b' is not a name (at most 40 of A-Z a-z 0-9 . _ -, beginning with a letter or "
                "digit)",
                "c.yaml:2: ingest: an empty list is not a list of at least one entry",
                "c.yaml:4: detect.model: is missing, expected a model file or package.module:Class",
            ],
        ),
        (
            "name: x\ningest: [images, {}, {pth: a}, {path:images}]\ndetect: yolo.onnx\nclassify: s.onnx\n",
            [
                "c.yaml:2: ingest.0: 'images' is not a mapping (path: ...); write {path: images}",
                "c.yaml:2: ingest.1.path: is missing, expected a path",
                "c.yaml:2: ingest.2.pth: no such key; did you mean path?",
                "c.yaml:2: ingest.3.path:images: no such key; is the space after the colon missing?",
                "c.yaml:3: detect: 'yolo.onnx' is not a mapping (model: ...); write {model: yolo.onnx}",
                "c.yaml:4: classify: 's.onnx' is neither a mapping (model: ...) nor a list; write {model: s.onnx}",
            ],
        ),
    ],
)
def test_a_wrong_file(tmp_path: Path, text: str, lines: list[str]) -> None:
    assert complaints(tmp_path, text) == lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: x\n\tingest: 1\n", "c.yaml:2: the line is indented with a tab; YAML indents with spaces"),
        ("name: x\ndetect:\n  a: 1\n\tb: 2\n", "c.yaml:4: the line is indented with a tab; YAML indents with spaces"),
        ("name: x\ndetect:\n\tb: 2\n", "c.yaml:3: the line is indented with a tab; YAML indents with spaces"),
        ("name: x\nmodel\ndetect: 1\n", "c.yaml:3: not a 'key: value' line: is the colon, or the space after it, "
                                        "missing? (it began in line 2)"),
        ("name: x: y\n", "c.yaml:1: a 'key:' where none can be: check the indentation, and put text that holds ': ' "
                         "in quotes"),
        ("a:\n   b: 1\n  c: 2\n", "c.yaml:3: does not fit the indentation of the lines above (it began in line 1)"),
        ("glob: *.jpg\n", 'c.yaml:1: text that begins with * or & must be in quotes, as in "*.jpg"'),
        ("glob: *all\n", "c.yaml:1: text that begins with * must be in quotes (*name repeats what &name marked)"),
        ("a: @b\n", "c.yaml:1: text that begins with this character must be in quotes"),
        ("a: 'b\nc: d\n", "c.yaml:3: text in quotes does not end (it began in line 1)"),
        ("a: [b\nc: d\n", "c.yaml:2: a comma or a closing bracket is missing before here (it began in line 1)"),
        ("a: 1\n---\nb: 1\n", "c.yaml:2: a second document begins here ('---'), expected one (it began in line 1)"),
        ("a: \x07\n", "c.yaml:1: the character '\\x07' is not text"),
        ('a: "\\0"\n', "c.yaml:1: '\\x00' holds a character that is not text"),
        ('a: "\\ud800"\n', "c.yaml:1: '\\ud800' holds a character that is not text"),
        ('a: "\\UFFFFFFFF"\n', "c.yaml:1: a \\U escape in double quotes is not a character"),
        ("[" * 5000, "c.yaml:1: is nested more than 32 deep"),
        ("a: " + "[" * 40 + "]" * 40, "c.yaml:1: is nested more than 32 deep"),
        ("a: &a [*a]", "c.yaml:1: is nested more than 32 deep"),
        (b"name: x\nmodel: \xff\n", "c.yaml:2: byte 0xff is not UTF-8, expected YAML saved as UTF-8 text"),
        (b"\x00" * 10, "c.yaml:1: the character '\\x00' is not text"),
        (b"a" * 2_000_000, "c.yaml: is larger than 1 MiB, so it is not a config"),
    ],
)  # fmt: skip
def test_what_is_no_yaml(tmp_path: Path, text: str | bytes, line: str) -> None:
    assert complaints(tmp_path, text) == [line]


def test_aliases_do_not_multiply_without_end(tmp_path: Path) -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert complaints(tmp_path, text) == ["c.yaml:1: holds more than 200,000 values"]


def test_merging_what_is_no_mapping(tmp_path: Path) -> None:
    assert complaints(tmp_path, MINIMAL + "<<: [a]\n")[0] == "c.yaml:4: <<: merges something that is not a mapping"


def test_many_errors_are_counted(tmp_path: Path) -> None:
    text = MINIMAL.replace("m.onnx", f"m.onnx, include: [{', '.join(['[]'] * 200)}]")
    found = complaints(tmp_path, text)
    assert len(found) == MOST_LINES + 1
    assert found[-1] == "... and 150 more"


def test_all_errors_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        "classify: {name: sink, model: gone.onnx, normalize: imagenet, mean: 1}\n"
        "nme: x\n"
        "ingest:\n"
        "  - {path: gone}\n"
        "  - {path: m.onnx, every: 0}\n"
        "  - {path: m.onnx}\n"
        "detect: {model: M.onnx, include: [a, b], exclude: [b], iou: 2}\n"
        "sink: {publish: 'tcp://127.0.0.1:65535', history: udp://x}\n"
        "frames: {in_flight: 2}\n"
    )
    (tmp_path / "m.onnx").touch()
    assert complaints(tmp_path, text, "detect.cuont=1", check_files=True) == [
        "c.yaml:1: classify.model: no such file: gone.onnx",
        "c.yaml:1: classify.name: 'sink' is another stage of the pipeline, expected a name of its own",
        "c.yaml:1: classify.normalize: 'imagenet' sets mean and scale, expected it without mean",
        "c.yaml:2: nme: no such key; did you mean name?",
        "c.yaml:4: ingest.0.path: no such file or directory: gone",
        "c.yaml:5: ingest.1.every: 0 is less than 1, expected a whole number of at least 1",
        "c.yaml:6: ingest.2.stream: 'm', taken from the path, is already the stream of ingest.1, expected another "
        "for each",
        "c.yaml:7: detect.model: no such file: M.onnx; did you mean m.onnx?",
        "c.yaml:7: detect.iou: 2 is more than 1, expected a number from 0 to 1",
        "c.yaml:7: detect.exclude: 'b' is in include as well, expected it in one of them",
        "c.yaml:8: sink.history: 'udp://x' is not an endpoint (tcp://HOST:PORT or ipc://PATH)",
        "c.yaml:9: frames.in_flight: 2 is less than the 3 streams, expected one each at least",
        "--set detect.cuont: no such key; did you mean count?",
    ]


# --- between keys ---


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ingest: [{path: a}, {path: b, stream: a}]", "ingest.1.stream: 'a' is already the stream of ingest.0, "
                                                      "expected another for each"),
        ("ingest: [{path: a/x}, {path: b/x}]", "ingest.1.stream: 'x', taken from the path, is already the stream of "
                                               "ingest.0, expected another for each"),
        ("classify: [{model: a}, {model: b}]", "classify.1.name: 'classify' is already the name of classify.0, "
                                               "expected another for each"),
        ("classify: [{model: a, name: detect}]", "classify.0.name: 'detect' is another stage of the pipeline, "
                                                 "expected a name of its own"),
        ("sink: {publish: 'tcp://[::1]:65535'}", "sink.publish: after port 65535 is none for history, "
                                                 "expected a lower one or `history`"),
        ("sink: {publish: 'ipc:///x', history: 'ipc:///x'}", "sink.history: is the same as publish, "
                                                             "expected an endpoint of its own"),
        ("sink: {publish: 'tcp://h'}", "sink.publish: 'tcp://h' has no host or no port, expected tcp://HOST:PORT, "
                                       "the port 1 to 65535, or * for a free one"),
        ("sink: {publish: 'tcp://:5'}", "sink.publish: 'tcp://:5' has no host or no port, "),
        ("sink: {publish: 'tcp://127.0.0.1:70000'}", "sink.publish: 'tcp://127.0.0.1:70000' has no host or no port, "),
        ("sink: {publish: 'tcp://127.0.0.1:0'}", "sink.publish: 'tcp://127.0.0.1:0' has no host or no port, "),
        (f"sink: {{publish: 'ipc://{'a' * 100}'}}", "is too long for a socket, expected at most 99 bytes"),
    ],
)  # fmt: skip
def test_keys_that_do_not_go_together(tmp_path: Path, text: str, line: str) -> None:
    key = text.partition(":")[0]
    kept = "".join(f"{row}\n" for row in MINIMAL.splitlines() if not row.startswith(key))
    found = complaints(tmp_path, kept + text + "\n")
    assert len(found) == 1
    assert line in found[0]


# --- --set ---


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("detect.confidnce=1", "--set detect.confidnce: no such key; did you mean confidence?"),
        ("detct.confidence=1", "--set detct: no such key; did you mean detect?"),
        ("confidence=1", "--set confidence: no such key here; it belongs to detect"),
        ("detect.confidence=1.5", "--set detect.confidence: 1.5 is more than 1, expected a number from 0 to 1"),
        ("detect.color=bgrr", "--set detect.color: 'bgrr' is none of auto, bgr, gray, rgb; did you mean bgr?"),
        ("detect.count=", "--set detect.count: is empty, expected a whole number from 1 to 256 or auto"),
        ("detect.count", "--set detect.count: expected KEY=VALUE, such as detect.confidence=0.5"),
        ("=1", "--set =1: expected KEY=VALUE, such as detect.confidence=0.5"),
        ("detect..count=1", "--set detect..count=1: expected KEY=VALUE, such as detect.confidence=0.5"),
        ("name.x=1", "--set name.x: name is a single value, expected a mapping or a list there"),
        ("ingest.pth=x", "--set ingest.0.pth: no such key; did you mean path?"),
        ("ingest.2=x", "--set ingest.2: ingest is a list, expected an entry's number: 0 to 1 (1 adds one)"),
        ("ingest.2.path=x", "--set ingest.2.path: ingest is a list, expected an entry's number: 0 to 1 (1 adds one)"),
        ("ingest.1.every=2", "--set ingest.1.path: is missing, expected a path"),
        ("classify.count=2", "--set classify.model: is missing, expected a model file or package.module:Class"),
        ("detect.include=[a", "--set detect.include: a comma or a closing bracket is missing before here"),
        ("detect.include='a", "--set detect.include: text in quotes does not end"),
        ("detect.include={a: 1, a: 2}", "--set detect.include.a: is given twice, first in line 1, expected once"),
        ("detect.device=\udcff", "--set detect.device: '\\udcff' holds a character that is not text"),
        ("." .join(["detect.options", *"a" * 40]) + "=1", "is nested more than 32 deep"),
        ("a\nb=1", "--set a\\nb: no such key, expected one of name, ingest, detect, classify, sink, frames, "),
    ],
)  # fmt: skip
def test_wrong_overrides(tmp_path: Path, override: str, line: str) -> None:
    found = complaints(tmp_path, MINIMAL, override)
    assert line in found[0]
    assert len(found) == (2 if "a: 1, a: 2" in override else 1)


@pytest.mark.parametrize(
    ("text", "override", "line"),
    [
        ("labels: [a, b]", "detect.labels.x=1", "--set detect.labels.x: detect.labels is a list of single values"),
        ("labels: []", "detect.labels.x=1", "--set detect.labels.x: detect.labels is a list, expected an entry's "
                                            "number: 0 to 0 (0 adds one)"),
    ],
)  # fmt: skip
def test_overrides_within_a_value(tmp_path: Path, text: str, override: str, line: str) -> None:
    assert complaints(tmp_path, MINIMAL.replace("m.onnx", f"m.onnx, {text}"), override) == [line]


def test_a_missing_file_of_an_override(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/model.onnx").touch()
    monkeypatch.chdir(tmp_path / "sub")
    found = complaints(tmp_path, MINIMAL, "detect.model=modl.onnx", check_files=True)
    assert found == ["--set detect.model: no such file: sub/modl.onnx; did you mean model.onnx?"]


@pytest.mark.parametrize(
    ("word", "valid", "near"),
    [
        ("confidnce", ["confidence", "count"], "confidence"),
        ("CONFIDENCE", ["confidence", "count"], "confidence"),
        ("wait-subscribers", ["wait_subscribers"], "wait_subscribers"),
        ("conf", ["confidence", "count"], "confidence"),
        ("co", ["confidence", "count"], None),
        ("zzz", ["confidence", "count"], None),
        ("", ["confidence"], None),
        ("x", [], None),
    ],
)
def test_nearest(word: str, valid: list[str], near: str | None) -> None:
    assert find_nearest(word, valid) == near


@pytest.mark.parametrize("endpoint", ["tcp://*:5560", "tcp://0.0.0.0:5560", "tcp://192.168.1.7:*", "tcp://eth0:1"])
def test_results_do_not_leave_the_machine_unencrypted(tmp_path: Path, endpoint: str) -> None:
    (found,) = complaints(tmp_path, MINIMAL + f"sink: {{publish: '{endpoint}'}}\n")
    assert "listens beyond this machine" in found
    assert "`zpipe keys init keys/`" in found
    (tmp_path / "keys").mkdir()
    (tmp_path / "c.yaml").write_text(MINIMAL + f"keys: keys\nsink: {{publish: '{endpoint}'}}\n")
    assert load(tmp_path / "c.yaml", check_files=False).keys == str(tmp_path / "keys")


def test_a_folder_of_keys_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    text = MINIMAL.replace("images", ".").replace("m.onnx", "c.yaml") + "keys: keys\nsink: {publish: 'tcp://*:5560'}\n"
    assert complaints(tmp_path, text, check_files=True) == [
        "c.yaml:4: keys: no such folder: keys; `zpipe keys init` makes it"
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ingest: photos/", "ingest: 'photos/' is not a list of at least one entry; write [{path: photos/}]"),
        ("ingest: [photos/]", "ingest.0: 'photos/' is not a mapping (path: ...); write {path: photos/}"),
        ("detect: m.onnx", "detect: 'm.onnx' is not a mapping (model: ...); write {model: m.onnx}"),
        ("classify: m.onnx", "classify: 'm.onnx' is neither a mapping (model: ...) nor a list; write {model: m.onnx}"),
        ("sink: out.jsonl", "sink: 'out.jsonl' is not a mapping (key: ...)"),
    ],
)
def test_a_text_where_a_section_belongs(tmp_path: Path, text: str, complaint: str) -> None:
    """Edge 17: answered with the form that it should have."""
    key = text.partition(":")[0]
    rest = "".join(f"{line}\n" for line in MINIMAL.splitlines() if not line.startswith(key))
    assert complaints(tmp_path, f"{text}\n{rest}") == [f"c.yaml:1: {complaint}"]
