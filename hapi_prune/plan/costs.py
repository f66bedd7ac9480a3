"""What a network costs, in total and by layer, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs, per batch of the example input.

    Attributes:
        name: structured name of the layer; empty for what the network's own forward computes.
        kind: class name of the layer.
        flops, macs: counted as in `Cost`.
        params: elements of the layer's own parameters.

    Example:
        >>> import paddle
        >>> from hapi_prune import cost
        >>> cost(paddle.nn.Sequential(paddle.nn.Linear(8, 4)), [1, 8]).layers
        (LayerCost(name='0', kind='Linear', flops=32, macs=32, params=36),)
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

    Example:
        >>> import paddle
        >>> from hapi_prune import cost
        >>> cost(paddle.vision.models.LeNet(), [1, 1, 28, 28]).params
        61610
    """

    flops: int
    macs: int
    params: int
    trainable_params: int
    layers: tuple[LayerCost, ...] = ()
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The table."""
        return self.table()

    def table(self) -> str:
        """A line for each layer with its share of the FLOPs, and the totals, as ``paddle.flops`` prints them."""
        heads = ("layer", "kind", "FLOPs", "share", "MACs", "params")
        rows = [(row.name or "(the network itself)", row.kind, *self._cells(row)) for row in self.layers]
        sizes = [max(len(row[n]) for row in (heads, *rows)) for n in range(len(heads))]
        sides = "<<>>>>"
        lines = ["  ".join(f"{c:{s}{n}}" for c, s, n in zip(row, sides, sizes)).rstrip() for row in (heads, *rows)]
        rule = "-" * max(map(len, lines))
        total = f"Total FLOPs: {self.flops:,}     Total params: {self.params:,}"
        missing = [f"Not counted: {op}" for op in self.unknown]
        return "\n".join([rule, lines[0], rule, *lines[1:], rule, total, *missing])

    def _cells(self, row: LayerCost) -> tuple[str, ...]:
        share = f"{row.flops / self.flops:.1%}" if self.flops else "-"
        return f"{row.flops:,}", share, f"{row.macs:,}", f"{row.params:,}"


@dataclass(frozen=True)
class Latency:
    """How long a forward pass takes around a cut, in milliseconds, on the machine that trains, in evaluation mode.

    Attributes:
        original, before, after: by the table of times of the network's ops: dense, before and after the cut.
        measured_original, measured: of the whole network: dense, and right after the cut.

    Example:
        >>> from hapi_prune import Latency
        >>> Latency(original=8.0, before=8.0, after=4.0, measured_original=8.0, measured=4.25).kept
        0.5
    """

    original: float
    before: float
    after: float
    measured_original: float
    measured: float

    @property
    def kept(self) -> float:
        """The share of the dense network's latency that is left, by the table."""
        return self.after / self.original if self.original else 1.0
