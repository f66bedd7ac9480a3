"""Three ways to a traced program: they lead to the same groups, and leave Paddle as it was."""

from __future__ import annotations

import traceback
from contextlib import suppress

import paddle
import pytest
from backbones import BACKBONES
from backbones_files import FILES
from paddle import nn
from paddle.nn.layer import layers
from paddle.pir import Value
from zoo import ZOO

from hapi_prune import PruneError
from hapi_prune.analysis import graph, smaller_input
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.internals import concrete_values, program, symbolic

assert len(FILES) == 9, "which enter the networks"
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")
NETWORKS = {**ZOO, **dict([*BACKBONES.items()][::2])}
"""Every second of the relatives: their parts are structures of the zoo, and converting a large one takes seconds."""


def not_symbolic(function, leaves):
    """As if nothing ran on symbolic values: then Paddle converts the source."""
    raise TypeError("not on symbolic values")


def hung_together(channel_map):
    """The groups as plain data; the lines of layers that Paddle ships are its own where it converts their source."""
    return {
        key: (
            group.size,
            group.frozen and (group.frozen.kind, group.frozen.text, group.frozen.op),
            {axis: index.tolist() for axis, index in group.index.items()},
        )
        for key, group in channel_map.groups.items()
    }


def does_the_same(channel_map):
    """With fewer and smaller images a network does what it is said to do, or does not run at all."""
    given, aliases = channel_map.tried_on, channel_map.graph.aliases
    try:
        found = graph.traced_program(channel_map.inventory(), given, aliases, training=True, as_it_is=True)
    except PruneError:  # as where it adds a number for each place; a trial finds out
        return
    assert len(found.ops) == len(channel_map.graph.training.ops)
    for op, before in zip(found.ops, channel_map.graph.training.ops):
        assert (op.name, op.operands, op.where) == (before.name, before.operands, before.where)
        assert smaller_input.attributes(op) == smaller_input.attributes(before)


@pytest.mark.slowest
@pytest.mark.parametrize("name", NETWORKS)
def test_the_groups_are_those_of_the_converted_program(name, monkeypatch):
    network, inputs = NETWORKS[name].build(), NETWORKS[name].inputs
    channel_map = ChannelMap(network, inputs)
    found, one = hung_together(channel_map), channel_map.graph.training
    if channel_map.graph.one_program:
        held, given, aliases = channel_map.inventory(), channel_map.example, channel_map.graph.aliases
        other = graph.traced_program(held, given, aliases, training=False)
        assert graph.alike(one, other), "it was not asked for its mode, or did not care"
    if channel_map.works_at_any_size and channel_map.tried_on is not channel_map.example:
        does_the_same(channel_map)
    if name == "RowsInALoop":  # whose conversion ends the process, as a value of the loop's own is used behind it
        return
    monkeypatch.setattr(program, "symbolic", not_symbolic)
    try:
        wanted = hung_together(ChannelMap(network, inputs))
    except PruneError:
        assert name in ("ComputedRange", "SizesLeftOpen"), "which cannot be converted, and are there for it"
        return
    if name in ("Loop", "HalvesOfPadding"):  # of which Paddle makes an op that cannot be followed
        assert wanted["a.weight"][1][1].startswith("is used where the values of tensors decide")
        return
    assert found == wanted


class Asking(nn.Layer):
    """Asks a tensor for its value, in the way that is given."""

    def __init__(self, ask):
        super().__init__()
        self.a, self.b, self.ask = nn.Conv2D(3, 8, 3, padding=1), nn.Conv2D(8, 4, 3), ask

    def forward(self, x):
        x = self.a(x)
        return self.b(x * (1 + 0 * self.ask(x)))


def size(x):
    return paddle.shape(x)[1]


BY_SIZES = {
    "int": lambda x: int(size(x) * 2),
    "bool": lambda x: 1 if size(x) == 8 else 1 / 0,
    "index": lambda x: list(range(9))[size(x)],
    "item": lambda x: list(range(9))[size(x).item()],
    "numpy": lambda x: float(paddle.shape(x).numpy().sum()),
    "len": lambda x: 1 / (len(paddle.shape(x)) == 4),
    "each": lambda x: sum(range(9)[s] for s in paddle.shape(x)[:2]),
    "tolist": lambda x: paddle.shape(x).tolist()[1],
}


@pytest.mark.parametrize("ask", BY_SIZES.values(), ids=BY_SIZES)
def test_what_sizes_decide_may_be_asked(ask):
    channel_map = ChannelMap(Asking(ask), [2, 3, 8, 8])
    assert not next(group for group in channel_map.groups.values() if ("a.weight", 0) in group.index).frozen


def by_data(x):
    return x.max().tolist()


def by_chance(x):
    return paddle.rand([1]).tolist()[0]


def by_weight(x):
    return paddle.ones([1]).tolist()[0] if x.shape[0] == 1 else (x.sum() * 0 + size(x)).tolist()


@pytest.mark.parametrize("ask", [by_data, by_chance, by_weight])
def test_what_data_or_chance_decide_is_refused_with_its_line(ask):
    line = ask.__code__.co_firstlineno + 1
    where = rf"tolist of a tensor at .*test_program.py:{line}: its value depends on the data"
    with pytest.raises(PruneError, match=where):
        ChannelMap(Asking(ask), [2, 3, 8, 8])


SIZED_BY_DATA = {
    "nonzero": lambda x: paddle.nonzero(x > 0),
    "arange": lambda x: paddle.arange(1 + paddle.argmax(x.flatten())),
    "added": lambda x: 1 + paddle.nonzero(x > 0),
}


@pytest.mark.parametrize("converted", [True, False])
@pytest.mark.parametrize("values", SIZED_BY_DATA.values(), ids=SIZED_BY_DATA)
def test_a_size_that_data_decide_is_no_number_in_a_trace(values, converted, monkeypatch):
    seen = []
    if not converted:  # as where Paddle cannot convert the code
        monkeypatch.setattr(program, "_converted", None)

    def ask(x):
        seen.append(values(x).shape[0])
        return 0

    ChannelMap(Asking(ask), [2, 3, 8, 8])
    assert max(seen) > 0  # once on tensors, to find out what is asked
    assert seen[-1] == -1


def methods():
    """What a trace replaces in Paddle and Python."""
    names = [*concrete_values._CONVERSIONS, "__len__", "__iter__", "shape", "training"]
    kinds = [(kind, name, vars(kind).get(name)) for kind in (paddle.Tensor, Value, nn.Layer) for name in names]
    notes = [sorted(notes) for notes in symbolic.notes()]
    return [*kinds, traceback.extract_stack, layers.name_struct, paddle.pir.core._convert_into_value, notes]


@pytest.mark.parametrize("ask", [BY_SIZES["tolist"], by_data, lambda x: 0, lambda x: 1 / 0])
def test_paddle_is_as_it_was_after_a_trace(ask):
    before = methods()
    with suppress(PruneError):
        ChannelMap(Asking(ask), [2, 3, 8, 8])
    assert methods() == before


def traces(monkeypatch, network):
    """How often a network is run on symbolic values to know its channels; its source is never converted."""
    runs = []

    def counted(function, leaves):
        runs.append(function)
        return symbolic.symbolic(function, leaves)

    with monkeypatch.context() as patch:
        patch.setattr(program, "symbolic", counted)
        patch.setattr(program, "_converted", None)
        ChannelMap(network, [2, 3, 8, 8])
    return len(runs)


def test_a_plain_forward_is_run_once_on_symbolic_values(monkeypatch):
    network = nn.Sequential(nn.Conv2D(3, 8, 3), nn.BatchNorm2D(8), nn.Dropout(), nn.BatchNorm(8, act="relu"))
    assert traces(monkeypatch, network) == 1


class ByMode(nn.Layer):
    """Asks for its mode in one of several ways, or sets it."""

    def __init__(self, ask):
        super().__init__()
        self.conv, self.drop, self.ask = nn.Conv2D(3, 8, 3), nn.Dropout(), ask

    def forward(self, x):
        self.ask(self)
        return self.conv(x)


class WithAModeOfItsOwn(nn.ReLU):
    training = True


ASKED = {
    "read": lambda layer: layer.training,
    "of another layer": lambda layer: layer.drop.training,
    "given to a function": lambda layer: nn.functional.dropout(paddle.ones([4]), training=layer.training),
    "set": lambda layer: layer.drop.eval(),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_forward_that_asks_for_its_mode_is_run_in_both(ask, monkeypatch):
    assert traces(monkeypatch, ByMode(ask)) == 2


def test_other_ways_to_ask_for_the_mode(monkeypatch):
    assert traces(monkeypatch, nn.Sequential(nn.Conv2D(3, 8, 3), nn.Dropout(axis=1))) == 2
    assert traces(monkeypatch, nn.Sequential(nn.Conv2D(3, 8, 3), WithAModeOfItsOwn())) == 2


class BySize(nn.Layer):
    def __init__(self, ask):
        super().__init__()
        self.conv, self.ask = nn.Conv2D(3, 8, 3), ask

    def forward(self, x):
        x = self.conv(x)
        self.ask(x)
        return x


SIZES = {
    "shape": lambda x: x.shape,
    "len": lambda x: len(x),
    "each": lambda x: list(x),
}


exec(compile("def typed(x): return x.shape", "<stdin>", "exec"))
SIZES["typed into a terminal"] = globals()["typed"]


@pytest.mark.parametrize("ask", SIZES.values(), ids=SIZES)
def test_a_forward_that_asks_for_sizes_is_noticed(ask):
    assert ChannelMap(BySize(ask), [2, 3, 8, 8]).graph.reads.sizes


@pytest.mark.parametrize("ask", [lambda x: x.ndim, lambda x: x.dtype, lambda x: nn.functional.relu(x).mean([2, 3])])
def test_one_that_does_not_is_not(ask):
    assert not ChannelMap(BySize(ask), [2, 3, 8, 8]).graph.reads.sizes


def test_what_is_written_into_a_tensor_is_read_from_it_by_whoever_holds_it():
    def forward(leaves):
        held = kept = leaves[0] * 1
        held[:, :2] = leaves[0][:, 2:]
        return kept + 1

    raw = program.traced({"": nn.ReLU()}, forward, [paddle.ones([2, 4])])
    write, after = (next(op for op in raw.ops if op.name == name) for name in ("set_value_with_tensor_", "scale"))
    last = next(op for op in reversed(raw.ops) if op.results == raw.outputs)
    assert after is not last, "the one before the write is another"
    assert write.results[0] in last.operands
