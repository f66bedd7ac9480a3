"""The pruners by PaddleSlim's names: what its methods are called and take, over the library's own pruner."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import paddle

from ..errors import PruneError
from ..selection.options import Options
from ..selection.ratios import share_of
from . import sensitivities
from .asked import asked_of, convolutions
from .engine import Engine
from .flops import typed
from .plan import PruningPlan
from .ratios_by_loss import by_flops, by_loss
from .said import say
from .sensitivities import Sensitivities

FILTER_DIM = [0]
"""The axis of a convolution's weight that its filters are on."""

MODES = {"impretive": False, "imperative": False, "lazy": True, None: None}
"""The first is PaddleSlim's spelling."""


class FilterPruner:
    """Prunes the filters of convolutions that are named by Paddle's names of their weights.

    A pruner for a criterion of your own inherits from this class, with ``criterion = staticmethod(function)``; see
    `hapi_prune.Criterion`.

    Args:
        model: the network, trained or not.
        inputs: a shape, several shapes, or the arguments of ``model.forward`` as a list.
        sen_file: sensitivities that were measured before, see `sensitive`.
        opt: an optimizer over the network's parameters; its state goes along with every cut.
        skip_leaves: leave alone what feeds an output of the network, which this library always does.
        optimizer: the same as ``opt``.
        prune_type: ``"conv"``; Linears are pruned by `hapi_prune.prune`.
        input_dtype: the type of the inputs that are given by their shapes.
        num_head: -1; heads of attention are not pruned one by one.

    Attributes:
        model, inputs, opt: as given.
        skip_vars: variables that are left out wherever they are named; add to it what you like.
        plan: the last plan that was made; None before the first.

    Raises:
        PruneError: the network cannot be traced, or the file is none of sensitivities.

    Example:
        >>> import numpy as np, paddle
        >>> class Largest(FilterPruner):
        ...     criterion = staticmethod(lambda weight: np.abs(weight).reshape(len(weight), -1).max(axis=1))
        >>> network = paddle.vision.models.LeNet()
        >>> plan = Largest(network, [1, 1, 28, 28]).prune_var("features.0.weight", 0, 0.5)
        >>> network.features[0].weight.shape[0]
        3
    """

    criterion: Any = "l1_norm"

    def __init__(
        self,
        model: paddle.nn.Layer,
        inputs: Any,
        sen_file: str | os.PathLike[str] | None = None,
        opt: Any = None,
        skip_leaves: bool = True,
        *,
        optimizer: Any = None,
        prune_type: str = "conv",
        input_dtype: str = "float32",
        num_head: int = -1,
    ) -> None:
        require_convolutions(prune_type, num_head)
        self.model, self.inputs, self.opt = model, inputs, optimizer if opt is None else opt
        self.skip_vars: list[str] = []
        self.plan: PruningPlan | None = None
        self._engine = Engine(model, typed(inputs, input_dtype), Options(self.criterion))
        self._sensitivities: Sensitivities = {} if sen_file is None else sensitivities.load(sen_file)
        if not skip_leaves:
            say(["skip_leaves=False changes nothing: an output of the network keeps its size"])

    def __init_subclass__(cls) -> None:
        if "cal_mask" in vars(cls):
            allowed = "criterion = staticmethod(function), which scores a weight [filters, ...]"
            todo = "let a function return what cal_mask ranked the filters by, higher is kept"
            raise PruneError(f"class {cls.__name__}", "cal_mask, which is not called here", allowed, todo)

    def prune_var(
        self, var_name: str, pruned_axis: int | Sequence[int], pruned_ratio: float, apply: str | None = "impretive"
    ) -> PruningPlan:
        """Prune one convolution, with all layers that can only shrink together with it.

        Args:
            var_name: Paddle's name of its weight, or the structured one.
            pruned_axis: 0 or ``[0]``, the filters.
            pruned_ratio: the share of the filters to remove, of those that there were when the pruner was made.
            apply: ``"impretive"`` removes them, ``"lazy"`` sets them to zero, None does nothing yet.

        Returns:
            The plan, to apply and to restore. It is empty where the filters must stay, which a warning tells.

        Raises:
            PruneError: a name that the network does not have, another axis, or a ratio that is not in [0, 1).
        """
        return self.prune_vars({var_name: pruned_ratio}, pruned_axis, apply)

    def prune_vars(
        self, ratios: Mapping[str, float], axis: int | Sequence[int], apply: str | None = "impretive"
    ) -> PruningPlan:
        """Prune several convolutions at once.

        Of layers that can only shrink together the one that is named first decides: its ratio holds for all of them,
        and its filters are scored. What is named and stays, or follows at another ratio, is told by a warning.

        Args:
            ratios: for each variable the share of its filters to remove, of those that there were when the pruner was
                made. Parameters without filters of their own, as biases, may be among them.
            axis: 0 or ``[0]``, the filters.
            apply: as for `prune_var`.

        Returns:
            The plan, to apply and to restore.

        Raises:
            PruneError: as `prune_var`.
        """
        require_filters(axis)
        if apply not in MODES:
            raise PruneError("prune_vars(apply=...)", f"{apply!r:.80}", "'impretive', 'lazy' or None")
        shares = {str(name): share_of(share, f"ratios, {name!r}") for name, share in ratios.items()}
        lazy, plan = MODES[apply], PruningPlan(self._engine, asked_of(self._engine, shares, self.skip_vars), self.opt)
        if lazy is None:
            plan.decide()
        else:
            plan.apply(self.model, lazy)
        self.plan = plan
        return plan

    def restore(self) -> None:
        """Put back what the last plan took."""
        if self.plan is not None:
            self.plan.restore(self.model)

    def sensitive(
        self,
        eval_func: Callable[[], Any] | None = None,
        sen_file: str | os.PathLike[str] | None = None,
        target_vars: Iterable[str] | None = None,
        skip_vars: Iterable[str] = (),
    ) -> Sensitivities:
        """Measure how much of a metric goes with 10%, 20%, ... 90% of each variable's filters.

        Args:
            eval_func: evaluates the network; returns a number that is higher where the network is better.
            sen_file: written after each evaluation, so that an interrupted measurement goes on from there.
            target_vars: what to measure; None for the weights of all convolutions. Of layers that can only shrink
                together the first is measured.
            skip_vars: what not to measure.

        Returns:
            ``{variable: {ratio: share of the metric lost}}``; without arguments, what is known by now.

        Raises:
            PruneError: a function that returns no number or, for the whole network, 0; a file that is no such file.
        """
        if sen_file is not None and (eval_func is None or os.path.isfile(sen_file)):
            for variable, losses in sensitivities.load(sen_file).items():
                self._sensitivities.setdefault(variable, {}).update(losses)
        if eval_func is not None:
            skipped = {*skip_vars, *self.skip_vars}
            named = convolutions(self._engine) if target_vars is None else [str(name) for name in target_vars]
            self._measure(eval_func, sen_file, [name for name in named if name not in skipped])
        return self._sensitivities

    def _measure(
        self, evaluate: Callable[[], Any], sen_file: str | os.PathLike[str] | None, named: Sequence[str]
    ) -> None:
        asked = asked_of(self._engine, dict.fromkeys(named, 0.5))
        say(self._engine.decide(asked)[1])  # what must stay is found out once, and not measured
        for variable, ratio, loss in sensitivities.measured(self._engine, evaluate, asked, self._sensitivities):
            self._sensitivities.setdefault(variable, {})[ratio] = loss
            if sen_file is not None:
                sensitivities.save(sen_file, self._sensitivities)

    def _get_ratios_by_loss(
        self, sensitivities: Mapping[str, Mapping[float, float]], loss: float, skip_vars: Iterable[str] = ()
    ) -> dict[str, float]:
        """The largest ratio of each variable that loses no more than this: PaddleOCR's pruning script asks for it."""
        return by_loss({name: found for name, found in sensitivities.items() if name not in {*skip_vars}}, loss)

    def get_ratios_by_sensitivity(
        self,
        pruned_flops: float,
        align: int | None = None,
        dims: int | Sequence[int] = (0,),
        skip_vars: Iterable[str] = (),
    ) -> tuple[dict[str, float], float]:
        """The ratios that remove a share of the FLOPs, each variable's by the same loss of the metric.

        Args:
            pruned_flops: the share of the FLOPs to remove, in (0, 1).
            align: let the number of filters that stay be a multiple of this.
            dims: 0 or ``[0]``, the filters.
            skip_vars: variables to leave out.

        Returns:
            ``{variable: ratio}``, and the share of the FLOPs that is removed with them. Nothing is changed.

        Raises:
            PruneError: no sensitivities are known, or a share or an axis that is none.
        """
        require_filters(dims)
        share_of(pruned_flops, "pruned_flops")
        known = {name: found for name, found in self._sensitivities.items() if name not in {*skip_vars}}
        if not known:
            raise PruneError("pruner", "no sensitivities are known", todo="call pruner.sensitive, or give sen_file=...")
        return by_flops(self._engine, known, pruned_flops, align)

    def sensitive_prune(
        self, pruned_flops: float, skip_vars: Iterable[str] = (), align: int | None = None
    ) -> PruningPlan:
        """Restore what was pruned before, and prune by `get_ratios_by_sensitivity`.

        Args:
            pruned_flops: the share of the FLOPs to remove, in (0, 1).
            skip_vars: variables to leave out.
            align: let the number of filters that stay be a multiple of this.

        Returns:
            The plan, applied.

        Raises:
            PruneError: as `get_ratios_by_sensitivity`.
        """
        self.restore()
        return self.prune_vars(self.get_ratios_by_sensitivity(pruned_flops, align, 0, skip_vars)[0], 0)


def require_filters(axis: int | Sequence[int]) -> None:
    """Raise a PruneError if ``axis`` is not that of the filters."""
    if (list(axis) if isinstance(axis, (list, tuple)) else [axis]) != FILTER_DIM:
        todo = "name the convolution whose filters these channels are"
        raise PruneError("axis", f"{axis!r:.80}", "0 or [0], the filters", todo)


def require_convolutions(prune_type: str, num_head: int) -> None:
    """Raise a PruneError if anything else than convolutions is to be pruned."""
    if prune_type != "conv" or num_head != -1:
        got, todo = (
            f"prune_type={prune_type!r}, num_head={num_head}",
            'call hapi_prune.prune(network, inputs, {"fc": 0.5})',
        )
        raise PruneError("FilterPruner", got, "prune_type='conv' and num_head=-1", f"to shrink a Linear, {todo}")
