"""One operation of the traced network, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SECTIONS = "sections"
"""How an op says of its attribute ``"held"`` that an attribute of a layer holds the lengths of all of its sections."""

MODE = {"is_test", "use_global_stats"}
"""Attributes by which an operation is told whether the network is trained or evaluated."""


@dataclass(frozen=True)
class Op:
    """One operation of the traced program.

    Attributes:
        name: Paddle's name without its dialect, as in ``"conv2d"``.
        attrs: the attributes that are written into the program.
        operands: for each operand the number of the value; None where it was left out.
        results: for each result the number of the value.
        shapes: for each result its shape at trace time (-1: computed by the program); None where it is a list.
        where: ``file:line`` of the user's code, where Paddle kept it.
        scope: the layers that the op ran in, outermost first, as Paddle names them.
        owner: structured name of the layer in whose code the op is; None where it is in none.
    """

    name: str
    attrs: dict[str, Any]
    operands: tuple[int | None, ...]
    results: tuple[int, ...]
    shapes: tuple[tuple[int, ...] | None, ...]
    where: str = ""
    scope: str = ""
    owner: str | None = None

    def __str__(self) -> str:
        return f"'{self.name}'" + (f" ({self.where})" if self.where else "")

    @property
    def in_both_modes(self) -> dict[str, Any]:
        """The attributes, but for those by which it is told the mode."""
        return {name: value for name, value in self.attrs.items() if name not in MODE}

    def channel_axis(self, rank: int) -> int:
        """Which of ``rank`` axes holds the channels. Without a layout, or with Paddle's "any", they come first."""
        layout = self.attrs.get("data_format", "NCHW")
        return 1 if layout == "AnyLayout" or layout[1] == "C" else rank - 1

    def image_axes(self, rank: int) -> list[int]:
        """The axes of the image, or of whatever the channels are spread out over."""
        return [axis for axis in range(1, rank) if axis != self.channel_axis(rank)]
