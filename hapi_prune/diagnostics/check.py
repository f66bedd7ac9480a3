"""`check`: does pruning work on a network? Tries it at several ratios, and restores the network."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import paddle
from paddle.static import InputSpec

from ..analysis.channel_map import ChannelMap
from ..analysis.example_input import Example
from ..analysis.graph import tensors_of
from ..criteria.named import as_criterion
from ..cutting import verify_outputs
from ..cutting.cut import Proven, rehearse, until_it_holds
from ..cutting.pruning import Pruner
from ..errors import NothingToPruneError, PruneError, gist
from ..exporting.program import save_program
from ..internals.layers import Inventory, named_layers
from ..internals.preserve import everything, quiet, training_flags
from ..internals.progress import bars, progress
from ..internals.tensors import resize
from ..plan import Array, PruningPlan, Reason, ReasonKind
from ..reporting import tables
from ..reporting.record import VALUES
from ..selection.goals import Goal, goal
from ..selection.options import Aim, Options
from ..selection.ratios import share_of
from ..selection.select import GroupScores, select

SAID = {True: "ok", False: "no", None: "-"}


@dataclass(frozen=True)
class CheckRow:
    """The result for one criterion and ratio. In `step`, `again` and `export` None means: not applicable.

    Attributes:
        criterion, ratio, removed: what was asked, and the share of the filters removed, in [0, 1).
        difference: to the masked network, relative to its largest output; None where removing is not zeroing, or where
            float32 cannot tell.
        step: whether a step of training goes through, with an optimizer that was there before the cut.
        again: whether a second, deeper cut goes through and is right.
        export: whether ``paddle.jit.save`` gives a program that computes the same.
        seconds: how long all of it took.
        problem: what went wrong first; empty where all is well.
        note: why there is nothing to remove, if there is nothing.

    Example:
        >>> from hapi_prune import CheckRow
        >>> CheckRow("fpgm", 0.5, removed=0.5, step=True, again=True, export=True).problem
        ''
    """

    criterion: str
    ratio: float
    removed: float = 0.0
    difference: float | None = None
    step: bool | None = False
    again: bool | None = False
    export: bool | None = False
    seconds: float = 0.0
    problem: str = ""
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """The cells of the row in `CheckReport.table`."""
        off = "-" if self.difference is None else f"{self.difference:.0e}"
        done = (SAID[self.step], SAID[self.again], SAID[self.export], tables.seconds(self.seconds))
        return (tables.clip(self.criterion, 20), tables.percent(self.ratio), tables.percent(self.removed), off, *done)


@dataclass(frozen=True)
class CheckReport:
    """The result of `check`.

    Attributes:
        network, rows: class name of the network, and a row for each criterion and ratio.
        untouched: whether the network is, bit for bit, what it was before.

    Example:
        >>> from hapi_prune import CheckReport, CheckRow
        >>> CheckReport("Net", (CheckRow("fpgm", 0.5, problem="does not run"),), untouched=True).ok
        False
    """

    network: str
    rows: tuple[CheckRow, ...]
    untouched: bool

    @property
    def ok(self) -> bool:
        """Whether all rows are without a problem, and the network is what it was before."""
        return self.untouched and not any(row.problem for row in self.rows)

    def __str__(self) -> str:
        """The table."""
        return self.table()

    def table(self) -> str:
        """A line for each criterion and ratio, at most 100 columns wide; below it the problems."""
        heads = ("criterion", "ratio", "removed", "difference", "step", "second cut", "export", "seconds")
        told: dict[str, list[str]] = {} if self.untouched else {"it is not what it was before": ["the network"]}
        for row in self.rows:
            told.setdefault(row.problem or row.note, []).append(f"{row.criterion} {row.ratio:g}")
        right = f"{self.network}: {sum(not row.problem for row in self.rows)} of {len(self.rows)} right"
        below = [f"{', '.join(where)}: {what}" for what, where in told.items() if what]
        return tables.table(
            [("", *column) for column in zip(heads, *(row.cells() for row in self.rows))], [right], below, names=9
        )

    def to_json(self) -> str:
        """All of it as a JSON object, with the names of the attributes and ``ok``."""
        return json.dumps({**asdict(self), "ok": self.ok})


def check(
    network: paddle.nn.Layer,
    inputs: Any,
    ratios: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
    criteria: Sequence[Any] = ("l1_norm", "l2_norm", "fpgm"),
    *,
    verbose: int = 1,
) -> CheckReport:
    """Prune ``network`` at each ratio by each criterion, verify the result in every respect, and restore it each time.

    Each time: a step of training, the cut, the comparison with the masked network at numbers that the cut was not
    tried with, another step, a second cut half way to nothing with its comparison, and an export.

    Args:
        network: any ``paddle.nn.Layer``; afterwards it is what it was, bitwise, and the report says so.
        inputs: an example input, as for `prune`.
        ratios: the shares of the filters to remove, each in [0, 1).
        criteria: as for `prune`.
        verbose: 1 for a progress bar, where there is a terminal.

    Returns:
        A row for each criterion and ratio. What goes wrong with the network stands there and is not raised.

    Raises:
        PruneError: a ratio or a criterion that is none.

    Example:
        >>> import paddle
        >>> from hapi_prune import check
        >>> report = check(paddle.vision.models.LeNet(), [1, 1, 28, 28], ratios=[0.5], criteria=["l1_norm"])
        >>> report.ok, report.rows[0].removed
        (True, 0.5)
    """
    cases = [(Options(criterion), share_of(ratio, "check(ratios=...)")) for criterion in criteria for ratio in ratios]
    tensors, rows = tensors_of(network).values(), list[CheckRow]()
    before = [np.array(tensor.numpy()) for tensor in tensors]
    with bars(bool(verbose)), progress("cut", len(cases)) as at:
        for case in cases:
            at(len(rows))
            with everything(network):
                rows.append(examined(network, inputs, *case))
    same = all(tensor.numpy().tobytes() == array.tobytes() for tensor, array in zip(tensors, before))
    return CheckReport(type(network).__name__, tuple(rows), same)


def examined(network: paddle.nn.Layer, inputs: Any, options: Options, ratio: float) -> CheckRow:
    """One row: the results of the stages, up to the first problem."""
    start = time.perf_counter()
    row = CheckRow(str(getattr(options.criterion, "__name__", options.criterion)), ratio)
    try:
        for found in stages(network, inputs, options, ratio):
            row = replace(row, **found)
    except Exception as error:  # whatever goes wrong is what the report is for
        told = f"{error.where}: {error.got}" if isinstance(error, PruneError) else gist(error)
        stays: dict[str, Any] = {"step": None, "again": None, "export": None, "note": told}
        row = replace(row, **(stays if isinstance(error, NothingToPruneError) else {"problem": told}))
    return replace(row, seconds=time.perf_counter() - start)


def stages(network: paddle.nn.Layer, inputs: Any, options: Options, ratio: float) -> Iterator[dict[str, Any]]:
    """The result of each stage, as fields of a row; a stage that fails raises."""
    pruner = Pruner(network, inputs, options)
    pruner.goal(ratio)
    given, trained = pruner.channel_map.example, [p for p in network.parameters() if not p.stop_gradient]
    clip = paddle.nn.ClipGradByGlobalNorm(1.0)  # small steps: the network is to stay a network
    optimizer = paddle.optimizer.Momentum(1e-3, parameters=trained, grad_clip=clip) if trained else None
    try:
        step(network, given, optimizer)
    except Exception:  # the dense network is not one to train
        optimizer = None
    yield dict(zip(("removed", "difference"), cut_and_compare(pruner, ratio, optimizer)))
    step(network, given, optimizer)
    yield {"step": True if optimizer else None}
    cut_and_compare(pruner, ratio + (1 - ratio) / 2, optimizer)
    step(network, given, optimizer)
    yield {"again": True}
    verify_outputs.compare(exported(network, given), verify_outputs.outputs(Inventory.of(network), given, False), True)
    yield {"export": True}


def cuttable(
    channel_map: ChannelMap, ratio: Any, options: Options, aim: Aim | None = None
) -> tuple[Goal, PruningPlan, Proven | None]:
    """The plan that can be cut, found as `Pruner.cut` finds it, and the verified cut; None if nothing would be removed.

    Groups that cannot be cut are remembered. Nothing is cut. ``aim``: that of the options, with what was measured.
    """
    aim, criterion = aim or options.aim, as_criterion(options.criterion)

    def choose() -> tuple[Goal, PruningPlan]:
        wanted = goal(channel_map, ratio, options.skip, options.linears)
        scores = GroupScores(channel_map, channel_map.tensors, wanted, criterion)
        return wanted, select(channel_map, scores, wanted, options.limits, aim)

    return until_it_holds(channel_map, choose, lambda plan: rehearse(channel_map, plan), options.skip)


def cut_and_compare(pruner: Pruner, ratio: float, optimizer: Any) -> tuple[float, float | None]:
    """Cut, and compare with the masked network: the share removed, and the difference if the cut is an exact one."""
    channel_map, groups = pruner.channel_map, pruner.channel_map.groups
    network, given = channel_map.network, channel_map.example
    _, plan, _ = cuttable(channel_map, ratio, pruner.options)
    with everything(network):
        mask(channel_map, plan)
        theirs = seen(network, given)
    record = pruner.cut(ratio, optimizer)
    ours = seen(network, given)
    if any(groups[key].approximate for key in plan.kept) or record.verified != VALUES:
        return record.ratio, None
    verify_outputs.compare(ours[0], theirs[0], exact=True)
    # In training mode only where chance has no part (two seeds), and as far as the network holds still (noise).
    allowed = max(verify_outputs.TRAINING_TOLERANCE, 10 * apart(theirs[3], theirs[1]))
    off = apart(ours[1], theirs[1])
    if apart(theirs[1], theirs[2]) == 0 and not off <= allowed:
        text = f"changes what it returns in training mode by {off:.1e}"
        raise verify_outputs.Refused(Reason(ReasonKind.OTHER_VALUES, text))
    return record.ratio, apart(ours[0], theirs[0])


def mask(channel_map: ChannelMap, plan: PruningPlan) -> None:
    """Zero what ``plan`` removes, computed from the groups and not by way of the `Cut` that is being checked."""
    tensors, arrays = channel_map.tensors, dict[str, Array]()
    for key, kept in plan.kept.items():
        for (name, axis), index in channel_map.groups[key].index.items():
            gone = index[np.setdiff1d(np.arange(len(index)), kept)]
            np.moveaxis(arrays.setdefault(name, np.array(tensors[name].numpy())), axis, 0)[gone.ravel()] = 0
    for name, array in arrays.items():
        resize(tensors[name], array)


def seen(network: paddle.nn.Layer, given: Example) -> list[list[Array]]:
    """What the network returns in evaluation mode and, with two seeds and with noise, in training mode."""
    found = []
    for training, seed, noise in ((False, 0, 0.0), (True, 0, 0.0), (True, 1, 0.0), (True, 0, 1e-6)):
        for start in (paddle.seed, np.random.seed, random.seed):
            start(seed)
        leaves = list(given.leaves)
        for index, leaf in enumerate(leaves):
            if leaf.is_floating_point():  # other numbers than those that the cut was verified on
                factor = np.random.RandomState(1).uniform(0.5, 1.5, leaf.shape) + noise
                leaves[index] = leaf * paddle.to_tensor(factor).astype(leaf.dtype)
        found.append(verify_outputs.outputs(Inventory.of(network), replace(given, leaves=leaves), training))
    return found


def apart(ours: Sequence[Array], theirs: Sequence[Array]) -> float:
    """The largest difference, relative to the largest output; the shapes are the same."""
    pairs = [(one, other) for one, other in zip(ours, theirs) if other.size]
    return max((float(np.abs(one - other).max() / (np.abs(other).max() or 1)) for one, other in pairs), default=0.0)


def step(network: paddle.nn.Layer, given: Example, optimizer: Any) -> None:
    """A step of training, if there is anything to train; the gradients are there and have the right shapes."""
    if optimizer is None:
        return
    optimizer.clear_grad()
    args, kwargs = given.rebuilt(given.leaves)
    with training_flags(named_layers(network).values(), True), quiet():
        leaves = [leaf for leaf in paddle.utils.flatten(network(*args, **kwargs)) if isinstance(leaf, paddle.Tensor)]
    sum(leaf.square().mean() for leaf in leaves if not leaf.stop_gradient).backward()
    grads = {name: tensor for name, tensor in network.named_parameters() if tensor.grad is not None}
    wrong = [name for name, tensor in grads.items() if tensor.grad.shape != tensor.shape]
    if wrong or not any(tensor.grad.any() for tensor in grads.values()):
        text = f"no gradients to train with, or of a wrong shape: {wrong}"
        raise verify_outputs.Refused(Reason(ReasonKind.OTHER_VALUES, text))
    optimizer.step()
    optimizer.clear_grad()


def exported(network: paddle.nn.Layer, given: Example) -> list[Array]:
    """What the network returns after it was saved as a program and loaded again."""
    specs = [InputSpec(list(leaf.shape), leaf.dtype) for leaf in given.leaves]
    with tempfile.TemporaryDirectory() as folder, training_flags(named_layers(network).values(), False), quiet():
        save_program(network, given, f"{folder}/network", specs)
        loaded = paddle.jit.load(f"{folder}/network")
        loaded.eval()
        return [leaf.astype("float32").numpy() for leaf in paddle.utils.flatten(loaded(*given.leaves))]
