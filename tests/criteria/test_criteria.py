"""Laws of criteria: every exported one treats filters alike, equals its formula, and leaves its input alone."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hapi_prune.criteria import filters as criteria
from hapi_prune.criteria.filters import FPGM, Criterion, FunctionCriterion, L1Norm, L2Norm, score
from hapi_prune.criteria.named import ALIASES, as_criterion
from hapi_prune.criteria.named import OF_FILTERS as BUILT_IN
from hapi_prune.errors import PruneError

Array = npt.NDArray[Any]

# The filters that PaddleSlim 2.6.0 keeps; the file says how the weights were drawn, and what a case holds.
DATA = Path(__file__).parent.parent / "data"
GOLDEN = json.loads((DATA / "paddleslim_kept_filters.json").read_text("utf-8"))["cases"]


def naive_l1(weight: Array) -> list[float]:
    return [math.fsum(abs(float(x)) for x in row.ravel()) for row in weight]


def naive_l2(weight: Array) -> list[float]:
    return [math.sqrt(math.fsum(float(x) ** 2 for x in row.ravel())) for row in weight]


def naive_fpgm(weight: Array) -> list[float]:
    rows = [[float(x) for x in row.ravel()] for row in weight]
    return [math.fsum(math.dist(row, other) for other in rows) for row in rows]


NAIVE: dict[type, Callable[[Array], list[float]]] = {L1Norm: naive_l1, L2Norm: naive_l2, FPGM: naive_fpgm}
CRITERIA: list[Criterion] = [*BUILT_IN.values(), FunctionCriterion(lambda w: np.ptp(w, axis=(1, 2, 3)), "ptp")]
every_criterion = pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: str(criterion.name))
every_built_in = pytest.mark.parametrize("criterion", BUILT_IN.values(), ids=list(BUILT_IN))
laws = settings(max_examples=60)

values = st.floats(-4, 4, width=32).map(
    lambda x: float(np.float32(round(x, 3)))
)  # round numbers make duplicates likely
weights = hnp.arrays(np.float32, hnp.array_shapes(min_dims=4, max_dims=4, max_side=5), elements=values)


def test_the_laws_run_over_every_exported_criterion() -> None:
    exported: set[Any] = {value for value in vars(criteria).values() if dataclasses.is_dataclass(value)}
    assert exported == {type(criterion) for criterion in CRITERIA}
    assert set(NAIVE) == {type(criterion) for criterion in BUILT_IN.values()}


# --- laws -------------------------------------------------------------------------------------------------


@every_criterion
@laws
@given(weight=weights, data=st.data())
def test_scores_follow_their_filters_bitwise(criterion: Criterion, weight: Array, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(weight))))
    assert score(criterion, weight[order], "conv").tolist() == score(criterion, weight, "conv")[order].tolist()


@pytest.mark.slow
@every_criterion
@laws
@given(weight=weights, power=st.integers(-8, 8), sign=st.sampled_from([-1.0, 1.0]))
def test_scores_scale_with_the_weight(criterion: Criterion, weight: Array, power: int, sign: float) -> None:
    scale = sign * 2.0**power  # exact in floating point
    scaled = score(criterion, (weight * scale).astype(np.float32), "conv")
    np.testing.assert_allclose(scaled, abs(scale) * score(criterion, weight, "conv"), rtol=1e-12)


@pytest.mark.slow
@every_criterion
@laws
@given(weight=weights)
def test_equal_filters_have_equal_scores(criterion: Criterion, weight: Array) -> None:
    twice = score(criterion, np.concatenate([weight, weight]), "conv")
    assert twice[: len(weight)].tolist() == twice[len(weight) :].tolist()


@pytest.mark.slow
@every_criterion
@laws
@given(weight=weights)
def test_the_weight_is_not_modified(criterion: Criterion, weight: Array) -> None:
    before = weight.tobytes()
    weight.flags.writeable = False
    criterion(weight)
    assert weight.tobytes() == before


@every_criterion
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, lambda weight: weight[::-1, :, ::-1]])
def test_scores_are_finite_float64_one_a_filter(criterion: Criterion, dtype: str, layout: Any) -> None:
    weight = layout(np.random.RandomState(0).standard_normal([5, 2, 3, 4]).astype(dtype))
    scores = score(criterion, weight, "conv")
    assert scores.dtype == np.float64
    assert scores.shape == (5,)
    assert np.isfinite(scores).all()
    assert scores == pytest.approx(score(criterion, weight.astype(np.float64), "conv"), rel=1e-3)


@every_built_in
@laws
@given(weight=weights)
def test_scores_equal_the_formula_in_loops(criterion: Criterion, weight: Array) -> None:
    # FPGM takes roots of differences that are exact to about 1e-16 of the squared norms, not of themselves.
    np.testing.assert_allclose(criterion(weight), NAIVE[type(criterion)](weight), rtol=1e-12, atol=1e-8)


@every_built_in
@pytest.mark.parametrize("shape", [(7,), (1, 3), (6, 5), (4, 3, 2), (8, 3, 3, 3), (3, 2, 2, 2, 2)])
def test_any_number_of_axes(criterion: Criterion, shape: tuple[int, ...]) -> None:
    weight = np.random.RandomState(1).standard_normal(shape)
    np.testing.assert_allclose(criterion(weight), NAIVE[type(criterion)](weight), rtol=1e-12)


@every_built_in
def test_a_float16_sum_does_not_overflow(criterion: Criterion) -> None:
    weight = np.stack([np.full([64, 3, 3], 60000, np.float16), np.full([64, 3, 3], -60000, np.float16)])
    np.testing.assert_allclose(score(criterion, weight, "conv"), NAIVE[type(criterion)](weight), rtol=1e-12)


# --- FPGM: what one matrix product could lose -------------------------------------------------------------


def test_fpgm_of_equal_filters_is_exactly_zero() -> None:
    weight = np.tile(np.random.RandomState(2).standard_normal([1, 3, 3, 3]), [6, 1, 1, 1])
    assert FPGM()(weight).tolist() == [0.0] * 6
    assert FPGM()(weight[:1]).tolist() == [0.0]


def test_fpgm_takes_both_zeros_for_one() -> None:
    for filters in range(1, 40):  # whether rounding tells equal filters apart depends on where they stand
        weight = np.random.RandomState(6).standard_normal([filters, 100])
        weight[:, 0] = 0.0
        minus = weight * np.where(np.arange(100) > 0, 1.0, -1.0)
        scores = FPGM()(np.concatenate([weight, minus]))
        assert scores[:filters].tolist() == scores[filters:].tolist()


def test_fpgm_of_filters_nearer_than_rounding() -> None:
    centres = np.random.RandomState(7).standard_normal([2, 1, 50])
    weight = (centres + 1e-12 * np.random.RandomState(8).standard_normal([2, 20, 50])).reshape(40, 50)
    np.testing.assert_allclose(FPGM()(weight), naive_fpgm(weight), rtol=1e-6)


def test_fpgm_counts_a_filter_as_often_as_it_occurs() -> None:
    weight = np.random.RandomState(3).standard_normal([9, 4])[[0, 3, 3, 8, 0, 0, 5, 1]]
    np.testing.assert_allclose(FPGM()(weight), naive_fpgm(weight), rtol=1e-12)


def test_fpgm_of_more_filters_than_are_compared_at_a_time() -> None:
    weight = np.random.default_rng(5).normal(size=[2 * criteria._TOGETHER + 40, 3, 2, 1])
    weight[[10, 290]] = weight[150]
    scores = FPGM()(weight)
    np.testing.assert_allclose(scores, naive_fpgm(weight), rtol=1e-9)
    assert scores[10] == scores[150] == scores[290]


def test_fpgm_tells_filters_of_one_hash_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(criteria, "_hashes", lambda rows: np.zeros(len(rows), np.uint64))
    weight = np.random.default_rng(6).normal(size=[9, 4])
    weight[7] = weight[2]
    np.testing.assert_allclose(FPGM()(weight), naive_fpgm(weight), rtol=1e-9)


def test_fpgm_is_exact_for_filters_far_from_zero() -> None:
    near = np.random.RandomState(4).standard_normal([16, 3, 3, 3]) * 2.0**-10
    far = near + 1000.0
    np.testing.assert_allclose(FPGM()(far), naive_fpgm(far), rtol=1e-9)
    np.testing.assert_allclose(FPGM()(far), FPGM()(near), rtol=1e-6)


def test_fpgm_of_filters_that_differ_in_the_last_float32_digit() -> None:
    weight = np.random.RandomState(5).standard_normal([12, 8, 3, 3]).astype(np.float32)
    weight[6:] = np.nextafter(weight[:6], np.float32(9))
    np.testing.assert_allclose(FPGM()(weight), naive_fpgm(weight), rtol=1e-8)


# --- what PaddleSlim keeps --------------------------------------------------------------------------------


@cache
def drawn(network: str) -> dict[str, Array]:
    """The weights of the golden cases. VGG goes without its classifier, which is drawn after all that is needed."""
    options: dict[str, Any] = {"num_classes": 0, "with_pool": False} if network == "vgg11" else {}
    net = getattr(paddle.vision.models, network)(**options)
    rng = np.random.RandomState(0)
    draws = {name: rng.standard_normal(value.shape).astype("float32") for name, value in net.state_dict().items()}
    return {name: draws[f"{name}.weight"] for name in {case[1] for case in GOLDEN if case[0] == network}}


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: "-".join(map(str, case[:4])))
def test_keeps_the_filters_that_paddleslim_keeps(case: tuple[str, str, str, float, int, list[int]]) -> None:
    network, layer, name, ratio, filters, kept = case
    weight = drawn(network)[layer]
    assert len(weight) == filters
    lowest_first = np.argsort(score(as_criterion(name), weight, layer), kind="stable")
    assert sorted(lowest_first[round(filters * ratio) :].tolist()) == kept


def test_all_golden_cases_are_here() -> None:
    assert len(GOLDEN) == 39
    assert {case[2] for case in GOLDEN} == set(BUILT_IN)


# --- as_criterion -----------------------------------------------------------------------------------------


def test_names_and_aliases_become_criteria() -> None:
    assert {name: as_criterion(name).name for name in BUILT_IN} == {name: name for name in BUILT_IN}
    assert {name: as_criterion(name).name for name in ALIASES} == ALIASES
    assert as_criterion("geometric_median") == as_criterion("geometry_median") == FPGM()


def peak(weight: Array) -> Array:
    return np.asarray(weight.max(axis=(1, 2, 3)))


class Depth:
    def __call__(self, weight: Array) -> list[int]:
        return list(range(len(weight)))


@pytest.mark.parametrize(
    ("criterion", "name"),
    [(peak, "peak"), (partial(peak), "partial"), (Depth(), "Depth"), (FunctionCriterion(peak, "mine"), "mine")],
)
def test_any_callable_of_that_shape_is_a_criterion(criterion: Any, name: str) -> None:
    weight = np.arange(12, dtype=np.float32).reshape(3, 4, 1, 1)
    taken = as_criterion(criterion)
    assert taken.name == name
    assert as_criterion(taken) is taken
    assert np.argsort(score(taken, weight, "conv")).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("bad", "parts"),
    [
        ("l1norm", ("'l1norm'", "did you mean 'l1_norm'", "'l2_norm'", "'fpgm'", "'geometric_median'")),
        ("geometric", ("'geometric'", "did you mean 'geometric_median'")),
        ("", ("''", "'fpgm'")),
        (L1Norm, ("L1Norm", "write L1Norm()", "'l1_norm'")),
        (None, ("None", "'l1_norm'", "function")),
        (0.5, ("0.5", "'l1_norm'", "function")),
    ],
)
def test_what_is_no_criterion_is_refused_with_the_known_ones(bad: Any, parts: tuple[str, ...]) -> None:
    with pytest.raises(PruneError) as caught:
        as_criterion(bad)
    assert caught.value.where == "criterion"
    assert [part for part in parts if part not in str(caught.value)] == []


# --- score ------------------------------------------------------------------------------------------------


def test_a_criterion_may_write_to_what_it_gets() -> None:
    def in_place(weight: Array) -> Array:
        np.abs(weight, out=weight)
        return np.asarray(weight.sum(axis=(1, 2, 3)))

    weight = np.full([2, 3, 1, 1], -1.0, np.float32)
    assert score(as_criterion(in_place), weight, "conv").tolist() == [3.0, 3.0]
    assert (weight == -1).all()


def test_scores_are_not_the_criterions_own_array() -> None:
    own = np.array([1.0, 2.0])
    scores = score(as_criterion(lambda weight: own), np.ones([2, 1]), "conv")
    scores[0] = 9.0
    assert own.tolist() == [1.0, 2.0]


def test_scores_may_come_as_a_tensor_of_paddle() -> None:
    criterion = as_criterion(lambda weight: paddle.to_tensor(weight).sum(axis=[1, 2, 3]))
    assert score(criterion, np.ones([2, 3, 1, 1], np.float32), "conv").tolist() == [3.0, 3.0]


def with_bad(value: float, count: int) -> Array:
    weight = np.ones([4, 3, 2, 2], np.float32)
    weight.flat[:count] = value
    return weight


@pytest.mark.parametrize(
    ("weight", "parts"),
    [
        (with_bad(np.nan, 3), ("3 of 48", "not finite", "learning rate")),
        (with_bad(-np.inf, 1), ("1 of 48", "not finite", "learning rate")),
        (np.ones([4, 3], np.int64), ("int64", "floating point")),
        (np.ones([4, 3], np.uint16), ("uint16", "bfloat16", "float32")),
        (np.ones([4, 3], np.complex64), ("complex64", "floating point")),
        (np.ones([0, 3, 2, 2], np.float32), ("[0, 3, 2, 2]", "not empty")),
        (np.ones([4, 0], np.float32), ("[4, 0]", "not empty")),
        (np.float32(1).reshape([]), ("[]", "[filters, ...]")),
    ],
)
def test_a_weight_that_has_no_scores_is_refused_by_layer(weight: Array, parts: tuple[str, ...]) -> None:
    with pytest.raises(PruneError) as caught:
        score(L1Norm(), weight, "layer 'conv1'")
    assert caught.value.where == "layer 'conv1'"
    assert [part for part in parts if part not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("result", "parts"),
    [
        (np.ones(3), ("float64", "[3]", "4 finite numbers")),
        (np.ones([4, 1]), ("[4, 1]", "4 finite numbers")),
        (1.0, ("[]", "4 finite numbers")),
        (None, ("object", "4 finite numbers")),
        (np.ones(4, bool), ("bool", "4 finite numbers")),
        (["1", "2", "3", "4"], ("<U1", "4 finite numbers")),
        (np.ones(4, complex), ("complex128", "4 finite numbers")),
        (np.array([1, 2, np.nan, 4]), ("nan for filter 2", "4 finite numbers")),
        ([1.0, -np.inf, 2.0, 3.0], ("-inf for filter 1", "4 finite numbers")),
        ([[1.0], [1.0, 2.0]], ("4",)),  # an error of NumPy's, or from an older one an array of lists
    ],
)
def test_what_are_no_scores_is_refused_by_layer_and_criterion(result: Any, parts: tuple[str, ...]) -> None:
    with pytest.raises(PruneError) as caught:
        score(FunctionCriterion(lambda weight: result, "mine"), with_bad(1.0, 0), "layer 'conv1'")
    assert caught.value.where == "layer 'conv1'"
    assert [part for part in ("'mine'", *parts) if part not in str(caught.value)] == []


def test_an_error_of_the_criterion_names_layer_and_cause() -> None:
    def broken(weight: Array) -> Array:
        raise ZeroDivisionError("no filters left")

    with pytest.raises(PruneError, match=r"layer 'conv1'.*'broken' raised ZeroDivisionError: no filters") as caught:
        score(as_criterion(broken), np.ones([2, 2]), "layer 'conv1'")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
