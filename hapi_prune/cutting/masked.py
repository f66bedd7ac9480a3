"""The masked network, which the cut one must match: of its old size, with all that the cut removes set to zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from ..analysis.channel_map import ChannelMap
from ..errors import PruneError, gist
from ..plan import Array, Axis, Cut
from . import surgery, verify_outputs

SCALED_BY = {"batch_norm_": (3, 4), "instance_norm": (1, 2)}
"""Operations that scale and shift each channel, with the numbers of the operands that are scale and shift."""

STATISTICS = {"batch_norm_": (1, 2)}
"""The operands of such operations that a channel with a scale and shift of zero is zero without: mean and variance."""


class Masked:
    """What a network returns with everything that a cut removes set to zero.

    A channel behind a normalisation is zero if its scale and shift are, whatever the weights before and after it are.
    So the comparison is first made with only these set to zero: some thousand numbers, and not millions.

    Args:
        channel_map: the network, as it was before the cut.
        cut: what goes.

    Attributes:
        modes: the modes in which outputs are compared: evaluation (False) and, if it differs, training (True).
        lightly: whether only scales and shifts are set to zero, for channels that have them.
    """

    def __init__(self, channel_map: ChannelMap, cut: Cut) -> None:
        self._map, self._cut = channel_map, cut
        self.modes = (False, True) if verify_outputs.trains_otherwise(channel_map) else (False,)
        self.lightly = channel_map.scales_suffice and bool(self._scales.kept)

    @cached_property
    def _scales(self) -> Cut:
        """The part of the cut that has to be set to zero if zero scales are enough."""
        bare, idle = unscaled(self._map), {name for names in operands(self._map, STATISTICS) for name in names}
        flat = {name for name, shape in self._cut.before.items() if len(shape) == 1 and name not in idle}
        kept = {
            name: {axis: kept for axis, kept in axes.items() if name in flat or (name, axis) in bare}
            for name, axes in self._cut.kept.items()
        }
        return Cut(self._cut.before, {name: axes for name, axes in kept.items() if axes}, self._cut.numbers)

    def wholly(self) -> None:
        """From now on set everything to zero that the cut removes."""
        self.lightly = False
        vars(self).pop("outputs", None)

    @cached_property
    def outputs(self) -> dict[bool, list[Array]]:
        """The outputs of the masked network in each of `modes`.

        Raises:
            PruneError: it does not run, so it did not before either.
        """
        held, given = self._map.inventory(), self._map.tried_on
        try:
            with surgery.masked(held.tensors, self._scales if self.lightly else self._cut):
                return {mode: verify_outputs.outputs(held, given, mode) for mode in self.modes}
        except Exception as error:  # the user's forward may raise anything
            shapes = ", ".join(str(list(leaf.shape)) for leaf in self._map.example.leaves)
            raise PruneError(
                "inputs",
                f"the network does not run on {shapes} ({gist(error)})",
                "an input that it runs on",
                "give the shape of your data",
            ) from error


def operands(channel_map: ChannelMap, places: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, str]]:
    """The names of two operands of each operation in ``places``, which tells their numbers; empty for no tensor."""
    for program in {id(one): one for one in (channel_map.graph.training, channel_map.graph.evaluation)}.values():
        for op in (op for op in program.ops if op.name in places):
            one, other = (program.tensors.get(op.operands[place] or -1, "") for place in places[op.name])
            yield one, other


def unscaled(channel_map: ChannelMap) -> set[tuple[str, int]]:
    """The axes of all groups of channels that no normalisation scales and shifts."""
    shifts: dict[Axis, set[Axis]] = {}
    for scale, shift in operands(channel_map, SCALED_BY):
        shifts.setdefault((scale, 0), set()).add((shift, 0))
    return {
        axis
        for group in channel_map.groups.values()
        if not (group.frozen or any(shift in group.index for scale in group.index for shift in shifts.get(scale, ())))
        for axis in group.index
    }
