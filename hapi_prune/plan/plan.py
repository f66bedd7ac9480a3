"""Groups, plans and cuts as frozen data: what belongs together, what is kept, what was taken away."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import PruneError
from .json_reader import checked, each, named, whole

Index = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
Axis = tuple[str, int]
"""One axis of one tensor of the network: ``(structured name, axis)``, as in ``("features.0.weight", 0)``."""


class ReasonKind(enum.Enum):
    """What a `Reason` is about. Programs branch on this, and never on the words.

    Attributes:
        OUTPUT: the filters are an output of the network.
        STRUCTURE: an operation needs exactly these channels, as one that picks them by number does.
        NOT_FOLLOWED: they reach an operation that has no rule, or one that its rule cannot follow.
        MIXED: channels are mixed non-linearly, as by a LayerNorm; only ever a reason to be approximate.
        DOES_NOT_RUN, OTHER_VALUES, OTHER_SIZES, OTHER_RANK: the cut was tried, and the network did not run, computed
            other values than the masked one, had other sizes than planned, or did not hold on another rank.
        PROTECTED: the user has protected the layer with ``skip``.
        SINGLE_UNIT, MINIMUM: there is one unit only, or no more than ``min_filters``.
        NO_FIT, DEPENDS: no smaller size fits the splits on the way; or it depends on other channels, which stay.
        UNUSED: the layer is not used in the forward pass.

    Example:
        >>> from hapi_prune import ReasonKind
        >>> ReasonKind("output")
        <ReasonKind.OUTPUT: 'output'>
    """

    OUTPUT = "output"
    STRUCTURE = "structure"
    NOT_FOLLOWED = "not followed"
    MIXED = "mixed"
    DOES_NOT_RUN = "does not run"
    OTHER_VALUES = "other values"
    OTHER_SIZES = "other sizes"
    OTHER_RANK = "other rank"
    PROTECTED = "protected"
    SINGLE_UNIT = "single unit"
    MINIMUM = "minimum"
    NO_FIT = "no fit"
    DEPENDS = "depends"
    UNUSED = "unused"


@dataclass(frozen=True)
class Reason:
    """Why filters stay, or why removing them is not the same as zeroing them.

    Attributes:
        kind: what it is about.
        text: the reason in words, to stand behind the name of a layer.
        op: the operation to blame, as in ``"conv2d"``; empty if there is none, or if the text says where it is.
        where: its place in the user's code, ``file:line``; empty if it is not known.

    Example:
        >>> from hapi_prune import Reason, ReasonKind
        >>> str(Reason(ReasonKind.STRUCTURE, "is told by its number", "argmax", "net.py:41"))
        "is told by its number, 'argmax' (net.py:41)"
    """

    kind: ReasonKind
    text: str
    op: str = ""
    where: str = ""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.text}, '{self.op}'{place}" if self.op else self.text


@dataclass(frozen=True)
class ChannelGroup:
    """Units (what is kept or removed as a whole) that touch the same axes, so that any number of them can be kept.

    Attributes:
        key: the group's name, after the first tensor that it touches; the same in every process.
        size: how many units there are.
        index: for each axis touched, the positions of each unit there, shape ``[size, m]``; m > 1 behind a flatten.
        approximate: why zeroing a unit is not the same as removing it; None where it is the same.
        frozen: why no unit can be removed; None where units can.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import ChannelGroup
        >>> index = {("conv.weight", 0): np.arange(8).reshape(8, 1), ("fc.weight", 0): np.arange(32).reshape(8, 4)}
        >>> group = ChannelGroup("conv.weight", 8, index)
        >>> group.index["fc.weight", 0][1].tolist()  # behind a flatten, channel 1 is four rows of the Linear
        [4, 5, 6, 7]
    """

    key: str
    size: int
    index: Mapping[Axis, Index]
    approximate: Reason | None = None
    frozen: Reason | None = None


_units = each(whole)
_KEPT = named(lambda data: checked(lambda units: sorted(set(units)) == list(units), "ascending numbers")(_units(data)))


@dataclass(frozen=True)
class PruningPlan:
    """Which units are kept, for each channel group that loses some. The empty plan is falsy, and changes nothing.

    Attributes:
        kept: ``{group key: units kept}``, from 0, ascending, at least one; a group that is not named keeps all.

    Example:
        >>> from hapi_prune import PruningPlan
        >>> plan = PruningPlan({"conv1.weight": (0, 2, 5)})
        >>> plan.to_json()
        '{"conv1.weight": [0, 2, 5]}'
        >>> PruningPlan.from_json(plan.to_json()) == plan
        True
    """

    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.kept)

    def to_json(self) -> str:
        """The plan as a JSON object ``{group key: [units kept]}``."""
        return json.dumps({key: list(kept) for key, kept in self.kept.items()})

    @classmethod
    def from_json(cls, text: str) -> PruningPlan:
        """The plan that `to_json` wrote.

        Args:
            text: what it wrote.

        Returns:
            An equal plan.

        Raises:
            PruneError: the text is not a JSON object of lists of unit numbers.
        """
        allowed = "a JSON object of ascending unit numbers by group key, as PruningPlan.to_json writes it"
        try:
            return cls(_KEPT(json.loads(text)))
        except (ValueError, RecursionError) as error:
            raise PruneError("PruningPlan.from_json", f"not a plan ({error})", allowed) from error


@dataclass(frozen=True)
class Cut:
    """What a plan removed, as ``PruneCallback(..., on_cut=...)`` is told: which positions of which tensors are kept.

    Attributes:
        before: shape of each touched tensor before the cut, by structured name.
        kept: ``{structured name: {axis: positions kept}}``; the order is the order in the new tensor.
        numbers: what stands, after the cut, in the buffers among these that pick channels by their number.

    Example:
        >>> import numpy as np
        >>> from hapi_prune import Cut
        >>> cut = Cut({"conv.weight": (4, 3, 3, 3)}, {"conv.weight": {0: np.array([0, 2])}})
        >>> cut.after("conv.weight")
        (2, 3, 3, 3)
        >>> cut.apply_to({"conv.weight": np.ones([4, 3, 3, 3]), "steps": 100})["conv.weight"].shape
        (2, 3, 3, 3)
    """

    before: Mapping[str, tuple[int, ...]]
    kept: Mapping[str, Mapping[int, Index]]
    numbers: Mapping[str, Index] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.kept)

    def after(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor after the cut.

        Args:
            name: structured name of a tensor that was cut.

        Returns:
            Its sizes now.
        """
        sizes = list(self.before[name])
        for axis, positions in self.kept[name].items():
            sizes[axis] = len(positions)
        return tuple(sizes)

    def gather(self, name: str, array: Array, lead: int = 0) -> Array:
        """The part of ``array`` that stays, for an array that mirrors tensor ``name``.

        Args:
            name: the tensor that the array mirrors.
            array: shape ``[*any, *before[name]]``.
            lead: how many leading axes ``any`` has.

        Returns:
            A contiguous array of shape ``[*any, *after(name)]``.
        """
        if name in self.numbers:
            return self.numbers[name].astype(array.dtype)
        for axis, positions in self.kept[name].items():
            array = np.take(array, positions, axis=axis + lead)
        return np.ascontiguousarray(array)

    def apply_to(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of ``state`` that fits the network after the cut, for whatever mirrors it: an average, a teacher.

        Args:
            state: arrays or Tensors under the names of the network's ``state_dict``, shaped as before the cut;
                entries under other names are left as they are.

        Returns:
            The same names; arrays and Tensors that were cut are new objects, the others the same.

        Raises:
            PruneError: an entry that was not shaped as the network's own was.
        """
        result = dict(state)
        for name in self.kept.keys() & state.keys():
            value = state[name]
            if tuple(value.shape) != self.before[name]:
                raise PruneError(
                    f"Cut.apply_to, entry {name!r}", f"shape {list(value.shape)}", f"{list(self.before[name])}"
                )
            array = self.gather(name, value if isinstance(value, np.ndarray) else value.numpy())
            if not isinstance(value, np.ndarray):
                import paddle

                array = paddle.to_tensor(array, place=value.place, stop_gradient=value.stop_gradient)
            result[name] = array
        return result


def ascending(units: Sequence[int] | Index) -> tuple[int, ...]:
    """Unit numbers as a plan holds them."""
    found: list[int] = np.sort(np.asarray(units, dtype=np.int64)).tolist()
    return tuple(found)
