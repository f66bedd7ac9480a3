"""Laws of `hapi_prune.optimizers`: state follows its parameter element for element, and comes back bitwise."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import paddle
import paddle.optimizer as po
import pytest
from optimizer_cases import (
    CUT,
    ELEMENTWISE,
    EVERY,
    FIRST_ORDER,
    LAMB,
    LBFGS,
    TO_ONE,
    Make,
    build,
    close,
    everything,
    gathered,
    gradients,
    one,
    prune,
    shrink,
    snapshot,
    step,
    stored,
    trainable,
    trained,
    values,
)

from hapi_prune.cutting.optimizers import carry, verify
from hapi_prune.cutting.undo_log import UndoLog
from hapi_prune.plan import Array, Cut

pytestmark = [  # of Paddle's own steps: LookAhead's, and LBFGS's with its first step length
    pytest.mark.filterwarnings("ignore:Op `increment` is executed through `append_op`:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning"),
]


# State follows


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


# And comes back


@pytest.mark.slow
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


# Or starts anew


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


# Master weights


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
