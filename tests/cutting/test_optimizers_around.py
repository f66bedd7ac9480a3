"""What surrounds the state of an optimizer through a cut, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import paddle
import paddle.optimizer as po
import pytest
from optimizer_cases import (
    CUT,
    EVERY,
    SAVED,
    Make,
    build,
    close,
    everything,
    gathered,
    gradients,
    prune,
    shrink,
    snapshot,
    step,
    stored,
    trained,
    values,
)
from paddle.optimizer import fusion_utils

from hapi_prune.cutting.optimizers import carry, covered, verify
from hapi_prune.cutting.undo_log import UndoLog
from hapi_prune.errors import PruneError
from hapi_prune.plan import Cut

pytestmark = [  # of Paddle's own steps: LookAhead's, and LBFGS's with its first step length
    pytest.mark.filterwarnings("ignore:Op `increment` is executed through `append_op`:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning"),
]


# What surrounds the parameters


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


# What is refused


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
