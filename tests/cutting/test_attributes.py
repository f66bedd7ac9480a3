"""Numbers of channels that the code holds in attributes: they follow a cut, or their group stays and it is said why."""

from __future__ import annotations

import copy
import re

import numpy as np
import paddle
import pytest
import reference
from backbones import ConvBNLayer, Head
from paddle import nn
from paddle.nn import functional as F  # noqa: N812

from hapi_prune import PruneCallback, PruneError, explain, load, prune, resume
from hapi_prune.analysis.held_counts import Count, followed
from hapi_prune.cutting import surgery
from hapi_prune.cutting.pruning import Options, Pruner
from hapi_prune.cutting.undo_log import UndoLog
from hapi_prune.cutting.verify_outputs import Refused
from hapi_prune.cutting.verify_sizes import verify_sizes

IMAGE = [2, 3, 8, 8]
pytestmark = [
    pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning"),
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning"),
]

FOLLOW: dict[str, tuple[type[nn.Layer], dict[str, object]]] = {}
"""Networks whose attributes follow; and which of them do, with what stands there after a cut to a half."""


class Net(nn.Layer):
    """A stem, a block with numbers of channels in attributes, and a head."""

    def __init__(self, block, width=16) -> None:
        super().__init__()
        self.stem, self.block = ConvBNLayer(3, width), block
        self.head = Head(width)

    def forward(self, x):
        return self.head(self.block(self.stem(x)))


def follows(**after):
    """Enter a block, and the attributes that follow."""

    def enter(block):
        FOLLOW[block.__name__] = block, after
        return block

    return enter


@follows(splits=[4, 2, 2])
class Splits(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.splits, self.out_channels = [8, 4, 4], 16
        self.one, self.two = nn.Conv2D(8, 8, 3, padding=1, groups=8), nn.Conv2D(4, 4, 3, padding=1)

    def forward(self, x):
        a, b, c = paddle.split(x, self.splits, axis=1)
        return paddle.concat([self.one(a), self.two(b), c], axis=1)


@follows(parts=(6, 2))
class PartsOfATuple(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.parts = (12, 4)
        self.one = nn.Conv2D(4, 12, 1)

    def forward(self, x):
        a, b = x.split(self.parts, axis=1)
        return paddle.concat([a + self.one(b), b], axis=1)


@follows(num=2)
class Slices(nn.Layer):
    """Partial convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.num, self.conv = 4, nn.Conv2D(4, 4, 3, padding=1)

    def forward(self, x):
        return paddle.concat([self.conv(x[:, : self.num]), x[:, self.num :]], axis=1)


@follows(start=3)
class SlicesFrom(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.start, self.conv = 6, nn.Conv2D(10, 16, 1)

    def forward(self, x):
        return self.conv(x[:, self.start :])


@follows(num=2)
class SlicesFromTheEnd(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.num, self.conv = 4, nn.Conv2D(4, 16, 1)

    def forward(self, x):
        return self.conv(x[:, -self.num :])


@follows(begin=2, end=5)
class SlicesBetween(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.begin, self.end, self.conv = 4, 10, nn.Conv2D(6, 16, 1)

    def forward(self, x):
        return self.conv(x[:, self.begin : self.end])


@follows(dim=8)
class Reshapes(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.dim, self.places, self.proj = 16, 64, nn.Linear(16, 16)

    def forward(self, x):
        tokens = self.proj(x.reshape([-1, self.dim, self.places]).transpose([0, 2, 1]))
        return x + tokens.transpose([0, 2, 1]).reshape(x.shape)


@follows(channels=np.int64(8))
class Groups(nn.Layer):
    """A depthwise convolution by hand, whose number of groups is NumPy's."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.weight = np.prod([4, 4]), self.create_parameter([16, 1, 3, 3])

    def forward(self, x):
        return F.conv2d(x, self.weight, padding=1, groups=int(self.channels))


@follows(dim=8)
class Asserts(nn.Layer):
    """The number is in no operation."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = 16

    def forward(self, x):
        assert x.shape[1] == self.dim, "another width"
        return F.relu(x)


@follows(groups=8, dim=8)
class TwoOfThem(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.groups, self.dim, self.unused = 16, 16, 16

    def forward(self, x):
        x = x.reshape([-1, self.groups, 1, 8, 8]) * 2
        return x.reshape([-1, self.dim, 8, 8])


@follows(half=4)
class InAHelper(nn.Layer):
    """The line is in a function, and an argument of it comes from the layer that calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.half, self.conv = 8, nn.Conv2D(8, 16, 1)

    def forward(self, x):
        return self.conv(first(x, self.half))


def first(x, count):
    return x[:, :count]


def made(name):
    network = Net(FOLLOW[name][0]())
    reference.randomise(network)
    return network


def numbers(block, names):
    return {name: getattr(block, name) for name in names}


def distance(network, before, groups, plan, training):
    """How far the network is from the masked one."""
    masked = reference.masked(before, reference.gone(groups, plan))
    inputs = [paddle.randn(IMAGE)]
    return reference.distance(*(reference.outputs(net, inputs, training) for net in (network, masked)))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", FOLLOW)
def test_what_is_left_computes_what_the_masked_network_computes_again_and_again(name, training):
    network, before = made(name), {}
    pruner = Pruner(network, IMAGE, Options())
    optimizer = paddle.optimizer.Adam(parameters=network.parameters())
    for cut, ratio in enumerate((0.5, 0.75)):
        network.train()
        network(paddle.randn(IMAGE)).square().mean().backward()
        optimizer.step()
        optimizer.clear_grad()
        before, groups = copy.deepcopy(network), pruner.channel_map.groups
        record = pruner.cut(ratio, optimizer)
        if not cut or name not in ("SlicesFrom", "SlicesBetween"):  # 3 of 8 have no half
            assert network.stem.conv.weight.shape[0] == 16 * (1 - ratio)
        assert distance(network, before, groups, record.plan, training) < 1e-4
        if not cut:
            assert numbers(network.block, FOLLOW[name][1]) == FOLLOW[name][1]
            assert all(type(getattr(network.block, k)) is type(v) for k, v in FOLLOW[name][1].items())
            others = vars(before.block).keys() - FOLLOW[name][1].keys()
            assert all(
                vars(network.block)[k] == vars(before.block)[k]
                for k in others
                if isinstance(vars(before.block)[k], int)
            )
            assert all(any(f"'{k}' of 'block' follows" in note for note in record.notes) for k in FOLLOW[name][1])


@pytest.mark.parametrize("name", FOLLOW)
def test_a_file_says_what_the_attributes_are(name, tmp_path):
    network, other = made(name), made(name)
    prune(network, IMAGE, 0.5)
    paddle.save(network.state_dict(), str(tmp_path / "net.pdparams"))
    load(other, tmp_path / "net", inputs=IMAGE)
    names = FOLLOW[name][1]
    assert numbers(other.block, names) == numbers(network.block, names)
    inputs = [paddle.randn(IMAGE)]
    assert reference.distance(reference.outputs(other, inputs), reference.outputs(network, inputs)) == 0


@pytest.mark.parametrize("name", FOLLOW)
def test_explain_names_them_and_leaves_them(name):
    network = made(name)
    was = numbers(network.block, FOLLOW[name][1])
    explanation = explain(network, IMAGE)
    assert set(explanation.counts) == {f"'{attribute}' of 'block'" for attribute in FOLLOW[name][1]}
    assert all(f"'{attribute}' of 'block'" in explanation.table() for attribute in FOLLOW[name][1])
    assert next(row for row in explanation.rows if row.layer == "stem.conv").units
    assert all(getattr(network.block, attribute) is value for attribute, value in was.items())


class Boom(Exception):
    pass


def test_what_fails_afterwards_takes_the_attributes_back_too():
    network = made("Splits")
    pruner, splits = Pruner(network, IMAGE, Options()), network.block.splits
    before = reference.arrays(network)

    def fail(cut):
        assert network.block.splits == [4, 2, 2]
        raise Boom

    with pytest.raises(Boom):
        pruner.cut(0.5, on_cut=fail)
    assert network.block.splits is splits
    assert splits == [8, 4, 4]
    assert all(array.tobytes() == before[name].tobytes() for name, array in reference.arrays(network).items())
    pruner.cut(0.5)
    assert network.block.splits == [4, 2, 2]


def test_a_damaged_file_takes_them_back_too(tmp_path):
    network, model = made("Splits"), paddle.Model(made("Splits"), [paddle.static.InputSpec(IMAGE, name="x")])
    model.prepare(paddle.optimizer.Adam(parameters=model.parameters()), nn.CrossEntropyLoss())
    prune(network, IMAGE, 0.5)
    paddle.save(network.state_dict(), str(tmp_path / "net.pdparams"))
    (tmp_path / "net.pdopt").write_bytes(b"none of it")
    splits = model.network.block.splits
    with pytest.raises(PruneError, match="does not load"):
        load(model, tmp_path / "net")
    assert model.network.block.splits is splits


def refused(network, *layers, ratio=0.5):
    """The notes of a cut at which ``layers`` stay."""
    before, pruner = copy.deepcopy(network), Pruner(network, IMAGE, Options())
    groups = pruner.channel_map.groups
    record = pruner.cut(ratio)
    for layer in layers:
        assert record.widths[layer][0] == record.widths[layer][1], record.notes
    assert distance(network, before, groups, record.plan, training=False) < 1e-4
    return "\n".join(record.notes)


class Block(nn.Layer):
    """A convolution that can always be cut, and between its channels and the stem's whatever ``way`` does."""

    dim = 16

    def __init__(self, way, **attributes) -> None:
        super().__init__()
        self.inner, self.outer, self.way = nn.Conv2D(16, 12, 1), nn.Conv2D(12, 16, 1), way
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.outer(self.inner(self.way(self, x)))


def test_a_layer_is_found_by_whatever_name_its_code_has_for_it():
    class Named(nn.Layer):
        def __init__(this) -> None:  # noqa: N805
            super().__init__()
            this.width, this.conv = 16, nn.Conv2D(16, 16, 1)

        def forward(this, x):  # noqa: N805
            return this.conv(x.reshape([-1, this.width, 8, 8]))

    network = Net(Named())
    assert prune(network, IMAGE, 0.5).notes == ("'width' of 'block' follows the cut: 16 is 8 now",)
    assert network.block.width == 8


def test_a_number_that_is_only_in_the_code_costs_its_group():
    network = Net(Block(lambda self, x: x.reshape([-1, 16, 8, 8]), size=8))
    notes = refused(network, "stem.conv")
    assert "does not run at other sizes" in notes
    assert "follows" not in notes
    assert network.block.inner.weight.shape[0] == 6


def test_a_number_that_belongs_to_a_class_costs_its_group():
    assert "does not run at other sizes" in refused(
        Net(Block(lambda self, x: x.reshape([-1, self.dim, 8, 8]))), "stem.conv"
    )
    assert Block.dim == 16


def test_a_number_that_also_scales_costs_its_group():
    def way(self, x):
        return (x.reshape([-1, self.width, 64]) * self.width**-0.5).reshape([-1, self.width, 8, 8])

    assert "does not run at other sizes" in refused(network := Net(Block(way, width=16)), "stem.conv")
    assert network.block.width == 16


def test_a_number_that_is_a_dilation_too_costs_its_group_though_no_value_tells():
    conv = nn.Conv2D(4, 16, 3, padding=4, dilation=4)
    weight = np.zeros(conv.weight.shape, "float32")
    weight[:, :, 1, 1] = 1  # of the kernel only the middle counts, and so no dilation does
    conv.weight.set_value(weight)

    def way(self, x):
        return F.conv2d(x[:, : self.num], self.conv.weight, padding=self.num, dilation=self.num)

    notes = refused(network := Net(Block(way, num=4, conv=conv)), "stem.conv")
    assert "it is no help that 4 in 'num' becomes 2" in notes
    assert network.block.num == 4


def test_a_number_that_scales_elsewhere_costs_its_group_though_no_value_tells():
    class Apart(Net):
        def forward(self, x):
            x = self.stem(x)
            return self.head(self.block(x) + 1e-9 * self.block.width**-0.5)

    network = Apart(Block(lambda self, x: x.reshape([-1, self.width, 8, 8]), width=16))
    assert "it is no help that 16 in 'width' becomes 8" in refused(network, "stem.conv")


def test_a_number_that_makes_more_of_what_is_no_channel_costs_its_group():
    def way(self, x):
        return x.reshape([-1, self.width, 8, 8]) + 1e-9 * paddle.arange(1, dtype="float32").expand([self.width]).sum()

    assert "it is no help that 16 in 'width' becomes 8" in refused(Net(Block(way, width=16)), "stem.conv")


def test_a_range_that_begins_elsewhere_is_refused():
    """Its length is right; only where it begins tells that it is another one."""
    network = Net(FOLLOW["SlicesBetween"][0]())
    pruner = Pruner(network, IMAGE, Options())
    channel_map = pruner.channel_map
    plan = pruner.plan(pruner.goal(0.5))
    planned = channel_map.plan_cut(plan)
    surgery.shrink(channel_map.inventory(), planned.cut, set(), UndoLog())
    for begin, right in ((2, True), (1, False), (3, False)):
        counts = [Count("block", "begin", 4, begin), Count("block", "end", 10, begin + 3)]
        surgery.set_counts(channel_map.inventory(), counts, UndoLog())
        verify_sizes(channel_map, planned.propagation)
        if right:
            verify_sizes(channel_map, planned.propagation, counts)
            continue
        with pytest.raises(Refused, match="would compute with another number, 'slice'"):
            verify_sizes(channel_map, planned.propagation, counts)


def test_a_number_that_would_become_several_costs_its_group_and_is_named():
    def way(self, x):
        return x.reshape([-1, self.width, 8, 8]) + self.other(x).reshape([-1, self.width, 8, 8])[:, :1]

    network = Net(Block(way, width=16, other=nn.Conv2D(16, 16, 1)))
    notes = refused(network, "stem.conv", ratio={"stem.conv": 0.5, "block.other": 0.25, "block.inner": 0.5})
    assert "16 in 'width' may become 8 or 16" in notes, notes
    assert network.block.width == 16


@pytest.mark.parametrize(
    ("value", "options", "after"),
    [
        (16, [{8}], 8),
        (16, [{16}], None),
        (16, [set()], None),
        (16, [{8, 16}], None),
        ([16, 4], [{8}, set()], [8, 4]),
        ((16, 4), [{8}, {2}], (8, 2)),
        ([16, 4], [{8}, {2, 4}], None),
        (np.int64(16), [{8}], 8),
    ],
)
def test_an_attribute_becomes_what_it_can_only_become(value, options, after):
    found = followed(value, options)
    assert found == after
    assert after is None or type(found) is type(value)


def test_a_number_that_is_a_size_of_the_image_too_costs_its_group():
    network = Net(
        Block(lambda self, x: x.reshape([-1, self.size, 8, 8]) + x.mean(2, keepdim=True)[:, :, :, : self.size], size=8),
        8,
    )
    network.block.inner = nn.Conv2D(8, 12, 1)
    network.block.outer = nn.Conv2D(12, 8, 1)
    notes = refused(network, "stem.conv")
    assert "does not run at other sizes" in notes
    assert "it is no help that 8 in 'size' becomes 4" in notes
    assert network.block.size == 8


def test_a_list_that_two_layers_hold_is_not_written_into():
    one, two = Splits(), Splits()
    one.splits = two.splits = shared = [8, 4, 4]
    network = Net(nn.Sequential(one, nn.Conv2D(16, 16, 1), two))
    prune(network, IMAGE, {"stem.conv": 0.5, "block.0.two": 0.5, "block.0.one": 0.5})
    assert (one.splits, two.splits, shared) == ([4, 2, 2], [8, 4, 4], [8, 4, 4])
    assert two.splits is shared
    prune(network, IMAGE, {"block.1": 0.5})
    assert two.splits == [4, 2, 2]


@pytest.mark.parametrize("groups", [1, 16])
def test_what_the_cut_itself_sets_in_a_layer_of_paddle_is_left_to_it(groups, tmp_path):
    class Own(nn.Conv2D):
        def __init__(self) -> None:
            super().__init__(16, 16, 1, groups=groups)
            self.width = 16

        def forward(self, x):
            return super().forward(x.reshape([-1, self.width, 8, 8]))

    network, other = Net(Own()), Net(Own())
    notes = prune(network, IMAGE, 0.5).notes
    assert notes == ("'width' of 'block' follows the cut: 16 is 8 now",)
    paddle.save(network.state_dict(), str(tmp_path / "net.pdparams"))
    load(other, tmp_path / "net", inputs=IMAGE)
    for block in (network.block, other.block):
        assert block.width == 8
        assert re.match(r"Own\(8, 8,", repr(block))
        assert block._groups == min(groups, 8)


def test_parts_that_cannot_all_be_halved_are_rounded():
    class Uneven(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.splits = [6, 5, 5]
            self.convs = nn.LayerList([nn.Conv2D(n, n, 3, padding=1, groups=n) for n in self.splits])

        def forward(self, x):
            parts = paddle.split(x, self.splits, axis=1)
            return paddle.concat([conv(part) for conv, part in zip(self.convs, parts)], axis=1)

    network = Net(Uneven())
    record = prune(network, IMAGE, 0.5)
    assert network.block.splits == [conv.weight.shape[0] for conv in network.block.convs]
    assert network.stem.conv.weight.shape[0] == sum(network.block.splits) < 16
    assert record.verified == "values"


class Data(paddle.io.Dataset):
    def __getitem__(self, index):
        rng = np.random.RandomState(index)
        return rng.standard_normal(IMAGE[1:]).astype("float32"), np.array([index % 5])

    def __len__(self):
        return 8


def test_a_run_goes_on_with_them(tmp_path):
    def prepared():
        paddle.seed(7)
        model = paddle.Model(made("Splits"), [paddle.static.InputSpec([None, *IMAGE[1:]], name="x")])
        model.prepare(paddle.optimizer.Adam(parameters=model.parameters()), nn.CrossEntropyLoss())
        return model, PruneCallback({1: 0.5, 2: 0.75}, verbose=0)

    model, callback = prepared()
    model.fit(
        Data(), batch_size=4, epochs=3, shuffle=False, verbose=0, save_dir=str(tmp_path / "all"), callbacks=[callback]
    )
    assert model.network.block.splits == [2, 1, 1]
    assert re.search(r"'splits' of 'block' follows the cut: \[4, 2, 2\] is \[2, 1, 1\] now", str(callback.history[1]))
    again, callback = prepared()
    assert resume(again, callback, str(tmp_path / "all" / "1")) == 2
    assert again.network.block.splits == [4, 2, 2]
    again.fit(Data(), batch_size=4, epochs=1, shuffle=False, verbose=0, callbacks=[callback])
    assert again.network.block.splits == [2, 1, 1]
    for name, array in reference.arrays(again.network).items():
        np.testing.assert_array_equal(array, reference.arrays(model.network)[name])
