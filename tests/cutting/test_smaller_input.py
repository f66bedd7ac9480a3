"""Cuts are tried on smaller images where the network does just the same with them, and on the user's own where not."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.nn.functional import relu

from hapi_prune import Label, Signal, prune
from hapi_prune.analysis import channel_map as maps
from hapi_prune.analysis import smaller_input
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.cutting import verify_outputs
from hapi_prune.cutting.pruning import Pruner
from hapi_prune.plan import ReasonKind
from hapi_prune.selection.options import Options


class Net(nn.Layer):
    """Two convolutions with a half of the image in between; what is done then is for others to say."""

    def __init__(self, features=4):
        super().__init__()
        self.a, self.norm = nn.Conv2D(3, 8, 3, padding=1), nn.BatchNorm2D(8)
        self.b = nn.Conv2D(8, 4, 3, stride=2, padding=1)
        self.head = nn.Linear(features, 2)

    def forward(self, x):
        return self.head(self.end(self.b(self.middle(relu(self.norm(self.a(x)))))))

    def middle(self, x):
        return x

    def end(self, x):
        return x.mean([2, 3])


class Flat(Net):
    """A Linear that reads all pixels."""

    def __init__(self):
        super().__init__(4 * 16 * 16)

    def end(self, x):
        return x.flatten(1)


class Branch(Net):
    """Other operations on a large image."""

    def middle(self, x):
        return relu(x) if x.shape[2] > 16 else x


class Batch(Net):
    """The number of images is written into the code."""

    def middle(self, x):
        return x.reshape([4, 8, 32, 32])


class Together(Net):
    """Images of a batch are mixed."""

    def middle(self, x):
        return x - x.mean(0, keepdim=True)


class Fixed(Net):
    """The number of channels is written into the code."""

    def middle(self, x):
        return x.reshape([-1, 8, *x.shape[2:]])


class OnlyLarge(Net):
    """A number of channels is asked for, of large images alone, and leaves no operation."""

    def middle(self, x):
        if x.shape[2] > 16 and x.shape[1] != 8:
            raise ValueError("8 channels, please")
        return x


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch):
    monkeypatch.setattr(smaller_input, "WORTH", 0)


def sizes(network, shape=(4, 3, 32, 32)):
    return tuple(ChannelMap(network, list(shape)).tried_on.leaves[0].shape)


def test_of_an_image_so_much_is_left_that_its_smallest_picture_has_two_pixels_a_side():
    assert sizes(Net()) == (2, 3, 4, 4)
    assert sizes(paddle.vision.models.resnet18(), (1, 3, 224, 224)) == (1, 3, 64, 64)
    assert sizes(Together()) == (2, 3, 4, 4)


@pytest.mark.parametrize(("kind", "why"), [(Flat, "size"), (Branch, "branch"), (Batch, "batch")])
def test_what_does_other_things_at_other_sizes_is_tried_as_it_is(kind, why):
    assert sizes(kind()) == (4, 3, 32, 32), why


def test_so_is_what_is_small(monkeypatch):
    assert sizes(Net(), (2, 3, 4, 4)) == (2, 3, 4, 4)
    monkeypatch.setattr(smaller_input, "WORTH", 1e9)
    assert sizes(Fixed()) == (4, 3, 32, 32)
    assert sizes(Net()) == (2, 3, 4, 4), "no trace is needed to know that it does the same"


class Placed(Net):
    """A number for each place of a large image, which a small one does not have."""

    def __init__(self):
        super().__init__()
        self.place = self.create_parameter([1, 1, 32, 32])

    def middle(self, x):
        return x + self.place


class Constant(Net):
    """The size of an image is written into the code, and any image fits it."""

    def middle(self, x):
        return x * paddle.ones([32, 1, 1]).sum()


@pytest.mark.parametrize("kind", [Net, Flat, Branch, Batch, Together, Fixed, OnlyLarge, Placed, Constant])
def test_whose_code_has_no_sizes_works_at_any(kind):
    assert ChannelMap(kind(), [4, 3, 32, 32]).works_at_any_size == (kind in (Net, Together, Placed))


def test_what_only_seems_to_is_tried_as_it_is():
    pruner = Pruner(Placed(), [4, 3, 32, 32], Options())
    assert pruner.cut(0.5).widths["a"] == (8, 4)
    assert pruner.channel_map.tried_on is pruner.channel_map.example


def test_pixels_are_taken_from_all_over_an_image():
    image = paddle.arange(32 * 32, dtype="float32").reshape([1, 1, 32, 32]).expand([1, 3, 32, 32])
    found = ChannelMap(Net(), image).tried_on.leaves[0][0, 0].numpy()
    assert (found[0, 0], found[-1, -1]) == (0, 32 * 32 - 1)
    assert len(np.unique(found)) == 16


@pytest.mark.parametrize(
    ("shape", "does"),
    [
        ((4, 8, 6, 6), True),
        ((2, 8, 2, 6), True),
        ((1, 8, 6, 6), False),
        ((2, 8, 1, 6), False),
        ((4, 8, 7, 6), False),
        ((4, 4, 6, 6), False),
        ((4, 8, 6), False),
    ],
)
def test_a_smaller_example_has_less_of_all_but_the_channels(shape, does):
    assert smaller_input.fits(shape, Signal((4, 8, 6, 6), (Label((1,), np.arange(8)),))) is does


def pruned(network):
    """What a cut says and leaves, and the sizes of the images that the network saw."""
    seen = set()
    paddle.seed(0)
    for tensor in network.parameters():
        tensor.set_value(paddle.randn(tensor.shape))

    def look(_, given):
        if isinstance(given[0], paddle.Tensor):  # and no symbolic value
            seen.add(tuple(given[0].shape))

    hook = network.register_forward_pre_hook(look)
    record = prune(network, [4, 3, 32, 32], 0.5)
    hook.remove()
    return record, {name: tensor.numpy() for name, tensor in network.state_dict().items()}, seen


def test_the_cut_is_that_of_the_users_own_images(monkeypatch):
    record, weights, seen = pruned(Net())
    assert seen == {(2, 3, 4, 4)}
    monkeypatch.setattr(maps, "smaller", lambda *_: None)
    other, their_weights, theirs = pruned(Net())
    assert theirs == {(4, 3, 32, 32)}
    assert record.plan == other.plan
    assert record.cost_after == other.cost_after
    assert record.verified == other.verified == "values"
    assert all(np.array_equal(weights[name], their_weights[name]) for name in weights)


def test_a_cut_that_computes_something_else_is_refused(monkeypatch):
    cut_away = verify_outputs.outputs

    def off(held, given, training):
        return [each + (held.network.a.weight.shape[0] < 8) for each in cut_away(held, given, training)]

    monkeypatch.setattr(verify_outputs, "outputs", off)
    record = prune(Net(), [4, 3, 32, 32], 0.5)
    assert record.widths == {"a": (8, 8), "b": (4, 2)}
    assert "changes output 0" in record.stays["a"]


def test_the_first_refusal_is_asked_of_the_users_own_images():
    pruner = Pruner(Fixed(), [4, 3, 32, 32], Options())
    channel_map = pruner.channel_map
    assert "does not run at other sizes" in pruner.cut(0.5).stays["a"]
    assert channel_map.agreed
    assert channel_map.tried_on is not channel_map.example


def test_what_only_the_smaller_images_refuse_is_not_refused():
    pruner = Pruner(Net(), [4, 3, 32, 32], Options())
    channel_map = pruner.channel_map
    channel_map.tried_on.leaves[0] = channel_map.tried_on.leaves[0][:, :2]  # which the network cannot do with
    assert pruner.cut(0.5).widths["a"] == (8, 4)
    assert channel_map.tried_on is channel_map.example


def test_the_pruned_network_has_to_go_with_the_users_own_images_too():
    pruner = Pruner(OnlyLarge(), [4, 3, 32, 32], Options())
    assert tuple(pruner.channel_map.tried_on.leaves[0].shape) == (2, 3, 4, 4)
    record = pruner.cut(0.5)
    assert record.widths == {"a": (8, 8), "b": (4, 2)}
    assert "8 channels, please" in record.stays["a"]
    assert [why.kind for why in pruner.channel_map.findings.refused.values()] == [ReasonKind.DOES_NOT_RUN]
