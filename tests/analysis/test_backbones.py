"""Relatives of known backbones and heads: pruned, right, and every convolution that stays has a true reason."""

from __future__ import annotations

import copy
from contextlib import suppress
from fnmatch import fnmatch
from typing import Any

import paddle
import pytest
import reference
from backbones import BACKBONES
from backbones_files import FILES
from counting import counted
from daily import some

from hapi_prune import explain
from hapi_prune.analysis.example_input import example
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.errors import NothingToPruneError

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")
assert len(FILES) == 9, "which enter the networks"
TOLERANCE = 1e-3


NORMS = {"layer_norm", "group_norm"}


def compare(network, before, groups, plan, inputs):
    """What is left computes in evaluation what the masked network computes, its norms without what is gone."""
    removed = reference.gone(groups, plan)
    masked = reference.normalised_over_what_stays(reference.masked(before, removed), removed)
    ours, theirs = (drawn_alike(one, inputs) for one in (network, masked))
    assert reference.distance(ours, theirs) < TOLERANCE


def drawn_alike(network, inputs):
    """What a network returns, from the same random numbers if it draws any."""
    paddle.seed(1)
    return reference.outputs(network, inputs)


def only_normalised(pruner: Pruner) -> bool:
    """Whether channels are mixed by nothing but such norms."""
    return {why.op for _, why in pruner.channel_map.traced.constraints.mixed} <= NORMS


def step(network, inputs):
    """A step of training goes through, and gives gradients of the right shapes."""
    network.train()
    optimizer = paddle.optimizer.Momentum(1e-4, parameters=network.parameters())
    leaves = [leaf for leaf in paddle.utils.flatten(network(*inputs)) if isinstance(leaf, paddle.Tensor)]
    sum(leaf.square().mean() for leaf in leaves if "float" in str(leaf.dtype)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is None or parameter.grad.shape == parameter.shape, name
    optimizer.step()
    optimizer.clear_grad()


def cut(pruner: Pruner, ratio: Any, inputs: list[Any]):
    """Cut, compare where it can be said what is to come out, and train."""
    network, groups = pruner.channel_map.network, pruner.channel_map.groups
    before = copy.deepcopy(network)
    record = pruner.cut(ratio)
    exact = not any(groups[key].approximate for key in record.plan.kept)
    if exact or only_normalised(pruner):
        compare(network, before, groups, record.plan, inputs)
    step(network, inputs)
    return record, exact


@pytest.mark.parametrize("name", some(BACKBONES, 16))
def test_a_backbone_is_pruned_and_computes_what_the_masked_network_computes(name, monkeypatch):
    wanted = BACKBONES[name]
    search = counted(monkeypatch)
    network = reference.randomise(wanted.build())
    given = example(network, wanted.inputs)
    inputs = given.rebuilt([paddle.randn(leaf.shape) for leaf in given.leaves])[0]
    rows = {row.layer: row for row in explain(network, wanted.inputs).rows}
    mixed = [layer for layer, row in rows.items() if row.status == "approximate"]
    if mixed:  # the others by themselves, so that they can be compared
        others = Pruner(copy.deepcopy(network), wanted.inputs, Options(skip=mixed))
        with suppress(NothingToPruneError):
            assert cut(others, 0.5, inputs)[1], "explain does not call it approximate"
    pruner, before = Pruner(network, wanted.inputs, Options()), reference.channels(network)
    _, exact = cut(pruner, 0.5, inputs)
    assert exact or mixed, "explain calls nothing approximate"
    assert search.times_plain <= 5, search
    convolutions = reference.channels(network)
    shrunk = {name for name, width in convolutions.items() if width < before[name]}
    assert len(shrunk) == wanted.shrinks
    for name in convolutions.keys() - shrunk:
        assert any(fnmatch(name, glob) and why in rows[name].reason for glob, why in wanted.stays.items()), rows[name]
    cut(pruner, 0.75, inputs)
