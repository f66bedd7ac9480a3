"""Laws of the records of a run: the table tells the numbers, and JSON gives back what it got."""

from __future__ import annotations

import dataclasses
import json
import math
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapi_prune.errors import PruneError
from hapi_prune.plan import Cost, Latency, LayerCost, PruningPlan
from hapi_prune.reporting import history as module
from hapi_prune.reporting.history import History
from hapi_prune.reporting.record import PruneRecord, event_table

DENSE = Cost(12_817_920, 11_000_000, 4_253_864, 4_231_976, (LayerCost("conv", "Conv2D", 9, 8, 7),), ("pd_op.sort",))
UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


def cost(flops, params):
    return Cost(flops, flops, params, params)


def record(epoch=4, flops=11_067_556, params=3_615_301, **other):
    parts = {
        "ratio_asked": 0.2,
        "ratio": 0.198,
        "plan": PruningPlan({"conv:0": (0, 2, 3)}),
        "cost_original": DENSE,
        "cost_before": DENSE,
        "cost_after": cost(flops, params),
        "widths": {"conv1": (64, 48), "features.2.conv": (128, 64), "stem": (32, 32)},
        "metrics_before": {"loss": 0.9, "acc_top1": 0.7099, "acc_top5": 0.9},
        "metrics_after": {"loss": 1.4, "acc_top1": 0.6512, "acc_top5": 0.88},
        "seconds": 0.314,
    }
    return PruneRecord(epoch, **{**parts, **other})


def run():
    history = History()
    history.evaluated(3, {"loss": [0.9], "acc_top1": 0.7099, "batch_size": 64, "step": 9})
    history.add(record())
    history.evaluated(4, {"loss": [0.8], "acc_top1": 0.69})
    history.evaluated(5, {"loss": [0.7], "acc_top1": 0.7001})
    history.add(record(8, 6_408_960, 2_126_932, ratio_asked={"conv1": 0.5}, ratio=0.402, seconds=75.25))
    history.evaluated(8, {"loss": [0.75], "acc_top1": 0.6923})
    return history


def width(line):
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


def rows(history):
    return [line.replace("by layer", "by_layer").split() for line in history.table().splitlines()[4:-1]]


def parse(cell):
    """The number that a cell shows, and how far it may be from the truth: half of its last digit."""
    digits = cell.rstrip("%KMGTP")
    scale = 0.01 if cell.endswith("%") else UNITS[cell[len(digits) :]]
    mantissa, _, power = digits.partition("e")
    last = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    return float(digits) * scale, 0.5000001 * last * scale


finite = st.floats(allow_nan=False, allow_infinity=False)
floats = st.floats(allow_nan=False)
names = st.text(max_size=12)
counts = st.integers(0, 10**40)
metrics = st.dictionaries(names | st.sampled_from(["acc", "acc_top1", "loss", "准确率"]), floats, max_size=3)
layers = st.builds(LayerCost, names, names, counts, counts, counts)
costs = st.builds(
    Cost,
    counts,
    counts,
    counts,
    counts,
    st.lists(layers, max_size=2).map(tuple),
    st.lists(names, max_size=2).map(tuple),
)
plans = st.dictionaries(names, st.sets(st.integers(0, 99)).map(lambda s: tuple(sorted(s))), max_size=2).map(PruningPlan)
records = st.builds(
    PruneRecord,
    epoch=st.none() | st.integers(0, 10**30),
    ratio_asked=floats | st.dictionaries(names, floats, max_size=2),
    ratio=floats,
    plan=plans,
    cost_original=costs,
    cost_before=costs,
    cost_after=costs,
    widths=st.dictionaries(names, st.tuples(counts, counts), max_size=14),
    metrics_before=metrics,
    metrics_after=metrics,
    recovered=st.lists(st.tuples(st.integers(0, 99), metrics), max_size=2).map(tuple),
    seconds=floats,
    notes=st.lists(names, max_size=2).map(tuple),
    taken_back=st.just("") | names,
)
histories = st.builds(
    History, st.lists(records, max_size=3), st.lists(st.tuples(st.integers(0, 99), metrics), max_size=2)
)

GOLDEN = """\
-------------------------------------------------------------------------------------------
       ---- filters ----  --- FLOPs ----  -- params ---  ------- acc_top1 --------         
epoch     asked  removed            kept           kept  before   after  recovered  seconds
-------------------------------------------------------------------------------------------
dense         -        -  12.82M  100.0%  4.25M  100.0%       -       -     0.7099        -
    5     20.0%    19.8%  11.07M   86.3%  3.62M   85.0%  0.7099  0.6512     0.7001     0.31
    9  by layer    40.2%   6.41M   50.0%  2.13M   50.0%  0.7099  0.6512     0.6923    75.25
-------------------------------------------------------------------------------------------"""  # noqa: W291


def test_the_table_of_a_known_run():
    assert run().table() == GOLDEN


@pytest.mark.slow
@given(histories)
def test_json_gives_back_the_same_history(history):
    text = history.to_json()
    json.loads(text, parse_constant=pytest.fail)  # nan and inf are not JSON
    assert History.from_json(text) == history


def test_json_keeps_nan_and_numpy_numbers():
    history = History()
    history.add(record(metrics_after={"loss": math.nan, "acc": np.float32(0.25)}, widths={"conv": (np.int64(4), 2)}))
    back = History.from_json(history.to_json())[0]
    assert math.isnan(back.metrics_after["loss"])
    assert back.metrics_after["acc"] == 0.25
    assert back.widths == {"conv": (4, 2)}


def test_every_field_can_be_read_from_json():
    for kind in (History, PruneRecord, Cost, LayerCost):
        assert {field.type for field in dataclasses.fields(kind)} <= module._READ.keys()


DATA = json.loads(run().to_json())


def changed(path, value):
    data = json.loads(run().to_json())
    *way, last = path
    part = data
    for key in way:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        "[" * 100_000,
        run().to_json()[:-20],
        None,
        b"\xff",
        "9" * 5000,
        changed(["version"], 1),
        changed(["version"], True),
        changed(["version"], ...),
        changed(["records"], {}),
        changed(["records"], "text"),
        changed(["records", 0], None),
        changed(["records", 0, "ratio"], ...),
        changed(["records", 0, "extra"], 1),
        changed(["records", 0, "ratio"], "0.2"),
        changed(["records", 0, "ratio"], True),
        changed(["records", 0, "ratio"], [0.2]),
        changed(["records", 0, "ratio"], 10**400),
        changed(["records", 0, "epoch"], -1),
        changed(["records", 0, "epoch"], 1.5),
        changed(["records", 0, "ratio_asked"], {"conv": "much"}),
        changed(["records", 0, "plan"], {"conv": [3, 1]}),
        changed(["records", 0, "plan"], 3),
        changed(["records", 0, "cost_after"], 3),
        changed(["records", 0, "cost_after", "flops"], 10**400),
        changed(["records", 0, "cost_after", "flops"], 1.5),
        changed(["records", 0, "widths", "conv1"], [1]),
        changed(["records", 0, "widths", "conv1"], [1, 2, 3]),
        changed(["records", 0, "recovered", 0], [1, {"acc": None}]),
        changed(["records", 0, "notes"], [1]),
        changed(["records", 0, "target"], " ilters"),
        changed(["records", 0, "target"], "latency"),
        changed(["records", 0, "verified"], "values in float16"),
        changed(["evaluations", 0], [0, 1, 2]),
    ],
    ids=lambda text: repr(text)[-40:],
)
def test_damaged_json_is_a_prune_error(text):
    with pytest.raises(PruneError, match=r"History\.from_json"):
        History.from_json(text)


def test_a_run_of_which_one_cut_alone_has_a_latency_is_told():
    timed = record(9, target="latency", latency=Latency(8.0, 8.0, 6.0, 8.5, 6.5))
    lines = History([record(), timed]).table().splitlines()
    assert "75.0%" in lines[-2] and "6.5000" in lines[-2]
    assert "75.0%" not in lines[-3]


@given(st.data())
def test_json_with_any_part_replaced_is_a_prune_error_or_a_history(data):
    path, part = [], DATA
    while isinstance(part, (dict, list)) and part and (not path or data.draw(st.booleans())):
        key = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        path, part = [*path, key], part[key]
    junk = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | finite
        | st.lists(st.integers(), max_size=2)
        | st.just({})
    )
    try:
        history = History.from_json(changed(path, data.draw(junk)))
    except PruneError:
        return
    assert history.table()
    assert all(event_table(one) for one in history)
    assert History.from_json(history.to_json()).to_json() == history.to_json()


@pytest.mark.slow
@given(histories)
def test_every_line_is_equally_wide_and_at_most_100_columns(history):
    for text in [history.table(), *map(event_table, history)]:
        lines = text.splitlines()
        assert len({width(line) for line in lines}) == 1
        assert width(lines[0]) <= 100
    assert len({line.count("|") - line.count(r"\|") for line in history.markdown().splitlines()}) == 1


def test_wide_characters_keep_the_columns_aligned():
    history = History([record(metrics_before={"准确率" * 9: 0.5}, widths={"层" * 40: (8, 4), "a\nb": (8, 2)})])
    for text in (history.table(), event_table(history[0])):
        assert len({width(line) for line in text.splitlines()}) == 1


@given(st.integers(0, 10**17), st.integers(0, 10**17), st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 99999))
def test_rows_parse_back_to_the_numbers(flops, params, ratio, metric, seconds):
    history = History([record(cost_original=cost(10**17, 10**17), flops=flops, params=params, ratio=ratio,
                              metrics_before={}, metrics_after={"acc": metric}, seconds=seconds)])  # fmt: skip
    row = rows(history)[1]
    shown = {2: ratio, 3: flops, 4: flops / 1e17, 5: params, 6: params / 1e17, 8: metric, 10: seconds}
    for column, truth in shown.items():
        value, slack = parse(row[column])
        assert abs(value - truth) <= slack, (row[column], truth)


def test_shares_are_those_of_the_counts():
    for one in run():
        assert one.flops_kept == one.cost_after.flops / one.cost_original.flops
        assert one.params_kept == one.cost_after.params / one.cost_original.params
    for row in rows(run()):
        for number, kept in ((3, 4), (5, 6)):
            dense = rows(run())[0][number]
            assert parse(row[number])[0] / parse(dense)[0] == pytest.approx(parse(row[kept])[0], abs=0.002)


def test_markdown_has_the_cells_of_the_table():
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in run().markdown().splitlines()]
    assert [" ".join(line).replace("by layer", "by_layer").split() for line in lines[2:]] == rows(run())


def test_evaluations_are_attached_to_the_cut_before_them():
    history = run()
    assert [epoch for epoch, _ in history.evaluations] == [3, 4, 5, 8]
    assert [epoch for epoch, _ in history[0].recovered] == [4, 5]
    assert history[0].metrics_recovered == {"loss": 0.7, "acc_top1": 0.7001}
    assert history[1].metrics_recovered == {"loss": 0.75, "acc_top1": 0.6923}
    assert record().metrics_recovered == {}
    assert len(history) == 2
    assert list(history) == [history[0], history[1]]


def test_logs_are_copied_and_counters_left_out():
    logs = {"loss": [0.5], "acc": np.float32(0.25), "step": 3, "batch_size": 8, "who": "me", "pair": [1, 2], "n": 3}
    history = History()
    history.evaluated(0, logs)
    logs["acc"] = 0.0
    assert history.evaluations == [(0, {"loss": 0.5, "acc": 0.25, "n": 3.0})]


@pytest.mark.parametrize(
    ("seen", "shown"),
    [
        ({"loss": 1.0, "acc_top5": 0.9, "acc": 0.6, "acc_top1": 0.5}, "acc_top1"),
        ({"loss": 1.0, "f1": 0.9, "acc": 0.6}, "acc"),
        ({"loss": 1.0, "f1": 0.9, "psnr": 30.0}, "f1"),
        ({"loss": 1.0, "aux_Loss": 2.0}, None),
        ({}, None),
    ],
)
def test_which_metric_is_shown(seen, shown):
    history = History([record(metrics_before=seen, metrics_after={})])
    assert history.metric == shown
    assert len(rows(history)[0]) == (11 if shown else 8)
    assert History(evaluations=[(0, seen)]).metric == shown


def test_the_dense_network_shows_its_last_evaluation():
    history = History()
    history.evaluated(0, {"acc": 0.5})
    history.add(record(metrics_before={}, metrics_after={}))
    history.evaluated(1, {"acc": 0.4})
    assert rows(history)[0][9] == "0.5000"
    assert rows(history)[1][7:10] == ["-", "-", "0.4000"]


def test_nothing_pruned_is_said():
    assert History().table() == History().markdown() == "Nothing was pruned."
    assert History.from_json(History().to_json()) == History()


def test_a_network_of_no_cost_has_kept_all():
    assert record(cost_original=cost(0, 0)).flops_kept == 1.0


def test_an_event_shows_the_layers_that_lost_most():
    table = event_table(record(notes=("layer 'stem' stays: its channels reach the output of the network",)))
    assert [line.split()[0] for line in table.splitlines()[4:9]] == ["FLOPs", "params", "loss", "acc_top1", "acc_top5"]
    assert [line.split() for line in table.splitlines()[9:11]] == [
        ["features.2.conv", "128", "64", "50.0%"],
        ["conv1", "64", "48", "75.0%"],
    ]
    assert "stem " not in table  # nothing was taken from it
    assert "reach the output" in " ".join(table.split())
    many = event_table(record(widths={f"conv{i}": (100, 50) for i in range(25)}))
    assert "and 15 more layers" in many


def test_a_record_in_words():
    assert str(record(notes=("Layer 'stem' stays.",))) == (
        "epoch 5: 19.8% of the filters removed (asked: 20.0%): FLOPs 12.82M -> 11.07M (86.3% kept), "
        "params 4.25M -> 3.62M (85.0% kept), loss 0.9000 -> 1.4000, acc_top1 0.7099 -> 0.6512, "
        "acc_top5 0.9000 -> 0.8800. Layer 'stem' stays."
    )
    assert str(record(epoch=None)).startswith("19.8% of the filters removed")


def test_a_record_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        record().epoch = 3
