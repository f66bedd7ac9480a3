"""Recurrent layers: their input follows what arrives, their own state stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..labels import Signal, Value
from ..op import Op
from .broadcasting import FIXED, LAYOUT
from .registry import Call, elements, rule


def rnn_flops(op: Op, args: Sequence[Value], outs: Sequence[Value]) -> tuple[int, int]:
    """One multiply-add for each element of each weight matrix, at each step in time of each sequence."""
    x, weights = args[0], args[2]
    assert isinstance(x, Signal) and isinstance(weights, tuple)
    macs = x.shape[0] * x.shape[1] * sum(elements(weight) for weight in weights if len(weight.shape) == 2)
    return macs, macs


@rule("rnn", flops=rnn_flops)
def rnn(call: Call) -> Sequence[Value]:
    """``x``: ``[time, batch, inputs]``; weights: for each layer and direction those of the input and of the state."""
    x, weights = call.arg(0), call.args[2]
    assert isinstance(weights, tuple)
    input_weights = (0, 2) if call.op.attrs["is_bidirec"] else (0,)
    for number, weight in enumerate(weights):
        if number not in input_weights:
            call.constraints.stop(weight.labels, "is the state of a recurrent layer")
            continue
        weight = call.constraints.follow(weight, 1, x.shape[2])
        call.constraints.stop(weight.on(0), "is the state of a recurrent layer")
        tie_columns(call, x, weight)
    call.constraints.stop(x.on(0), "is a step in time of a recurrent layer")
    call.constraints.stop(x.on(1), "is one of the sequences of a recurrent layer")
    call.stop_others(0, 2, reason="is the state of a recurrent layer")
    return [call.plain(n) for n in range(len(call.op.shapes))]


def tie_columns(call: Call, x: Signal, weight: Signal) -> None:
    """The channels that arrive are tied to the columns of an input weight, which read them."""
    inputs, columns = [la for la in x.on(2) if la.axes == (2,)], weight.on(1)
    if len(inputs) == 1 and len(columns) == 1 and len(x.on(2)) == 1:
        call.constraints.tie(*np.broadcast_arrays(inputs[0].atoms, columns[0].atoms))
    else:
        call.constraints.stop([*x.on(2), *columns], LAYOUT if inputs and columns else FIXED)
