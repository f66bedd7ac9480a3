"""Numbers of channels that the user's code holds in attributes of a layer, and what they have to be after a cut.

``paddle.split(x, self.splits)`` needs ``self.splits = [32, 32, 64]`` to shrink with ``x``. In the traced program these
are numbers like any other. But an op says in which layer's code it is, and the labels say what each size there becomes.
If 64 becomes 48 there, and nothing else, then an attribute of that layer that holds 64 has to become 48.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle

from ..internals import layers
from ..plan import Index
from .labels import Signal, Value, signals_of
from .op import Op
from .propagation import Propagation


@dataclass(frozen=True)
class Count:
    """A number of channels in an attribute, or a list or tuple of them.

    Attributes:
        layer, attribute: the layer that holds it (empty: the network itself), and the name it goes by there.
        before, after: its value now, and the value it has to have after the cut.
    """

    layer: str
    attribute: str
    before: Any
    after: Any

    @property
    def name(self) -> str:
        """Attribute and layer, for people."""
        return f"{self.attribute!r} of {self.layer!r}" if self.layer else f"{self.attribute!r} of the network"

    def __str__(self) -> str:
        return f"{self.name} follows the cut: {self.before} is {self.after} now"


Becomes = dict[int, set[int]]
"""What each size becomes: several numbers if there are several axes of that size."""


@dataclass
class Sizes:
    """What becomes of the sizes in the code of one layer.

    Attributes:
        written: sizes that are numbers in the program, and so come from numbers in the code.
        met: all sizes of the operands and results of its ops.
        parts: the lengths of the sections that a value is split into, as a whole.
        lines: the lines of the code, ``file:line``.
    """

    written: Becomes = field(default_factory=dict)
    met: Becomes = field(default_factory=dict)
    parts: dict[tuple[int, ...], set[tuple[int, ...]]] = field(default_factory=dict)
    lines: set[str] = field(default_factory=set)

    def becomes(self, size: int, wide: bool) -> set[int]:
        """What a size becomes, by `written`; if ``wide``, else by `met`."""
        return self.written.get(size) or (self.met.get(size, set()) if wide else set())

    def options(self, value: Any, wide: bool) -> list[set[Any]]:
        """What each number of an attribute's value can become; empty sets for those of which nothing is known.

        A list with the lengths of the sections of a split becomes the list of their lengths after the cut.
        """
        if isinstance(value, (list, tuple)):
            whole = self.parts.get(tuple(int(n) for n in value), set())
            if len(whole) == 1:
                return [{n} for n in next(iter(whole))]
            return [self.becomes(int(n), wide) for n in value]
        return [self.becomes(int(value), wide)]


def proposals(network: paddle.nn.Layer, now: Propagation, after: Propagation) -> list[tuple[Count, ...]]:
    """The attributes that may have to be set with a cut, and to what; the most certain proposal first.

    Args:
        network: as it is now.
        now: its labels.
        after: its labels after the cut.

    Returns:
        First those whose numbers are written into the program, then also those that are only compared or computed with,
        at last also those that could be meant to stay, as another size is the same number. All of them are guesses: a
        number of heads may equal a number of channels by chance.
    """
    sizes, found = sizes_by_layer(now, after), list[tuple[Count, ...]]()
    for wide, bold in ((False, False), (True, False), (False, True)):
        counts = tuple(
            Count(name, attribute, value, changed)
            for name, attribute, value in held(network)
            if name in sizes and (changed := followed(value, sizes[name].options(value, wide), bold)) is not None
        )
        if counts and counts not in found:
            found.append(counts)
    return found


def unhelpful_attributes(network: paddle.nn.Layer, now: Propagation, after: Propagation, where: str) -> list[str]:
    """The attributes that the code at ``where``, ``file:line``, may depend on, and why setting them did not help.

    Either the number would have to become several, or the cut was refused with its new value too.
    """
    told = []
    lines = {name: found for name, found in sizes_by_layer(now, after).items() if where in found.lines}
    for name, attribute, value in held(network):
        options = lines[name].options(value, True) if name in lines else []
        several = next((one for one in options if len(one) > 1), None)
        then = followed(value, options) if options else None
        if several:
            told.append(f"{value} in {attribute!r} may become {' or '.join(map(str, sorted(several)))}")
        elif then is not None:
            told.append(f"it is no help that {value} in {attribute!r} becomes {then}")
    return told


def held(network: paddle.nn.Layer) -> Iterator[tuple[str, str, Any]]:
    """The whole numbers that layers hold: layer, attribute and value."""
    for name, layer in layers.named_layers(network).items():
        for attribute, value in layers.whole_numbers(layer).items():
            yield name, attribute, value


def followed(value: Any, options: Sequence[set[Any]], bold: bool = False) -> Any:
    """An attribute's value after the cut, of the same type; None if it does not change, or is not known.

    If ``bold``, a number that may change or stay changes.
    """
    several = isinstance(value, (list, tuple))
    numbers = list(value) if several else [value]
    if bold:
        options = [one - {number} if len(one) > 1 else one for one, number in zip(options, numbers)]
    if any(len(one) > 1 for one in options):
        return None
    changed = [type(n)(next(iter(one))) if one else n for n, one in zip(numbers, options)]
    if changed == numbers:
        return None
    return type(value)(changed) if several else changed[0]


def sizes_by_layer(now: Propagation, after: Propagation) -> dict[str, Sizes]:
    """For each layer what becomes of the sizes that its code meets."""
    found: dict[str, Sizes] = {}
    for one, other in zip(now.passes, after.passes):
        for (op, args, outs), (_, args_after, outs_after) in zip(one.steps(), other.steps()):
            if op.owner is not None:
                sizes = found.setdefault(op.owner, Sizes())
                sizes.lines.add(op.where)
                note(sizes, op, (args, outs), (args_after, outs_after))
    return found


def note(sizes: Sizes, op: Op, now: tuple[list[Value], list[Value]], after: tuple[list[Value], list[Value]]) -> None:
    """Write down what becomes of the sizes at one op."""
    numbers = written_in(op, now[0])
    for values, values_after in zip(now, after):
        pairs = list(zip(signals_of(values), signals_of(values_after)))
        for size, then in (pair for signals in pairs for pair in lengths(*signals)):
            sizes.met.setdefault(size, set()).add(then)
            if size in numbers:
                sizes.written.setdefault(size, set()).add(then)
    for parts, parts_after in zip(now[1], after[1]):
        if isinstance(parts, tuple) and isinstance(parts_after, tuple) and len(parts) == len(parts_after) > 1:
            for axis in {axis for part in parts for label in part.labels for axis in label.axes}:
                long = tuple(tuple(part.shape[axis] for part in each) for each in (parts, parts_after))
                sizes.parts.setdefault(long[0], set()).add(long[1])
    if op.name == "slice":
        for size, then in begins(now, after):
            sizes.met.setdefault(size, set()).add(then)
            if size in numbers:
                sizes.written.setdefault(size, set()).add(then)


def written_in(op: Op, args: Sequence[Value]) -> set[int]:
    """The whole numbers that are written into the program at an op; of those that count from the end, how far."""
    given = [value for value in op.attrs.values() if isinstance(value, (int, list, tuple))]
    flat = [n for value in given for n in (value if isinstance(value, (list, tuple)) else [value])]
    flat += [n for signal in signals_of(args) for n in signal.value or ()]
    return {abs(n) for n in flat if isinstance(n, int) and not isinstance(n, bool)}


def lengths(now: Signal, after: Signal) -> Iterator[tuple[int, int]]:
    """The sizes of a value along its labelled axes, and what becomes of each."""
    if len(now.shape) == len(after.shape):
        for axis in sorted({axis for label in now.labels for axis in label.axes}):
            yield now.shape[axis], after.shape[axis]


def begins(now: tuple[list[Value], list[Value]], after: tuple[list[Value], list[Value]]) -> Iterator[tuple[int, int]]:
    """Where a slice begins and ends along a labelled axis, and what becomes of that."""
    spans = [spans_of(*(signals_of(values)[:1] for values in each)) for each in (now, after)]
    for axis in spans[0].keys() & spans[1].keys():
        yield from zip(spans[0][axis], spans[1][axis])


def spans_of(whole: list[Signal], part: list[Signal]) -> dict[int, tuple[int, int]]:
    """Along which axes the first slices of ``part`` are those of ``whole`` from where on, and up to where."""
    found: dict[int, tuple[int, int]] = {}
    for x, out in zip(whole, part):
        ours = single_axis_labels(x) if len(x.shape) == len(out.shape) else {}
        for axis, atoms in single_axis_labels(out).items():
            places = np.flatnonzero(ours[axis] == atoms[0]) if axis in ours and atoms.size else np.zeros(0)
            if len(places) == 1 and x.shape[axis] != out.shape[axis]:
                found[axis] = int(places[0]), int(places[0]) + out.shape[axis]
    return found


def single_axis_labels(signal: Signal) -> Mapping[int, Index]:
    """The labels that vary along one axis alone, by axis."""
    return {label.axes[0]: label.atoms for label in signal.labels if len(label.axes) == 1}
