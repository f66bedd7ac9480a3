"""How much accuracy it costs to remove a share of each group, one at a time: by zeroing, and everything is put back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import paddle

from ..analysis.channel_map import ChannelMap
from ..analysis.layer_names import layer_name
from ..criteria.named import AnyCriterion, as_criterion
from ..errors import PruneError
from ..internals.layers import named_layers
from ..internals.preserve import everything, training_flags
from ..internals.progress import bars
from ..reporting.tables import is_loss
from ..selection.goals import Goal, goal
from ..selection.ratios import real
from ..selection.select import GroupScores
from ..training.paddle_model import input_shapes, metric_names
from .masked_metrics import Point, blocks, metrics, number
from .sensitivity_table import Sensitivity, SensitivityRow

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def sensitivity(
    network: paddle.nn.Layer | paddle.Model,
    evaluate: Any,
    inputs: Any = None,
    ratios: Sequence[float] = RATIOS,
    criterion: str | AnyCriterion | Callable[..., Any] = "l1_norm",
    *,
    monitor: str | None = None,
    skip: Sequence[str] = (),
    path: str | os.PathLike[str] | None = None,
    verbose: int = 1,
) -> Sensitivity:
    """Measure how much accuracy it costs to remove a share of each group of filters, all others being whole.

    The filters with the lowest scores are set to zero, with everything that depends on them, the network is evaluated,
    and they are put back: one evaluation for each group and ratio. Layers that only shrink together are one row.

    Args:
        network: the network, or the ``paddle.Model`` around it, trained and prepared; it is left as it was, bitwise.
        evaluate: what to evaluate on, as ``model.evaluate`` takes it; or, with a network, a function that takes the
            network and returns a number, higher is better.
        inputs: an example input, as for `prune`; not needed with a Model that has InputSpecs.
        ratios: the shares to remove, each in (0, 1).
        criterion: what is removed first, as for `prune`.
        monitor: the metric of a Model; None for ``acc_top1``, else ``acc``, else the first that is no loss.
        skip: names of layers to leave out.
        path: a file that is written after each evaluation; what is in it is not measured again, so that a program that
            was killed goes on where it was.
        verbose: 1 for a progress bar, where there is a terminal.

    Returns:
        The table, for `BySensitivity`.

    Raises:
        PruneError: bad arguments; a file of another network; a function that returns no number.

    Example:
        >>> import paddle
        >>> from hapi_prune import sensitivity
        >>> network, x = paddle.vision.models.LeNet(), paddle.randn([8, 1, 28, 28])
        >>> whole = network(x)
        >>> table = sensitivity(network, lambda net: -float((net(x) - whole).abs().mean()), [1, 1, 28, 28], [0.5])
        >>> [row.layers for row in table.rows]
        [('features.0',), ('features.3',)]

    Source: Li, Kadav, Durdanovic, Samet, Graf, "Pruning Filters for Efficient ConvNets" (2017), section 3.2.
    """
    ratios = _checked(ratios)
    layer, measure, metric = _measure(network, evaluate, monitor)
    if inputs is None and isinstance(network, paddle.Model):
        inputs = input_shapes(network)
    if inputs is None:
        todo = "write sensitivity(..., inputs=[1, 3, 32, 32]), with the shape of your images"
        raise PruneError("sensitivity(inputs=...)", "no input shape to be had", "a shape, or InputSpecs", todo)
    with everything(layer):
        channel_map = ChannelMap(layer, inputs)
        wanted = goal(channel_map, 0.5, skip)
        scores = GroupScores(channel_map, channel_map.tensors, wanted, as_criterion(criterion), {})
        found = _begun(path, metric, measure(layer), _rows(channel_map, wanted))
        points = [(line, ratio) for line, row in enumerate(found.rows) for ratio in ratios if ratio not in row.ratios]
        masks = [Point(found.rows[line].keys, ratio) for line, ratio in points]
        with bars(bool(verbose)):
            for value, (line, ratio) in zip(metrics(channel_map, scores, masks, lambda: measure(layer)), points):
                found = _with(found, line, ratio, found.dense - value)
                _write(path, found)
    return found


def _checked(ratios: Sequence[float]) -> list[float]:
    found = sorted({real(ratio) for ratio in ratios})
    if not found or not all(0 < ratio < 1 for ratio in found):
        raise PruneError("sensitivity(ratios=...)", f"{ratios!r:.80}", "shares above 0 and below 1")
    return found


def _measure(network: Any, evaluate: Any, monitor: str | None) -> tuple[Any, Callable[[Any], float], str]:
    """The network, what measures it, and what that is called."""
    if isinstance(network, paddle.Model):
        names = [name for name in metric_names(network) if not is_loss(name)]
        metric = monitor or next((name for name in ("acc_top1", "acc", *names) if name in names), "")
        if metric not in names:
            todo = "give metrics to model.prepare, as in paddle.metric.Accuracy()"
            raise PruneError("sensitivity(monitor=...)", f"{metric!r}", f"one of {names}", todo)
        return network.network, lambda _: float(network.evaluate(evaluate, batch_size=64, verbose=0)[metric]), metric
    if not callable(evaluate):
        todo = "give a paddle.Model with its evaluation data, or a network with a function of it"
        raise PruneError("sensitivity(evaluate=...)", f"{evaluate!r:.80}", "a function network -> number", todo)

    def measure(layer: Any) -> float:
        with training_flags(named_layers(layer).values(), training=False), paddle.no_grad():
            return number(evaluate(layer), "sensitivity(evaluate=...)")

    return network, measure, monitor or getattr(evaluate, "__name__", "metric").replace("<lambda>", "metric")


def _rows(channel_map: ChannelMap, wanted: Goal) -> list[SensitivityRow]:
    """An empty row for each group, or family of groups, that may shrink."""
    rows = []
    for keys in blocks(channel_map, wanted):
        names = [name for key in keys for name, _ in wanted.scored[key]]
        rows.append(SensitivityRow(tuple(dict.fromkeys(map(layer_name, names))), keys, (), ()))
    return rows


def _begun(path: Any, metric: str, dense: float, rows: list[SensitivityRow]) -> Sensitivity:
    """What the file holds already; empty rows where there is none."""
    if path is None or not os.path.exists(path):
        return Sensitivity(metric, dense, tuple(rows))
    found = Sensitivity.load(path)
    if [row.keys for row in found.rows] != [row.keys for row in rows] or abs(found.dense - dense) > 1e-6:
        got = f"the table of a network with {found.metric} {found.dense:.6g}; this one has {dense:.6g}"
        raise PruneError("sensitivity(path=...)", got, "a table of this network, or no file", "give another path")
    return found


def _with(table: Sensitivity, line: int, ratio: float, lost: float) -> Sensitivity:
    """The table with one more point."""
    row = table.rows[line]
    points = sorted([*zip(row.ratios, row.lost), (ratio, lost)])
    row = replace(row, ratios=tuple(r for r, _ in points), lost=tuple(v for _, v in points))
    return replace(table, rows=(*table.rows[:line], row, *table.rows[line + 1 :]))


def _write(path: Any, table: Sensitivity) -> None:
    if path is not None:
        partial = Path(f"{os.fspath(path)}.part")
        partial.write_text(table.to_json(), encoding="utf-8")
        os.replace(partial, path)
