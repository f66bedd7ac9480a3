"""The rooms of the package: who may import whom, who may name private parts of Paddle, how long a module may be."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hapi_prune"
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")

LAYERS = (
    "__init__ __main__",
    "callback paddleslim",
    "diagnostics",
    "training exporting",
    "cutting schedules",
    "selection reporting",
    "analysis criteria",
    "internals",
    "plan",
    "errors",
)
"""The rooms from top to bottom: each imports from lower layers only."""

LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms.split()}
MAY_NAME_PRIVATE_PARTS = ("internals/", "training/paddle_model.py", "training/fit_state.py")
BY_NAME = {"getattr", "setattr", "hasattr", "delattr"}
MOST_LINES = 300
MOST_ROOMS = 14
"""Beside the two doors, `__init__` and `__main__`."""
DOORS = {"__init__", "__main__"}


def room(path):
    """The room that a module belongs to: its name, or that of its folder."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@functools.cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def rooms_imported(path):
    """(line, room) for each import of something of ours, wherever it stands in the module."""
    package = ["hapi_prune", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            targets = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for target in targets:
            if target[0] == "hapi_prune":
                inner = target[1] if len(target) > 1 else "__init__"
                is_room = inner in LEVEL or (PACKAGE / inner).is_dir() or (PACKAGE / f"{inner}.py").exists()
                yield node.lineno, inner if is_room else "__init__"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path):
    here = room(path)
    assert here in LEVEL, f"hapi_prune/{here} has no place in LAYERS of {Path(__file__).name}: give it one"
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {here} imports {there}, which LAYERS does not have below {here}"
        for line, there in rooms_imported(path)
        if there != here and LEVEL.get(there, -1) <= LEVEL[here]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_place_in_the_table_is_taken():
    assert set(LEVEL) == {room(path) for path in MODULES}
    assert len(LEVEL.keys() - DOORS) <= MOST_ROOMS


def modules_imported(path):
    """The modules of ours that a module imports when it is loaded, as paths."""
    package = ["hapi_prune", *path.relative_to(PACKAGE).parts[:-1]]
    for node in tree(path).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) + 1 - node.level], *(node.module.split(".") if node.module else [])]
            for target in ([*base, alias.name] for alias in node.names):
                inner = PACKAGE.joinpath(*target[1:])
                outer = PACKAGE.joinpath(*base[1:])
                yield from (p for p in (inner.with_suffix(".py"), outer.with_suffix(".py")) if p in MODULES)


def test_there_are_no_circles():
    """Also between the modules of one room: an order in which each comes after all that it imports."""
    waiting = {path: {other for other in modules_imported(path) if other != path} for path in MODULES}
    while ready := [path for path, needed in waiting.items() if not needed & waiting.keys()]:
        for path in ready:
            del waiting[path]
    assert not waiting, sorted(path.relative_to(PACKAGE).as_posix() for path in waiting)


def private_names_defined(path):
    """The names with a leading underscore that a module gives to its own classes and objects."""
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            yield node.attr


def is_self(node):
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def is_own(node):
    """Nothing of Paddle's: the object itself, or Python (`sys._getframe`)."""
    return is_self(node) or (isinstance(node, ast.Name) and node.id == "sys")


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


def private_names_read(path):
    """(line, name) for each private attribute of another object, by a dot or by getattr and its like."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and not is_own(node.value) and is_private(node.attr):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom) and not node.level and not (node.module or "").startswith("hapi_prune"):
            yield from ((node.lineno, alias.name) for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in BY_NAME:
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(name.value) and not is_own(node.args[0]):
                yield node.lineno, name.value


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_private_parts_of_paddle_are_named_where_they_may_be(path):
    if path.relative_to(PACKAGE).as_posix().startswith(MAY_NAME_PRIVATE_PARTS):
        return
    own = set(private_names_defined(path))
    wrong = [f"{path.relative_to(ROOT)}:{line}: .{name}" for line, name in private_names_read(path) if name not in own]
    assert not wrong, f"these belong into one of {MAY_NAME_PRIVATE_PARTS}:\n" + "\n".join(wrong)


def test_modules_stay_short():
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_the_page_names_the_rooms_and_files_that_are_there():
    table = PAGE.split("| room |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `([\w./]+)` \|(.*)$", table, re.M))
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert set(rows) == folders | modules
    drawn = set(re.findall(r"\w+(?:\.py|/)", PAGE.split("```")[1]))
    assert drawn == set(rows)
    inside = {room + name for room, text in rows.items() for name in re.findall(r"`(\w+\.py)`", text)}
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE.replace(table, ""))) | inside
    every = {path.relative_to(PACKAGE).as_posix() for path in MODULES if path.name != "__init__.py"} - modules
    assert sorted(name for name in every - named if not name.startswith("analysis/rules/")) == []
    assert [name for name in sorted(named) if not (PACKAGE / name).is_file()] == []
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_tests_lie_in_the_rooms_of_what_they_test():
    """`callback.py`, a room of one module, has a folder of tests; `support` and `networks` hold no tests."""
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders - {"support", "networks"} <= LEVEL.keys()
    assert not [path for name in ("support", "networks") for path in (ROOT / "tests" / name).rglob("test_*.py")]
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
