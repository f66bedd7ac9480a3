"""What was measured of how much accuracy each layer costs, and a scope that spends it where it is least missed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..criteria.filters import Scores
from ..errors import PruneError
from ..plan import ChannelGroup
from ..plan.json_reader import Reader, each, entries, made, number, text
from ..reporting import tables
from ..reporting.plots import heat_picture
from ..selection.scopes import Curve, Importances

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = 1
SLOPE = 1e-6
"""Added to an importance over the whole of a group, so that layers whose removal costs nothing all lose alike."""


@dataclass(frozen=True)
class SensitivityRow:
    """How much accuracy it costs to remove a share of one group, or of a family of groups that shrink together.

    Attributes:
        layers: structured names of the layers whose filters go together.
        keys: names of the channel groups.
        ratios: the shares removed, ascending, each in (0, 1).
        lost: how much the metric falls at each of them; below 0 where it rises.

    Example:
        >>> from hapi_prune import SensitivityRow
        >>> SensitivityRow(("conv1",), ("conv1.weight",), (0.2, 0.4), (0.0, 0.1)).at(0.3)
        0.05
    """

    layers: tuple[str, ...]
    keys: tuple[str, ...]
    ratios: tuple[float, ...]
    lost: tuple[float, ...]

    def at(self, ratio: float) -> float:
        """How much the metric falls at a ratio between those that were measured.

        Args:
            ratio: a share, in [0, 1].

        Returns:
            Interpolated, from 0 at no removal; beyond the last one as there.
        """
        return round(float(np.interp(ratio, (0.0, *self.ratios), (0.0, *self.lost))), 12)


@dataclass(frozen=True)
class Sensitivity:
    """How much accuracy each layer costs, as `sensitivity` measured it. ``print`` shows it as a table.

    Attributes:
        metric: what was measured, as in ``"acc_top1"``.
        dense: the metric of the network as it is.
        rows: one for each group that can shrink, or family of groups, in the order of the network.

    Example:
        >>> from hapi_prune import Sensitivity, SensitivityRow
        >>> found = Sensitivity("acc", 0.9, (SensitivityRow(("conv1",), ("conv1.weight",), (0.5,), (0.125,)),))
        >>> Sensitivity.from_json(found.to_json()) == found
        True
        >>> print(found.table().splitlines()[-2])
        conv1                     0.1250
    """

    metric: str
    dense: float
    rows: tuple[SensitivityRow, ...] = field(default_factory=tuple)

    def __str__(self) -> str:
        """The table: for each group how much the metric falls at each ratio."""
        return self.table()

    def table(self) -> str:
        """The table as text, a line for each group; layers that share a line only shrink together."""
        ratios, names = self._ratios, [tables.clip(" + ".join(row.layers), 44) for row in self.rows]
        columns: list[tables.Column] = [("", "layers", *names)]
        for ratio in ratios:
            lost = [row.lost[row.ratios.index(ratio)] if ratio in row.ratios else None for row in self.rows]
            columns.append(("lost", tables.percent(ratio), *map(tables.number, lost)))
        above = [f"{self.metric}: {tables.number(self.dense)} of the dense network, and lost without a share of"]
        return tables.table(columns, above, names=24)

    @property
    def _ratios(self) -> list[float]:
        return sorted({ratio for row in self.rows for ratio in row.ratios})

    def plot(self, path: str | os.PathLike[str] | None = None) -> Image:
        """The table as a picture: a line for each group, darker where more is lost.

        Args:
            path: where to save it, if anywhere; the suffix says as what (``.png``).

        Returns:
            The picture, as PIL has it; notebooks show it.
        """
        names = [" + ".join(row.layers) for row in self.rows]
        values = [[row.at(ratio) if row.ratios else 0.0 for ratio in self._ratios] for row in self.rows]
        image = heat_picture(f"{self.metric} lost when a share of one layer is removed", names, self._ratios, values)
        if path is not None:
            image.save(path)
        return image

    def to_json(self) -> str:
        """The table as JSON; `from_json` gives an equal one back."""
        return json.dumps({"version": VERSION, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Sensitivity:
        """The table that `to_json` wrote.

        Args:
            text: what it wrote.

        Returns:
            An equal table.

        Raises:
            PruneError: the text is damaged, or is something else.
        """
        try:
            data = json.loads(text)
            if not isinstance(data, dict) or data.pop("version", None) != VERSION:
                raise ValueError("no version")
            found = _READ(data)
        except (ValueError, TypeError, RecursionError) as error:
            allowed = f"JSON of version {VERSION}, as Sensitivity.to_json writes it"
            raise PruneError("Sensitivity.from_json", f"not readable ({str(error)[:200]})", allowed) from error
        return cls(**found)

    @classmethod
    def from_paddleslim(cls, losses: Mapping[str, Mapping[float, float]], network: Any) -> Sensitivity:
        """The table that PaddleSlim's ``sensitive`` measured.

        Args:
            losses: ``{parameter's name: {ratio: share of the accuracy lost}}``; names as Paddle gave them
                (``"conv2d_3.w_0"``) or structured ones.
            network: the network; its parameters must have the names that they had then.

        Returns:
            A row for each parameter; `dense` is 1, as PaddleSlim's losses are shares.

        Raises:
            PruneError: a name that is none of the network's.
        """
        names = {parameter.name: name for name, parameter in network.named_parameters()}
        rows = []
        for given, lost in losses.items():
            name = names.get(given, given)
            if name not in names.values():
                todo = "make the network in the way, and in the place of the program, in which it was made then"
                raise PruneError("Sensitivity.from_paddleslim", f"{given!r}", "parameters of this network", todo)
            ratios = sorted(float(ratio) for ratio in lost)
            by_ratio = {float(ratio): float(loss) for ratio, loss in lost.items()}
            layer = name.rpartition(".")[0] or name
            rows.append(SensitivityRow((layer,), (name,), tuple(ratios), tuple(by_ratio[r] for r in ratios)))
        return cls("accuracy", 1.0, tuple(rows))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Sensitivity:
        """The table in a file, as `sensitivity` writes it.

        Args:
            path: of the file.

        Returns:
            The table.

        Raises:
            PruneError: the file is damaged.
            OSError: there is no such file.
        """
        with open(path, encoding="utf-8") as file:
            return cls.from_json(file.read())


@dataclass(frozen=True)
class BySensitivity:
    """A scope by a measured table: all layers lose as much as costs the same accuracy.

    Args:
        table: a `Sensitivity`, or the path of a file with one. A group that it does not know stays.

    Attributes:
        name: ``"sensitivity"``.

    Example:
        >>> import paddle
        >>> from hapi_prune import BySensitivity, Sensitivity, SensitivityRow, prune
        >>> robust = SensitivityRow(("features.0",), ("features.0.weight",), (0.5,), (0.0,))
        >>> tender = SensitivityRow(("features.3",), ("features.3.weight",), (0.5,), (0.2,))
        >>> scope = BySensitivity(Sensitivity("acc", 0.9, (robust, tender)))
        >>> network = paddle.vision.models.LeNet()
        >>> prune(network, [1, 1, 28, 28], 0.3, target="flops", scope=scope).widths
        {'features.0': (6, 4), 'features.3': (16, 15)}

    Source: Li, Kadav, Durdanovic, Samet, Graf, "Pruning Filters for Efficient ConvNets" (2017), section 3.2, which
    prunes more of the layers that are less sensitive.
    """

    table: Sensitivity | str | os.PathLike[str]
    name = "sensitivity"

    def __post_init__(self) -> None:
        if isinstance(self.table, (str, os.PathLike)):
            object.__setattr__(self, "table", Sensitivity.load(self.table))
        if not isinstance(self.table, Sensitivity):
            raise PruneError(
                "BySensitivity(table=...)", f"{self.table!r:.80}", "a Sensitivity, or the path of its JSON"
            )

    def __call__(
        self, groups: Mapping[str, ChannelGroup], scores: Mapping[str, Scores], costs: Mapping[str, float]
    ) -> Mapping[str, Importances]:
        """For each group a function from the share removed to the accuracy that it costs.

        Args:
            groups: the groups that may shrink.
            scores: not looked at.
            costs: not looked at.

        Returns:
            A function for each group that the table knows, by its key or by a convolution whose filters it holds.

        Raises:
            PruneError: it knows none of them.
        """
        assert isinstance(self.table, Sensitivity)
        rows: dict[str, list[SensitivityRow]] = {}
        for row in self.table.rows:
            for key in groups:
                if key in row.keys or any((name, 0) in groups[key].index for name in row.keys):
                    rows.setdefault(key, []).append(row)
        if not rows:
            raise PruneError("BySensitivity", "a table of other layers", "one of this network", "measure it anew")
        return {key: _curve(found) for key, found in rows.items()}


def _curve(rows: list[SensitivityRow]) -> Curve:
    """What it costs to remove each share of a group: the most that any row says, never falling, rising at the end."""

    def curve(shares: Any) -> npt.NDArray[np.float64]:
        shares = np.asarray(shares, dtype=np.float64)
        importances = np.zeros(len(shares))
        for row in rows:
            ratios, lost = np.array((0.0, *row.ratios)), np.maximum.accumulate((0.0, *row.lost))
            beyond = np.clip(shares - ratios[-1], 0, None) * max(lost[-1] / ratios[-1], SLOPE) * 2
            importances = np.maximum(importances, np.interp(shares, ratios, lost) + beyond)
        return np.asarray(importances + SLOPE * shares)

    return curve


_ROW: dict[str, Reader] = {"tuple[str, ...]": each(text), "tuple[float, ...]": each(number)}
_READ = entries(metric=text, dense=number, rows=each(made(SensitivityRow, _ROW)))
