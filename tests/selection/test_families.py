"""Sizes that depend on each other are solved: what the equations say is what the labels say, in a few propagations."""

from __future__ import annotations

import paddle
import pytest
from backbones import BACKBONES
from backbones_files import FILES
from daily import some
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from zoo import ZOO

from hapi_prune.analysis import channel_map as module
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.analysis.labels import Mismatch
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.errors import NothingToPruneError
from hapi_prune.selection import counts
from hapi_prune.selection.counts import Choice, Search, units_at
from hapi_prune.selection.family_sizes import family_sizes

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")
assert len(FILES) == 9, "which enter the networks"
NETWORKS = {**ZOO, **BACKBONES}
BOTH_AT_ONCE = {"ShuffleByIndex": 6}
"""Whose families fit each by itself and not all at once: one buffer picks from channels of several."""


@pytest.fixture
def propagations(monkeypatch):
    """A list that grows with each propagation of the labels."""
    made, real = [], module.propagate

    def propagate(*args, **kwargs):
        made.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "propagate", propagate)
    return made


@pytest.mark.parametrize("name", some(NETWORKS, 8, 2))
def test_a_plan_takes_at_most_three_propagations(name, propagations):
    with paddle.utils.unique_name.guard():
        pruner = Pruner(NETWORKS[name].build(), NETWORKS[name].inputs, Options())
    for ratio in (0.3, 0.5):
        propagations.clear()
        try:
            plan = pruner.plan(pruner.goal(ratio))
            pruner.channel_map.plan_cut(plan)
        except (NothingToPruneError, Mismatch):  # what only the verification can find
            pass
        assert len(propagations) <= BOTH_AT_ONCE.get(name, 3)
        pruner.channel_map.state.fits.clear()


SOLVED = [
    "MaxFeatureMap",
    "MobileViTV2",
    "FocalNet",
    "DPN",
    "Res2Net",
    "C2f",
    "ReXNet",
    "GroupNorms",
    "PixelShuffles",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVED)
def test_what_is_solved_is_what_the_labels_say(name):
    """Every size of every family, with and without rounding: it fits if and only if it solves the equations."""
    channel_map = ChannelMap(NETWORKS[name].build(), NETWORKS[name].inputs)
    looked_at = 0
    for members, _ in channel_map.findings.families:
        family = family_sizes(channel_map, members)
        for exact in (True, False):
            for step in range(1, family.widest):
                found = units_at(channel_map, members, family.option(channel_map, step, exact), exact)
                solved = family.solved[exact]
                assert isinstance(found, dict) == solved.fits[step - 1], (family.groups.keys(), step, exact)
                told = dict(zip(family.groups, solved.units[:, step - 1]))
                if isinstance(found, dict):
                    assert all(found[key] == count for key, count in told.items() if count == count)
                looked_at += 1
    assert looked_at > 20


def shuffled(x):
    n, c, h, w = x.shape
    return x.reshape([n, 2, c // 2, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])


class Weighting(nn.Layer):
    """At two resolutions half of the channels is weighted by all of them together, and shuffled with the other half."""

    def __init__(self, widths):
        super().__init__()
        halves = [width // 2 for width in widths]
        self.gate = nn.Conv2D(sum(halves), sum(halves), 1)
        self.depth = nn.LayerList([nn.Conv2D(half, half, 3, padding=1, groups=half) for half in halves])

    def forward(self, images):
        pairs = [x.chunk(2, axis=1) for x in images]
        together = paddle.concat([F.adaptive_avg_pool2d(b, pairs[-1][1].shape[2:]) for _, b in pairs], axis=1)
        gates = F.sigmoid(self.gate(together)).split([b.shape[1] for _, b in pairs], axis=1)
        return [
            shuffled(paddle.concat([a, conv(b * F.interpolate(gate, b.shape[2:]))], axis=1))
            for (a, b), gate, conv in zip(pairs, gates, self.depth)
        ]


class Lite(nn.Layer):
    """Shuffles and splits over a whole encoder, so that all of its groups are one family."""

    def __init__(self, depth, widths=(40, 80)):
        super().__init__()
        self.stem, self.down = nn.Conv2D(3, widths[0], 3, padding=1), nn.Conv2D(widths[0], widths[1], 3, 2, 1)
        self.blocks = nn.LayerList([Weighting(widths) for _ in range(depth)])
        self.fuse, self.head = nn.Conv2D(sum(widths), 24, 1), nn.Conv2D(24, 4, 1)

    def forward(self, x):
        images = [F.relu(self.stem(x)), F.relu(self.down(F.relu(self.stem(x))))]
        for block in self.blocks:
            images = block(images)
        return self.head(self.fuse(paddle.concat([images[0], F.interpolate(images[1], images[0].shape[2:])], axis=1)))


@pytest.mark.parametrize(("depth", "most", "shrinks"), [(4, 2, True), (5, 8, True), (6, 18, False)])
def test_a_network_that_takes_the_search_apart_takes_a_few_propagations(depth, most, shrinks, propagations):
    """Most sizes leave one of 64 or 104 groups without a unit, or wire it in another way: few fit, or none."""
    pruner = Pruner(Lite(depth), [1, 3, 16, 16], Options())
    propagations.clear()
    plan = pruner.plan(pruner.goal(0.5))
    assert len(propagations) <= most
    assert any(key.startswith("stem") for key in plan.kept) == shrinks


def choices(*steps, even=0):
    return [Choice(step, {}, True, even) for step in steps]


def searched(options, fits):
    """What a search finds, and how often it asks."""
    search, asked = Search(options), 0
    while not search.is_over:
        choice = search.choice
        search.report(fits(choice.step))
        asked += 1
        if fits(choice.step) and search.choice is choice:
            return choice.step, asked
    return None, asked


def test_a_search_finds_the_first_that_fits_by_halving():
    larger = choices(*range(10, 100))
    assert searched(larger, lambda step: step >= 10) == (10, 1)
    assert searched(larger, lambda step: step >= 12) == (12, 3)
    step, asked = searched(larger, lambda step: step >= 55)
    assert step == 55 and asked <= 26
    assert searched(larger, lambda step: False)[0] is None
    assert searched(choices(), lambda step: True) == (None, 0)


def test_a_search_tries_early_what_can_be_halved_often():
    options = [*choices(*range(10, 40)), *choices(64, even=6)]
    assert searched(options, lambda step: step == 64) == (64, 5)


def test_a_search_ends_where_what_held_with_others_holds_no_more():
    search = Search(choices(10, 11, 12))
    search.report(False)
    search.report(True)
    for _ in range(2):
        search.report(False)
    assert search.is_over


@pytest.mark.parametrize(("apart", "most"), [({3, 20}, 4), ({15, 16}, 2), ({0, 1}, 10), ({0, 1, 30, 31}, 20)])
def test_families_that_do_not_fit_all_at_once_are_told_apart_by_halving(apart, most, monkeypatch):
    """Of 32 families those in ``apart`` fit only if no other of them is there."""
    asked, names = [], [frozenset([f"{n:02}"]) for n in range(32)]

    def fitted(channel_map, members, choices):
        asked.append(members)
        fits = len(members & {f"{n:02}" for n in apart}) < 2
        return dict.fromkeys(members, 5) if fits else members

    monkeypatch.setattr(counts, "fitted", fitted)
    choices = {members: Choice(5, {}, True, 0) for members in names}
    found = counts.fitted_by_halves(None, choices)
    assert {members for members, fit in found.items() if isinstance(fit, dict)} == set(names)
    assert len(asked) <= most


def test_of_families_that_do_not_fit_by_themselves_only_those_are_said_not_to(monkeypatch):
    def fitted(channel_map, members, choices):
        return members if members & {"07"} else dict.fromkeys(members, 5)

    monkeypatch.setattr(counts, "fitted", fitted)
    names = [frozenset([f"{n:02}"]) for n in range(9)]
    found = counts.fitted_by_halves(None, {members: Choice(5, {}, True, 0) for members in names})
    assert {members for members, fit in found.items() if not isinstance(fit, dict)} == {frozenset(["07"])}
