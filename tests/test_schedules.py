"""Laws of schedules: every exported one is monotone, stays in [0, 1), arrives, and previews what it does."""

from __future__ import annotations

import dataclasses
import math
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hapi_prune import schedules
from hapi_prune.errors import PruneError
from hapi_prune.schedules import Explicit, Exponential, FromFunction, Linear, OneShot, Polynomial, Schedule, as_schedule
from hapi_prune.selection.ratios import Ratio, check_ratio, ratio_of

RUN = 40  # epochs; every schedule drawn below ends before
LAYERS = ("conv1", "block.0.conv", "conv2d_3.w_0")
Configured = Any  # a schedule with the fields of its class

shares = st.floats(0.0, 0.999)
ratios = st.one_of(shares, st.dictionaries(st.sampled_from(LAYERS), shares, min_size=1))
epochs = st.integers(0, 12)
laws = settings(max_examples=60)


@st.composite
def gradual(draw: st.DrawFn, kind: type[Linear]) -> Linear:
    ratio, start = draw(ratios), draw(epochs)
    lowest = min(ratio.values()) if isinstance(ratio, dict) else ratio
    end, every = start + draw(st.integers(0, 20)), draw(st.integers(1, 7))
    power = {"power": draw(st.floats(0.1, 8.0))} if kind is Polynomial else {}
    return kind(ratio, start, end, every=every, initial=draw(st.floats(0.0, lowest)), **power)


@st.composite
def explicit(draw: st.DrawFn) -> Explicit:
    events = sorted(draw(st.lists(epochs, min_size=1, max_size=5, unique=True)))
    steps = sorted(draw(st.lists(shares, min_size=len(events), max_size=len(events))))
    whole = [draw(st.booleans()) for _ in events]
    names = [draw(st.lists(st.sampled_from(LAYERS), min_size=1, unique=True)) for _ in events]
    table = zip(events, steps, whole, names)
    return Explicit({epoch: step if all_ else dict.fromkeys(layers, step) for epoch, step, all_, layers in table})


def stepwise(schedule: Schedule) -> FromFunction:
    """The same schedule as a user would write it by hand: it speaks at its events only."""
    return FromFunction(dict(schedule.preview(RUN)).get)


SCHEDULES: dict[type, st.SearchStrategy[Any]] = {
    OneShot: st.builds(OneShot, epochs, ratios),
    Explicit: explicit(),
    Linear: gradual(Linear),
    Polynomial: gradual(Polynomial),
    Exponential: gradual(Exponential),
    FromFunction: st.one_of(explicit(), gradual(Linear)).map(stepwise),
}
every_schedule = pytest.mark.parametrize("kind", SCHEDULES, ids=lambda kind: str(kind.__name__))
every_gradual = pytest.mark.parametrize("kind", [Linear, Polynomial, Exponential])


def test_the_laws_run_over_every_exported_schedule() -> None:
    exported = {value for value in vars(schedules).values() if dataclasses.is_dataclass(value)}
    assert exported == set(SCHEDULES)


def layerwise(ratio: Ratio | None) -> dict[str, float]:
    """What is due of each layer, nothing as 0, so that all forms compare."""
    return {layer: ratio_of(ratio, layer) or 0.0 for layer in (*LAYERS, "another")}


# --- laws -------------------------------------------------------------------------------------------------


@every_schedule
@laws
@given(data=st.data())
def test_the_ratio_never_falls_and_stays_in_range(kind: type, data: st.DataObject) -> None:
    schedule = data.draw(SCHEDULES[kind])
    due = dict.fromkeys((*LAYERS, "another"), 0.0)
    for epoch in range(RUN):
        ratio = schedule(epoch)
        if ratio is None:
            continue
        now = {**due, **{layer: share for layer in due if (share := ratio_of(ratio, layer)) is not None}}
        assert all(due[layer] <= now[layer] < 1 for layer in due)
        due = now


@pytest.mark.slow
@every_schedule
@laws
@given(data=st.data(), length=st.integers(0, RUN))
def test_preview_is_what_the_calls_do(kind: type, data: st.DataObject, length: int) -> None:
    schedule = data.draw(SCHEDULES[kind])
    events = schedule.preview(RUN)
    assert schedule.preview(length) == [event for event in events if event[0] < length]
    due: Ratio | None = None
    for epoch in range(RUN):
        due = dict(events).get(epoch, due)
        called = schedule(epoch)
        if called is not None:
            assert layerwise(called) == layerwise(due)
    befores = [None, *(ratio for _, ratio in events)]
    assert all(layerwise(before) != layerwise(after) for before, (_, after) in zip(befores, events))


@pytest.mark.slow
@every_schedule
@laws
@given(data=st.data())
def test_nothing_is_due_before_the_first_event(kind: type, data: st.DataObject) -> None:
    schedule = data.draw(SCHEDULES[kind])
    events = schedule.preview(RUN)
    for epoch in range(-1, events[0][0] if events else RUN):
        assert set(layerwise(schedule(epoch)).values()) == {0.0}


@pytest.mark.parametrize("kind", [OneShot, Linear, Polynomial, Exponential])
@laws
@given(data=st.data())
def test_exactly_the_final_ratio_is_due_from_the_last_epoch_on(kind: type, data: st.DataObject) -> None:
    schedule = data.draw(SCHEDULES[kind])
    assert all(schedule(epoch) == schedule.ratio for epoch in range(schedule.last_epoch, RUN))


@laws
@given(explicit())
def test_an_explicit_schedule_holds_its_last_entry_from_its_epoch_on(schedule: Explicit) -> None:
    for layer, share in layerwise(schedule.ratios[schedule.last_epoch]).items():
        if ratio_of(schedule.ratios[schedule.last_epoch], layer) is not None:
            assert all(ratio_of(schedule(epoch), layer) == share for epoch in range(schedule.last_epoch, RUN))


@every_schedule
@laws
@given(data=st.data())
def test_a_schedule_is_frozen_data_and_what_it_returns_is_the_callers(kind: type, data: st.DataObject) -> None:
    schedule = data.draw(SCHEDULES[kind])
    before = pickle.dumps(schedule)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, dataclasses.fields(schedule)[0].name, None)
    if kind is not FromFunction:  # there the values are the user's own
        for ratio in (schedule(RUN), *(ratio for _, ratio in schedule.preview(RUN))):
            if isinstance(ratio, dict):
                ratio.clear()
    assert pickle.dumps(schedule) == before
    assert pickle.loads(before) == schedule or kind is FromFunction


# --- closed forms -----------------------------------------------------------------------------------------


def last_event(schedule: Configured, epoch: int) -> int:
    events: set[int] = {*range(schedule.start, schedule.end, schedule.every), schedule.end}
    return max(event for event in events if event <= epoch)


def closed_form(schedule: Configured, final: float, epoch: int) -> float:
    """s(t) as in the papers, with n dt = end - start."""
    if schedule.end == schedule.start:
        return final
    progress = Fraction(last_event(schedule, epoch) - schedule.start, schedule.end - schedule.start)
    initial: float = schedule.initial
    p = float(progress)
    if type(schedule) is Exponential:
        return 1 - math.exp((1 - p) * math.log(1 - initial) + p * math.log(1 - final))
    power: float = schedule.power if type(schedule) is Polynomial else 1.0
    return final + (initial - final) * float(float(1 - progress) ** power)


@every_gradual
@laws
@given(data=st.data())
def test_every_epoch_equals_the_closed_form(kind: type, data: st.DataObject) -> None:
    schedule = data.draw(SCHEDULES[kind])
    finals = schedule.ratio if isinstance(schedule.ratio, dict) else {"": schedule.ratio}
    for epoch in range(RUN):
        due = schedule(epoch)
        if epoch < schedule.start:
            assert due is None
            continue
        for layer, final in finals.items():
            share = due[layer] if layer else due
            assert share == pytest.approx(closed_form(schedule, final, epoch), abs=1e-12)


@every_gradual
@laws
@given(data=st.data())
def test_the_boundaries_are_exact(kind: type, data: st.DataObject) -> None:
    schedule = data.draw(SCHEDULES[kind])
    finals = schedule.ratio.values() if isinstance(schedule.ratio, dict) else [schedule.ratio]
    first = schedule(schedule.start)
    firsts = first.values() if isinstance(first, dict) else [first]
    assert list(firsts) == (list(finals) if schedule.start == schedule.end else [schedule.initial] * len(finals))
    assert schedule.start == 0 or schedule(schedule.start - 1) is None
    if schedule.end > schedule.start:
        before_end = schedule(schedule.end - 1)
        shares_before = before_end.values() if isinstance(before_end, dict) else [before_end]
        far = 1e-3  # nearer than that, a small step may be lost in rounding
        assert all(share < final or final - schedule.initial < far for share, final in zip(shares_before, finals))


def test_agp_of_zhu_and_gupta_by_hand() -> None:
    schedule = Polynomial(0.8, start=2, end=10, every=2)
    expected = [0.8 * (1 - (1 - k / 4) ** 3) for k in range(5)]
    assert [schedule(2 + 2 * k) for k in range(5)] == pytest.approx(expected)
    assert [schedule(3 + 2 * k) for k in range(5)] == [schedule(2 + 2 * k) for k in range(5)]


def test_the_share_kept_shrinks_by_one_factor() -> None:
    kept = [1 - share for share in map(Exponential(0.9, start=0, end=5, initial=0.1), range(6))]  # type: ignore[operator]
    assert [after / before for before, after in zip(kept, kept[1:])] == pytest.approx([(0.1 / 0.9) ** 0.2] * 5)


@laws
@given(gradual(Linear))
def test_power_one_is_linear(linear: Linear) -> None:
    same = Polynomial(**dataclasses.asdict(linear), power=1)
    for epoch in range(RUN):
        assert layerwise(same(epoch)) == pytest.approx(layerwise(linear(epoch)), abs=1e-12)


def test_steps_that_do_not_meet_the_end_get_one_more_event_there() -> None:
    assert Linear(0.5, start=0, end=5, every=2).preview(9) == [(2, 0.2), (4, 0.4), (5, 0.5)]
    assert Linear(0.5, start=1, end=2, every=9).preview(9) == [(2, 0.5)]
    assert Linear(0.5, start=3, end=3).preview(9) == [(3, 0.5)]


def test_an_initial_share_is_an_event_and_zero_is_none() -> None:
    assert Linear(0.5, start=1, end=3, initial=0.25).preview(9) == [(1, 0.25), (2, 0.375), (3, 0.5)]
    assert Linear(0.5, start=1, end=3).preview(9) == [(2, 0.25), (3, 0.5)]
    assert Explicit({0: 0.0, 2: {"conv1": 0.0}}).preview(9) == []
    assert Explicit({0: 0.5, 2: {"conv1": 0.5}}).preview(9) == [(0, 0.5)]
    assert OneShot(0, 0.3).preview(0) == []


# --- Explicit: how entries add up -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratios", "due"),
    [
        ({4: 0.2, 0: 0.1}, 0.2),
        ({0: {"a": 0.1}, 1: {"b": 0.2}}, {"a": 0.1, "b": 0.2}),
        ({0: {"a": 0.1}, 1: {"a": 0.3}}, {"a": 0.3}),
        ({0: 0.2, 1: {"a": 0.5}}, {"*": 0.2, "a": 0.5}),
        ({0: {"a": 0.1}, 1: 0.2}, 0.2),
        ({0: 0.0, 1: {"a": 0.5}}, {"a": 0.5}),
        ({0: {"a*": 0.1, "*a": 0.1}, 1: {"a*": 0.3}}, {"*a": 0.1, "a*": 0.3}),  # named last, so that it wins
        ({0: {"a": 0.1, "b*": 0.2}, 1: {"*": 0.2}}, {"a": 0.1, "b*": 0.2, "*": 0.2}),
    ],
)
def test_entries_add_up_layer_by_layer(ratios: dict[int, Ratio], due: Ratio) -> None:
    last = Explicit(ratios)(9)
    assert last == due
    assert not isinstance(due, dict) or list(last or ()) == list(due)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "share"),
    [
        (("conv1",), 0.1),
        (("conv10",), 0.5),
        (("conv2",), 0.0),
        (("head.conv",), 0.25),
        (("header",), None),
        (("head.conv", "conv2d_3.w_0"), 0.75),
    ],
)
def test_a_layer_takes_its_own_name_or_else_its_last_match(names: tuple[str, ...], share: float | None) -> None:
    ratio = {"conv2d_3.w_0": 0.75, "conv1": 0.1, "conv?": 0.0, "conv1*": 0.5, "h*.conv": 0.1, "head": 0.25}
    assert ratio_of(ratio, *names) == share
    assert ratio_of(0.3, *names) == 0.3
    assert ratio_of(None, *names) is None


def test_a_name_matches_itself_whatever_characters_it_has() -> None:
    assert ratio_of({"blocks[0]": 0.5, "*": 0.0}, "blocks[0]") == 0.5
    assert Explicit({0: {"blocks[0]": 0.5}, 1: {"*": 0.2}})(1) == {"blocks[0]": 0.5, "*": 0.2}


# --- as_schedule and check_ratio --------------------------------------------------------------------------


def test_values_become_schedules() -> None:
    one = OneShot(3, 0.5)
    assert as_schedule(one) is one
    assert as_schedule({4: 0.2}) == Explicit({4: 0.2})
    assert isinstance(as_schedule(lambda epoch: None), FromFunction)
    assert as_schedule(as_schedule({4: 0.2})) == Explicit({4: 0.2})


def test_a_schedule_of_another_make_is_taken_as_it_is() -> None:
    class Mine:
        last_epoch = 3

        def __call__(self, epoch: int) -> Ratio | None:
            return 0.1

        def preview(self, epochs: int) -> list[tuple[int, Ratio]]:
            return [(0, 0.1)]

    mine = Mine()
    assert as_schedule(mine) is mine


def test_numpy_scalars_become_plain_numbers() -> None:
    schedule = Polynomial(np.float32(0.5), np.int64(1), np.int32(3), np.uint8(1), np.float64(0.25), np.int64(2))  # type: ignore[arg-type]
    assert schedule == Polynomial(0.5, 1, 3, 1, 0.25, 2)
    assert [type(value) for value in vars(schedule).values()] == [float, int, int, int, float, float]
    assert repr(Explicit({np.int64(4): {np.str_("a"): np.float32(0.5)}})) == "Explicit(ratios={4: {'a': 0.5}})"  # type: ignore[dict-item]
    assert type(check_ratio(Fraction(1, 2))) is float


def test_the_users_dict_is_not_shared() -> None:
    table: dict[str, float] = {"a": 0.2}
    for schedule in (OneShot(0, table), Explicit({0: table}), Linear(table, 0, 0), FromFunction(lambda _: table)):
        ratio = schedule(0)
        assert ratio == table
        assert ratio is not table


NOT_RATIOS: list[tuple[object, str]] = [
    (30, "did you mean 0.3"),
    (1, "less than 1"),
    (1.0, "less than 1"),
    (np.float64(250), "less than 1"),
    (10**400, "in [0, 1)"),
    (-0.1, "-0.1"),
    (math.nan, "nan"),
    (math.inf, "inf"),
    (True, "True"),
    (np.True_, "in [0, 1)"),
    ("0.3", "'0.3'"),
    (None, "None"),
    ([0.3], "[0.3]"),
    (np.array(0.3), "array(0.3)"),
    (0.3 + 0j, "in [0, 1)"),
]


@pytest.mark.parametrize(("bad", "part"), NOT_RATIOS)
@pytest.mark.parametrize(
    ("make", "where"),
    [
        (check_ratio, "ratio"),
        (lambda bad: check_ratio({"conv1": bad}, "prune(ratio=...)"), "prune(ratio=...), layer 'conv1'"),
        (lambda bad: OneShot(0, bad), "OneShot(ratio=...)"),
        (lambda bad: Explicit({4: bad}), "schedule, epoch 4"),
        (lambda bad: as_schedule({4: {"conv1": bad}}), "schedule, epoch 4, layer 'conv1'"),
        (lambda bad: Linear(bad, 0, 4), "Linear(ratio=...)"),
        (lambda bad: Polynomial({"conv1": bad}, 0, 4), "Polynomial(ratio=...), layer 'conv1'"),
        (lambda bad: Exponential(0.5, 0, 4, initial=bad), "Exponential(initial=...)"),
        (lambda bad: FromFunction(lambda epoch: {"conv1": bad})(7), "at epoch 7, layer 'conv1'"),
    ],
)
def test_what_is_no_ratio_is_refused_by_name(make: Any, where: str, bad: object, part: str) -> None:
    with pytest.raises(PruneError) as caught:
        make(bad)
    assert where in caught.value.where
    assert part in str(caught.value)
    assert "[0, 1)" in caught.value.allowed


@pytest.mark.parametrize("bad", [-1, 1.0, 2.5, True, "3", None, np.float64(2)])
@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda bad: OneShot(bad, 0.5), "OneShot(epoch=...)"),
        (lambda bad: Explicit({bad: 0.5}), "schedule, its epoch"),
        (lambda bad: Linear(0.5, bad, 9), "Linear(start=...)"),
        (lambda bad: Polynomial(0.5, 0, bad), "Polynomial(start=0, end=...)"),
        (lambda bad: Exponential(0.5, 0, 9, every=bad), "Exponential(every=...)"),
        (lambda bad: OneShot(0, 0.5).preview(bad), "preview(epochs=...)"),
    ],
)
def test_what_is_no_epoch_is_refused_by_name(make: Any, where: str, bad: object) -> None:
    with pytest.raises(PruneError) as caught:
        make(bad)
    assert caught.value.where == where
    assert repr(bad) in caught.value.got
    assert "whole number" in caught.value.allowed


RISE = ("falls", "stay or rise", "share of the original filters")


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: Explicit({}), ("{}", "{epoch: ratio}")),
        (lambda: Explicit([0.1]), ("[0.1]", "{epoch: ratio}")),  # type: ignore[arg-type]
        (lambda: as_schedule({"conv1": 0.5}), ("'conv1'", "put the epoch first")),
        (lambda: Explicit({4: {}}), ("epoch 4", "not empty")),
        (lambda: Explicit({4: {3: 0.5}}), ("epoch 4", "{3: 0.5}")),  # type: ignore[dict-item]
        (lambda: Explicit({4: {"": 0.5}}), ("epoch 4", "layer name")),
        (lambda: Explicit({4: 0.5, 8: 0.2}), ("epoch 8", "from 0.5 to 0.2", *RISE)),
        (lambda: Explicit({8: {"a": 0.2}, 4: {"a": 0.5}}), ("epoch 8", "'a'", "from 0.5 to 0.2", *RISE)),
        (lambda: Explicit({4: 0.5, 8: {"a": 0.2}}), ("epoch 8", "'a'", "from 0.5 to 0.2", *RISE)),
        (lambda: Explicit({4: {"a": 0.5}, 8: 0.2}), ("epoch 8", "'a'", "from 0.5 to 0.2", *RISE)),
        (lambda: Explicit({4: {"a*": 0.5}, 8: {"a.*": 0.2}}), ("epoch 8", "'a.*'", "from 0.5 to 0.2", *RISE)),
        (lambda: Explicit({4: {"a": 0.5}, 8: {"a.b": 0.2}}), ("epoch 8", "'a.b'", "from 0.5 to 0.2", *RISE)),
        (lambda: Explicit({4: {"a.*": 0.5}, 8: {"a.b": 0.2}}), ("epoch 8", "'a.b'", "from 0.5 to 0.2", *RISE)),
        (lambda: FromFunction([0.5, 0.2].__getitem__).preview(2), ("epoch 1", "from 0.5 to 0.2", *RISE)),
        (lambda: Linear(0.5, 6, 4), ("Linear(start=6, end=...)", "4", "at least 6")),
        (lambda: Linear(0.5, 0, 4, every=0), ("Linear(every=...)", "at least 1")),
        (lambda: Exponential(0.5, 0, 4, initial=0.6), ("Exponential(initial=...)", "0.6", "0.5")),
        (lambda: Linear({"a": 0.5, "b": 0.1}, 0, 4, initial=0.2), ("Linear(initial=...)", "0.2", "0.1")),
        (lambda: Polynomial(0.5, 0, 4, power=0), ("Polynomial(power=...)", "0", "above 0")),
        (lambda: Polynomial(0.5, 0, 4, power=math.nan), ("Polynomial(power=...)", "nan")),
        (lambda: Polynomial(0.5, 0, 4, power=10**400), ("Polynomial(power=...)", "finite")),
        (lambda: Polynomial(0.5, 0, 4, power="3"), ("Polynomial(power=...)", "'3'")),  # type: ignore[arg-type]
        (lambda: as_schedule(0.5), ("schedule", "0.5", "{4: 0.2, 8: 0.4}")),
        (lambda: as_schedule("agp"), ("'agp'", "{epoch: ratio}", "function")),
        (lambda: as_schedule(None), ("None", "{epoch: {layer: ratio}}")),
        (lambda: as_schedule([(4, 0.2)]), ("(4, 0.2)", "Schedule")),
        (lambda: as_schedule(OneShot), ("OneShot", "a Schedule")),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(make: Any, parts: tuple[str, ...]) -> None:
    with pytest.raises(PruneError) as caught:
        make()
    assert [part for part in parts if part not in str(caught.value)] == []
