"""Rankings of successive cuts, and of different criteria, are compared: one that is noise agrees with neither."""

from __future__ import annotations

import json
from pathlib import Path

import budgets
import fits
import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from visualdl import LogReader

from hapi_prune import History, PruneCallback, prune
from hapi_prune.criteria.groups import Random
from hapi_prune.cutting.pruning import Pruner
from hapi_prune.plan import PruningPlan
from hapi_prune.selection.options import Options
from hapi_prune.selection.ranking import LAST, USUAL, Ranking, agreement, doubled_ranks, spearman

pytestmark = fits.HARMLESS

SCORES = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5, -1.0]), min_size=2, max_size=12)


@given(SCORES)
def test_places_are_mean_ranks(scores):
    naive = [sum(other < one for other in scores) + (scores.count(one) - 1) / 2 for one in scores]
    assert [place / 2 for place in doubled_ranks(scores)] == naive


@given(st.data())
def test_spearman_is_what_the_definition_says(data):
    left = data.draw(SCORES)
    right = data.draw(st.lists(st.floats(-9, 9), min_size=len(left), max_size=len(left)))
    found = spearman(left, right)
    ranks = [np.array(doubled_ranks(scores)) for scores in (left, right)]
    if any(len(set(one.tolist())) == 1 for one in ranks):
        assert found is None
    else:
        assert found == pytest.approx(np.corrcoef(*ranks)[0, 1])
        assert spearman(right, left) == pytest.approx(found)
        assert spearman(np.exp(left), right) == pytest.approx(found), "only the order counts"
        assert spearman(-np.array(left), right) == pytest.approx(-found)


def test_groups_count_by_their_units_and_those_that_cannot_be_compared_not_at_all():
    up, down = np.arange(4.0), -np.arange(12.0)
    left = {"a": up, "b": np.arange(12.0), "pair": up[:2], "other size": up, "flat": up, "one side": up}
    right = {"a": up, "b": down, "pair": -up[:2], "other size": up[:3], "flat": np.ones(4)}
    assert agreement(left, right) == pytest.approx((4 * 1 + 12 * -1) / 16)
    assert agreement({"flat": up}, {"flat": np.ones(4)}) is None


def test_only_the_units_that_are_left_are_compared():
    ranking = Ranking()
    plan = PruningPlan({"a": (0, 2, 3)})
    ranking.begin(plan, {"a": np.array([3.0, 0.0, 1.0, 2.0])}, None)
    assert ranking.finish(plan) == {}
    assert ranking.unit_ranks == {"a": (4, 0, 2)}
    then = PruningPlan({"a": (0, 1)})
    ranking.begin(then, {"a": np.array([30.0, 10.0, 20.0])}, {"a": np.array([1.0, 3.0, 2.0])})
    assert ranking.finish(then) == pytest.approx({LAST: 1.0, USUAL: -1.0})


def test_the_same_weights_are_ranked_alike_and_chance_is_not():
    """Nothing is trained between the cuts, and the first layer reads nothing that is cut."""
    network = paddle.nn.Sequential(
        paddle.nn.Conv2D(3, 200, 3), paddle.nn.ReLU(), paddle.nn.AdaptiveAvgPool2D(1), paddle.nn.Flatten(),
        paddle.nn.Linear(200, 4),
    )  # fmt: skip
    found = {}
    for criterion in ("l1_norm", "l2_norm", Random(1)):
        pruner = Pruner(network, [1, 3, 8, 8], Options(criterion))
        ratios = [pruner.cut(ratio).rank_correlation for ratio in (0.05, 0.1)]
        found[getattr(criterion, "name", criterion)] = ratios
    assert [set(one) for one in found["l1_norm"]] == [set(), {LAST}]
    assert found["l1_norm"][1][LAST] == pytest.approx(1)
    assert found["l2_norm"][1][LAST] == pytest.approx(1)
    assert all(0.9 < one[USUAL] < 1 for one in found["l2_norm"])
    assert abs(found["random"][1][USUAL]) < 0.3


def test_prune_says_nothing_of_a_cut_before():
    record = prune(fits.Net(), [1, *fits.SHAPE], 0.5, "l2_norm")
    assert set(record.rank_correlation) == {USUAL}


def test_a_run_shows_both_on_the_dashboard_and_in_its_table(capsys):
    callback = PruneCallback({1: 0.25, 2: 0.5}, "l2_norm", log_dir="log")
    fits.fit(fits.build(), [callback], epochs=3)
    printed = capsys.readouterr().out
    assert "rank correlation, last cut" in printed and "rank correlation, l1_norm" in printed
    records = list(callback.history)
    assert [set(record.rank_correlation) for record in records] == [{USUAL}, {LAST, USUAL}]
    assert History.from_json(callback.history.to_json()) == callback.history
    (file,) = Path("log").glob("*vdlrecords*")
    read = LogReader(file_path=str(file))
    for name, tag in ((LAST, "last_cut"), (USUAL, "l1_norm")):
        points = read.get_data("scalar", f"prune/rank_correlation_{tag}")
        wanted = [
            (record.epoch, record.rank_correlation[name]) for record in records if name in record.rank_correlation
        ]
        assert [(point.id, pytest.approx(point.value)) for point in points] == wanted
    tags = read.get_tags()["histogram"]
    assert sorted(tags) == ["prune/scores/conv1.weight", "prune/scores/conv2.weight"]
    histograms = read.get_data("histogram", "prune/scores/conv1.weight")
    assert [point.id for point in histograms] == [1, 2]


def test_records_and_notes_of_before_are_read():
    callback = PruneCallback({1: 0.25}, "l2_norm", verbose=0)
    fits.fit(fits.build(), [callback], epochs=2)
    data = json.loads(callback.history.to_json())
    for one in data["records"]:
        del one["latency"], one["rank_correlation"]
    (old,) = History.from_json(json.dumps(data))
    assert old.rank_correlation == {} and old.latency is None and old.plan == callback.history[0].plan


def test_a_cut_that_is_taken_back_leaves_no_ranking():
    """The second cut fails; what is tried instead is compared with the first, and not with what is gone."""
    found = []
    model = budgets.built(budgets.at_least(5))
    callback = PruneCallback({1: 0.25, 3: 0.75, 5: 0.8}, "l2_norm", max_drop=0.1, verbose=0)
    watch = fits.At(
        "on_epoch_end", lambda model, epoch: found.append(dict(callback._session._pruner.ranking.unit_ranks))
    )
    fits.fit(model, [callback, watch], eval_data=fits.Images(), epochs=7)
    sizes = [{key: len(one) for key, one in unit_ranks.items()} for unit_ranks in found]
    assert sizes[1] == sizes[2] == {"conv1.weight": 6, "conv2.weight": 9}
    assert callback.history[1].taken_back
    later = callback.history[2]
    assert LAST in later.rank_correlation
    assert {len(found[5]["conv1.weight"])} == {later.widths["conv1"][1]}
