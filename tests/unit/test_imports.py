"""The map of the package: which room is in which row, and that imports point up the page only.

A file may import from the rows above its own and from its own room; words may be made of words, and a door may open
other doors. That holds for every
import, wherever it stands: at the top, in a function, for types only. What is outside of Python (sockets, shared
memory, processes, pixels) is touched by few files, named below. A new file is added here, where it belongs.
"""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import zpipe

ROWS = {
    "words": "errors messages wire upload orders snapshot pixels source config",
    "rules": "rules",
    "hands": "transport engines models images results",
    "roles": "sources stages gate run",
    "doors": "__init__ __main__ launch worker cli completion key_commands send_command source_command check client "
    "sender show draw bench",
}
"""A name is a room (folder) or a file beside the rooms; the files beside them in one row count as one room."""
ROW_OF = {room: row for row, rooms in enumerate(ROWS.values()) for room in rooms.split()}
WORDS, DOORS = 0, len(ROWS) - 1

OUTSIDE = {
    "zmq": "transport.link transport.control transport.endpoints transport.curve transport.key_files "
    "transport.visitors results.guard results.publisher stages.sink "
    "run.broker launch worker client.subscription gate.entrance gate.entrances gate.gate gate.sink sender.connection",
    "mmap": "transport.board transport.store",
    "fcntl": "transport.run_folder transport.keys results.file models.cache show.outlet",
    "subprocess": "engines.local client.run",
    "socket": "engines.signals results.guard transport.curve transport.visitors",
    "signal": "engines.local engines.signals run.supervisor worker bench.command",
    "select": "engines.local show.outlet",
    "ctypes": "engines.local",
    "threading": "images.opencv client.run results.guard sources.changes transport.curve transport.keys "
    "transport.visitors sender.command sender.connection sender.conversation",
    "zpipe._core": "models.core models.onnxruntime models.plugin",
    "onnxruntime": "models.onnxruntime",
    "simplejpeg": "images.decoding",
    "click": "cli completion key_commands send_command source_command",
    "yaml": "config.file",
    "psutil": "",
    "multiprocessing": "",
    "pickle": "",
    "asyncio": "",
    "openvino": "",  # only through its C++ API
}

IMPURE = {"os", "pathlib", "time", "logging", "shutil", "tempfile", "random", "secrets", "uuid", "threading", "cv2"}

PACKAGE = Path(zpipe.__file__).parent


def name_of(path: Path) -> str:
    """`wire`, `sources.video`; a room by its name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in PACKAGE.rglob("*.py")}
ROOMS = {name for name, path in FILES.items() if path.name == "__init__.py" and name != "__init__"}


def room_of(file: str) -> str:
    """`rules` of `rules.ledger`; `wire` of `wire`."""
    return file.split(".")[0]


@cache
def imports_of(file: str) -> list[str]:
    """What a file imports, anywhere in it."""
    found: list[str] = []
    for node in ast.walk(ast.parse(FILES[file].read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_file = inner.removeprefix("zpipe.") in FILES or inner == "zpipe._core"
                found.append(inner if is_file else node.module)
    return found


def ours(file: str) -> set[str]:
    """The files of ours that it imports, without `zpipe.`. The package's own names (its version) are nobody's."""
    names = {name.removeprefix("zpipe.") for name in imports_of(file) if name.startswith("zpipe.")}
    return names - {"_core"}


@pytest.mark.parametrize("file", FILES)
def test_imports_point_up_the_page(file: str) -> None:
    room, row = room_of(file), ROW_OF[room_of(file)]
    beside = room not in ROOMS  # the files beside the rooms of a row are one room
    for imported in ours(file):
        other = room_of(imported)
        same_room = other == room or (beside and other not in ROOMS and ROW_OF[other] == row)
        is_open = row in (WORDS, DOORS) and ROW_OF[other] == row
        assert ROW_OF[other] < row or same_room or is_open, f"{file} imports {imported}, which is not above it"


def test_the_map_has_every_room_and_no_other() -> None:
    assert {room_of(file) for file in FILES} == ROW_OF.keys()


def test_no_file_imports_itself_over_others() -> None:
    """Types and imports inside functions count: a circle that is hidden is one all the same."""
    graph = {file: ours(file) for file in FILES}
    for room in ROOMS:  # its own files; what it re-exports it imports when it is asked for
        graph[room] = {name for name in graph[room] if room_of(name) != room}
    graph["__init__"] = set()
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_only_says_what_it_is(room: str) -> None:
    """Its `__init__` holds a docstring, and at most re-exports on demand: nothing that slows an import."""
    allowed = {"__getattr__", "__all__"}
    for node in ast.parse(FILES[room].read_text()).body[1:]:
        is_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        is_typing = isinstance(node, ast.ImportFrom) and node.module == "typing"
        name = getattr(node, "name", None) or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]))
        assert is_types or is_typing or name in allowed, f"{room}/__init__.py: {ast.unparse(node)}"


@pytest.mark.parametrize("thing", OUTSIDE)
def test_what_is_outside_is_touched_by_few(thing: str) -> None:
    touching = {file for file in FILES for name in imports_of(file) if name == thing or name.startswith(f"{thing}.")}
    assert touching == set(OUTSIDE[thing].split())


@pytest.mark.parametrize("file", [file for file in FILES if room_of(file) == "rules"] + ["wire", "messages", "source"])
def test_rules_are_pure(file: str) -> None:
    assert not {name.split(".")[0] for name in imports_of(file)} & (IMPURE | OUTSIDE.keys())


def test_every_file_says_what_it_is() -> None:
    for file, path in FILES.items():
        doc = ast.get_docstring(ast.parse(path.read_text()))
        assert doc, file
        assert doc.splitlines()[0][-1] in ".:;,", f"{file}: its first line is not the beginning of a sentence"


MOST_LINES, MOST_FUNCTION_LINES = 400, 50


@pytest.mark.parametrize("file", FILES)
def test_files_and_functions_are_short(file: str) -> None:
    text = FILES[file].read_text()
    assert text.count("\n") <= MOST_LINES, file
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MOST_FUNCTION_LINES, f"{file}: {node.name} has {length} lines"
