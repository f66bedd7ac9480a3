"""Sizes that Paddle leaves open at trace time, because the program computes them from other sizes.

A size of -1 is not known, and what is computed from it is not either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .registry import Call, shape_rule


@shape_rule("reshape", "expand", "tile")
def written(call: Call) -> tuple[int, ...]:
    """The shape that an operand asks for, in numbers that the program computed from other shapes."""
    name, shape = call.op.name, call.op.shapes[0] or ()
    numbers, before = call.numbers(1), call.traced_arg(0).shape
    if numbers is None or len(numbers) != len(shape) or (name == "reshape" and -1 in before):
        return shape
    if name == "reshape":
        sizes = [before[axis] if size == 0 else size for axis, size in enumerate(numbers)]
        rest = math.prod(size for size in sizes if size != -1)
        return tuple(math.prod(before) // rest if size == -1 else size for size in sizes)
    own = (1,) * (len(shape) - len(before)) + before
    if name == "expand":
        return tuple(size if number == -1 else number for number, size in zip(numbers, own))
    return tuple(number * size for number, size in zip(numbers, own))


@shape_rule("full_with_tensor", "gaussian", "uniform", "randint")
def asked_for(call: Call) -> tuple[int, ...]:
    """The shape that an operand asks for."""
    numbers, shape = call.numbers(1 if call.op.name == "full_with_tensor" else 0), call.op.shapes[0] or ()
    return numbers if numbers is not None and len(numbers) == len(shape) else shape


@shape_rule("flatten")
def flattened(call: Call) -> tuple[int, ...]:
    """The old sizes, those from ``start_axis`` to ``stop_axis`` multiplied into one."""
    shape = call.traced_arg(0).shape
    start, stop = (call.op.attrs[name] % len(shape) for name in ("start_axis", "stop_axis"))
    inside = shape[start : stop + 1]
    return (*shape[:start], -1 if -1 in inside else math.prod(inside), *shape[stop + 1 :])


@shape_rule("squeeze")
def squeezed(call: Call) -> tuple[int, ...]:
    """The old sizes without the axes of size 1 that are squeezed out."""
    shape = call.traced_arg(0).shape
    gone = {axis % len(shape) for axis in call.numbers(1, "axis") or range(len(shape))}
    return tuple(size for axis, size in enumerate(shape) if axis not in gone or size != 1)


@shape_rule("unsqueeze")
def unsqueezed(call: Call) -> tuple[int, ...]:
    """The old sizes with an axis of size 1 at each place asked for."""
    shape = list(call.traced_arg(0).shape)
    for axis in call.numbers(1, "axis") or ():
        shape.insert(axis % (len(shape) + 1), 1)
    return tuple(shape)


def image(call: Call) -> tuple[int, list[int]]:
    """Which axis holds the channels, and the axes of the image."""
    rank = len(call.op.shapes[0] or ())
    return call.op.channel_axis(rank), call.op.image_axes(rank)


def spread(numbers: Sequence[int] | None, count: int) -> list[int]:
    """One number for each of ``count`` axes: as written, or a single one for all."""
    numbers = list(numbers or [1])
    return numbers * count if len(numbers) == 1 else numbers


def margins(call: Call, axis: int, count: int, size: int, kernel: int, stride: int) -> int:
    """How many places are padded along the ``axis``-th axis of the image, in front and behind together."""
    algorithm = call.op.attrs.get("padding_algorithm", "EXPLICIT")
    if algorithm == "VALID":
        return 0
    if algorithm == "SAME":
        return max((-(-size // stride) - 1) * stride + kernel - size, 0)
    pads = spread(call.op.attrs.get("paddings"), count)
    return pads[2 * axis] + pads[2 * axis + 1] if len(pads) == 2 * count else 2 * pads[axis]


@shape_rule("conv2d", "depthwise_conv2d", "conv3d", "pool2d", "pool3d", "max_pool2d_with_index",
            "max_pool3d_with_index", "lp_pool2d", "unfold")  # fmt: skip
def windows(call: Call) -> tuple[int, ...]:
    """Convolutions and pooling: as many places as the window has positions."""
    attrs, x = call.op.attrs, call.traced_arg(0).shape
    shape, axes = list(call.op.shapes[0] or ()), image(call)[1]
    if attrs.get("global_pooling"):
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    if call.op.name == "unfold":
        return tuple(shape)
    conv = "conv" in call.op.name
    given = call.traced_arg(1).shape[2:] if conv else call.numbers(1, "kernel_size")
    kernel, stride = spread(given, len(axes)), spread(attrs.get("strides"), len(axes))
    dilation = spread(attrs.get("dilations"), len(axes))
    for n, axis in enumerate(axes):
        if attrs.get("adaptive"):
            shape[axis] = kernel[n]
            continue
        if x[axis] < 0:
            shape[axis] = -1
            continue
        reach = (kernel[n] - 1) * dilation[n] + 1
        room = x[axis] + margins(call, n, len(axes), x[axis], reach, stride[n]) - reach
        shape[axis] = (-(-room // stride[n]) if attrs.get("ceil_mode") else room // stride[n]) + 1
    return tuple(shape)


@shape_rule("conv2d_transpose", "depthwise_conv2d_transpose", "conv3d_transpose")
def transposed(call: Call) -> tuple[int, ...]:
    """Transposed convolutions: each place of the image, a stride apart, grows into as many as the window reaches."""
    attrs, x = call.op.attrs, call.traced_arg(0).shape
    shape, axes = list(call.op.shapes[0] or ()), image(call)[1]
    asked = call.numbers(2, "output_size")
    kernel, stride = call.traced_arg(1).shape[2:], spread(attrs.get("strides"), len(axes))
    dilation, extra = spread(attrs.get("dilations"), len(axes)), list(attrs.get("output_padding") or []) or [0]
    for n, axis in enumerate(axes):
        reach = (kernel[n] - 1) * dilation[n] + 1
        size = (x[axis] - 1) * stride[n] - margins(call, n, len(axes), x[axis], reach, stride[n]) + reach
        grown = size + spread(extra, len(axes))[n] if x[axis] >= 0 else -1
        shape[axis] = asked[n] if asked else grown
    return tuple(shape)


@shape_rule("bilinear_interp", "nearest_interp", "bicubic_interp", "linear_interp", "trilinear_interp")
def interpolated(call: Call) -> tuple[int, ...]:
    """The size asked for, as one operand or several, or the old one times a factor."""
    attrs, x = call.op.attrs, call.traced_arg(0).shape
    shape, axes = list(call.op.shapes[0] or ()), image(call)[1]
    asked = call.numbers(1) or call.numbers(2)
    outs = [attrs.get(name, -1) for name in ("out_d", "out_h", "out_w")][-len(axes) :]
    factors = list(attrs.get("scale") or [])
    for n, axis in enumerate(axes):
        size = asked[n] if asked and len(asked) == len(axes) else outs[n]
        if size > 0:
            shape[axis] = size
        elif factors:
            shape[axis] = int(x[axis] * (factors * len(axes))[n]) if x[axis] >= 0 else -1
    return tuple(shape)


@shape_rule("pad", "pad3d")
def padded(call: Call) -> tuple[int, ...]:
    """The old sizes, each with what is padded in front and behind."""
    x = call.traced_arg(0).shape
    pads = list(call.op.attrs["paddings"]) if call.op.name == "pad" else list(call.numbers(1, "paddings") or ())
    if call.op.name == "pad":
        return tuple(size + sum(pads[2 * axis : 2 * axis + 2]) if size >= 0 else -1 for axis, size in enumerate(x))
    axes, shape = image(call)[1], list(x)
    for n, axis in enumerate(reversed(axes)):
        shape[axis] += sum(pads[2 * n : 2 * n + 2]) if shape[axis] >= 0 else 0
    return tuple(shape)


@shape_rule("pixel_shuffle", "pixel_unshuffle")
def reshuffled(call: Call) -> tuple[int, ...]:
    """Pixel shuffle: r * r channels become r x r places in the image; unshuffle: r x r places become channels."""
    channel, axes = image(call)
    shape, up = list(call.traced_arg(0).shape), call.op.name == "pixel_shuffle"
    r = int(call.op.attrs["upscale_factor" if up else "downscale_factor"])
    shape[channel] = shape[channel] // (r * r) if up else shape[channel] * r * r
    for axis in axes:
        shape[axis] = -1 if shape[axis] < 0 else shape[axis] * r if up else shape[axis] // r
    return tuple(shape)


@shape_rule("grid_sample")
def sampled(call: Call) -> tuple[int, ...]:
    """Batch and channels of the image, height and width of the grid that it is sampled at."""
    return (*call.traced_arg(0).shape[:2], *call.traced_arg(1).shape[1:-1])


@shape_rule("affine_grid")
def grid(call: Call) -> tuple[int, ...]:
    """``[N, H, W, 2]`` for an image of ``[N, C, H, W]``."""
    size, shape = call.numbers(1, "output_shape"), call.op.shapes[0] or ()
    return (size[0], *size[2:], len(size) - 2) if size else shape


@shape_rule("matmul", "bmm", "mv")
def product(call: Call) -> tuple[int, ...]:
    """As many rows as the left matrix has, as many columns as the right one; the axes in front broadcast."""
    x, y = list(call.traced_arg(0).shape), list(call.traced_arg(1).shape)
    if len(x) < 2 or len(y) < 2:
        return tuple(call.op.shapes[0] or ())
    if call.op.attrs.get("transpose_x"):
        x[-2:] = x[:-3:-1]
    if call.op.attrs.get("transpose_y"):
        y[-2:] = y[:-3:-1]
    rank = max(len(x), len(y))
    lead = zip([1] * (rank - len(x)) + x[:-2], [1] * (rank - len(y)) + y[:-2])
    return (*(-1 if -1 in pair and max(pair) < 2 else max(pair) for pair in lead), x[-2], y[-1])


@shape_rule("embedding", "one_hot")
def looked_up(call: Call) -> tuple[int, ...]:
    """The shape of the indices, and behind it the length of the row that each of them picks."""
    return (*call.traced_arg(0).shape, (call.op.shapes[0] or (-1,))[-1])
