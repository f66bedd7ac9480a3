"""The shape of the package: who may import whom, what is declared, what must not be in a file."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hapi_prune"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = (
    "__init__",
    "callback explain",
    "run conformance",
    "resume",
    "pruning report checkpoint",
    "coupling",
    "hapi hapi_state transaction selection optimizers history",
    "retrace",
    "surgery trial names cost drawing",
    "channel_map",
    "groups",
    "flow",
    "graph",
    "rules",
    "labels",
    "schedules criteria inputs undo_log _optimizer_state distributed generators keeping",
    "plan ratios writer",
    "errors state",
    "_paddle look readers interrupts",
)
"""The rooms from top to bottom: each imports from lower layers only. The modules of one folder see each other."""

LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms.split()}
MAY_NAME_PRIVATE_PARTS = {
    "_paddle": "tensors and programs",
    "_optimizer_state": "optimizers",
    "hapi": "paddle.Model",
    "hapi_state": "paddle.Model",
}
BY_NAME = {"getattr", "setattr", "hasattr", "delattr"}
MOST_LINES = 300

# Written so that this file does not contain what it looks for.
MACHINE = re.compile(r"(?<![\w./~-])/(?:root|home|Users|work|opt|mnt)/\w|\b[A-Z]:\\\w|pypi\.[o]rg|pythonhosted\.[o]rg")
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".yml", ".yaml", ".cfg", ".ini", ".sh", ".html", ".typed", ""}


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
    if room(path) in MAY_NAME_PRIVATE_PARTS:
        return
    own = set(private_names_defined(path))
    wrong = [f"{path.relative_to(ROOT)}:{line}: .{name}" for line, name in private_names_read(path) if name not in own]
    assert not wrong, f"these belong into one of {MAY_NAME_PRIVATE_PARTS}:\n" + "\n".join(wrong)


SOURCES = [path for folder in ("hapi_prune", "tests", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
NEWER_ARGUMENTS = {"zip": {"strict"}, "dataclass": {"slots", "kw_only"}}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_newer_than_python_3_9(path):
    parsed = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.func.id}({keyword.arg}=...)"
        for node in ast.walk(parsed)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        for keyword in node.keywords
        if keyword.arg in NEWER_ARGUMENTS.get(node.func.id, ())
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_stay_short():
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_files_name_no_machine():
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    files = [path for path in map(ROOT.joinpath, listed.stdout.split("\0")) if path.is_file() and path.suffix in TEXT]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert files
    assert not found, "\n".join(found)


def test_only_numpy_and_visualdl_are_required():
    required = importlib.metadata.requires("hapi-prune")
    always = {re.match(r"[\w-]+", line).group() for line in required if "extra ==" not in line}
    extras = [line for line in required if line.startswith("paddlepaddle")]
    assert always == {"numpy", "visualdl"}
    assert len(extras) == 1
    assert 'extra == "paddle"' in extras[0]


def test_without_paddle_the_import_says_what_to_install():
    code = "import sys; sys.modules['paddle'] = None; import hapi_prune"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode
    assert re.search(r"ImportError: .*pip install .*paddlepaddle", run.stderr, re.DOTALL)
