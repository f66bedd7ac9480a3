"""Laws of `hapi_prune.optimizers`: state follows its parameter element for element, and comes back bitwise."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import paddle
import paddle.optimizer as po
import pytest
from paddle.optimizer import fusion_utils

from hapi_prune.cutting.optimizers import carry, covered, verify
from hapi_prune.cutting.undo_log import UndoLog
from hapi_prune.errors import PruneError
from hapi_prune.internals.tensors import gradients as gradients_of
from hapi_prune.plan import Array, Cut

Make = Callable[[list[Any]], Any]

pytestmark = [  # of Paddle's own steps: LookAhead's, and LBFGS's with its first step length
    pytest.mark.filterwarnings("ignore:Op `increment` is executed through `append_op`:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning"),
]


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


# ---------------------------------------------------------------------------------------------- state follows


@pytest.mark.parametrize("last", [False, True], ids=["parameters first", "state first"])
@pytest.mark.parametrize("make", ELEMENTWISE.values(), ids=ELEMENTWISE)
def test_steps_after_a_cut_are_those_of_the_dense_twin(make: Make, last: bool) -> None:
    """Where each element trains by itself, pruned(step(x)) == step(pruned(x)), for as many steps as one likes."""
    dense, dense_optimizer = trained(make)
    tensors, optimizer = trained(make)
    prune(tensors, optimizer, last=last)
    verify(optimizer, tensors)
    for seed in (10, 11, 12):
        grads = gradients(dense, seed)
        step(dense, dense_optimizer, grads)
        step(tensors, optimizer, {name: gathered(name, grad) for name, grad in grads.items()})
        close(values(tensors), {name: gathered(name, array) for name, array in values(dense).items()})
    verify(optimizer, tensors)


@pytest.mark.parametrize("make", FIRST_ORDER.values(), ids=FIRST_ORDER)
def test_state_is_gathered_bitwise_with_name_and_object(make: Make) -> None:
    tensors, optimizer = trained(make)
    names = {tensor.name: name for name, tensor in tensors.items()}
    before = {key: (tensor, tensor.name, np.array(tensor.numpy())) for key, tensor in stored(optimizer).items()}
    prune(tensors, optimizer)
    assert stored(optimizer).keys() == before.keys()
    for key, (tensor, name, array) in before.items():
        lead = array.ndim - len(CUT.before.get(names[key[1]], ()))
        want = array if array.size == 1 else gathered(names[key[1]], array, lead=lead)
        assert stored(optimizer)[key] is tensor and tensor.name == name
        assert snapshot(tensor) == snapshot(want) or tensor.numpy().tobytes() == want.tobytes()
        assert list(tensor.shape) == list(want.shape)


@pytest.mark.parametrize("make", LAMB.values(), ids=LAMB)
def test_lamb_moments_follow_and_it_trains_on(make: Make) -> None:
    """Its trust ratio is a norm over the tensor, so only the moments are those of the dense twin."""
    dense, dense_optimizer = trained(make)
    tensors, optimizer = trained(make)
    prune(tensors, optimizer)
    grads = gradients(dense, 10)
    step(dense, dense_optimizer, grads)
    step(tensors, optimizer, {name: gathered(name, grad) for name, grad in grads.items()})
    for name in trainable(tensors):
        for what in ("moment1", "moment2"):
            got = optimizer._accumulators[what][tensors[name].name].numpy()
            want = gathered(name, dense_optimizer._accumulators[what][dense[name].name].numpy())
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("make", LBFGS.values(), ids=LBFGS)
@pytest.mark.parametrize("last", [False, True], ids=["parameters first", "state first"])
def test_lbfgs_vectors_are_gathered_by_flat_index(make: Make, last: bool) -> None:
    tensors, optimizer = trained(make)
    names = {tensor.name: name for name, tensor in tensors.items()}
    sizes = [tensor.size for tensor in optimizer._params]

    def expected(vector: paddle.Tensor) -> Array:
        parts = np.split(vector.numpy(), np.cumsum(sizes)[:-1])
        shaped = [part.reshape(shape) for part, shape in zip(parts, shapes)]
        return np.concatenate([gathered(names[p.name], a).ravel() for p, a in zip(optimizer._params, shaped)])

    shapes = [list(parameter.shape) for parameter in optimizer._params]
    old = dict(optimizer.state)
    assert old["old_yk"] and len(tensors) == len(optimizer._params)
    prune(tensors, optimizer, last=last)
    for label in ("d", "prev_flat_grad"):
        np.testing.assert_array_equal(optimizer.state[label].numpy(), expected(old[label]))
    pairs = list(zip(old["old_yk"], old["old_sk"]))
    assert [len(optimizer.state[label]) for label in ("old_yk", "old_sk", "ro")] == [len(pairs)] * 3
    for (y, s), new_y, new_s, ro in zip(
        pairs, optimizer.state["old_yk"], optimizer.state["old_sk"], optimizer.state["ro"]
    ):
        np.testing.assert_array_equal(new_y.numpy(), expected(y))
        np.testing.assert_array_equal(new_s.numpy(), expected(s))
        np.testing.assert_allclose(float(ro), 1 / np.dot(expected(y), expected(s)), rtol=1e-5)
    np.testing.assert_allclose(
        float(optimizer.state["H_diag"]), np.dot(expected(y), expected(s)) / np.dot(expected(y), expected(y)), rtol=1e-5
    )
    verify(optimizer, tensors)
    step(tensors, optimizer, gradients(tensors, 10))
    verify(optimizer, tensors)


def test_lbfgs_still_finds_the_minimum() -> None:
    """With the history it was left, within what stays."""
    tensors, optimizer = trained(EVERY["LBFGS"])
    prune(tensors, optimizer)
    grads = gradients(tensors, 10)

    def loss() -> float:
        return sum(
            float((values(tensors)[n] ** 2).sum() / 2 + (values(tensors)[n] * g).sum()) for n, g in grads.items()
        )

    first = loss()
    best = -sum(float((g**2).sum() / 2) for g in grads.values())
    for _ in range(3):
        step(tensors, optimizer, grads)
    assert loss() - best < 1e-2 * (first - best)


def test_lbfgs_drops_pairs_without_curvature() -> None:
    tensors, optimizer = trained(EVERY["LBFGS"])
    size = sum(parameter.size for parameter in optimizer._params)
    optimizer.state["old_sk"] = [-paddle.ones([size]) for _ in optimizer.state["old_sk"]]
    optimizer.state["old_yk"] = [paddle.ones([size]) for _ in optimizer.state["old_yk"]]
    prune(tensors, optimizer)
    assert optimizer.state["old_yk"] == optimizer.state["old_sk"] == optimizer.state["ro"] == []
    assert float(optimizer.state["H_diag"]) == 1.0
    step(tensors, optimizer, gradients(tensors, 10))


@pytest.mark.parametrize("make", ELEMENTWISE.values(), ids=ELEMENTWISE)
def test_a_cut_down_to_one_element_and_a_second_cut(make: Make) -> None:
    """One element left looks like a scalar of state; [7] -> [1] must still have been gathered."""
    dense, dense_optimizer = trained(make)
    tensors, optimizer = trained(make)
    prune(tensors, optimizer, cut=TO_ONE)
    other = Cut(before={"fc.bias": (4,)}, kept={"fc.bias": {0: np.array([3, 0])}})  # the order is the cut's
    prune(tensors, optimizer, cut=other)
    verify(optimizer, tensors)
    for seed in (10, 11):
        grads = gradients(dense, seed)
        step(dense, dense_optimizer, grads)
        both = {name: gathered(name, gathered(name, grad, TO_ONE), other) for name, grad in grads.items()}
        step(tensors, optimizer, both)
        close(values(tensors), {n: gathered(n, gathered(n, a, TO_ONE), other) for n, a in values(dense).items()})


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("state", ["carry", "reset"])
def test_an_optimizer_before_its_first_step(make: Make, state: str) -> None:
    tensors, optimizer = trained(make, steps=0)
    prune(tensors, optimizer, state)
    verify(optimizer, tensors)
    other, fresh = trained(make, steps=0)
    shrink(other, UndoLog())
    for net, opt in ((tensors, optimizer), (other, fresh)):
        step(net, opt, gradients(net, 10))
    assert snapshot(values(tensors)) == snapshot(values(other))


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_the_empty_cut_changes_nothing(make: Make) -> None:
    tensors, optimizer = trained(make)
    before = everything(tensors, optimizer)
    carry(optimizer, Cut({}, {}), tensors, UndoLog())
    assert everything(tensors, optimizer) == before


# ------------------------------------------------------------------------------------------------ and comes back


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("state", ["carry", "reset"])
@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_undo_restores_bitwise(make: Make, state: str, steps: int) -> None:
    tensors, optimizer = trained(make, steps)
    twin, twin_optimizer = trained(make, steps)
    attributes = dict(vars(optimizer))
    before, keys = everything(tensors, optimizer), list(optimizer.state_dict())
    undo_log = prune(tensors, optimizer, state)
    if steps and type(optimizer).__name__ != "SGD":
        assert everything(tensors, optimizer) != before
    undo_log.undo()
    assert everything(tensors, optimizer) == before and list(optimizer.state_dict()) == keys
    assert all(vars(optimizer)[key] is value for key, value in attributes.items())
    assert vars(optimizer).keys() == attributes.keys()
    for net, opt in ((tensors, optimizer), (twin, twin_optimizer)):
        with paddle.utils.unique_name.guard():  # so that state made only now has the same names
            step(net, opt, gradients(net, 10))
    assert everything(tensors, optimizer) == everything(twin, twin_optimizer)


# --------------------------------------------------------------------------------------------------- or starts anew


@pytest.mark.parametrize("last", [False, True], ids=["parameters first", "state first"])
@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_reset_is_a_new_optimizer(make: Make, last: bool) -> None:
    tensors, optimizer = trained(make)
    other, _ = trained(make)
    keys = list(optimizer.state_dict())
    prune(tensors, optimizer, "reset", last=last)
    verify(optimizer, tensors)
    shrink(other, UndoLog())
    fresh = make(list(other.values()))
    for seed in (10, 11, 12):
        grads = gradients(tensors, seed)
        step(tensors, optimizer, grads)
        step(other, fresh, grads)
        assert snapshot(values(tensors)) == snapshot(values(other))
    if not isinstance(optimizer, po.LBFGS):  # the names too, so that a checkpoint loads in a new process
        assert list(optimizer.state_dict()) == keys


def test_reset_drops_loaded_state() -> None:
    _, optimizer = trained(EVERY["Adam multi"])
    saved = copy.deepcopy(optimizer.state_dict())
    with paddle.utils.unique_name.guard():
        tensors, fresh = build(EVERY["Adam multi"])
        fresh.set_state_dict(saved)
        prune(tensors, fresh, "reset")
        step(tensors, fresh, gradients(tensors, 10))
    first = fresh._accumulators["moment1"][tensors["conv.bias"].name].numpy()
    np.testing.assert_allclose(first, 0.1 * gradients(tensors, 10)["conv.bias"], rtol=1e-5)


# ---------------------------------------------------------------------------------------------- master weights


@pytest.mark.parametrize("state", ["carry", "reset"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "make", [one(po.SGD, learning_rate=0.1), one(po.Rprop, learning_rate=0.05)], ids=["SGD", "Rprop"]
)
def test_master_weights(make: Make, last: bool, state: str) -> None:
    """bfloat16 with float32 masters, for the optimizers that Paddle has on the CPU."""

    def precise(params: list[Any]) -> Any:
        optimizer = make(params)
        optimizer._multi_precision = True
        return optimizer

    dense, dense_optimizer = trained(precise, dtype="bfloat16")
    tensors, optimizer = trained(precise, dtype="bfloat16")
    masters = dict(optimizer._master_weights)
    assert masters and dense["conv.weight"].dtype == paddle.bfloat16
    before = everything(tensors, optimizer)
    prune(tensors, optimizer, state, last=last).undo()
    assert everything(tensors, optimizer) == before
    prune(tensors, optimizer, state, last=last)
    verify(optimizer, tensors)
    assert all(optimizer._master_weights[name] is tensor for name, tensor in masters.items())
    if state == "reset":
        dense_optimizer = precise(list(dense.values()))
    grads = gradients(dense, 10)
    step(dense, dense_optimizer, grads)
    step(tensors, optimizer, {name: gathered(name, grad) for name, grad in grads.items()})
    for name in trainable(tensors):
        assert snapshot(tensors[name].numpy()) == snapshot(gathered(name, dense[name].numpy()))
        got, want = (
            o._master_weights[t[name].name].numpy() for o, t in ((optimizer, tensors), (dense_optimizer, dense))
        )
        np.testing.assert_array_equal(got, gathered(name, want))


def test_accumulators_filed_under_a_master_weight() -> None:
    """As Adam files them on a GPU, made by hand, with the lists of use_multi_tensor pointing at the same tensors."""
    tensors, optimizer = trained(EVERY["Adam multi"])
    weight = tensors["conv.weight"]
    master = weight.clone()
    master.name = weight.name + "_fp32_master_0"
    optimizer._master_weights[weight.name] = master
    for entries in optimizer._accumulators.values():
        entries[master.name] = entries.pop(weight.name)
    moment, old = optimizer._accumulators["moment1"][master.name], weight.numpy().copy()
    want = CUT.gather("conv.weight", moment.numpy())
    prune(tensors, optimizer)
    np.testing.assert_array_equal(master.numpy(), CUT.gather("conv.weight", old))
    np.testing.assert_array_equal(moment.numpy(), want)
    verify(optimizer, tensors)


# ------------------------------------------------------------------------------- what surrounds the parameters


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("state", ["carry", "reset"])
def test_groups_regularizers_clips_and_schedulers_stay(multi: bool, state: str) -> None:
    def make(params: list[Any]) -> Any:
        groups = [
            {"params": params[:4], "learning_rate": 0.3, "weight_decay": 0.2, "beta1": 0.7},
            {"params": params[4:], "beta2": 0.9},
        ]
        schedule = po.lr.StepDecay(0.1, 2)
        clip = paddle.nn.ClipGradByValue(0.5)
        return po.Adam(schedule, parameters=groups, grad_clip=clip, use_multi_tensor=multi, weight_decay=0.01)

    dense, dense_optimizer = trained(make)
    tensors, optimizer = trained(make)
    objects = (optimizer._learning_rate, optimizer._grad_clip, optimizer._param_groups, optimizer._parameter_list)
    optimizer._learning_rate.step()
    dense_optimizer._learning_rate.step()
    rate = optimizer._learning_rate.state_dict()
    prune(tensors, optimizer, state)
    verify(optimizer, tensors)
    after = (optimizer._learning_rate, optimizer._grad_clip, optimizer._param_groups, optimizer._parameter_list)
    assert all(a is b for a, b in zip(after, objects)) and rate == optimizer._learning_rate.state_dict()
    assert optimizer._param_groups[0]["params"][0] is tensors["conv.weight"]
    if state == "reset":
        dense_optimizer = make([p for group in dense_optimizer._param_groups for p in group["params"]])
        dense_optimizer._learning_rate.step()
    for seed in (10, 11):
        grads = gradients(dense, seed)
        step(dense, dense_optimizer, grads)
        step(tensors, optimizer, {name: gathered(name, grad) for name, grad in grads.items()})
        close(values(tensors), {name: gathered(name, array) for name, array in values(dense).items()})


@pytest.mark.parametrize("numpy", [False, True], ids=["tensors", "arrays"])
@pytest.mark.parametrize("make", SAVED.values(), ids=SAVED)
def test_state_loaded_before_the_first_step(make: Make, numpy: bool) -> None:
    """Loaded, then cut, then stepped == stepped from what was cut live; the user's own dict stays whole."""
    tensors, optimizer = trained(make)
    saved = {key: value.numpy().copy() if numpy else value.clone() for key, value in optimizer.state_dict().items()}
    whole = snapshot(saved)
    with paddle.utils.unique_name.guard():
        other, late = build(make)
        for name, tensor in tensors.items():
            other[name].set_value(tensor.numpy())
        late.set_state_dict(saved)
        held = snapshot(late._accumulators_holder)
        undo_log = prune(other, late)
        verify(late, other)
        undo_log.undo()
        assert snapshot(late._accumulators_holder) == held
        prune(other, late)
        assert snapshot(saved) == whole
        prune(tensors, optimizer)
        for net, opt in ((tensors, optimizer), (other, late)):
            step(net, opt, gradients(net, 10))
    assert snapshot(values(tensors)) == snapshot(values(other))
    assert snapshot(optimizer.state_dict()) == snapshot(late.state_dict())


def test_loaded_state_of_parameters_whose_names_begin_alike() -> None:
    names, sizes = ("w", "w_1", "w_1_moment1"), (7, 4, 5)
    made = [paddle.create_parameter([size], "float32", name=name) for name, size in zip(names, sizes)]
    tensors = dict(zip("abc", made))
    optimizer = po.Adam(0.1, parameters=made)
    with paddle.utils.unique_name.guard():
        step(tensors, optimizer, gradients(tensors, 0))
        late = po.Adam(0.1, parameters=made)
        late.set_state_dict(optimizer.state_dict())
    cut = Cut({"a": (7,), "b": (4,)}, {"a": {0: np.array([6])}, "b": {0: np.array([3, 1])}})
    prune(tensors, late, cut=cut)
    verify(late, tensors)
    for key, index in (("w_moment1_0", [6]), ("w_1_moment1_0", [3, 1]), ("w_1_moment1_moment1_0", [0, 1, 2, 3, 4])):
        old = optimizer.state_dict()[key].numpy()
        np.testing.assert_array_equal(late._accumulators_holder[key].numpy(), old[index])


@pytest.mark.skipif(not hasattr(fusion_utils, "_share_tensor_ipc_meta"), reason="this Paddle fuses on a GPU only")
def test_fused_storage_is_fused_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """AdamW's one buffer for all state, made to work on the CPU by a GPU's alignment."""

    def fused(params: list[Any]) -> Any:
        optimizer = EVERY["AdamW"](params)
        optimizer.use_fusion_storage()
        return optimizer

    monkeypatch.setattr(fusion_utils, "__current_device_type__", "gpu")
    dense, dense_optimizer = trained(EVERY["AdamW"])
    tensors, optimizer = trained(fused)
    assert optimizer.fusion_storage is not None
    before = everything(tensors, optimizer)
    prune(tensors, optimizer).undo()
    assert everything(tensors, optimizer) == before
    prune(tensors, optimizer)
    assert vars(optimizer)["fusion_storage"] is None  # the old one holds nothing that is in use
    grads = gradients(dense, 10)
    step(dense, dense_optimizer, grads)
    step(tensors, optimizer, {name: gathered(name, grad) for name, grad in grads.items()})
    close(values(tensors), {name: gathered(name, array) for name, array in values(dense).items()})
    kept = sum(t.size for t in stored(optimizer).values())
    assert kept <= optimizer.fused_states_buffer.size < kept + 64 * len(stored(optimizer))


def test_an_optimizer_over_part_of_the_network() -> None:
    tensors, _ = build(EVERY["Adam"])
    part = po.Adam(0.1, parameters=[tensors["conv.weight"], tensors["fc.bias"]])
    assert covered(part, tensors) == {"conv.weight", "fc.bias"}
    step(tensors, part, gradients(tensors, 0))
    expected = covered(part, tensors)
    prune(tensors, part)
    verify(part, tensors, expected)
    with pytest.raises(PruneError, match="'act._weight' is not in it"):
        verify(part, tensors)
    step(tensors, part, gradients(tensors, 1))


@pytest.mark.parametrize("state", ["carry", "reset"])
@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_random_states_and_name_counters_are_left_alone(make: Make, state: str) -> None:
    tensors, optimizer = trained(make)
    counters = dict(paddle.base.unique_name.generator.ids)
    paddle.seed(5)
    np.random.seed(5)
    want = (paddle.rand([4]).numpy().tolist(), np.random.rand())
    paddle.seed(5)
    np.random.seed(5)
    prune(tensors, optimizer, state)
    verify(optimizer, tensors)
    assert (paddle.rand([4]).numpy().tolist(), np.random.rand()) == want
    assert dict(paddle.base.unique_name.generator.ids) == counters


# ----------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("make", [m for k, m in EVERY.items() if k != "SGD"], ids=[k for k in EVERY if k != "SGD"])
def test_verify_sees_state_left_behind(make: Make) -> None:
    tensors, optimizer = trained(make)
    verify(optimizer, tensors)
    shrink(tensors, UndoLog())
    with pytest.raises(PruneError, match=type(optimizer).__name__):
        verify(optimizer, tensors)


def test_verify_sees_loaded_state_left_behind() -> None:
    _, optimizer = trained(EVERY["Adam"])
    with paddle.utils.unique_name.guard():
        tensors, late = build(EVERY["Adam"])
        late.set_state_dict(optimizer.state_dict())
        verify(late, tensors)
        shrink(tensors, UndoLog())
        with pytest.raises(PruneError, match=r"loaded .*conv2d_0\.w_0_moment1_0.* does not fit"):
            verify(late, tensors)


def test_verify_sees_orphans_duplicates_and_replacements() -> None:
    tensors, optimizer = trained(EVERY["Momentum"])
    optimizer._accumulators["velocity"]["gone.w_0"] = paddle.zeros([3])
    for refuses in (partial(verify, optimizer, tensors), partial(carry, optimizer, CUT, tensors, UndoLog())):
        with pytest.raises(PruneError, match=r"Momentum.*'velocity'.*'gone.w_0'"):
            refuses()
    tensors, _ = build(EVERY["SGD"])
    twice = po.SGD(0.1, parameters=[*tensors.values(), tensors["fc.bias"]])
    with pytest.raises(PruneError, match="'linear_0.b_0' twice"):
        verify(twice, tensors)
    _, optimizer = build(EVERY["SGD"])
    for refuses in (partial(verify, optimizer, tensors), partial(carry, optimizer, CUT, tensors, UndoLog())):
        with pytest.raises(
            PruneError, match="another parameter called 'conv2d_0.w_0' than the network's 'conv.weight'"
        ):
            refuses()
    with pytest.raises(PruneError, match="'elsewhere' is not in it"):
        verify(po.SGD(0.1, parameters=list(tensors.values())), tensors, ["elsewhere"])


@pytest.mark.parametrize("shape", [[7], [2, 2, 3, 7], [2], [7, 2, 2]])
def test_state_that_cannot_be_understood_is_refused_before_anything_is_written(shape: list[int]) -> None:
    tensors, optimizer = trained(EVERY["Adam"])
    optimizer._accumulators["odd"][tensors["conv.weight"].name] = paddle.zeros(shape)
    before = everything(tensors, optimizer)
    with pytest.raises(PruneError, match=r"Adam, 'odd' of 'conv2d_0.w_0': shape .* 'conv.weight'"):
        carry(optimizer, CUT, tensors, UndoLog())
    with pytest.raises(PruneError, match=r"'odd' of 'conv2d_0.w_0': a new optimizer has none"):
        carry(optimizer, CUT, tensors, UndoLog(), "reset")
    assert everything(tensors, optimizer) == before


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: [t], lambda t: {"p": (t,)}])
def test_state_in_unknown_places_is_refused(wrap: Callable[[Any], Any]) -> None:
    tensors, optimizer = trained(EVERY["SGD"])
    optimizer.average = wrap(paddle.zeros([7]))
    for refuses in (
        partial(verify, optimizer, tensors),
        partial(carry, optimizer, CUT, tensors, UndoLog()),
        partial(carry, optimizer, CUT, tensors, UndoLog(), "reset"),
    ):
        with pytest.raises(PruneError, match=r"SGD.*'average'.*\[7\]"):
            refuses()
    optimizer.average = wrap(paddle.zeros([1]))
    carry(optimizer, CUT, tensors, UndoLog())


def test_a_stale_list_of_use_multi_tensor_is_refused() -> None:
    tensors, optimizer = trained(EVERY["Adam multi"])
    verify(optimizer, tensors)
    moments = next(groups[0] for groups in optimizer._moment1_dict.values() if groups[0])  # by kind of tensor
    moments[0] = paddle.zeros([7, 2, 2, 3])
    with pytest.raises(PruneError, match="_moment1_dict"):
        verify(optimizer, tensors)


def test_lbfgs_state_that_is_no_vector_is_refused() -> None:
    tensors, optimizer = trained(EVERY["LBFGS"])
    optimizer.state["d"] = paddle.zeros([5])
    for refuses in (partial(verify, optimizer, tensors), partial(carry, optimizer, CUT, tensors, UndoLog())):
        with pytest.raises(PruneError, match=r"LBFGS, state 'd': shape \[5\]"):
            refuses()
    tensors, optimizer = trained(EVERY["LBFGS"])
    optimizer._numel_cache = 3
    with pytest.raises(PruneError, match="number of elements: got 3"):
        verify(optimizer, tensors)


def test_loaded_state_of_nothing_is_refused() -> None:
    tensors, optimizer = build(EVERY["Adam"])
    odd: dict[str, Any]
    for odd in (
        {"other_0.w_0_moment1_0": paddle.zeros([3])},
        {"conv2d_0.w_0_0": np.zeros(7)},
        {"conv2d_0.w_0_m_0": {}},
    ):
        optimizer._accumulators_holder = odd
        for refuses in (partial(verify, optimizer, tensors), partial(carry, optimizer, CUT, tensors, UndoLog())):
            with pytest.raises(PruneError, match="Adam: loaded state .* belongs to no parameter"):
                refuses()


def test_unknown_words_and_optimizers_are_refused() -> None:
    tensors, optimizer = trained(EVERY["SGD"])
    with pytest.raises(PruneError, match=r"'rest'.*'carry' or 'reset'"):
        carry(optimizer, CUT, tensors, UndoLog(), "rest")
    merged = paddle.incubate.optimizer.gradient_merge.GradientMergeOptimizer.__new__(
        paddle.incubate.optimizer.gradient_merge.GradientMergeOptimizer
    )
    merged.inner_optimizer = optimizer
    for refuses in (
        partial(carry, merged, CUT, tensors, UndoLog()),
        partial(verify, merged, tensors),
        partial(covered, merged, tensors),
    ):
        with pytest.raises(
            PruneError, match=r"GradientMergeOptimizer: its state cannot be seen.*Momentum, Adam, AdamW"
        ):
            refuses()


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_the_private_attributes_are_there(make: Make) -> None:
    """What `_optimizer_state` names; a Paddle that renames one must fail here, not in a user's run."""
    _, optimizer = trained(make)
    for each in (optimizer, getattr(optimizer, "inner_optimizer", optimizer)):
        names = "_accumulators _accumulators_holder _param_groups _parameter_list _master_weights _opti_name_list"
        assert all(name in vars(each) for name in (names + " _already_create_accumulator").split())
    if isinstance(optimizer, po.LBFGS):
        assert {"state", "_params", "_numel_cache"} <= vars(optimizer).keys()
    if make is EVERY["LookAhead"]:
        assert "_global_step_var" in vars(optimizer)
