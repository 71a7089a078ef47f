"""A word is used for one thing in the whole house: no two classes, and no two names of a type, are called the same."""

import ast
from collections import defaultdict

from test_imports import FILES


def types_of(file: str) -> list[str]:
    """The classes of a file, inner ones too, and the names that it gives to types: `Name = Callable[...]`."""
    tree = ast.parse(FILES[file].read_text())
    found = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name[0].isupper() and not name.isupper():
                found.append(name)
    return found


def test_no_two_types_have_one_name() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for file in FILES:
        for name in types_of(file):
            homes[name].append(file)
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}
