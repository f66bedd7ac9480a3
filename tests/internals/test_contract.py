"""Everything private in Paddle that the library leans on, in one list: what has moved, and which file stands on it.

What is private in ``paddle.Model`` is in `tests/training/test_hapi.py`, since most of it shows only during a ``fit``.
"""

from __future__ import annotations

import traceback

import numpy as np
import paddle
import pytest
from paddle import nn

from hapi_prune.internals import optimizer_state

pytestmark = pytest.mark.smoke

SHAPE = [2, 4, 8, 8]
KINDS = {
    "Conv2D": (nn.Conv2D(4, 6, 3, groups=2), {"_in_channels": 4, "_out_channels": 6, "_groups": 2}),
    "Conv2DTranspose": (nn.Conv2DTranspose(4, 6, 3), {"_in_channels": 4, "_out_channels": 6, "_groups": 1}),
    "Embedding": (nn.Embedding(5, 4), {"_embedding_dim": 4}),
    "LayerNorm": (nn.LayerNorm([4, 8, 8]), {"_normalized_shape": [4, 8, 8]}),
    "BatchNorm2D": (nn.BatchNorm2D(4), {"_num_features": 4, "_momentum": 0.9}),
    "GroupNorm": (nn.GroupNorm(2, 4), {"_num_channels": 4}),
    "PReLU": (nn.PReLU(4), {"_num_parameters": 4}),
}


def holds(condition, what, where):
    """Fail with the place in the library that has to follow."""
    assert condition, (
        f"Paddle {paddle.__version__} has moved a private part: {what}. hapi_prune/internals/{where} leans on it."
    )


@pytest.mark.parametrize("kind", KINDS)
def test_layers_say_how_wide_they_are(kind):
    layer, attributes = KINDS[kind]
    for name, value in attributes.items():
        found = getattr(layer, name, None)
        found = list(found) if isinstance(value, list) and found is not None else found
        holds(found == value, f"{kind}.{name} is {value}, not {found}", "layers.py")


def test_layers_hold_tensors_in_two_dicts():
    norm = nn.BatchNorm2D(4)
    holds({"weight", "bias"} <= set(norm._parameters), "Layer._parameters", "tensors.py")
    norm.register_buffer("seen", paddle.zeros([1]))
    holds(set(norm._buffers) == {"seen"}, "Layer._buffers", "tensors.py")
    holds(list(norm._mean.shape) == list(norm._variance.shape) == [4], "BatchNorm._mean, _variance", "layers.py")
    holds(isinstance(norm._original_funcs, dict), "Layer._original_funcs", "preserve.py")
    holds("forward" not in vars(norm), "a layer has no forward of its own", "preserve.py")


def test_storage_is_shared_and_takes_another_shape():
    kept, other = paddle.ones([4, 3]), paddle.zeros([2, 3])
    kept.get_tensor()._share_data_with(other.get_tensor())
    holds(kept.shape == [2, 3] and not kept.numpy().any(), "Tensor.get_tensor()._share_data_with", "tensors.py")
    made = paddle.base.core.DenseTensor()
    made.set(np.arange(4), paddle.CPUPlace())
    kept.get_tensor()._share_data_with(made)
    holds(kept.tolist() == [0, 1, 2, 3] and kept.dtype == paddle.int64, "DenseTensor.set", "tensors.py")


def test_generators_give_and_take_their_state():
    state = paddle.get_rng_state()[0]
    device, seed, offset, text = state.__getstate__()
    numbers = all(isinstance(number, int) for number in (device, seed, offset))
    holds(
        numbers and bytes(text).decode("ascii").strip(), "the state of a generator: 3 numbers, text", "random_state.py"
    )
    other = type(state).__new__(type(state))
    other.__setstate__((device, seed, offset, text))
    holds(other.__getstate__() == state.__getstate__(), "GeneratorState.__setstate__", "random_state.py")


def stepped(kind, **options):
    """An optimizer of a kind after one step, and its parameter."""
    layer = nn.Linear(3, 2, bias_attr=False)
    optimizer = kind(parameters=layer.parameters(), **options)
    layer(paddle.ones([1, 3])).sum().backward()
    optimizer.step()
    return optimizer, layer.weight


def test_optimizers_file_their_state_by_parameter():
    optimizer, weight = stepped(paddle.optimizer.Adam, learning_rate=0.1)
    where = "optimizer_state.py"
    holds(optimizer._param_groups[0] is weight, "Optimizer._param_groups", where)
    holds(optimizer._learning_rate == 0.1, "Optimizer._learning_rate", where)
    holds(set(optimizer._accumulators["moment1"]) == {weight.name}, "Optimizer._accumulators[what][parameter]", where)
    holds(optimizer._master_weights == {}, "Optimizer._master_weights", where)
    holds(isinstance(getattr(optimizer, optimizer_state.LOADED), dict), f"Optimizer.{optimizer_state.LOADED}", where)
    holds(isinstance(optimizer._already_create_accumulator, set), "Optimizer._already_create_accumulator", where)
    holds(isinstance(optimizer._opti_name_list, list), "Optimizer._opti_name_list", where)
    holds(callable(optimizer._create_accumulators), "Optimizer._create_accumulators", where)
    keys = {key for key in optimizer.state_dict() if key.startswith(f"{weight.name}_moment1")}
    holds(keys == {f"{weight.name}_moment1_0"}, "keys of Optimizer.state_dict: <parameter>_<accumulator>_0", where)


def test_lbfgs_keeps_vectors_over_all_parameters():
    layer = nn.Linear(3, 2)
    optimizer = paddle.optimizer.LBFGS(parameters=layer.parameters(), max_iter=2)
    where = "optimizer_state.py"

    def closure():
        optimizer.clear_grad()
        loss = (layer(paddle.ones([1, 3])) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    state = getattr(optimizer, optimizer_state.FLAT_STATE)
    holds(len(optimizer._params) == 2, "LBFGS._params", where)
    holds(hasattr(optimizer, optimizer_state.FLAT_SIZE), f"LBFGS.{optimizer_state.FLAT_SIZE}", where)
    holds({"old_yk", "old_sk", "ro", "H_diag"} <= set(state), "LBFGS.state: old_yk, old_sk, ro, H_diag", where)
    holds(list(state["d"].shape) == [8], "LBFGS.state['d'], one vector over all parameters", where)


def test_lookahead_wraps_and_counts():
    layer = nn.Linear(3, 2)
    inner = paddle.optimizer.SGD(parameters=layer.parameters())
    outer = paddle.incubate.LookAhead(inner)
    holds(outer.inner_optimizer is inner, "LookAhead.inner_optimizer", "optimizer_state.py")
    holds(hasattr(outer, optimizer_state.CLOCK), f"LookAhead.{optimizer_state.CLOCK}", "optimizer_state.py")


class Small(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(4, 3, 1)

    def forward(self, image):
        return nn.functional.relu(self.conv(image))


def test_a_trace_gives_operations_with_names_shapes_and_lines():
    network, stacks = Small(), []
    whole = traceback.extract_stack

    def counted(*args, **options):
        stacks.append(args)
        return whole(*args, **options)

    def run(image):
        return network(image)

    spec = paddle.static.InputSpec(SHAPE, "float32", name="input_0")
    traceback.extract_stack = counted
    try:
        traced = paddle.jit.to_static(run, input_spec=[spec], full_graph=True).concrete_program
    finally:
        traceback.extract_stack = whole
    where = "program.py"
    ops = {op.name(): op for op in traced.main_program.global_block().ops}
    holds({"pd_op.data", "builtin.parameter", "pd_op.conv2d", "pd_op.relu"} <= set(ops), "names of operations", where)
    conv = ops["pd_op.conv2d"]
    holds(conv.attrs()["groups"] == 1 and "strides" in conv.attrs(), "attributes of conv2d", where)
    holds(any("test_contract" in line for line in conv.attrs()["op_callstack"]), "op_callstack names the file", where)
    holds(() in stacks, "Paddle asks traceback.extract_stack() for it, without arguments", where)
    holds(list(conv.results()[0].shape) == [2, 3, 8, 8], "results() and their shapes", where)
    holds(conv.operands_source()[0].id == ops["pd_op.data"].results()[0].id, "values are known by their id", where)
    holds("parameter_name" in ops["builtin.parameter"].attrs(), "builtin.parameter names its tensor", where)
    holds(conv.blocks() == [] or list(conv.blocks()) == [], "blocks() of an operation", where)
    holds(isinstance(paddle.utils.flatten(traced.outputs), list), "ConcreteProgram.outputs", where)


def test_a_tensor_has_gradients_in_known_places():
    weight = paddle.create_parameter([2, 3], "float32")
    (weight * 2).sum().backward()
    holds(
        weight.grad.is_dense() and not weight.grad.is_selected_rows(), "Tensor.is_dense, is_selected_rows", "tensors.py"
    )
    holds(np.array_equal(weight.grad.numpy(), np.full([2, 3], 2)), "Tensor.grad", "tensors.py")
