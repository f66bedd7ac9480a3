"""Every structure of the zoo is pruned as it should be, and what is left computes what the masked network computes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import paddle
import pytest
from structures import ZOO, Structure

from hapi_prune.inputs import example
from hapi_prune.pruning import Options, Pruner
from hapi_prune.survey import Survey

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")


def randomized(network):
    """``network`` with numbers of its own in every parameter and statistic, so that no mistake hides behind a zero."""
    random = np.random.RandomState(1)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if "float" in str(tensor.dtype) and len(tensor.shape) <= 1:
            low = 0.5 if name.endswith(("weight", "_variance", "scale")) else -0.5
            tensor.set_value(random.uniform(low, 1.5, tensor.shape).astype("float32"))
    return network


def outputs(network, given, training):
    """What ``network`` returns: its form, and its tensors as arrays."""
    (network.train if training else network.eval)()
    statistics = [(t, t.numpy().copy()) for t in network.state_dict().values() if t.stop_gradient]
    random = np.random.RandomState(7)
    leaves = [
        paddle.to_tensor(random.standard_normal(leaf.shape).astype("float32")) if "float" in str(leaf.dtype) else leaf
        for leaf in given.leaves
    ]
    args, kwargs = given.rebuilt(leaves)
    with paddle.no_grad():
        tree = network(*args, **kwargs)
    for tensor, value in statistics:
        tensor.set_value(value)
    return form(tree), [leaf.numpy() for leaf in paddle.utils.flatten(tree) if isinstance(leaf, paddle.Tensor)]


def form(tree: Any) -> Any:
    """The structure of an output, with shapes for its tensors."""
    if isinstance(tree, dict):
        return {key: form(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree), [form(value) for value in tree]
    return tuple(tree.shape) if isinstance(tree, paddle.Tensor) else tree


def zero(network, groups, plan):
    """Zero, in every tensor, the slices of the units that ``plan`` removes."""
    tensors = dict([*network.named_parameters(), *network.named_buffers()])
    for key, kept in plan.kept.items():
        gone = [unit for unit in range(groups[key].size) if unit not in kept]
        for (name, axis), index in groups[key].index.items():
            array = np.moveaxis(tensors[name].numpy().copy(), axis, 0)
            array[index[gone].ravel()] = 0
            tensors[name].set_value(np.moveaxis(array, 0, axis))
    return network


def same(pruned, masked, given, wanted):
    """Both networks return trees of the same form and, where the cut is exact, the same numbers."""
    for training in (False, True):
        (shape, ours), (expected, theirs) = outputs(pruned, given, training), outputs(masked, given, training)
        assert shape == expected, f"training={training}"
        for one, other in zip(ours, theirs) if wanted.equal and not (training and wanted.random) else ():
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * (np.abs(other).max() + 1e-6))


def train(network, given):
    """One step of training goes through, and changes what it should."""
    network.train()
    optimizer = paddle.optimizer.Momentum(0.01, parameters=network.parameters())
    args, kwargs = given.rebuilt(given.leaves)
    leaves = [leaf for leaf in paddle.utils.flatten(network(*args, **kwargs)) if isinstance(leaf, paddle.Tensor)]
    sum(leaf.square().mean() for leaf in leaves if "float" in str(leaf.dtype)).backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.shape == parameter.shape, name
            assert np.isfinite(parameter.grad.numpy()).all(), name
    optimizer.step()
    optimizer.clear_grad()


def reasons(pruner, record, layer):
    """What is said of a convolution that stays."""
    said = [note for note in record.notes if note.startswith(repr(layer))]
    for group in pruner.survey.grouping.groups.values():
        if any(axis == (f"{layer}.weight", 0) or axis == (layer, 0) for axis in group.index):
            said += [group.frozen, pruner.survey.graph.refused.get(group.key, "")]
    return " | ".join(filter(None, said))


def as_expected(wanted: Structure, pruner, record):
    """What should shrink shrank, by the right number of filters; what stays has the right reason."""
    short = {name.removesuffix(".0"): name for name in record.widths if name.removesuffix(".0") not in record.widths}
    named = {*wanted.shrinks, *wanted.stays}
    for layer in record.widths:
        assert {layer, layer.removesuffix(".0")} & named, f"{layer} is not spoken of"
    got = {name: record.widths.get(short.get(name, name)) for name in named}
    for name, count in wanted.shrinks.items():
        assert got[name], f"{name} is not in {record.widths}"
        was, now = got[name]
        assert now == (was - round(was * wanted.ratio) if count is None else count), (name, got, record.notes)
    for name, reason in wanted.stays.items():
        assert got[name] is None or got[name][0] == got[name][1], (name, got[name])
        assert reason in reasons(pruner, record, short.get(name, name)), (name, short.get(name, name))


@pytest.mark.parametrize("name", ZOO)
def test_a_structure_is_pruned_and_computes_what_the_masked_network_computes(name):
    wanted = ZOO[name]
    network = randomized(wanted.build())
    given = example(network, wanted.inputs)
    masked = copy.deepcopy(network)
    groups = Survey(network, wanted.inputs).grouping.groups
    pruner = Pruner(network, wanted.inputs, Options())

    record = pruner.cut(wanted.ratio)
    as_expected(wanted, pruner, record)
    assert any(groups[key].approximate for key in record.plan.kept) == wanted.approximate
    same(network, zero(masked, groups, record.plan), given, wanted)
    train(network, given)

    masked, groups = copy.deepcopy(network), pruner.survey.grouping.groups
    deeper = pruner.cut(min(0.9, wanted.ratio + 0.25))
    same(network, zero(masked, groups, deeper.plan), given, wanted)
    train(network, given)
