"""What a pruner has decided, as PaddleSlim's users handle it: applied, masked, restored, printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from ..cutting.undo_log import UndoLog
from ..errors import PruneError
from ..plan import Cut
from ..plan import PruningPlan as Units
from .engine import Engine
from .said import say

LAZY, CUT = "lazy", "cut"


@dataclass(frozen=True, eq=False)
class PruningMask:
    """What stays of one axis of one variable.

    Attributes:
        dims: the axis.
        mask: 1 for what stays and 0 for what goes, by position.
        ratio: the share of the axis that goes.

    Example:
        >>> import numpy as np
        >>> PruningMask(0, np.array([1, 0, 1, 1]), 0.25).ratio
        0.25
    """

    dims: int
    mask: npt.NDArray[np.int64]
    ratio: float


class PruningPlan:
    """What `FilterPruner.prune_vars` decided. `apply` and `restore` may follow each other as often as you like.

    Args:
        engine: the network and what is known of it.
        ratios: what was asked of each variable.
        optimizer: the pruner's own, carried along where none is given; None for none.

    Attributes:
        ratios: what was asked.
        pruned_flops: the share of the FLOPs that the pruner found, which is gone with this plan.

    Example:
        >>> import paddle
        >>> from hapi_prune.paddleslim import L1NormFilterPruner
        >>> with paddle.utils.unique_name.guard():
        ...     network = paddle.vision.models.LeNet()
        >>> plan = L1NormFilterPruner(network, [1, 1, 28, 28]).prune_vars({"conv2d_0.w_0": 0.5}, axis=0)
        >>> network.features[0].weight.shape[0]
        3
        >>> print(plan)
        variable name   pruned ratio    pruned dims
        conv2d_0.w_0    0.5     0
        conv2d_0.b_0    0.5     0
        conv2d_1.w_0    0.5     1
        pruned FLOPs: 0.4...
        >>> plan.restore(network)
        >>> network.features[0].weight.shape[0]
        6
    """

    def __init__(self, engine: Engine, ratios: Mapping[str, float], optimizer: Any = None) -> None:
        self.ratios, self._engine, self._optimizer = dict(ratios), engine, optimizer
        self._units: Units | None = None
        self._cut = Cut({}, {})
        self._logs: list[UndoLog] = []
        self._applied = ""
        self.pruned_flops = 0.0

    @property
    def masks(self) -> dict[str, list[PruningMask]]:
        """What stays of each variable, by Paddle's name of it; empty before anything was chosen."""
        graph = self._engine.channel_map.graph
        found: dict[str, list[PruningMask]] = {}
        for name in (name for name in graph.shapes if name in self._cut.kept):  # in the order of the network
            for axis, positions in self._cut.kept[name].items():
                mask = np.zeros(self._cut.before[name][axis], dtype=np.int64)
                mask[positions] = 1
                if not mask.all():
                    found.setdefault(graph.paddle_names[name], []).append(
                        PruningMask(axis, mask, float(1 - mask.mean()))
                    )
        return found

    def contains(self, var_name: str, dims: int | None = None) -> bool:
        """Whether the plan makes a variable smaller.

        Args:
            var_name: Paddle's name of it.
            dims: at this axis; None for any.

        Returns:
            True if it does.
        """
        return any(dims in (None, mask.dims) for mask in self.masks.get(var_name, ()))

    def __str__(self) -> str:
        """A line for each variable that gets smaller, and the share of the FLOPs that goes."""
        rows = [(name, f"{one.ratio:.4g}", str(one.dims)) for name, masks in self.masks.items() for one in masks]
        lines = ["\t".join(row) for row in [("variable name", "pruned ratio", "pruned dims"), *rows]]
        return "\n".join([*lines, f"pruned FLOPs: {self.pruned_flops:.6g}"])

    def decide(self) -> None:
        """Choose the filters now, by the weights of now; nothing is changed."""
        if self._units is None:
            plan, notes = self._engine.decide(self.ratios, self._optimizer)
            say(notes)
            planned = self._engine.channel_map.plan_cut(plan)
            self._units, self._cut, self.pruned_flops = plan, planned.cut, self._engine.share_gone(planned)

    def apply(self, model: paddle.nn.Layer, lazy: bool = False, opt: Any = None, prune_type: str = "conv") -> None:
        """Remove the filters, or only set them to zero. What is applied already is not applied twice.

        Args:
            model: the network that the pruner was made for.
            lazy: set to zero what would go, and leave every shape as it is.
            opt: an optimizer whose state goes along; by default that of the pruner.
            prune_type: not looked at; the plan says what is pruned.

        Raises:
            PruneError: another network, one that was changed by other hands since, or one that is cut already
                and is to be masked.
        """
        self._require(model)
        wish = LAZY if lazy else CUT
        if self._applied == wish:
            return
        if self._applied == CUT:
            raise PruneError("plan.apply(lazy=True)", "the filters are gone already", todo="call plan.restore first")
        if lazy:
            self.decide()
            self._logs.append(self._engine.mask(self._cut))
        else:
            done = self._engine.perform(self.ratios, self._units, self._optimizer if opt is None else opt)
            say(done.record.notes)
            if self._units is None:
                self._units, self._cut, self.pruned_flops = done.record.plan, done.cut, 1 - done.record.flops_kept
            self._logs.append(done.undo_log)
        self._applied = wish

    def restore(self, model: paddle.nn.Layer, opt: Any = None) -> None:
        """Put back what `apply` took: weights, sizes and the optimizer's state, as they were then, bitwise.

        What was trained since in the tensors that were cut is gone with it, and so are later plans.

        Args:
            model: the network that the pruner was made for.
            opt: the optimizer, if it is another than the pruner's.

        Raises:
            PruneError: another network.
        """
        self._require(model)
        if self._logs and self._engine.take_back(self._logs[0], self._optimizer if opt is None else opt):
            say(["the optimizer's state that came up after the cut does not fit what was restored: it starts anew"])
        self._logs, self._applied = [], ""

    def _require(self, model: paddle.nn.Layer) -> None:
        if model is not self._engine.channel_map.network:
            got = f"a {type(model).__name__} that is not the pruner's"
            raise PruneError("plan (model)", got, "the network that the pruner was made for", "make a pruner for it")
