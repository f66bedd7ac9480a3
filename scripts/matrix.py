"""Does it work on every version that people run? Paddle x Python x NumPy, each in an environment of its own.

    python scripts/matrix.py                                # every cell that this machine has the Python for
    python scripts/matrix.py --paddle 3.0.0 --python 3.9    # some; the others keep the result that they have
    python scripts/matrix.py --oldest                       # the oldest cell alone, as CI does; nothing is written
    python scripts/matrix.py --onnx                         # the export to ONNX, with its tools, as CI does; the same

A cell installs the wheel of this checkout and what it requires, the oldest of it or the newest, and runs the tests that
are marked `smoke`; with `--oldest` all that are not marked `slowest`. `scripts/matrix.json` keeps the results, and both
READMEs show them. Needs uv, and the Pythons: as `python3.9` on the PATH, or in the folder of pyenv.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "scripts" / "matrix.json"
PAGES = ("README.md", "README_CN.md")
TABLE = re.compile(r"(?<=<!-- versions -->\n).*?(?=<!-- end of versions -->)", re.DOTALL)

PADDLES = ("3.0.0", "3.1.1", "3.2.2", "3.3.1")
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
NUMPYS = ("oldest", "newest")
TOOLS = ("pytest>=8", "pytest-timeout>=2.3", "pytest-xdist>=3.5", "hypothesis>=6.100", "mlxtend>=0.23")
SMOKE, QUICK, ONNX = ("-m", "smoke"), ("-m", "not slowest", "-n", "2"), ("-k", "onnx", "tests/exporting")
WHEELS_ONLY = ("--only-binary", "numpy", "--only-binary", "paddlepaddle")

Cell = dict[str, str]


def ran(command: Sequence[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
    """What a command prints, errors included."""
    lines = [str(part) for part in command]
    return subprocess.run(lines, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def uv() -> str:
    """The uv of this environment, or of the PATH."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        sys.exit("scripts/matrix.py needs uv: pip install uv")
    return found


def interpreter(version: str) -> str | None:
    """A Python of this version; None where the machine has none that runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    asked = "import sys; print('{}.{}'.format(*sys.version_info))"
    return next((str(one) for one in candidates if one and ran([one, "-c", asked]).stdout.strip() == version), None)


def wheel(folder: str) -> Path:
    """The wheel of this checkout, made from its sdist."""
    made = ran([uv(), "build", "--quiet", "--out-dir", folder, ROOT])
    if made.returncode:
        sys.exit(made.stdout)
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    return next(Path(folder).glob("hapi_prune-*.whl"))


def tried(paddle: str, python: str, numpy: str, built: Path, tests: Sequence[str] = SMOKE) -> Cell:
    """One cell, and what some tests come to in it.

    Returns:
        ``result`` is ``passed``, ``failed``, ``no wheel`` or ``no Python``; ``said`` is why.
    """
    cell = {"paddle": paddle, "python": python, "numpy": numpy}
    found = interpreter(python)
    if found is None:
        return {**cell, "result": "no Python", "said": f"no python{python} on the machine that ran it"}
    with tempfile.TemporaryDirectory() as folder:
        binaries = Path(folder) / ("Scripts" if os.name == "nt" else "bin")
        ran([uv(), "venv", "--quiet", "--allow-existing", "--python", found, folder])
        # Compiled now, as pip does, or Python would warn of other packages' code in the tests.
        install = [uv(), "pip", "install", "--quiet", "--compile-bytecode", "--python", binaries / "python"]
        versions = ["--resolution", "lowest-direct" if numpy == "oldest" else "highest"]
        extras = ["--extra", "paddle", *(["--extra", "onnx"] if tests is ONNX else [])]
        wanted = ["-r", ROOT / "pyproject.toml", *extras, f"paddlepaddle=={paddle}", *TOOLS]
        made = ran([*install, *versions, *WHEELS_ONLY, *wanted])
        if made.returncode:
            lines = made.stdout.strip().splitlines()
            missing = "has no wheels with a matching Python" in " ".join(made.stdout.split())
            return {**cell, "result": "no wheel" if missing else "failed", "said": " ".join(lines)[:400]}
        ran([*install, "--no-deps", built])
        return {**cell, **tested(binaries, tests)}


def tested(binaries: Path, tests: Sequence[str]) -> Cell:
    """The versions of an environment, and what the tests came to in it."""
    asked = "import numpy, sys; print(sys.version.split()[0], numpy.__version__)"
    python, numpy = ran([binaries / "python", "-W", "ignore", "-c", asked]).stdout.split()
    # Not `python -m pytest`, which would import the checkout and not the wheel.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "CI": "true"}  # the same examples in every cell
    run = ran([binaries / "pytest", "-q", "-p", "no:cacheprovider", *tests], cwd=ROOT, env=environment)
    closing = re.sub(r" in [\d.]+s.*", "", (run.stdout.strip().splitlines() or ["nothing"])[-1].strip("= "))
    print(run.stdout if run.returncode else closing, flush=True)
    return {
        "python_version": python,
        "numpy_version": numpy,
        "result": "failed" if run.returncode else "passed",
        "said": closing,
    }


def load() -> list[Cell]:
    """The cells that were tried so far."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []


def table(cells: Sequence[Cell]) -> str:
    """A row for each Paddle, a column for each Python: the NumPys that it was tried with, and what came of it."""

    def shown(paddle: str, python: str) -> str:
        found = [cell for cell in cells if (cell["paddle"], cell["python"]) == (paddle, python)]
        good = [cell["numpy_version"] for cell in found if cell["result"] == "passed"]
        bad = sorted({cell["result"] for cell in found if cell["result"] != "passed"})
        return "; ".join([*([f"✓ {', '.join(dict.fromkeys(good))}"] if good else []), *bad]) or "not run"

    rows = [["Paddle", *(f"Python {python}" for python in PYTHONS)], ["---"] * (len(PYTHONS) + 1)]
    rows += [[paddle, *(shown(paddle, python) for python in PYTHONS)] for paddle in PADDLES]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write(cells: Sequence[Cell]) -> None:
    """Keep the cells, and show them in both READMEs."""
    order = [(paddle, python, numpy) for paddle in PADDLES for python in PYTHONS for numpy in NUMPYS]
    kept = sorted(cells, key=lambda cell: order.index((cell["paddle"], cell["python"], cell["numpy"])))
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for page in PAGES:
        path = ROOT / page
        path.write_text(TABLE.sub(lambda _: table(kept), path.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    """Try what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paddle", nargs="+", choices=PADDLES, default=PADDLES)
    parser.add_argument("--python", nargs="+", choices=PYTHONS, default=PYTHONS)
    parser.add_argument("--numpy", nargs="+", choices=NUMPYS, default=NUMPYS)
    parser.add_argument("--oldest", action="store_true", help="the oldest that this machine can run, and write nothing")
    parser.add_argument("--onnx", action="store_true", help="the export to ONNX with the newest, and write nothing")
    parser.add_argument("--table", action="store_true", help="try nothing, write the table of what was tried before")
    asked = parser.parse_args()
    if asked.table:
        return write(load())
    cells = [(paddle, python, numpy) for paddle in asked.paddle for python in asked.python for numpy in asked.numpy]
    if asked.oldest:
        cells = [(PADDLES[0], next(python for python in PYTHONS if interpreter(python)), NUMPYS[0])]
    if asked.onnx:
        cells = [(PADDLES[-1], "{}.{}".format(*sys.version_info), NUMPYS[-1])]
    tests = QUICK if asked.oldest else ONNX if asked.onnx else SMOKE
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        built = wheel(folder)
        for names in cells:
            print(f"Paddle {names[0]}, Python {names[1]}, the {names[2]} NumPy: ", end="", flush=True)
            cell = tried(*names, built, tests)
            failed += [names] if cell["result"] == "failed" else []
            if cell["result"] != "passed":
                print(f"{cell['result']}: {cell['said']}", flush=True)
            if tests is SMOKE:
                others = [one for one in load() if (one["paddle"], one["python"], one["numpy"]) != names]
                write([*others, cell])
    return sys.exit(f"{len(failed)} failed" if failed else 0)


if __name__ == "__main__":
    main()
