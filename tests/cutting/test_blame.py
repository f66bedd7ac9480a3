"""The search for a plan that holds always comes back, and says of each layer that stays why it does."""

from __future__ import annotations

import paddle
import pytest
from paddle import nn

from hapi_prune import PruneError, explain, prune
from hapi_prune.analysis import channel_map as maps
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.cutting import blame, verify_outputs
from hapi_prune.cutting import cut as module
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.errors import NothingToPruneError
from hapi_prune.plan import PruningPlan, Reason, ReasonKind
from hapi_prune.selection.goals import Goal
from hapi_prune.selection.kept_groups import why_nothing


class Shuffled(nn.Layer):
    """Half of the channels through a convolution, and all of them shuffled; their number is written into the code."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(4, 4, 1)

    def forward(self, x):
        a, b = paddle.split(x, 2, axis=1)
        x = paddle.concat([a, self.conv(b)], axis=1)
        h, w = x.shape[2:]
        return x.reshape([0, 2, 4, h, w]).transpose([0, 2, 1, 3, 4]).reshape([0, 8, h, w])


def test_a_search_that_used_to_go_on_for_ever_comes_back():
    network = nn.Sequential(nn.Conv2D(3, 8, 3), Shuffled(), Shuffled(), nn.Conv2D(8, 8, 3), nn.Conv2D(8, 4, 1))
    record = prune(network, [2, 3, 16, 16], 0.3)
    assert record.widths["3"] == (8, 6)
    assert record.widths["0"] == (8, 8)
    said = " ".join(record.notes)
    assert all(f"'{layer}'" in said for layer in ("0", "1.conv", "2.conv"))


def test_a_refusal_that_teaches_nothing_ends_the_search():
    channel_map = ChannelMap(paddle.vision.models.LeNet(), [1, 1, 28, 28])
    plan, tries = PruningPlan({"features.0.weight": (0, 1)}), []

    def attempt(plan):
        tries.append(plan)
        raise module.Refused(module.ELSEWHERE)

    def choose():
        assert len(tries) < 10
        return Goal(), plan

    with pytest.raises(PruneError, match="trying again would be the same"):
        module.until_it_holds(channel_map, choose, attempt, ())
    assert len(tries) == 1


def test_each_turn_of_a_search_couples_or_refuses_something_new(monkeypatch):
    seen = []
    real = module.findings_after

    def findings_after(*args):
        found = real(*args)
        seen.append((frozenset(found.families), frozenset(found.coupled), frozenset(found.refused)))
        return found

    monkeypatch.setattr(module, "findings_after", findings_after)
    network = nn.Sequential(nn.Conv2D(3, 8, 3), Shuffled(), Shuffled(), nn.Conv2D(8, 8, 3), nn.Conv2D(8, 4, 1))
    prune(network, [2, 3, 16, 16], 0.3)
    assert seen
    assert len(set(seen)) == len(seen)


class Depthwise(nn.Layer):
    def __init__(self):
        super().__init__()
        self.dw = nn.Conv2D(6, 6, 3, padding=1, groups=6)

    def forward(self, x):
        a, b = x.chunk(2, axis=1)
        x = paddle.concat([a, self.dw(b)], axis=1)
        n, c, h, w = x.shape
        return x.reshape([n, 2, c // 2, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])


STAYING = ["0", "1.dw", "2.dw", "3.dw", "4.dw"]


def tangled():
    """After four shuffles each of the twelve channels is wired in a way of its own."""
    units = [Depthwise() for _ in range(4)]
    return nn.Sequential(nn.Conv2D(3, 12, 3), *units, nn.Conv2D(12, 8, 3), nn.Conv2D(8, 4, 1))


def test_every_layer_that_stays_is_named_with_a_true_reason():
    record = prune(tangled(), [2, 3, 16, 16], 0.3)
    assert record.widths["5"] == (8, 6)
    note = next(note for note in record.notes if "splits" in note)
    assert note == f"{', '.join(map(repr, STAYING))} stay: no smaller size fits its splits"


def test_explain_says_the_same():
    rows = {row.layer: row for row in explain(tangled(), [2, 3, 16, 16]).rows}
    assert {rows[layer].reason for layer in STAYING} == {"no smaller size fits its splits"}
    assert rows["5"].status == "prunable"


def test_the_words_of_a_reason_decide_nothing(monkeypatch):
    """All reasons in another language: the same layers shrink, with the same status."""
    plain = [(row.layer, row.status, row.units, row.where) for row in explain(tangled(), [2, 3, 16, 16]).rows]
    text = Reason.__init__

    def reworded(self, kind: ReasonKind, _: str, op: str = "", where: str = "") -> None:
        text(self, kind, "bleibt", op, where)

    monkeypatch.setattr(Reason, "__init__", reworded)
    again = [(row.layer, row.status, row.units, row.where) for row in explain(tangled(), [2, 3, 16, 16]).rows]
    assert again == plain
    pruner = Pruner(tangled(), [2, 3, 16, 16], Options())
    assert pruner.cut(0.3).widths["5"] == (8, 6)


class Written(nn.Layer):
    """A number of channels in the code behind each of several convolutions."""

    def __init__(self, depth):
        super().__init__()
        self.first, self.last = nn.Conv2D(3, 8, 1), nn.Conv2D(8, 4, 1)
        self.convs = nn.LayerList([nn.Conv2D(8, 8, 1) for _ in range(depth)])

    def forward(self, x):
        x = self.first(x).reshape([2, 8, 4, 4])
        for conv in self.convs:
            x = conv(x).reshape([2, 8, 4, 4])
        return self.last(x)


def test_where_nothing_can_shrink_each_reason_is_told_once_and_how_many_groups_were_tried():
    with pytest.raises(NothingToPruneError) as caught:
        prune(Written(5), [2, 3, 4, 4], 0.5)
    told = str(caught.value)
    assert "7 groups stay, 6 of them after being tried" in told
    assert "'convs.0', 'convs.1', 'convs.2' and 2 more: does not run at other sizes" in told
    assert "'first': does not run at other sizes" in told
    assert "'last': is an output of the network" in told
    assert told.count("is an output of the network") == 1


def test_where_nothing_was_tried_that_is_said_too():
    with pytest.raises(NothingToPruneError, match="2 groups stay, none of them after being tried") as caught:
        prune(nn.Sequential(nn.Conv2D(3, 8, 1), nn.Conv2D(8, 4, 1)), [2, 3, 4, 4], 0.5, skip=["0"])
    assert "'0': is protected by skip; '1': is an output of the network" in str(caught.value)


def test_of_many_reasons_the_first_are_told_and_the_others_counted():
    channel_map = ChannelMap(nn.Sequential(*(nn.Conv2D(3, 3, 1) for _ in range(8))), [2, 3, 4, 4])
    keys = [key for key in channel_map.groups if key.endswith(".weight")]
    stays = {key: Reason(ReasonKind.STRUCTURE, f"is number {n}") for n, key in enumerate(keys)}
    told = why_nothing(channel_map, Goal(stays=stays))
    assert told.startswith("8 groups stay, none of them after being tried. '0': is number 0; '1': is number 1; ")
    assert told.endswith("; '4': is number 4; 3 reasons more")


class Attention(nn.Layer):
    """Attention by convolutions; how many channels a head has is written into the code."""

    def __init__(self, width):
        super().__init__()
        self.q, self.k, self.v = nn.Conv2D(width, 8, 1), nn.Conv2D(width, 8, 1), nn.Conv2D(width, 16, 1)
        self.proj = nn.Conv2D(16, width, 1)

    def forward(self, x):
        h, w = x.shape[2:]
        q, k = (conv(x).reshape([-1, 2, 4, h * w]) for conv in (self.q, self.k))
        weights = nn.functional.softmax(paddle.matmul(q, k, transpose_x=True) * 0.5, -1)
        out = paddle.matmul(self.v(x).reshape([-1, 2, 8, h * w]), weights, transpose_y=True)
        return x + 0.2 * self.proj(out.reshape([-1, 16, h, w]))


class Block(nn.Layer):
    def __init__(self, width):
        super().__init__()
        self.up, self.down, self.attention = nn.Conv2D(width, 24, 1), nn.Conv2D(24, width, 1), Attention(width)

    def forward(self, x):
        return self.attention(x + 0.2 * self.down(nn.functional.relu(self.up(x))))


def hybrid(depth):
    blocks = [Block(16) for _ in range(depth)]
    return nn.Sequential(nn.Conv2D(3, 16, 3, padding=1), *blocks, nn.Conv2D(16, 4, 1))


@pytest.mark.slow
def test_of_blocks_of_one_class_one_is_tried_for_all(monkeypatch):
    """Three groups of each block are refused, for two reasons: 12 blocks take no more passes than 2."""
    made: dict[str, int] = {}

    def counted(owner, name):
        real = getattr(owner, name)

        def call(*args, **kwargs):
            made[name] = made.get(name, 0) + 1
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    counted(maps, "propagate")
    counted(verify_outputs, "outputs")
    found = {}
    for depth in (2, 12):
        paddle.seed(1)
        made.clear()
        widths = Pruner(hybrid(depth), [2, 3, 8, 8], Options()).cut(0.5).widths
        found[depth] = dict(made)
        stay = {name for name, (was, now) in widths.items() if was == now} - {str(depth + 1)}
        assert stay == {f"{n}.attention.{name}" for n in range(1, depth + 1) for name in "qkv"}
    assert found[12]["propagate"] == found[2]["propagate"] <= 18, "86 convolutions, and 16"
    assert max(found[2]["outputs"], found[12]["outputs"]) <= 45, "the deep one rounds so that float64 has to decide"


class Tokens(nn.Layer):
    """A number of channels that is written down twice, at two lines, and none of its own."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2D(3, 8, 1), nn.Conv2D(3, 12, 1), nn.Conv2D(3, 10, 1)
        self.out = nn.Conv2D(30, 4, 1)

    def forward(self, x):
        a = self.a(x).reshape([2, 8, 4, 4])
        b = self.b(x).reshape([2, 12, 4, 4])
        return self.out(paddle.concat([a, b, self.c(x)], axis=1))


def test_a_group_alone_at_the_line_at_which_each_trial_stops_is_not_tried_again(monkeypatch):
    """Without the first the network stops at the second line, and without both it runs: nothing is left to halve."""
    asked = []
    real = module.rehearsed

    def rehearsed(channel_map, plan, compare=True):
        asked.append(set(plan.kept))
        return real(channel_map, plan, compare)

    monkeypatch.setattr(module, "rehearsed", rehearsed)
    widths = Pruner(Tokens(), [2, 3, 4, 4], Options()).cut(0.5).widths
    assert asked == [{"b.weight", "c.weight"}, {"c.weight"}]
    assert widths == {"a": (8, 8), "b": (12, 12), "c": (10, 5), "out": (4, 4)}


class Total(nn.Layer):
    """A number that is written down for the channels of several layers together."""

    def __init__(self, count):
        super().__init__()
        self.convs = nn.LayerList([nn.Conv2D(3, 4 + n, 1) for n in range(count)])
        self.names, self.width = [str(n) for n in range(count)], nn.Conv2D(3, 6, 1)
        self.out = nn.Conv2D(6, 4, 1)
        self.read = nn.Linear(sum(4 + n for n in range(count)), 6)

    def forward(self, x):
        y = paddle.concat([conv(x) for conv in self.convs], axis=1).mean([2, 3]).reshape([-1, 39])
        return self.out(self.width(x) + self.read(y).unsqueeze([2, 3]))


def test_of_groups_that_reach_a_line_along_one_axis_one_is_tried_for_all(monkeypatch):
    asked = []
    real = module.rehearsed
    monkeypatch.setattr(module, "rehearsed", lambda *args: asked.append(set(args[1].kept)) or real(*args))
    widths = Pruner(Total(6), [2, 3, 4, 4], Options()).cut(0.5).widths
    assert {name for name, (was, now) in widths.items() if was == now} == {*(f"convs.{n}" for n in range(6)), "out"}
    assert [len(keys) for keys in asked] == [1, 1, 5], "the others, one of them, and the rest of them together"


class Heads(nn.Layer):
    """What it is given is told apart into heads by its shape, and what it makes of it by a number in words."""

    def __init__(self, width, inner):
        super().__init__()
        self.q, self.back = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Conv2D(width, inner, 1), nn.Conv2D(inner, width, 1)
        self.text = str(inner)

    def forward(self, x):
        n, c, h, w = x.shape
        q = nn.functional.softmax(self.q(x.flatten(2).transpose([0, 2, 1])).reshape([n, h * w, 4, c // 4]), -1)
        x = x + self.back(q.reshape([n, h * w, c])).transpose([0, 2, 1]).reshape([n, c, h, w])
        return x + self.down(self.up(x).reshape([n, int(self.text), h, w]))


@pytest.mark.parametrize("depth", [2, 6])
def test_what_stops_at_two_lines_of_each_of_many_blocks_is_found_in_six_trials(depth, monkeypatch):
    """Without those to blame for one line the network stops at the next one, and without both kinds it runs."""
    layers, width, asked, real = [nn.Conv2D(3, 16, 1)], 16, [], module.rehearsed
    for block in range(depth):
        layers += [Heads(width, 8 + 4 * block), nn.Conv2D(width, width + 4, 1)]
        width += 4
    network = nn.Sequential(*layers, nn.Conv2D(width, 8, 1), nn.Conv2D(8, 4, 1))
    monkeypatch.setattr(module, "rehearsed", lambda *args: asked.append(args[1]) or real(*args))
    widths = Pruner(network, [2, 3, 4, 4], Options()).cut(0.3).widths
    inside = {f"{2 * n + 1}.{layer}" for n in range(depth) for layer in ("up", "down")}
    assert {name for name, (was, now) in widths.items() if was == now} == {
        *inside, *(f"{2 * n}" for n in range(depth)), f"{2 * depth + 2}",
    }  # fmt: skip
    assert len(asked) <= 6, "for each line the rest of the network, one block, and the blocks like it"


class Kept(nn.Layer):
    """A number of channels that is kept as an attribute, which can follow a cut, or in words, which cannot."""

    def __init__(self, width, in_words):
        super().__init__()
        self.up, self.down = nn.Conv2D(8, width, 1), nn.Conv2D(width, 8, 1)
        self.number = str(width) if in_words else width

    def forward(self, x):
        n, _, h, w = x.shape
        return x + self.down(self.up(x).reshape([n, int(self.number), h, w]))


@pytest.mark.parametrize(
    "in_words", [(False, True, False, True), (True, False, False, True), (False, False, True, False)]
)
def test_where_a_network_stops_those_that_could_follow_are_not_blamed_with_their_like(in_words):
    blocks = [Kept(12, words) for words in in_words]
    widths = prune(nn.Sequential(nn.Conv2D(3, 8, 1), *blocks, nn.Conv2D(8, 4, 1)), [2, 3, 4, 4], 0.25).widths
    assert [widths[f"{n}.up"][1] for n in range(1, 5)] == [12 if words else 9 for words in in_words]


REFUSED = module.Refused(Reason(ReasonKind.DOES_NOT_RUN, "does not run"))


def tried(bad):
    """A verification that refuses whatever holds one of the keys ``bad``, and the keys that it was asked for."""
    asked = []

    def retry(parts, _):
        keys = {key for part in parts for key in part}
        asked.append(keys)
        return REFUSED if keys & bad else None

    return retry, asked


KINDS = [[["a1"], ["a2"], ["a3"]], [["b1"], ["b2"], ["b3"]]]


@pytest.mark.parametrize(
    ("bad", "blamed"),
    [
        ({"a1", "a2", "a3"}, {"a1", "a2", "a3"}),
        ({"a1"}, {"a1"}),
        ({"a1", "b3"}, {"a1", "b3"}),
        ({"b2"}, {"b2"}),
        ({"a1", "a2", "a3", "b1", "b2", "b3"}, {"a1", "a2", "a3", "b1", "b2", "b3"}),
    ],
)
def test_others_of_a_kind_are_blamed_only_where_they_do_not_hold_together(bad, blamed):
    retry, asked = tried(bad)
    assert blame.likewise(KINDS, REFUSED, retry).keys() == blamed
    assert len(asked) <= 8
