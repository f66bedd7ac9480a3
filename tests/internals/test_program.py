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
from paddle.static import InputSpec
from structures import ZOO

from hapi_prune import PruneError
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.internals import concrete_values, program

assert len(FILES) == 6, "which enter the networks"
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")
NETWORKS = {**ZOO, **BACKBONES}


def converted(function, leaves):
    """The program as Paddle converts the source, whatever would do without."""
    specs = [InputSpec(list(leaf.shape), leaf.dtype, name=f"input_{n}") for n, leaf in enumerate(leaves)]
    return program._program(function, specs)


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


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_groups_are_those_of_the_converted_program(name, monkeypatch):
    network, inputs = NETWORKS[name].build(), NETWORKS[name].inputs
    found = hung_together(ChannelMap(network, inputs))
    monkeypatch.setattr(program, "_concrete", converted)
    try:
        wanted = hung_together(ChannelMap(network, inputs))
    except PruneError:
        assert name == "ComputedRange", "which cannot be converted, and is there for it"
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


def methods():
    """What a trace replaces in Paddle and Python."""
    names = [*concrete_values._CONVERSIONS, "__len__", "__iter__"]
    kinds = [(kind, name, vars(kind).get(name)) for kind in (paddle.Tensor, Value) for name in names]
    recorder = program.parameter_recorder._global_parameter_recorder
    writes = program.parameter_recorder._global_inplace_map
    notes = [sorted(notes) for notes in (recorder.params_dict, recorder.tensor2value, writes.params_dict)]
    return [*kinds, traceback.extract_stack, layers.name_struct, notes]


@pytest.mark.parametrize("ask", [BY_SIZES["tolist"], by_data, lambda x: 0, lambda x: 1 / 0])
def test_paddle_is_as_it_was_after_a_trace(ask):
    before = methods()
    with suppress(PruneError):
        ChannelMap(Asking(ask), [2, 3, 8, 8])
    assert methods() == before


def test_a_plain_forward_is_neither_converted_nor_run(monkeypatch):
    runs = []
    monkeypatch.setattr(program, "_program", lambda *args, made=program._program: runs.append(args) or made(*args))
    ChannelMap(Asking(lambda x: 0), [2, 3, 8, 8])
    assert len(runs) == 2, "one for each mode"


def test_what_is_written_into_a_tensor_is_read_from_it_by_whoever_holds_it():
    def forward(leaves):
        held = kept = leaves[0] * 1
        held[:, :2] = leaves[0][:, 2:]
        return kept + 1

    raw = program.traced(forward, [paddle.ones([2, 4])], {})
    write, after = (next(op for op in raw.ops if op.name == name) for name in ("set_value_with_tensor_", "scale"))
    last = next(op for op in reversed(raw.ops) if op.results == raw.outputs)
    assert after is not last, "the one before the write is another"
    assert write.results[0] in last.operands
