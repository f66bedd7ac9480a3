"""Every optimizer of Paddle over a small network, and the cut that its state has to follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import paddle
import paddle.optimizer as po

from hapi_prune.cutting.optimizers import carry
from hapi_prune.cutting.undo_log import UndoLog
from hapi_prune.internals.tensors import gradients as gradients_of
from hapi_prune.plan import Array, Cut

Make = Callable[[list[Any]], Any]


class Net(paddle.nn.Layer):
    """Sizes all differ; PReLU has one element, as scalars of state have; BatchNorm has parameters without gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = paddle.nn.Conv2D(2, 7, (2, 3))
        self.norm = paddle.nn.BatchNorm2D(7)
        self.act = paddle.nn.PReLU(1)
        self.fc = paddle.nn.Linear(35, 4)


class Nesterov(po.Momentum):
    """What a user may derive, with an accumulator more than its parent."""

    def _create_accumulators(self, block: Any, parameters: Any) -> None:
        assert not paddle.is_grad_enabled()  # as in Paddle's step
        super()._create_accumulators(block, parameters)
        for p in parameters:
            self._add_accumulator("extra", p, fill_value=0.25, shape=[2, 1, *p.shape])

    def _append_optimize_op(self, block: Any, pair: Any) -> Any:
        extra = self._get_accumulator("extra", pair[0])
        paddle.assign(extra + pair[1], extra)
        return super()._append_optimize_op(block, (pair[0], extra[0, 0].clone()))


def lookahead(params: list[Any]) -> Any:
    return paddle.incubate.LookAhead(po.Adam(0.05, parameters=params), alpha=0.5, k=2)


def one(kind: Any, **options: Any) -> Make:
    return lambda params: kind(parameters=params, **options)


ELEMENTWISE: dict[str, Make] = {
    "SGD": one(po.SGD, learning_rate=0.1),
    "Momentum": one(po.Momentum, learning_rate=0.1, weight_decay=0.01),
    "Momentum nesterov": one(po.Momentum, learning_rate=0.1, use_nesterov=True),
    "Momentum multi": one(po.Momentum, learning_rate=0.1, use_multi_tensor=True, weight_decay=0.01),
    "Adam": one(po.Adam, learning_rate=0.05, weight_decay=0.01),
    "Adam amsgrad": one(po.Adam, learning_rate=0.05, amsgrad=True),
    "Adam multi": one(po.Adam, learning_rate=0.05, use_multi_tensor=True),
    "Adam multi amsgrad": one(po.Adam, learning_rate=0.05, use_multi_tensor=True, amsgrad=True),
    "AdamW": one(po.AdamW, learning_rate=0.05, weight_decay=0.1),
    "Adamax": one(po.Adamax, learning_rate=0.05),
    "Adagrad": one(po.Adagrad, learning_rate=0.05, initial_accumulator_value=0.3),
    "Adadelta": one(po.Adadelta, learning_rate=0.5),
    "RMSProp": one(po.RMSProp, learning_rate=0.05, centered=True, momentum=0.5),
    "NAdam": one(po.NAdam, learning_rate=0.05),
    "RAdam": one(po.RAdam, learning_rate=0.05, beta2=0.5),
    "ASGD": one(po.ASGD, learning_rate=0.05, batch_num=7),  # as many batches as filters: [7, 7] for a bias
    "ASGD 3": one(po.ASGD, learning_rate=0.05, batch_num=3),
    "Rprop": one(po.Rprop, learning_rate=0.05),
    "subclass": one(Nesterov, learning_rate=0.1),
    "LookAhead": lookahead,
    "named": one(po.Adam, learning_rate=0.05, name="mine"),
}
LAMB = {"Lamb": one(po.Lamb, learning_rate=0.05)}
LBFGS = {
    "LBFGS": one(po.LBFGS, learning_rate=0.3, max_iter=4),
    "LBFGS wolfe": one(po.LBFGS, max_iter=3, line_search_fn="strong_wolfe"),
}
EVERY = ELEMENTWISE | LAMB | LBFGS
FIRST_ORDER = ELEMENTWISE | LAMB
# Paddle's LookAhead saves neither its inner optimizer nor its step count.
SAVED = {name: make for name, make in FIRST_ORDER.items() if name != "LookAhead"}

CUT = Cut(
    before={
        "conv.weight": (7, 2, 2, 3),
        "conv.bias": (7,),
        "norm.weight": (7,),
        "norm.bias": (7,),
        "norm._mean": (7,),
        "norm._variance": (7,),
        "fc.weight": (35, 4),
    },
    kept={
        **{name: {0: np.array([1, 4, 6])} for name in ("conv.weight", "conv.bias", "norm.weight", "norm.bias")},
        **{name: {0: np.array([1, 4, 6])} for name in ("norm._mean", "norm._variance")},
        "fc.weight": {0: np.arange(35).reshape(7, 5)[[1, 4, 6]].ravel()},
    },
)
TO_ONE = Cut(before={"conv.bias": (7,)}, kept={"conv.bias": {0: np.array([5])}})


def build(make: Make, dtype: str = "float32") -> tuple[dict[str, paddle.Tensor], Any]:
    """A network and its optimizer, the same each time, names included."""
    draw = np.random.default_rng(0)
    with paddle.utils.unique_name.guard():
        net = Net()
        for tensor in net.parameters():
            tensor.set_value(draw.normal(size=tensor.shape).astype("float32"))
        net.to(dtype=dtype)
        return dict(net.state_dict()), make(net.parameters())


def trainable(tensors: Mapping[str, paddle.Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if not tensor.stop_gradient]


def gradients(tensors: Mapping[str, paddle.Tensor], seed: int) -> dict[str, Array]:
    draw = np.random.default_rng(seed)
    return {name: draw.normal(size=tensors[name].shape).astype("float32") for name in trainable(tensors)}


def step(tensors: Mapping[str, paddle.Tensor], optimizer: Any, grads: Mapping[str, Array]) -> None:
    """One step with exactly these gradients; for LBFGS, of ``|p|^2 / 2 + p.g``, which has curvature."""
    flat = isinstance(optimizer, po.LBFGS)

    def closure() -> paddle.Tensor:
        optimizer.clear_grad()
        loss = paddle.zeros([])
        for name, grad in grads.items():
            p = tensors[name].astype("float32")
            loss = loss + (p * paddle.to_tensor(grad)).sum() + ((p**2).sum() / 2 if flat else 0.0)
        loss.backward()
        return loss

    if flat:
        optimizer.step(closure)
        return
    closure()
    optimizer.step()
    optimizer.clear_grad()


def trained(make: Make, steps: int = 3, dtype: str = "float32") -> tuple[dict[str, paddle.Tensor], Any]:
    with paddle.utils.unique_name.guard():
        tensors, optimizer = build(make, dtype)
        for seed in range(steps):
            step(tensors, optimizer, gradients(tensors, seed))
    return tensors, optimizer


def shrink(tensors: Mapping[str, paddle.Tensor], undo_log: UndoLog, cut: Cut = CUT) -> None:
    for name in cut.kept:
        for tensor in (tensors[name], *gradients_of(tensors[name])):
            undo_log.resize(tensor, cut.gather(name, tensor.numpy()))


def prune(
    tensors: Mapping[str, paddle.Tensor], optimizer: Any, state: str = "carry", cut: Cut = CUT, last: bool = False
) -> UndoLog:
    """Cut parameters and optimizer; ``last``: the parameters after the optimizer."""
    undo_log = UndoLog()
    moves = [partial(shrink, tensors, undo_log, cut), partial(carry, optimizer, cut, tensors, undo_log, state)]
    for move in reversed(moves) if last else moves:
        move()
    return undo_log


def gathered(name: str, array: Array, cut: Cut = CUT, lead: int = 0) -> Array:
    """By hand, so that a fault of `Cut.gather` shows."""
    index = [np.arange(size) for size in array.shape]
    for axis, positions in cut.kept.get(name, {}).items():
        index[lead + axis] = positions
    return array[np.ix_(*index)]


def values(tensors: Mapping[str, paddle.Tensor]) -> dict[str, Array]:
    return {name: np.array(tensor.numpy()) for name, tensor in tensors.items()}


def snapshot(value: Any) -> Any:
    """A state dict as plain data, so that two can be compared bitwise."""
    if isinstance(value, paddle.Tensor):
        return (str(value.dtype), list(value.shape), value.numpy().tobytes())
    if isinstance(value, np.ndarray):
        return (str(value.dtype), list(value.shape), value.tobytes())
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    return [snapshot(item) for item in value] if isinstance(value, (list, tuple)) else value


def everything(tensors: Mapping[str, paddle.Tensor], optimizer: Any) -> Any:
    inner = getattr(optimizer, "inner_optimizer", None)
    own = {key: item for key, item in vars(optimizer).items() if key in ("_accumulators_holder", "_numel_cache")}
    return snapshot([dict(tensors), optimizer.state_dict(), inner and inner.state_dict(), own])


def close(got: Mapping[str, Array], want: Mapping[str, Array]) -> None:
    """Equal up to the last bits: Paddle's vectorised kernels round the tail of an array otherwise than its body."""
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-6, atol=1e-7, err_msg=name)


def stored(optimizer: Any) -> dict[tuple[str, str], paddle.Tensor]:
    found = {(what, key): t for what, entries in optimizer._accumulators.items() for key, t in entries.items()}
    inner = getattr(optimizer, "inner_optimizer", None)
    return found | (stored(inner) if inner else {})
