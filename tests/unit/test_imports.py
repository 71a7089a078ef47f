"""The map of the package: which module is in which row, and that imports point up the page only.

A module may import from its own row and from those above. What is outside of Python (sockets, shared memory,
processes, pixels) is touched by few modules, named below. A new module is added here, where it belongs.
"""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import zpipe

ROWS = {
    "words": "errors messages config",
    "rules": "wire flow restart balance history image_headers",
    "hands": "link control endpoints run_folder board frames results_file quarantine processes signals "
    "opencv images draw model model_core model_filters model_labels model_onnxruntime model_plugin model_python "
    "model_returned model_cache",
    "roles": "ingest sources detect classify sink status resume supervisor plan broker",
    "doors": "__init__ __main__ worker client cli check drawing display terminal tables bench",
}
ROW_OF = {module: row for row, modules in enumerate(ROWS.values()) for module in modules.split()}

OUTSIDE = {
    "zmq": "link control endpoints sink broker worker client",
    "mmap": "board frames",
    "fcntl": "run_folder results_file model_cache",
    "subprocess": "processes client bench",
    "socket": "signals",
    "signal": "processes signals supervisor worker bench",
    "select": "processes",
    "ctypes": "processes",
    "threading": "opencv client",
    "zpipe._core": "model_core model_onnxruntime model_plugin",
    "onnxruntime": "model_onnxruntime",
    "cv2": "opencv images draw sources check bench",
    "simplejpeg": "images",
    "click": "cli",
    "rich": "terminal tables bench",
    "yaml": "config",
    "psutil": "",
    "multiprocessing": "",
    "pickle": "",
    "asyncio": "",
    "openvino": "",  # only through its C++ API
}

IMPURE = {"os", "pathlib", "time", "logging", "shutil", "tempfile", "random", "secrets", "uuid", "threading"}
PURE_BUT = {"balance": {"os", "pathlib"}}
"""It reads how many cores there are, and how much time of them a process has taken."""

PACKAGE = Path(zpipe.__file__).parent


def name_of(path: Path) -> str:
    """`link`, `sources.video`; a package by its name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


@cache
def imports_of(module: str) -> list[tuple[str, bool, bool]]:
    """(what is imported, at the top rather than in a function, only for types) of each import of a module."""
    found: list[tuple[str, bool, bool]] = []

    def visit(node: ast.AST, at_top: bool, for_types: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, at_top, for_types) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{module}: a relative import"
                assert child.module is not None
                for alias in child.names:
                    inner = f"{child.module}.{alias.name}"
                    is_module = inner.removeprefix("zpipe.") in MODULES or inner == "zpipe._core"
                    found.append((inner if is_module else child.module, at_top, for_types))
            in_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            is_check = isinstance(child, ast.If) and isinstance(child.test, ast.Name)
            is_check = is_check and child.test.id == "TYPE_CHECKING"
            visit(child, at_top and not in_function, for_types or is_check)

    visit(ast.parse(MODULES[module].read_text()), at_top=True, for_types=False)
    return found


def ours(module: str) -> list[tuple[str, bool, bool]]:
    """The imports of our own modules, without `zpipe.`; the package itself is `__init__`."""
    return [
        (name.removeprefix("zpipe").removeprefix(".") or "__init__", at_top, for_types)
        for name, at_top, for_types in imports_of(module)
        if name.split(".")[0] == "zpipe" and name != "zpipe._core"
    ]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_up_the_page(module: str) -> None:
    row = ROW_OF[module.split(".")[0]]
    for imported, _, for_types in ours(module):
        if imported == "__init__":  # the version
            continue
        assert for_types or ROW_OF[imported.split(".")[0]] <= row, f"{module} imports {imported}, which is below it"


def test_the_map_has_every_module_and_no_other() -> None:
    assert {module.split(".")[0] for module in MODULES} == ROW_OF.keys()


def test_no_module_imports_itself_over_others() -> None:
    graph = {
        module: {name for name, at_top, for_types in ours(module) if at_top and not for_types} for module in MODULES
    }
    for package in ("config", "draw", "sources"):
        for module in MODULES:  # a module of a package may import the package's other modules
            if module.startswith(f"{package}."):
                graph[module].discard(package)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("thing", OUTSIDE)
def test_what_is_outside_is_touched_by_few(thing: str) -> None:
    touching = {
        module.split(".")[0]
        for module in MODULES
        for name, _, for_types in imports_of(module)
        if not for_types and (name == thing or name.startswith(f"{thing}."))
    }
    assert touching == set(OUTSIDE[thing].split())


@pytest.mark.parametrize("module", ROWS["rules"].split())
def test_rules_are_pure(module: str) -> None:
    imported = {name.split(".")[0] for name, _, for_types in imports_of(module) if not for_types}
    assert not imported & (IMPURE | OUTSIDE.keys()) - PURE_BUT.get(module, set())


def test_every_module_says_what_it_is() -> None:
    for module, path in MODULES.items():
        doc = ast.get_docstring(ast.parse(path.read_text()))
        assert doc, module
        assert doc.splitlines()[0][-1] in ".:", f"{module}: its first line is not a sentence"
