"""How much of a metric each variable's filters are worth: measured by masking, kept in a file, turned into ratios."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ..diagnostics.masked_metrics import Point, blocks, metrics, number
from ..errors import PruneError
from .engine import Engine

Sensitivities = dict[str, dict[float, float]]
"""``{variable: {ratio: share of the metric lost}}``."""

RATIOS = tuple(round(0.1 * step, 2) for step in range(1, 10))
SCALAR = np.float64(0).__reduce__()[0]
HARMLESS = {
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "scalar"): SCALAR,
    ("numpy._core.multiarray", "scalar"): SCALAR,
}
"""What NumPy's numbers are pickled with, whatever its version."""

ALLOWED = "{variable: {ratio: loss}}, as JSON or as a pickle that PaddleSlim or this library wrote"


def measured(
    engine: Engine, evaluate: Callable[[], Any], asked: Mapping[str, float], known: Mapping[str, Mapping[float, float]]
) -> Iterator[tuple[str, float, float]]:
    """Measure what is not known yet, one evaluation each: ``(variable, ratio, share of the metric lost)``.

    Of variables that can only shrink together the first stands for all.

    Args:
        engine: the network.
        evaluate: returns the metric of the network as it is then.
        asked: variables, and any ratio for each.
        known: what was measured before.

    Raises:
        PruneError: it returns no number or, for the whole network, 0.
    """
    wanted = engine.goal(asked)
    named = [(engine.leader(wanted, keys, asked), keys) for keys in blocks(engine.channel_map, wanted)]
    todo = [(name, Point(keys, r)) for name, keys in named for r in RATIOS if r not in known.get(name, {})]
    baseline = number(evaluate(), "eval_func") if todo else 1.0
    if baseline == 0:
        got, advice = "it returned 0 for the whole network", "train the network first, or return another metric"
        raise PruneError("eval_func", got, "a metric of which a share can be lost", advice)
    points = [point for _, point in todo]
    values = metrics(engine.channel_map, engine.scores(wanted), points, lambda: number(evaluate(), "eval_func"))
    for value, (name, point) in zip(values, todo):
        yield name, point.ratio, (baseline - value) / baseline


def ratio_at(losses: Mapping[float, float], most: float) -> float | None:
    """The largest ratio that loses no more than ``most``, between two measured ones on a straight line; None if none.

    Example:
        >>> round(ratio_at({0.1: 0.0, 0.2: 0.1, 0.3: 0.3}, 0.2), 3)
        0.25
    """
    points = sorted(losses.items())
    fits = [place for place, (_, loss) in enumerate(points) if loss <= most]
    if not fits:
        return None
    ratio, loss = points[fits[-1]]
    if fits[-1] + 1 == len(points):
        return ratio
    next_ratio, next_loss = points[fits[-1] + 1]
    return ratio + (next_ratio - ratio) * (most - loss) / (next_loss - loss)


def save(path: str | os.PathLike[str], found: Mapping[str, Mapping[float, float]]) -> None:
    """Write a file whole or not at all: JSON where its name ends so, else a pickle."""
    plain = {variable: {str(ratio): loss for ratio, loss in losses.items()} for variable, losses in found.items()}
    draft = Path(f"{os.fspath(path)}.{os.getpid()}")
    is_json = os.fspath(path).endswith(".json")
    content = json.dumps(plain, indent=1).encode() if is_json else pickle.dumps({k: dict(v) for k, v in found.items()})
    draft.write_bytes(content)
    os.replace(draft, path)


def load(path: str | os.PathLike[str]) -> Sensitivities:
    """Read what `save` or PaddleSlim wrote.

    Raises:
        PruneError: there is no such file, or it is something else.
    """
    where = f"sen_file {os.fspath(path)!r}"
    try:
        content = Path(path).read_bytes()
        data = json.loads(content) if content[:1] == b"{" else unpickled(content)
        return {str(variable): numbers(losses) for variable, losses in data.items()}
    except FileNotFoundError as error:
        raise PruneError(where, "no such file", "a file of sensitivities", "measure with pruner.sensitive") from error
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        raise PruneError(where, f"not readable ({type(error).__name__}: {str(error)[:100]})", ALLOWED) from error


def numbers(losses: Mapping[Any, Any]) -> dict[float, float]:
    """One variable's losses by ratio, as plain numbers."""
    found = {float(ratio): float(loss) for ratio, loss in losses.items()}
    bad = [loss for loss in losses.values() if not isinstance(loss, Real)]
    if bad or not all(0 <= ratio < 1 for ratio in found):
        raise ValueError(f"{losses!r:.60}")
    return found


class Status:
    """Stands for the class of that name in files that PaddleSlim wrote."""

    sensitivies: Mapping[str, Mapping[float, float]]  # its spelling


class Reader(pickle.Unpickler):
    """Reads plain data and PaddleSlim's status, and refuses all else: a pickle can run any code."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "Status":
            return Status
        if (module, name) in HARMLESS:
            return HARMLESS[module, name]
        raise pickle.UnpicklingError(f"it holds a {module}.{name}")


def unpickled(content: bytes) -> Mapping[str, Any]:
    """The sensitivities in a pickle."""
    data = Reader(BytesIO(content)).load()
    data = getattr(data, "sensitivies", data)
    if isinstance(data, Mapping) and data.keys() == {"sensitivies"}:
        data = data["sensitivies"]
    if not isinstance(data, Mapping):
        raise ValueError(f"a {type(data).__name__}")
    return data
