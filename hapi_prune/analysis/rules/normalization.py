"""Normalisation: of each channel by itself, or of channels together."""

from __future__ import annotations

from collections.abc import Sequence

from ..labels import Mismatch, Signal, Value
from .broadcasting import FIXED, per_channel
from .convolution import fix_blocks
from .elementwise import two_each
from .registry import Call, rule


@rule("batch_norm_", "batch_norm", "sync_batch_norm_", flops=two_each)
def batch_norm(call: Call) -> Sequence[Value]:
    """Each channel is normalised by itself: its mean, variance, scale and shift are tied to it."""
    x, axis = call.arg(0), call.channel_axis() if len(call.arg(0).shape) > 2 else 1
    call.constraints.mix([la for la in x.labels if axis not in la.axes], "is normalised together with others")
    own = [call.arg(index) if call.has(index) else None for index in range(1, 5)]
    out = per_channel(call, x, axis, own)
    statistics = [Signal((x.shape[axis],), tuple(s.labels) if s else ()) for s in (own[0], own[1])]
    return [out, *statistics]


@rule("instance_norm", flops=two_each)
def instance_norm(call: Call) -> Sequence[Value]:
    """Each channel of each image is normalised by itself: its scale and shift are tied to it."""
    x = call.arg(0)
    call.constraints.mix([la for la in x.labels if set(la.axes) - {0, 1}], "is normalised together with others")
    return [per_channel(call, x, 1, [call.arg(i) if call.has(i) else None for i in (1, 2)])]


@rule("group_norm", flops=two_each)
def group_norm(call: Call) -> Sequence[Value]:
    """Channels are normalised in equal blocks: they are mixed, and each block keeps as many."""
    x, axis, groups = call.arg(0), call.channel_axis(), int(call.op.attrs["groups"])
    if x.shape[axis] % groups:
        raise Mismatch(f"{call.op}: {x.shape[axis]} channels in {groups} groups")
    call.constraints.mix(x.labels, "is normalised together with other channels")
    for label in x.on(axis):
        fix_blocks(call, label.along([axis]), groups)
    return [per_channel(call, x, axis, [call.arg(i) if call.has(i) else None for i in (1, 2)])]


@rule("layer_norm", "rms_norm", flops=two_each)
def layer_norm(call: Call) -> Sequence[Value]:
    """All axes from ``begin_norm_axis`` on are normalised together, and scaled each by its own number."""
    x, begin = call.arg(0), call.op.attrs["begin_norm_axis"]
    inside = tuple(range(begin, len(x.shape)))
    call.constraints.mix([la for la in x.labels if set(la.axes) & set(inside)], "is normalised together with others")
    own = [call.arg(i) for i in (1, 2) if call.has(i)]
    spread = [axis for axis in inside if call.traced_arg(0).shape[axis] > 1]
    if len(spread) == 1:
        return [per_channel(call, x, spread[0], own)]
    labels = [la for la in x.labels if set(la.axes) & set(inside)]
    call.constraints.stop([*labels, *(la for tensor in own for la in tensor.labels)], FIXED)
    return [Signal(x.shape, tuple(la for la in x.labels if la not in labels))]
