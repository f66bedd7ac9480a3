"""One operation of the network, or all of it, run by itself in evaluation mode and timed."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
from paddle.nn import functional

from ..internals.layers import named_layers
from ..internals.preserve import forward_pass, quiet
from .channel_map import ChannelMap
from .labels import Signal, Value
from .op import Op

WARM_UP, REPEATS = 2, 7
SHORTEST = 2e-4
"""What is over sooner than that, in seconds, is run several times for one reading of the clock."""

BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
UNARY = (
    *("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "swish", "mish", "hardswish", "hardsigmoid", "sigmoid"),
    *("tanh", "softplus", "exp", "sqrt"),
)


def seconds_of_op(op: Op, args: Sequence[Value]) -> float | None:
    """How long an op takes by itself on operands of these shapes; None where it cannot be run by itself."""
    run = REPLAYS.get(op.name)
    if run is None:
        return None
    try:
        given = [tensors_for(value) for value in args]
        with paddle.no_grad(), quiet():
            return median(lambda: run(op, args, *given))
    except Exception:  # sizes that do not go together, or operands that are not as they should be
        return None


def seconds_of_network(channel_map: ChannelMap) -> float:
    """How long one forward pass takes, in evaluation mode at the example input; the network is left as it was."""
    network, given = channel_map.network, channel_map.example
    args, kwargs = given.rebuilt(given.leaves)
    with forward_pass(named_layers(network).values(), training=False), paddle.no_grad():
        return median(lambda: network(*args, **kwargs))


def median(run: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """The median of how long ``run`` takes, in seconds, once it is warm."""

    def timed(times: int) -> float:
        start = clock()
        for _ in range(times):
            run()
        if not paddle.get_device().startswith("cpu"):
            paddle.device.synchronize()
        return (clock() - start) / times

    once = [timed(1) for _ in range(WARM_UP)][-1]
    times = max(1, min(100, int(SHORTEST / max(once, 1e-9))))
    return float(np.median([timed(times) for _ in range(REPEATS)]))


def conditions() -> dict[str, str]:
    """What a time depends on beside the op: another machine, version or number of threads has a table of its own."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor(),
        "device": paddle.get_device(),
        "threads": os.environ.get("OMP_NUM_THREADS") or str(free),
        "paddle": paddle.__version__,
        "system": platform.system(),
    }


def processor() -> str:
    """The name of the processor, as far as it is known."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def tensors_for(value: Value) -> Any:
    """Tensors of the shapes of an operand. Ones: what is divided by or rooted is none of nothing, nor denormal."""
    if isinstance(value, tuple):
        return [tensors_for(part) for part in value]
    return None if value is None else paddle.to_tensor(np.ones(value.shape, dtype="float32"))


def _conv(op: Op, args: Sequence[Value], x: Any, weight: Any) -> Any:
    channels = x.shape[op.channel_axis(x.ndim)]
    run = functional.conv3d if op.name == "conv3d" else functional.conv2d
    return run(x, weight, groups=channels // weight.shape[1], **_places(op))


def _transposed(op: Op, args: Sequence[Value], x: Any, weight: Any, *_: Any) -> Any:
    groups = x.shape[op.channel_axis(x.ndim)] if "depthwise" in op.name else int(op.attrs["groups"])
    return functional.conv2d_transpose(x, weight, groups=groups, **_places(op))


def _places(op: Op) -> dict[str, Any]:
    """Where a convolution looks, as Paddle's functions are told."""
    attrs = op.attrs
    explicit = attrs["padding_algorithm"] == "EXPLICIT"
    padding = list(attrs["paddings"]) if explicit else attrs["padding_algorithm"]
    given = {"stride": list(attrs["strides"]), "dilation": list(attrs["dilations"]), "padding": padding}
    return {**given, "data_format": attrs["data_format"]}


def _pool(op: Op, args: Sequence[Value], x: Any, *_: Any) -> Any:
    attrs, kernel = op.attrs, args[1].value if len(args) > 1 and isinstance(args[1], Signal) else None
    average = attrs["pooling_type"] == "avg"
    layout = attrs["data_format"]
    if attrs["adaptive"] or attrs["global_pooling"]:
        size = list(kernel or ()) if attrs["adaptive"] else [1, 1]
        return functional.adaptive_avg_pool2d(x, size, layout) if average else functional.adaptive_max_pool2d(x, size)
    given = {"kernel_size": list(kernel or ()), "stride": list(attrs["strides"]), "padding": list(attrs["paddings"])}
    given |= {"ceil_mode": attrs["ceil_mode"], "data_format": layout}
    return (
        functional.avg_pool2d(x, exclusive=attrs["exclusive"], **given)
        if average
        else functional.max_pool2d(x, **given)
    )


def _batch_norm(op: Op, args: Sequence[Value], x: Any, *tensors: Any) -> Any:
    return functional.batch_norm(x, *tensors, training=False, data_format=op.attrs["data_format"])


def _layer_norm(op: Op, args: Sequence[Value], x: Any, scale: Any = None, bias: Any = None) -> Any:
    return functional.layer_norm(x, x.shape[op.attrs["begin_norm_axis"] :], scale, bias)


def _matmul(op: Op, args: Sequence[Value], x: Any, y: Any) -> Any:
    return paddle.matmul(x, y, op.attrs["transpose_x"], op.attrs["transpose_y"])


def _concat(op: Op, args: Sequence[Value], parts: Any, *_: Any) -> Any:
    axis = args[1].value if isinstance(args[1], Signal) else None
    return paddle.concat(parts, axis[0] if axis else 1)


def _by_name(op: Op, args: Sequence[Value], *tensors: Any) -> Any:
    return getattr(functional if hasattr(functional, op.name) else paddle, op.name)(*tensors)


Replay = Callable[..., Any]
"""Runs an op: ``(op, operands as signals, *operands as tensors)``."""

REPLAYS: dict[str, Replay] = {
    **dict.fromkeys(("conv2d", "depthwise_conv2d", "conv3d"), _conv),
    **dict.fromkeys(("conv2d_transpose", "depthwise_conv2d_transpose"), _transposed),
    **dict.fromkeys((*UNARY, *BINARY), _by_name),
    "softmax": lambda op, args, x: functional.softmax(x, op.attrs["axis"]),
    "transpose": lambda op, args, x: paddle.transpose(x, list(op.attrs["perm"])),
    "batch_norm_": _batch_norm,
    "layer_norm": _layer_norm,
    "matmul": _matmul,
    "pool2d": _pool,
    "concat": _concat,
}
"""The ops that are timed, by name. All others are taken to grow and shrink with them."""
