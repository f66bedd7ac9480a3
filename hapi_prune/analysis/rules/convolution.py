"""Convolutions: filters make channels, channels meet the slices of the next filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...plan import Index
from ..labels import Label, Mismatch, Signal, Value
from ..op import Op
from . import shape_inference, sliding
from .broadcasting import FIXED, LAYOUT
from .registry import Call, elements, rule


def conv_flops(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """For each element of the result (of the input, for a transposed one) one filter's worth of multiply-adds."""
    weight = args[1]
    assert isinstance(weight, Signal)
    seen = elements(args[0]) if "transpose" in op.name else elements(outs[0])
    macs = seen * elements(weight) // max(weight.shape[0], 1)
    return macs, macs


@rule("conv2d", "depthwise_conv2d", "conv3d", "conv1d", flops=conv_flops)
def convolution(call: Call) -> Sequence[Value]:
    """Channels that arrive meet the slices of the weight, ``[filters, channels / groups, *kernel]``; filters leave."""
    x, groups, axis = call.arg(0), int(call.op.attrs["groups"]), call.channel_axis()
    filters, depth = call.traced_arg(1).shape[:2]
    depthwise = groups > 1 and depth == 1
    channels = known_channels(call, x.shape[axis], groups)
    if channels % groups and not depthwise:
        raise Mismatch(f"{call.op}: {channels} channels in {groups} groups")
    if depthwise:
        is_depthwise(call, call.arg(1))
        weight = call.constraints.follow(call.arg(1), 0, channels * (filters // groups))
        arrive(call, x, axis, weight, 0, (channels, 1, -1), (channels, filters // groups))
    else:
        weight = call.constraints.follow(call.arg(1), 1, channels // groups)
        arrive(call, x, axis, weight, 1, (groups, channels // groups, -1), (1, channels // groups))
        if weight.shape[0] % groups:
            raise Mismatch(f"{call.op}: {weight.shape[0]} filters in {groups} groups")
        for label in x.on(axis) if groups > 1 else ():
            fix_blocks(call, label.along([axis]), groups)
    out = leave(call, weight, 0, axis)
    if groups > 1 and not depthwise:
        for label in out:
            fix_blocks(call, label.along([axis]), groups)
    passed = passing(call, x, axis)
    nonzero = any(set(label.axes) & moved_along(call).keys() for label in passed)
    return [Signal(result_shape(call, axis, weight.shape[0]), (*out, *passed), nonzero=nonzero)]


def deformable_flops(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """Counted as any convolution; what steers where it looks is not counted."""
    return conv_flops(op, [args[0], args[2]], outs)


@rule("deformable_conv", flops=deformable_flops)
def deformable(call: Call) -> Sequence[Value]:
    """A convolution whose places are steered by the other operands, for some channels at a time."""
    call.stop_others(0, 2)
    blocks = int(call.op.attrs["deformable_groups"])
    for label in call.arg(0).on(1) if blocks > 1 else ():
        fix_blocks(call, label.along([1]), blocks)
    pair = [call.args[0], call.args[2]]
    return convolution(replace(call, args=pair, traced=[call.traced[0], call.traced[2]]))


@rule("conv2d_transpose", "depthwise_conv2d_transpose", "conv3d_transpose", flops=conv_flops)
def transposed(call: Call) -> Sequence[Value]:
    """Channels that arrive meet the slices of the weight, ``[channels, filters / groups, *kernel]``; filters leave."""
    x, groups, axis = call.arg(0), int(call.op.attrs["groups"]), call.channel_axis()
    channels, width = x.shape[axis], call.traced_arg(1).shape[1]
    weight = call.constraints.follow(call.arg(1), 0, channels)
    arrive(call, x, axis, weight, 0, (channels, -1), (channels,))
    depthwise = groups > 1 and call.traced_arg(0).shape[axis] == groups
    if depthwise:
        is_depthwise(call, weight)
        # Channel c makes the results c * width to (c + 1) * width: they go with it, all or none.
        call.constraints.stop(leave(call, weight, 1, axis), "is one of several results of each channel")
        labels = [Label((axis,), np.repeat(la.atoms, width)) for la in weight.on(0) if la.axes == (0,)]
        return [Signal(result_shape(call, axis, channels * width), (*labels, *passing(call, x, axis)))]
    if channels % groups:
        raise Mismatch(f"{call.op}: {channels} channels in {groups} groups")
    if groups > 1:
        for label in weight.on(0):
            fix_blocks(call, label.along([0]), groups)
    out = [Label(la.axes, np.tile(la.atoms, groups)) for la in leave(call, weight, 1, axis)]
    return [Signal(result_shape(call, axis, weight.shape[1] * groups), (*out, *passing(call, x, axis)))]


def known_channels(call: Call, size: int, groups: int) -> int:
    """The number of channels; where the program computes it, as many as the weight has slices for."""
    return call.arg(1).shape[1] * groups if size == -1 else size


def arrive(
    call: Call, x: Signal, axis: int, weight: Signal, slot: int, view: tuple[int, ...], own: tuple[int, ...]
) -> None:
    """The channels of ``x`` meet the weight's axis ``slot``: the one seen as ``view``, the other as ``own``."""
    channels, slices = x.on(axis), weight.on(slot)
    plain = [label for label in channels if 0 not in label.axes] if len(channels) == 1 else []
    if not plain or len(slices) != 1 or set(slices[0].axes) & ({0, 1} - {slot}):
        reason = LAYOUT if channels and slices else FIXED if channels else "reads the network's input"
        call.constraints.stop([*channels, *slices], reason)
        return
    if x.nonzero and weight.nonzero:
        call.constraints.mix(plain, "is summed up with others")
    atoms, mine = plain[0].along([axis]).reshape(view), slices[0].along([slot])
    if mine.shape[1] > 1:
        call.constraints.tie(mine, mine[:, :1])
    call.constraints.tie(atoms, mine[:, 0].reshape(*own, *(1 for _ in range(atoms.ndim - len(own)))))
    if len(own) == 2 and view[1] == 1 < own[1]:
        # A depthwise convolution with several results for each channel: which of them still counts.
        call.constraints.pin(mine[:, 0].reshape(own), np.arange(own[1])[None, :])


def leave(call: Call, weight: Signal, slot: int, axis: int) -> list[Label]:
    """The labels of the weight's filters, on the channel axis of the result."""
    filters = [label for label in weight.on(slot) if label.axes == (slot,)]
    for label in filters:
        found = call.constraints.origins(label)
        call.constraints.filters |= found
        call.constraints.convolutions |= found
    others = [la for la in weight.labels if min(la.axes) > 1 or (slot in la.axes and la.axes != (slot,))]
    call.constraints.stop(others, "is a place in a kernel")
    return [Label((axis,), label.atoms) for label in filters]


def is_depthwise(call: Call, weight: Signal) -> None:
    """Note that the number of groups goes with the number of channels.

    What another convolution has computed is a kernel here and its filters there: that one keeps its groups.
    """
    found = {axis for label in weight.labels for axis in call.constraints.origins(label)}
    call.constraints.depthwise.update(name for name, _ in found - call.constraints.convolutions)


def fix_blocks(call: Call, channels: Index, groups: int) -> None:
    """Slices of different groups are told apart, and each group keeps as many; ``channels``: ``[slices, any]``."""
    block = np.arange(len(channels))[:, None] // (len(channels) // groups)
    call.constraints.pin(channels, np.broadcast_to(block, channels.shape))
    call.constraints.balance(channels, groups, block)


def passing(call: Call, x: Signal, axis: int) -> list[Label]:
    """Labels on the batch axis go through, and on an axis of the image where any number of places will do."""
    labels = [label for label in x.labels if axis not in label.axes]
    if not labels:
        return []
    free, moving, found = {0} | pointwise_axes(call, axis), moved_along(call), list[Label]()
    for label in labels:
        kept: Label | None = label
        if not set(label.axes) <= free:
            kept = sliding.slid(call, label, moving) if set(label.axes) <= free | moving.keys() else None
        if kept is None:
            call.constraints.stop([label], "is a place in an image")
        else:
            found.append(kept)
    return found


def moved_along(call: Call) -> dict[int, sliding.Window]:
    """The axes of the image along which the filters move one place at a time."""
    plain = "transpose" not in call.op.name and call.op.name != "deformable_conv"
    return sliding.windows(call, call.traced_arg(1).shape[2:]) if plain else {}


def pointwise_axes(call: Call, axis: int) -> set[int]:
    """Axes of the image along which each place is seen by itself, as by a kernel of size 1."""
    attrs, weight, rank = call.op.attrs, call.traced_arg(1).shape, len(call.traced_arg(0).shape)
    if call.op.name in ("deformable_conv", "conv2d_transpose", "depthwise_conv2d_transpose", "conv3d_transpose"):
        return set()
    spatial = [place for place in range(1, rank) if place != axis]
    steps = zip(range(rank), weight[2:], shape_inference.spread(attrs.get("strides"), rank - 2))
    bare = [n for n, kernel, stride in steps if kernel == stride == 1]
    return {spatial[n] for n in bare if shape_inference.margins(call, n, rank - 2, 1, 1, 1) == 0}


def result_shape(call: Call, axis: int, channels: int) -> tuple[int, ...]:
    """The shape at trace time with the number of channels and the batch under test."""
    # Paddle shapes a transposed convolution of an image of unknown size as if that size were -1.
    shape = list(shape_inference.transposed(call) if "transpose" in call.op.name else call.shape())
    sizes, traced = call.arg(0).shape, call.traced_arg(0).shape
    changed = {n for n, size in enumerate(sizes) if n != axis and size != -1 and (shape[n] == -1 or size != traced[n])}
    for place in changed & ({0} | pointwise_axes(call, axis) if changed - {0} else {0}):
        shape[place] = sizes[place]
    for place, window in moved_along(call).items() if changed - {0} else ():
        if place in changed:
            shape[place] = window.places(sizes[place])
    shape[axis] = channels
    return tuple(shape)
