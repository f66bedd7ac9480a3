"""Laws of pruning, on random networks: see random_networks.py for what they are made of, reference.py for the proof.

``HAPI_PRUNE_EXAMPLES=2000 python -m pytest tests/test_laws.py`` tries other networks each time, and as many.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import replace
from unittest import mock

import numpy as np
import paddle
import pytest
import reference
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_blocks import unmixed
from random_networks import WRITTEN_DOWN, Converted, RandomNetwork, Recipe, Step, recipes

from hapi_prune import PruningPlan, cost, load
from hapi_prune.analysis import groups
from hapi_prune.analysis.example_input import example
from hapi_prune.analysis.graph import trace
from hapi_prune.cutting import optimizers, verify_outputs
from hapi_prune.cutting.cut import cut as make_cut
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.errors import NothingToPruneError, PruneError

# Paddle's BatchNorm says so at every forward pass in training.
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track global mean:UserWarning")

MORE = os.environ.get("HAPI_PRUNE_EXAMPLES")
law = settings(
    max_examples=int(MORE or 60),
    deadline=None,
    derandomize=MORE is None,
    print_blob=True,
    # Networks are built and run while they are drawn, and some have nothing to prune.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
EXACT = 1e-9
"""What float64 leaves of a difference, relative to the largest output."""


class Cuts(Pruner):
    """A pruner that keeps what its cuts were: the groups before each, and what it took away."""

    def __init__(self, network, recipe, **options):
        super().__init__(network, recipe.inputs(), Options(**options))
        self.made = []
        inner = self.channel_map.plan_cut

        def plan_cut(plan):
            planned = inner(plan)
            self.last = planned.cut
            return planned

        self.channel_map.plan_cut = plan_cut

    def cut(self, ratio, optimizer=None, epoch=None):
        groups = self.channel_map.groups
        try:
            record = super().cut(ratio, optimizer, epoch)
        except PruneError as error:
            self.nothing_to_prune(isinstance(error, NothingToPruneError))
            raise
        if record.plan:
            self.made.append((groups, record, self.last))
        return record

    @staticmethod
    def nothing_to_prune(said):
        """A network that has nothing to prune says nothing about a law."""
        assume(not said)

    def cut_something(self, ratio, optimizer=None):
        """A cut, of a network where it removes something."""
        record = self.cut(ratio, optimizer)
        assume(record.plan)
        return record

    @property
    def exact(self):
        return not any(groups[key].approximate for groups, record, _ in self.made for key in record.plan.kept)


def anonymous(op):
    """An operation without the class of the network that it is in, and without its line.

    Paddle keeps the conversion of a forward by its text, and names the file where that text was met first.
    """
    return replace(op, where="", scope=op.scope.split("/")[2:])


@pytest.mark.slowest
@law
@given(recipes(written_down=True))
def test_a_network_is_traced_to_the_same_program_with_and_without_converting_its_source(recipe):
    """So the other laws, which do without, hold for networks whose source Paddle converts, as it does by itself."""
    graphs = []
    for kind in (RandomNetwork, Converted):
        with paddle.utils.unique_name.guard():
            network = recipe.build(kind)
        graphs.append(trace(network, example(network, recipe.inputs())))
    for passes in zip(*((graph.training, graph.evaluation) for graph in graphs)):
        plain, converted = (replace(each, ops=[anonymous(op) for op in each.ops]) for each in passes)
        assert plain == converted


def trained(network, recipe):
    """An optimizer with state of its own, after one step."""
    optimizer = paddle.optimizer.Adam(1e-3, parameters=network.parameters())
    network.train()
    loss(network, recipe).backward()
    optimizer.step()
    optimizer.clear_grad()
    return optimizer


def loss(network, recipe):
    dtype = network.parameters()[0].dtype
    leaves = paddle.utils.flatten(network(*(x.astype(dtype) for x in recipe.inputs())))
    return sum((leaf * (1 + 0.1 * n)).square().mean() for n, leaf in enumerate(leaves))


@pytest.mark.smoke
@law
@given(recipes(written_down=True), st.sampled_from([0.3, 0.5, 0.7]))
def test_the_cut_network_computes_what_the_masked_one_computes(recipe, ratio):
    network = recipe.build()
    dense = reference.copied(network, "float64")
    widths = reference.filters(network)
    pruner = Cuts(network, recipe)
    record = pruner.cut_something(ratio)
    groups, _, cut = pruner.made[0]
    removed = reference.gone(groups, record.plan)

    masked, ours = reference.masked(dense, removed, "float64"), reference.copied(network, "float64")
    assert off(ours, masked, recipe, pruner.exact) < EXACT
    shapes = [[a.shape for a in reference.outputs(each, recipe.inputs())] for each in (network, dense)]
    assert shapes[0] == shapes[1]
    check_cut(cut, removed)
    for name, now in reference.filters(network).items():
        assert record.widths.get(name, (now, now))[1] == now <= widths[name], name


def off(ours, masked, recipe, exact):
    """How far the outputs are apart; where the cut is approximate, without the ops that make it so."""
    with contextlib.nullcontext() if exact else unmixed():
        return reference.distance(*(reference.outputs(each, recipe.inputs()) for each in (ours, masked)))


def check_cut(cut, removed):
    """The positions that a cut keeps are all those that are not removed, each once."""
    assert {name: set(axes) for name, axes in cut.kept.items()} == {n: set(axes) for n, axes in removed.items()}
    for name, axes in cut.kept.items():
        for axis, positions in axes.items():
            expected = np.setdiff1d(np.arange(cut.before[name][axis]), removed[name][axis])
            assert np.array_equal(np.sort(positions), expected), (name, axis)


@pytest.mark.slow
@law
@given(recipes(), st.sampled_from([0.3, 0.5]))
def test_the_rules_need_no_correction_where_no_size_is_written_down(recipe, ratio):
    pruner = Cuts(recipe.build(), recipe)
    assert not any(one.not_followed for one in pruner.channel_map.traced.passes), "an op was not followed"
    pruner.cut(ratio)
    assert not pruner.channel_map.findings.refused, "the verification refused what the rules allowed"


@pytest.mark.slow
@law
@given(recipes())
def test_the_cut_network_trains_as_the_masked_one_trains(recipe):
    assume(not recipe.has("dropout"))  # draws other numbers for other sizes
    network = recipe.build()
    dense = reference.copied(network)
    pruner = Cuts(network, recipe)
    pruner.cut_something(0.4)
    groups, record, cut = pruner.made[0]
    assume(pruner.exact)
    masked = reference.masked(dense, reference.gone(groups, record.plan), "float64")
    ours = reference.copied(network, "float64")
    losses = []
    for each in (ours, masked):
        each.train()
        losses.append(loss(each, recipe))
        losses[-1].backward()
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-9)
    theirs = reference.tensors(masked)
    for name, tensor in reference.tensors(ours).items():
        assert (tensor.grad is None) == (theirs[name].grad is None), name
        if tensor.grad is not None:
            expected = theirs[name].grad.numpy()
            for axis, positions in cut.kept.get(name, {}).items():
                expected = np.take(expected, positions, axis)
            largest = np.abs(theirs[name].grad.numpy()).max()
            assert np.abs(tensor.grad.numpy() - expected).max() <= 1e-7 * (1e-3 + largest), name


@pytest.mark.slowest
@law
@given(recipes(written_down=True))
def test_two_cuts_are_their_composition(recipe):
    network = recipe.build()
    before, dense = reference.arrays(network), reference.copied(network)
    pruner = Cuts(network, recipe)
    pruner.cut_something(0.2)
    pruner.cut_something(0.45)
    (_, one, first), (_, two, second) = pruner.made

    kept = {}
    for name, axes in {**first.kept, **second.kept}.items():
        for axis in {*axes, *first.kept.get(name, {}), *second.kept.get(name, {})}:
            positions = first.kept.get(name, {}).get(axis, np.arange(before[name].shape[axis]))
            later = second.kept.get(name, {}).get(axis)
            kept.setdefault(name, {})[axis] = positions if later is None else positions[later]
    after = reference.arrays(network)
    for name, array in before.items():
        for axis, positions in kept.get(name, {}).items():
            array = np.take(array, positions, axis)
        reference.same(after[name], np.ascontiguousarray(array), name)

    removed = {
        name: {axis: np.setdiff1d(np.arange(before[name].shape[axis]), p) for axis, p in axes.items()}
        for name, axes in kept.items()
    }
    masked = reference.masked(dense, removed, "float64")
    assert off(reference.copied(network, "float64"), masked, recipe, pruner.exact) < EXACT

    plan = {key: np.array(units) for key, units in one.plan.kept.items()}
    for key, units in two.plan.kept.items():
        plan[key] = plan[key][list(units)] if key in plan else np.array(units)
    at_once = Pruner(dense, recipe.inputs(), Options())
    make_cut(at_once.channel_map, PruningPlan({key: tuple(units.tolist()) for key, units in plan.items()}))
    reference.same(reference.arrays(dense), after)


@pytest.mark.slowest
@law
@given(recipes(written_down=True))
def test_the_cost_of_the_plan_is_the_cost_of_the_cut_network(recipe):
    network = recipe.build()
    pruner = Cuts(network, recipe)
    records = [pruner.cut_something(0.25), pruner.cut(0.5)]
    assert records[0].cost_before == records[0].cost_original == records[1].cost_original
    assert records[1].cost_before == records[0].cost_after
    afresh = cost(network, recipe.inputs())
    assert records[1].cost_after == afresh
    assert afresh.params == sum(parameter.size for parameter in network.parameters())
    assert afresh.trainable_params == sum(p.size for p in network.parameters() if not p.stop_gradient)
    assert sum(layer.flops for layer in afresh.layers) == afresh.flops
    assert sum(layer.macs for layer in afresh.layers) == afresh.macs
    assert sum(layer.params for layer in afresh.layers) == afresh.params


@pytest.mark.slowest
@law
@given(recipes(written_down=True))
def test_to_remove_nothing_changes_nothing(recipe):
    network = recipe.build()
    optimizer = trained(network, recipe)
    before = reference.outputs(network, recipe.inputs())
    with reference.as_found(network, optimizer):
        pruner = Cuts(network, recipe)
        record = pruner.cut(0.0, optimizer)
        assert record.plan == PruningPlan()
        assert record.cost_after == record.cost_original
        make_cut(pruner.channel_map, PruningPlan())
    reference.same(dict(enumerate(before)), dict(enumerate(reference.outputs(network, recipe.inputs()))))


HELD = ["conv", "concat", "activation", "depthwise", *3 * list(WRITTEN_DOWN)]
"""Blocks of which many hold numbers of channels in attributes."""


@pytest.mark.slow
@law
@given(recipes(written_down=True, kinds=HELD), st.sampled_from([0.3, 0.5, 0.7]))
def test_a_file_says_what_the_attributes_of_a_network_are(recipe, ratio):
    network, dense = recipe.build(), recipe.build()
    Cuts(network, recipe).cut_something(ratio)
    with tempfile.TemporaryDirectory() as folder:
        paddle.save(network.state_dict(), f"{folder}/net.pdparams")
        load(dense, f"{folder}/net", inputs=recipe.inputs())
    assert held(dense) == held(network)
    ours, theirs = (reference.outputs(each, recipe.inputs()) for each in (dense, network))
    reference.same(dict(enumerate(ours)), dict(enumerate(theirs)))


@pytest.mark.slow
@law
@given(recipes(written_down=True, kinds=HELD))
def test_a_failure_takes_the_attributes_of_a_network_back(recipe):
    network = recipe.build()
    pruner, before = Cuts(network, recipe), held(network)
    with mock.patch.object(optimizers, "verify", side_effect=Boom), contextlib.suppress(Boom):
        record = pruner.cut(0.5, paddle.optimizer.Adam(parameters=network.parameters()))
        assert not record.plan, "the failure did not happen"
    assert held(network) == before


def held(network):
    """The whole numbers in the attributes of each layer."""
    return {
        name: {key: value for key, value in vars(layer).items() if isinstance(value, (int, list, tuple))}
        for name, layer in network.named_sublayers()
    }


class Boom(BaseException):
    """Not an Exception: as rude as Ctrl-C."""


def on_training(held, given_inputs, training):
    if training:
        raise Boom
    return verify_outputs.outputs(held, given_inputs, training)


FAILURES = {
    "before the optimizer": lambda: mock.patch.object(optimizers, "carry", side_effect=Boom),
    "after the optimizer": lambda: mock.patch.object(optimizers, "verify", side_effect=Boom),
    "in the comparison": lambda: mock.patch.object(verify_outputs, "compare", side_effect=Boom),
    "in the verification": lambda: mock.patch.object(verify_outputs, "attempt", side_effect=Boom),
    "in the verification in training mode": lambda: mock.patch.object(
        verify_outputs, "attempt", side_effect=on_training
    ),
}


@pytest.mark.slowest
@law
@given(recipes(), st.sampled_from(list(FAILURES)))
def test_a_failure_leaves_no_trace(recipe, where):
    network = recipe.build()
    optimizer = trained(network, recipe)
    twin = reference.copied(network)
    pruner = Cuts(network, recipe)
    before = reference.outputs(network, recipe.inputs())
    with reference.as_found(network, optimizer), FAILURES[where](), contextlib.suppress(Boom):
        record = pruner.cut(0.4, optimizer)
        assert not record.plan, "the failure did not happen"
    reference.same(dict(enumerate(before)), dict(enumerate(reference.outputs(network, recipe.inputs()))))
    afresh = Cuts(twin, recipe).cut_something(0.4)
    record = pruner.cut(0.4, optimizer)
    assert record.plan == afresh.plan
    reference.same(reference.arrays(network), reference.arrays(twin))


@pytest.mark.slow
@law
@given(recipes(written_down=True))
def test_the_surroundings_stay_as_they_were(recipe):
    network = recipe.build()
    optimizer = trained(network, recipe)
    rng = np.random.RandomState(recipe.seed)
    for layer in network.sublayers(include_self=True):
        layer.training = bool(rng.randint(2))
        if rng.randint(3) == 0:
            layer.register_forward_post_hook(lambda layer, inputs, output: None)
            layer.register_forward_pre_hook(lambda layer, inputs: None)
    before = reference.everything(network, optimizer)
    flags = [layer.training for layer in network.sublayers(include_self=True)]
    record = Cuts(network, recipe).cut_something(0.4, optimizer)
    after = reference.everything(network, optimizer)
    for part in ("names", "keys", "hooks", "members", "draws"):
        reference.same(before[part], after[part], part)
    assert flags == [layer.training for layer in network.sublayers(include_self=True)]
    assert list(before["optimizer"]) == list(after["optimizer"])
    assert paddle.in_dynamic_mode()

    plan = PruningPlan.from_json(record.plan.to_json())
    assert plan == record.plan
    assert plan.to_json() == record.plan.to_json()

    network.train()
    loss(network, recipe).backward()
    optimizer.step()
    assert all(np.isfinite(array).all() for array in reference.arrays(network).values())


@pytest.mark.slowest
@law
@given(recipes(written_down=True))
def test_pruning_is_deterministic(recipe):
    network = recipe.build()
    twin = reference.copied(network)
    record = Cuts(network, recipe).cut_something(0.4)
    paddle.seed(recipe.seed)
    np.random.seed(recipe.seed)
    with paddle.utils.unique_name.guard():
        again = Pruner(twin, recipe.inputs(), Options()).cut(0.4)
    assert again.plan == record.plan
    assert again.cost_after == record.cost_after
    assert again.widths == record.widths
    assert again.notes == record.notes
    reference.same(reference.arrays(twin), reference.arrays(network))


# --- known to be wrong ----------------------------------------------------------------------------------------


def chain(*steps, head="flatten_linear", **more):
    """A recipe of blocks in a row, behind a convolution; each block by name, or by name and options."""
    conv = {"width": more.pop("width", 12), "kernel": 3, "stride": 1, "bias": True}
    named = [("conv", conv), *((step, {}) if isinstance(step, str) else step for step in steps)]
    made = tuple(Step(kind, (n,), options) for n, (kind, options) in enumerate(named))
    return lambda seed: Recipe(made, (Step(head, (len(made),), {}),), None, seed)


IN_TWO = ("group_conv", {"groups": 2, "width": 2})
TWO_EACH = ("depthwise", {"times": 2})
INSIDE_UNITS = {
    "shuffle twice, then groups": chain("shuffle_by_hand", "shuffle_by_hand", IN_TWO, width=20),
    "shuffle, depthwise, shuffle, groups": chain(
        "shuffle_by_hand", ("depthwise", {"times": 1}), "shuffle_by_hand", IN_TWO, width=20
    ),
    "roll, then groups": chain("roll", IN_TWO, width=4),
    "two results each, then roll": chain(TWO_EACH, "roll", width=6),
}
"""A unit of these has several channels on one axis, and they do not stand in the same order on all axes."""


@pytest.mark.slow
@pytest.mark.parametrize("name", INSIDE_UNITS)
def test_an_approximate_cut_is_wired_right_inside_its_units_or_not_made(name):
    off_by = [0.0]
    for seed in range(6):
        plain = INSIDE_UNITS[name](seed)
        softmax = Step("channel_softmax", (1,), {})
        later = tuple(Step(step.kind, tuple(n + 1 for n in step.takes), step.options) for step in plain.steps[1:])
        heads = tuple(Step(head.kind, (head.takes[0] + 1,), {}) for head in plain.heads)
        recipe = Recipe((plain.steps[0], softmax, *later), heads, None, seed)
        network = recipe.build()
        dense = reference.copied(network)
        pruner = Cuts(network, recipe)
        pruner.nothing_to_prune = bool
        with contextlib.suppress(PruneError):  # of all groups, none could be cut
            pruner.cut(0.4)
        if not pruner.made:
            continue
        removed = reference.gone(pruner.made[0][0], pruner.made[0][1].plan)
        masked, ours = reference.masked(dense, removed, "float64"), reference.copied(network, "float64")
        off_by.append(off(ours, masked, recipe, pruner.exact))
    assert max(off_by) < EXACT


@pytest.mark.parametrize("name", INSIDE_UNITS)
def test_the_channels_inside_a_unit_are_matched_by_their_wiring(name):
    recipe = INSIDE_UNITS[name](0)
    network = recipe.build()
    dense = reference.copied(network)
    pruner = Cuts(network, recipe)
    record = pruner.cut(0.4)
    was, now = record.widths["steps.0.conv"]
    assert now < was and not pruner.channel_map.findings.refused
    masked = reference.masked(dense, reference.gone(pruner.made[0][0], record.plan), "float64")
    assert off(reference.copied(network, "float64"), masked, recipe, pruner.exact) < EXACT


def test_no_smaller_size_fits_where_the_wiring_depends_on_it():
    """Of 12 channels that are shuffled twice, none can go: at 8 other ones would meet in a group, and at 10 and 6."""
    recipe = chain("shuffle_by_hand", "shuffle_by_hand", IN_TWO, width=12)(0)
    record = Pruner(recipe.build(), recipe.inputs(), Options()).cut(0.4)
    assert record.notes[0] == "'steps.0.conv', 'steps.3.conv' stay: no smaller size fits its splits"


def test_a_wiring_that_would_be_wrong_is_found(monkeypatch):
    """With slices matched in order, as without colour refinement, the wiring is looked at all the same."""
    monkeypatch.setattr(groups, "ROUNDS", 0)
    monkeypatch.setattr(groups, "initial_colors", lambda number, constraints: groups.hashed(0 * number.axis_of))
    reasons = []
    for name in INSIDE_UNITS:
        recipe = INSIDE_UNITS[name](0)
        pruner = Pruner(recipe.build(), recipe.inputs(), Options())
        with contextlib.suppress(PruneError):
            pruner.cut(0.4)
        reasons += pruner.channel_map.findings.refused.values()
    assert reasons
    assert all("wired in another way" in str(reason) for reason in reasons), reasons


def test_an_approximate_cut_is_held_against_the_sizes_of_the_program():
    """Rows of two channels, and the largest of each: with half of the channels there are half as many rows, still of
    two. The labels went another way, as two rows of one, and no values can be compared behind a maximum.
    """
    steps = [("maxout", {}), ("adaptive_pool", {}), ("slice_at", {"how": "to", "at": 1})]
    recipe = chain(*steps, width=4)(0)
    network = recipe.build()
    before = reference.copied(network)
    pruner = Cuts(network, recipe)
    pruner.nothing_to_prune = bool
    with contextlib.suppress(PruneError):
        pruner.cut(0.3)
    reasons = set(pruner.channel_map.findings.refused.values())
    assert reasons and all("would be laid out in another way, 'reshape' (" in str(reason) for reason in reasons), (
        reasons
    )
    assert reference.distance(*(reference.outputs(each, recipe.inputs()) for each in (before, network))) == 0
