"""A whole call of prune against Torch-Pruning and PaddleSlim: networks of one name, 224 x 224, a share of 0.3, L1.

    python benchmarks/speed/peers.py

Each side works in a process of its own, which makes the network anew for each call; only the call is timed: with us
tracing, scores, cut and proof, with them all that stands between the network and the smaller one, which they do not
prove. The sides take turns. A network is measured for about `--limit` seconds, of which one round is always done.

The other two need environments of their own, made under `--cache` the first time: for Torch-Pruning with Python 3.11
or newer and some GB of PyTorch, for PaddleSlim with Python 3.10, as Paddle 2.6 has no later. Where one cannot be made,
that is said in the results, and its column stays empty.

About 8 minutes: DenseNet201 gets one round in its minute, the small ones five.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measuring import HERE, ROOT, arguments, in_turn, ratio, save

NETWORKS = ("resnet18", "resnet50", "resnet152", "mobilenet_v2", "vgg16", "densenet121", "densenet201")
TORCH_PRUNING = ("torch==2.14.1", "torchvision==0.29.1", "torch-pruning==1.6.1")
UNDECLARED = ("setuptools", "numpy<2", "six", "requests", "pyyaml", "matplotlib", "scipy")
PADDLESLIM = ("paddlepaddle==2.6.2", "paddleslim==2.6.0", *UNDECLARED)
SIDES = ("hapi_prune", "torch_pruning", "paddleslim")


class Side:
    """A process that prunes networks when it is told to.

    Args:
        name: of the side.
        python: that it runs with.
    """

    def __init__(self, name: str, python: Path) -> None:
        command = [str(python), "-W", "ignore", str(HERE / "peers_side.py"), name, str(ROOT)]
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115  # it is closed with the side
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True
        )
        self.versions = self._answer()

    def prune(self, network: str, criterion: str) -> dict[str, Any]:
        """One call: its seconds, and the share of the parameters that is gone; or what it raised, as ``failed``."""
        print(network, criterion, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self.said.seek(0)
        raise RuntimeError(self.said.read()[-1000:])

    def close(self) -> None:
        """Let it end."""
        self.process.stdin.close()
        self.process.wait()
        self.said.close()


def environment(cache: Path, name: str, python: str, packages: tuple[str, ...]) -> Path:
    """The Python of an environment with these packages, made now if it is not there.

    Raises:
        RuntimeError: it cannot be made.
    """
    folder = cache / f"{name}-environment"
    ready, inside = folder / ".ready", folder / "bin" / "python"
    wanted = "\n".join((python, *packages))
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        return inside
    found = shutil.which(python)
    if found is None:
        raise RuntimeError(f"there is no {python}")
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{name}: making its environment in {folder}", flush=True)
    for command in ([found, "-m", "venv", str(folder)], [str(inside), "-m", "pip", "install", "-q", *packages]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-500:])
    ready.write_text(wanted, encoding="utf-8")
    return inside


def started(args: Any) -> tuple[dict[str, Side], dict[str, str]]:
    """The sides that can be had, and why others cannot."""
    cache = args.cache.expanduser().resolve()
    needs = {
        "torch_pruning": (args.torch_python, TORCH_PRUNING),
        "paddleslim": (args.slim_python, PADDLESLIM),
    }
    sides, missing = {}, {}
    for name in args.sides:
        try:
            python = environment(cache, name, *needs[name]) if name in needs else Path(sys.executable)
            sides[name] = Side(name, python)
        except (RuntimeError, OSError) as error:  # noqa: PERF203  # said in the results
            missing[name] = str(error)
            print(f"{name}: {error}", flush=True)
    return sides, missing


def measured(sides: Mapping[str, Side], network: str, criterion: str, args: Any) -> dict[str, Any]:
    """All sides on one network: seconds, how many times as fast we are, and what is gone."""
    start = time.perf_counter()
    first = {name: side.prune(network, criterion) for name, side in sides.items()}
    able = [name for name in sides if "failed" not in first[name]]
    calls = {name: lambda name=name: sides[name].prune(network, criterion)["seconds"] for name in able}
    left = args.limit - (time.perf_counter() - start)
    more = in_turn(calls, args.repeats - 1 if left > 0 else 0, left, warm=False)
    times = {name: [first[name]["seconds"], *more[name]] for name in able}
    others = [name for name in able if name != "hapi_prune"] if "hapi_prune" in able else []
    found = {
        "seconds": times,
        "params_removed": {name: first[name]["removed"] for name in able},
        "failed": {name: first[name]["failed"] for name in sides if name not in able},
        "times_as_fast": {name: ratio(times["hapi_prune"], times[name]) for name in others},
    }
    told = ", ".join(f"{name} {times:.2f}" for name, times in found["times_as_fast"].items())
    print(f"{network} {criterion}: {told} {found['failed'] or ''}", flush=True)
    return found


def main() -> None:
    """Measure, and write the results."""
    parser = arguments(__doc__)
    parser.add_argument("--networks", nargs="*", default=NETWORKS, choices=NETWORKS, metavar="NETWORK")
    parser.add_argument("--sides", nargs="*", default=SIDES, choices=SIDES, metavar="SIDE", help=", ".join(SIDES))
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a network (default: %(default)g)")
    parser.add_argument("--no-fpgm", action="store_true", help="leave out FPGM on ResNet50")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/hapi_prune-benchmarks"))
    parser.add_argument("--torch-python", default="python3.11", help="(default: %(default)s)")
    parser.add_argument("--slim-python", default="python3.10", help="(default: %(default)s)")
    args = parser.parse_args()
    start = time.time()
    sides, missing = started(args)
    found = {network: measured(sides, network, "l1", args) for network in args.networks}
    fpgm = {name: sides[name] for name in ("hapi_prune", "paddleslim") if name in sides}
    if not args.no_fpgm:
        found["resnet50, fpgm"] = measured(fpgm, "resnet50", "fpgm", args)
    told = {name: side.versions for name, side in sides.items()}
    for side in sides.values():
        side.close()
    save(args.out, "peers", {"networks": found}, start, sides=told, missing=missing)


if __name__ == "__main__":
    main()
