"""What the package declares, which Python it is for, and what must not be in a file."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Written so that this file does not contain what it looks for.
MACHINE = re.compile(r"(?<![\w./~-])/(?:root|home|Users|work|opt|mnt)/\w|\b[A-Z]:\\\w|pypi\.[o]rg|pythonhosted\.[o]rg")
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".yml", ".yaml", ".cfg", ".ini", ".sh", ".html", ".typed", ""}


SOURCES = [path for folder in ("hapi_prune", "tests", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
NEWER_ARGUMENTS = {"zip": {"strict"}, "dataclass": {"slots", "kw_only"}}


@pytest.mark.slow
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


def test_only_what_is_imported_is_required():
    required = importlib.metadata.requires("hapi-prune")
    always = {re.match(r"[\w-]+", line).group() for line in required if "extra ==" not in line}
    extras = [line for line in required if line.startswith("paddlepaddle")]
    assert always == {"numpy", "psutil", "visualdl"}
    assert len(extras) == 1
    assert 'extra == "paddle"' in extras[0]


def test_without_paddle_the_import_says_what_to_install():
    code = "import sys; sys.modules['paddle'] = None; import hapi_prune"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode
    assert re.search(r"ImportError: .*pip install .*paddlepaddle", run.stderr, re.DOTALL)


@pytest.mark.parametrize("version", ["2.6.2", "1.8.5"])
def test_with_an_older_paddle_the_import_says_which_is_needed(version, tmp_path):
    (tmp_path / "paddle").mkdir()
    (tmp_path / "paddle" / "__init__.py").write_text(f'__version__ = "{version}"', encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-c", "import hapi_prune"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode
    assert f"ImportError: hapi_prune needs PaddlePaddle 3.0 or later; {version} is installed" in run.stderr
    assert "pip install" in run.stderr
