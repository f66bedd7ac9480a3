"""The score of a unit, by the formula: means over its filters, and over layers each by its own scale."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from hapi_prune import ChannelGroup, L1Norm
from hapi_prune.selection.scores import Scores, best

TENSORS = {
    "a": paddle.to_tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 5.0], [3.0, 4.0]]),  # l1 norms: 1, 3, 5, 7
    "b": paddle.to_tensor([[400.0, 0.0], [0.0, 0.0]]),  # 400, 0
    "nothing": paddle.zeros([2, 3]),
}
PAIRS, SINGLE = np.array([[0, 2], [1, 3]]), np.array([[0], [1]])


def scores(index):
    group = ChannelGroup("a", 2, {(name, 0): positions for name, positions in index.items()})
    return Scores(TENSORS, L1Norm()).of(group, list(group.index)).tolist()


def test_several_filters_in_a_layer_score_their_mean():
    assert scores({"a": PAIRS}) == [3.0, 5.0]


def test_the_layer_with_the_larger_weights_does_not_decide_alone():
    """Each layer is divided by the mean score of its filters: 4, and 200."""
    assert scores({"a": PAIRS, "b": SINGLE}) == [3 / 4 + 400 / 200, 5 / 4 + 0]


def test_a_layer_of_zeros_says_nothing():
    assert scores({"a": PAIRS, "nothing": SINGLE}) == [3 / 4, 5 / 4]


@pytest.mark.parametrize(
    ("values", "count", "kept"), [([3, 1, 2], 2, (0, 2)), ([1, 1, 1], 2, (1, 2)), ([2, 1, 2, 0], 1, (2,))]
)
def test_the_highest_scores_stay_and_of_equal_ones_the_last(values, count, kept):
    assert best(np.array(values, dtype=np.float64), count) == kept
