"""What is said of a layer is what becomes of it, and saying it changes nothing."""

from __future__ import annotations

import inspect
import json
import random
import xml.etree.ElementTree as ET

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812
import pytest
from daily import slow, some
from hypothesis import given
from hypothesis import strategies as st
from paddle import nn
from structures import Chain, conv, conv_bn, pooled
from zoo import ZOO

from hapi_prune import PruneError
from hapi_prune.analysis.rules import TABLE
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.diagnostics import group_picture
from hapi_prune.diagnostics.explain import explain
from hapi_prune.diagnostics.explanation import Explanation, ExplanationRow, shortened
from hapi_prune.selection import counts

IMAGE = [2, 3, 8, 8]


def state(network):
    """Everything of a network that a look at it could change."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    bits = [(name, id(t), t.name, t.shape, t.numpy().tobytes()) for name, t in tensors]
    grads = [t.grad.numpy().tobytes() if t.grad is not None else None for _, t in tensors]
    layers = [(layer.training, repr(layer)) for layer in network.sublayers(include_self=True)]
    return bits, grads, layers, np.random.get_state()[1].tolist(), random.getstate()


def statuses(found):
    return {row.layer: row.status for row in found.rows}


def row(found, layer):
    return next(row for row in found.rows if row.layer == layer)


def test_lenet_is_said_line_by_line():
    found = explain(paddle.vision.models.LeNet(), [1, 1, 28, 28])
    assert [(r.layer, r.kind, r.filters, r.status, r.units) for r in found.rows] == [
        ("features.0", "Conv2D", 6, "prunable", 6),
        ("features.3", "Conv2D", 16, "prunable", 16),
        ("fc.0", "Linear", 120, "prunable", 120),
        ("fc.1", "Linear", 84, "prunable", 84),
        ("fc.2", "Linear", 10, "feeds an output", 0),
    ]
    assert found.rows[0].consumers == ("features.3",)
    assert found.arrows == ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, -1))
    assert found.opaque == ()


@pytest.mark.parametrize("name", some(ZOO, 8, 3))
def test_what_is_said_is_what_a_cut_does(name):
    wanted = ZOO[name]
    network = wanted.build()
    before = state(network)
    found = explain(network, wanted.inputs)
    assert state(network) == before

    pruner = Pruner(network, wanted.inputs, Options())
    shapes = {key: tensor.shape for key, tensor in pruner.channel_map.tensors.items()}
    rows = {key: said for key in shapes for said in found.rows if said.layer in (key, key.rpartition(".")[0])}
    record = pruner.channel_map.traced.constraints

    def as_said(axes):
        for key, axis in axes:
            if key not in record.depthwise:
                shrunk = pruner.channel_map.tensors[key].shape[axis] < shapes[key][axis]
                assert shrunk == bool(rows[key].units), rows[key]

    if any(rows[key].units for key, _ in record.convolutions):
        pruner.cut(0.5)
    as_said(record.convolutions)
    named = {said.layer: 0.5 for said in found.rows if said.units and not said.status.startswith("follows")}
    if named:
        pruner.cut(named)
    as_said(record.filters)
    assert all(said.reason or said.status.startswith(("prunable", "follows")) for said in found.rows)


def test_a_forward_pass_in_between_leaves_gradients_and_modes_alone():
    network = conv_bn(3, 8)
    network.append(conv(8, 4))
    network[1].eval()
    network(paddle.ones(IMAGE)).sum().backward()
    before = state(network)
    assert before[1][0] is not None
    explain(network, IMAGE)
    assert state(network) == before


class WrittenSize(Chain):
    """A number of channels in the code."""

    def middle(self, x):
        return x.reshape([-1, 8, 64]).reshape([2, 8, 8, 8])


def test_a_size_written_into_the_code_is_found_with_its_line():
    found = explain(WrittenSize(8), IMAGE)
    said = row(found, "a")
    start = inspect.getsourcelines(WrittenSize.middle)[1]
    assert (said.status, said.units) == ("frozen", 0)
    assert "does not run at other sizes" in said.reason
    assert said.where == f"{__file__}:{start + 1}"
    assert statuses(found)["b"] == "prunable"
    text = str(found)
    assert f"diagnostics/test_explain.py:{start + 1}" in text
    assert __file__ not in text


def test_a_norm_that_mixes_channels_is_said_with_its_line():
    class Mixed(Chain):
        def middle(self, x):
            return F.group_norm(x, 2)

    said = row(explain(Mixed(8), IMAGE), "a")
    assert (said.status, said.units, said.op) == ("approximate", 8, "group_norm")
    assert said.where == f"{__file__}:{inspect.getsourcelines(Mixed.middle)[1] + 1}"


def test_an_operation_without_a_rule_is_named_with_its_line(monkeypatch):
    class Odd(Chain):
        def middle(self, x):
            return paddle.tanh(x)

    monkeypatch.delitem(TABLE.rules, "tanh")
    found = explain(Odd(8), IMAGE)
    place = f"{__file__}:{inspect.getsourcelines(Odd.middle)[1] + 1}"
    assert found.opaque == (f"'tanh' ({place}) has no rule",)
    said = row(found, "a")
    assert (said.status, said.op, said.where) == ("frozen", "tanh", place)
    assert "Not followed: 'tanh'" in found.table()
    # The data goes on all the same.
    assert (said.group, row(found, "b").group) in found.arrows


def test_what_is_protected_is_said_and_so_are_its_partners():
    class Sum(Chain):
        def __init__(self):
            super().__init__(8)
            self.c = conv(3, 8)

        def forward(self, x):
            return self.head(pooled(self.b(self.a(x) + self.c(x))))

    found = explain(Sum(), IMAGE, skip=["c"])
    assert statuses(found) == {"a": "protected", "b": "prunable", "head": "feeds an output", "c": "protected"}
    assert row(found, "a").partners == ("c",)
    assert row(explain(Sum(), IMAGE), "a").partners == ("c",)
    with pytest.raises(PruneError, match="an unknown layer 'd'"):
        explain(Sum(), IMAGE, skip=["d"])


def test_what_is_too_small_is_said():
    found = explain(Chain(8), IMAGE, min_filters=6)
    assert statuses(found) == {"a": "prunable", "b": "below the minimum", "head": "feeds an output"}
    assert row(found, "b").reason == "has no more than 6 units, which is the minimum"
    with pytest.raises(PruneError, match="min_filters"):
        explain(Chain(8), IMAGE, min_filters=0)


def test_a_depthwise_convolution_follows_another():
    class Depthwise(Chain):
        def __init__(self):
            super().__init__(8, 16)
            self.mid = conv(8, 16, groups=8)

        def middle(self, x):
            return self.mid(x)

    found = explain(Depthwise(), IMAGE)
    said = row(found, "mid")
    assert (said.status, said.follows, said.filters, said.units) == ("follows a", "a", 16, 8)
    assert said.group == row(found, "a").group
    assert row(found, "a").status == "prunable"
    assert "follows a" in found.table()


class Corners(nn.Layer):
    """One filter, a layer that is not used, and a weight that two layers share."""

    def __init__(self):
        super().__init__()
        self.a, self.gate, self.spare = conv(3, 6), conv(6, 1), conv(6, 9)
        self.one, self.two = conv(6, 6), conv(6, 6)
        self.two.weight = self.one.weight
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = F.relu(self.a(x))
        x = x * F.sigmoid(self.gate(x))
        return self.head(pooled(self.two(F.relu(self.one(x)))))


def test_the_corners_are_said():
    found = explain(Corners(), IMAGE)
    assert statuses(found) == {
        "a": "prunable",
        "gate": "below the minimum",
        "spare": "frozen",
        "one": "prunable",
        "two": "follows one",
        "head": "feeds an output",
    }
    assert row(found, "gate").reason == "has a single filter"
    assert row(found, "spare").reason == "is not used in the forward pass"
    assert row(found, "spare").filters == 9


def test_a_layer_of_which_some_filters_stay_says_so():
    found = explain(ZOO["PaddedShortcut"].build(), IMAGE)
    said = row(found, "last.0")
    assert (said.status, said.filters, said.units) == ("prunable", 8, 4)
    assert said.reason.startswith("some of its filters stay: one of them meets slices of a fixed size")
    assert "a.0" in said.partners
    assert len(said.keys) > 1


def test_what_splits_allow_below_half_only_is_not_called_frozen(monkeypatch):
    real = counts.choices_of
    monkeypatch.setattr(counts, "choices_of", lambda *args: [] if args[3] > 0.3 else real(*args))
    network = ZOO["GroupConvolution"].build()
    found = explain(network, IMAGE)
    said = row(found, "a")
    assert (said.status, said.units) == ("prunable", 4)
    assert said.reason == "shrinks only by less than half, in steps that its splits allow"
    assert Pruner(network, IMAGE, Options()).cut(0.25).widths["a"] == (8, 6)
    monkeypatch.setattr(counts, "choices_of", lambda *args: [])
    assert row(explain(ZOO["GroupConvolution"].build(), IMAGE), "a").reason == "no smaller size fits its splits"


def test_a_bare_parameter_has_a_line_of_its_own():
    found = explain(ZOO["FunctionalConvolution"].build(), IMAGE)
    assert (row(found, "weight").kind, row(found, "weight").filters) == ("parameter", 6)
    assert row(found, "second").status == "feeds an output"


def test_a_network_without_convolutions_is_said_too():
    found = explain(nn.Sequential(nn.ReLU()), IMAGE)
    assert found.rows == ()
    assert found.title == "Sequential: 0 of 0 layers can shrink; groups: 0"
    assert "0 of 0" in found.table()
    assert ET.fromstring(found.svg()) is not None


def test_a_layer_alone_is_said():
    found = explain(conv(3, 4), IMAGE)
    assert [r.status for r in found.rows] == ["feeds an output"]


# How it looks


@pytest.mark.parametrize("length", [3, 40, 300])
def test_the_table_is_at_most_100_columns_wide(length):
    reason = f"does not run at other sizes: /{'d' * 30}/{'e' * 30}/nets/file.py:12 (ValueError: {'x ' * 99})"
    rows = tuple(
        ExplanationRow("n" * length, "K" * 60, 10**6, status, n, (), units, (), (), "", reason if not units else "")
        for n, (status, units) in enumerate([("prunable", 10**6), ("follows " + "f" * 99, 4), ("frozen", 0)], 1)
    )
    lines = Explanation("Net", rows).table().splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) <= 100
    assert "nets/file.py:12" in "".join(lines)


def test_a_table_by_heart():
    rows = (
        ExplanationRow("a", "Conv2D", 8, "prunable", 1, ("a.weight",), 8, ("c",)),
        ExplanationRow("b.conv", "Conv2D", 16, "frozen", 2, ("b.conv.weight",), reason="meets 'x' (/p/q/r/net.py:7)"),
        ExplanationRow("c", "Conv2D", 8, "follows a", 1, ("a.weight",), 8, ("a",), follows="a"),
    )
    assert Explanation("Net", rows, opaque=("'x' (/p/net.py:7) has no rule",)).table().splitlines() == [
        "Net: 2 of 3 layers can shrink; groups: 1              ",
        "------------------------------------------------------",
        "layer     kind  filters  units  group  status     note",
        "------------------------------------------------------",
        "a       Conv2D        8      8      1  prunable       ",
        "b.conv  Conv2D       16      0      2  frozen        1",
        "c       Conv2D        8      8      1  follows a      ",
        "------------------------------------------------------",
        "Group 1, together: a, c.                              ",
        "Note 1: meets 'x' (r/net.py:7).                       ",
        "Not followed: 'x' (p/net.py:7) has no rule.           ",
    ]


def test_only_the_end_of_a_path_is_shown():
    assert shortened("'x' (/a/b c/d-e/net.py:7)") == "'x' (d-e/net.py:7)"
    assert shortened("code at /a/net.py:7 (no /usr)") == "code at a/net.py:7 (no /usr)"
    assert shortened("is an output") == "is an output"


def test_the_json_holds_all_of_it():
    found = explain(Corners(), IMAGE)
    data = json.loads(found.to_json())
    assert data["network"] == "Corners"
    assert [r["layer"] for r in data["rows"]] == [r.layer for r in found.rows]
    assert (
        ExplanationRow(**{key: tuple(v) if isinstance(v, list) else v for key, v in data["rows"][0].items()})
        == found.rows[0]
    )


def boxes_of(svg):
    """The rectangles of the boxes: (x, y), by the first line of their text."""
    found = {}
    for group in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}g"):
        rect, text = (group.find(f"{{http://www.w3.org/2000/svg}}{tag}") for tag in ("rect", "text"))
        found[text.text] = float(rect.get("x")), float(rect.get("y"))
    return found


def test_the_picture_has_a_box_for_each_group_and_can_be_saved(tmp_path):
    found = explain(Corners(), IMAGE)
    found.save(tmp_path / "groups.svg")
    svg = (tmp_path / "groups.svg").read_text(encoding="utf-8")
    places = boxes_of(svg)
    assert set(places) == {"input", "a", "gate", "spare", "head", "output"}  # `one` and `two` go with `a`
    assert places["a"][1] < places["gate"][1] < places["output"][1]
    assert "is not used in the forward pass" in svg


@pytest.mark.parametrize("name", ["resnet18", slow("inception_v3", slowest=True)])
def test_boxes_do_not_overlap(name):
    side = 96 if name == "inception_v3" else 64
    svg = explain(getattr(paddle.vision.models, name)(), [1, 3, side, side]).svg()
    groups = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}g")
    rects = [group.find("{http://www.w3.org/2000/svg}rect") for group in groups]
    drawn, high = [(float(rect.get("x")), float(rect.get("y"))) for rect in rects], float(rects[0].get("height"))
    assert len(drawn) == len(set(drawn)) > 10
    for x, y in drawn:
        close = [(u, v) for u, v in drawn if abs(u - x) < group_picture.WIDTH and abs(v - y) < high]
        assert close == [(x, y)]


GRAPHS = st.integers(1, 9).flatmap(
    lambda n: st.tuples(st.just(n), st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=20))
)


@given(GRAPHS)
def test_an_arrow_to_a_later_box_points_down(drawn):
    count, edges = drawn
    edges = sorted((a, b) for a, b in edges if a != b)
    layers = group_picture.layered(count, edges)
    assert all(layers[a] < layers[b] for a, b in edges if a < b)


@given(GRAPHS)
def test_the_pale_arrows_are_those_that_a_longer_way_leads_along(drawn):
    count, edges = drawn
    down = {(a, b) for a, b in edges if a < b}
    long = set()
    for a in range(count):
        ends = {b for x, b in down if x == a}
        beyond = set(ends)
        while True:
            more = {b for x, b in down if x in beyond} - beyond
            if not more:
                break
            beyond |= more
        behind = {b for end in ends for x, b in down if x == end}
        while True:
            more = {b for x, b in down if x in behind} - behind
            if not more:
                break
            behind |= more
        long |= {(a, b) for b in ends & behind}
    assert group_picture.implied(count, sorted(edges)) == long


@given(GRAPHS)
def test_knots_lose_no_arrow(drawn):
    count, edges = drawn
    edges = sorted((a, b) for a, b in edges if a != b)
    boxes, wires = group_picture.bundled([group_picture.Box(str(n)) for n in range(count)], edges)
    into = {}
    for a, b in wires:
        into.setdefault(b, set()).add(a)

    def sources(b):
        return {s for a in into.get(b, ()) for s in (sources(a) if not boxes[a].name else {int(boxes[a].name)})}

    found = {(s, int(box.name)) for place, box in enumerate(boxes) if box.name for s in sources(place)}
    assert found == set(edges)
    assert [box.name for box in boxes if box.name] == [str(n) for n in range(count)]


def test_text_is_escaped_and_clipped():
    svg = group_picture.picture([group_picture.Box("a<b&c", ("x" * 99,), "stays", 'why "<"')], [], "t<")
    assert ET.fromstring(svg) is not None
    assert "a&lt;b&amp;c" in svg and "t&lt;" in svg and "x" * 50 not in svg
