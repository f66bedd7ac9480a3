"""Groups, plans and cuts as frozen data: what belongs together, what is kept, what was taken away."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import PruneError
from .json_reader import checked, each, named, whole

Index = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
Axis = tuple[str, int]
"""One axis of one tensor of the network: ``(structured name, axis)``, as in ``("features.0.weight", 0)``."""


class ReasonKind(enum.Enum):
    """What a `Reason` is about. Code branches on this, and never on the words."""

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
        >>> str(Reason(ReasonKind.STRUCTURE, "is told by its number", "argmax", "net.py:41"))
        "is told by its number, 'argmax' (net.py:41)"
    """

    kind: ReasonKind
    text: str
    op: str = ""
    where: str = ""

    def __str__(self) -> str:
        if not self.op:
            return self.text
        return f"{self.text}, '{self.op}'" + (f" ({self.where})" if self.where else "")


@dataclass(frozen=True)
class ChannelGroup:
    """Units with the same footprint: they touch the same axes, so any number of them can be kept.

    Attributes:
        key: the footprint, the same in every process that builds the same network.
        size: how many units there are.
        index: for each axis that the group touches, the positions of each unit there, shape ``[size, m]``
            (m is more than 1 where a unit covers several positions, as behind a flatten).
        approximate: why zeroing a unit is not the same as removing it; None where it is the same.
        frozen: why no unit can be removed; None where units can.
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
    """For each group, the units kept, in ascending order. A group that is not named keeps all its units."""

    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.kept)

    def to_json(self) -> str:
        """The plan as a JSON object ``{group key: [units kept]}``."""
        return json.dumps({key: list(kept) for key, kept in self.kept.items()})

    @classmethod
    def from_json(cls, text: str) -> PruningPlan:
        """The plan that `to_json` wrote.

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
    """What a plan removed: for each tensor that shrank, its shape before and the positions kept on each axis.

    Attributes:
        before: shape of each touched tensor before the cut, by structured name.
        kept: ``{structured name: {axis: positions kept}}``; the order is the order in the new tensor.
        numbers: what stands, after the cut, in the buffers among these that pick channels by their number.
    """

    before: Mapping[str, tuple[int, ...]]
    kept: Mapping[str, Mapping[int, Index]]
    numbers: Mapping[str, Index] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.kept)

    def after(self, name: str) -> tuple[int, ...]:
        """Shape of tensor ``name`` after the cut."""
        kept = self.kept[name]
        return tuple(len(kept[axis]) if axis in kept else size for axis, size in enumerate(self.before[name]))

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


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs, per batch of the example input.

    Attributes:
        name: structured name of the layer; empty for what the network's own forward computes.
        kind: class name of the layer.
        flops: counted as `Cost.flops`.
        macs: counted as `Cost.macs`.
        params: elements of the layer's own parameters.
    """

    name: str
    kind: str
    flops: int
    macs: int
    params: int


@dataclass(frozen=True)
class Cost:
    """What a network costs at its example input.

    Attributes:
        flops: a multiply-add is one, a convolution's bias one per output, BatchNorm two per element: the
            convention of ``paddle.flops``.
        macs: multiply-adds of convolutions and matrix products only.
        params: every element of ``network.parameters()``, as ``paddle.summary`` totals it.
        trainable_params: the elements that an optimizer may change.
        layers: the same, by layer, in the order of ``network.named_sublayers()``.
        unknown: ops that no rule could count, so that a sum is never short in silence.
    """

    flops: int
    macs: int
    params: int
    trainable_params: int
    layers: tuple[LayerCost, ...] = ()
    unknown: tuple[str, ...] = ()


def ascending(units: Sequence[int] | Index) -> tuple[int, ...]:
    """Unit numbers as a plan holds them."""
    return tuple(sorted(int(unit) for unit in units))
