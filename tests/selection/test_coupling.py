"""Groups that only the user's code holds together shrink together, or stay with the reason that they have alone."""

from __future__ import annotations

import copy

import numpy as np
import paddle
import pytest
import reference
from backbones_attention import PyramidVision, SwinTransformer, VisionTransformer
from backbones_hybrid import CSWin, CvT, EdgeNeXt
from daily import slow

from hapi_prune import explain
from hapi_prune.cutting.pruning import Options, Pruner

IMAGE = [2, 3, 32, 32]


@pytest.mark.parametrize("ratio", [slow(0.1), 0.3, slow(0.5), slow(0.7), slow(0.9)])
@pytest.mark.parametrize("build", [VisionTransformer, PyramidVision, CvT])
def test_the_heads_keep_equal_parts_of_the_tokens_width(build, ratio):
    """There are two heads, so each layer keeps an even number, the nearest to what is asked."""
    network = build()

    def widths():
        layers = dict(network.named_sublayers()).items()
        return {
            n: tuple(la.weight.shape) for n, la in layers if n.endswith("proj") and isinstance(la, paddle.nn.Linear)
        }

    before = widths()
    Pruner(network, IMAGE, Options()).cut(ratio)
    assert before
    assert widths() == {n: (2 * round(w * (1 - ratio) / 2),) * 2 for n, (w, _) in before.items()}
    assert np.isfinite(reference.outputs(network, [paddle.randn(IMAGE)])[0]).all()


def without_norms(build):
    """The network with nothing in it that mixes channels, so that removing is zeroing."""
    network = build()
    for layer in network.sublayers(include_self=True):
        for name, child in list(layer.named_children()):
            if isinstance(child, paddle.nn.LayerNorm):
                setattr(layer, name, paddle.nn.Identity())
    return network


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.3, 0.5])
@pytest.mark.parametrize("build", [VisionTransformer, SwinTransformer, PyramidVision, CvT, CSWin, EdgeNeXt])
def test_heads_and_tokens_are_cut_where_they_meet(build, ratio, monkeypatch):
    if build is EdgeNeXt:  # its attention is a softmax over channels
        monkeypatch.setattr("paddle.nn.functional.softmax", lambda x, axis: x)
    network = without_norms(build)
    before = copy.deepcopy(network)
    pruner, inputs = Pruner(network, IMAGE, Options()), [paddle.randn(IMAGE)]
    groups = pruner.channel_map.groups
    plan = pruner.cut(ratio).plan
    assert not [key for key in plan.kept if groups[key].approximate], "nothing mixes channels"
    masked = reference.masked(before, reference.gone(groups, plan))
    assert reference.distance(reference.outputs(network, inputs), reference.outputs(masked, inputs)) < 1e-4


def test_a_second_cut_keeps_them_together():
    network = VisionTransformer()
    pruner = Pruner(network, IMAGE, Options())
    for ratio, width in ((0.25, 12), (0.5, 8), (0.75, 4)):
        pruner.cut(ratio)
        attention = network.blocks[0].attn
        assert (attention.proj.weight.shape, attention.qkv.weight.shape) == ([width, width], [width, 3 * width])


def test_what_is_protected_is_not_drawn_in():
    network = VisionTransformer()
    pruner = Pruner(network, IMAGE, Options(skip=["blocks.0.attn.qkv"]))
    record = pruner.cut(0.5)
    assert network.patch_embed.proj.weight.shape[0] == 16
    assert network.blocks[0].attn.qkv.weight.shape == [16, 48]
    assert any("patch_embed.proj" in note and "does not run at other sizes" in note for note in record.notes)
    assert record.widths["stem.0.conv"] == (8, 4)


class Stubborn(VisionTransformer):
    """The same, and the width of the tokens is written down as well."""

    def forward(self, x):
        batch = paddle.shape(x)[0]
        x = self.patch_embed(self.stem(x))
        x = paddle.concat((self.cls_token.expand((batch, -1, -1)), x), axis=1) + self.pos_embed
        x = self.blocks[0](x)
        return self.head(self.norm(x.reshape([-1, 17, 16]))[:, 0])


def test_what_does_not_help_is_left_alone():
    network = Stubborn()
    pruner = Pruner(network, IMAGE, Options())
    record = pruner.cut(0.5)
    assert {name for name, (was, now) in record.widths.items() if now < was} == {"stem.0.conv", "stem.1.conv"}
    assert network.blocks[0].attn.qkv.weight.shape == [16, 48]
    assert [note for note in record.notes if "patch_embed.proj" in note and "does not run at other sizes" in note]
    assert pruner.channel_map.findings.families == pruner.channel_map.origin.families
    assert not pruner.channel_map.findings.coupled
    assert not any("qkv" in key or "fc1" in key for key in pruner.channel_map.findings.refused)


def test_explain_says_that_both_can_shrink():
    rows = {row.layer: row.status for row in explain(VisionTransformer(), IMAGE).rows}
    assert (rows["patch_embed.proj"], rows["blocks.0.attn.qkv"]) == ("approximate", "prunable")


def test_what_is_asked_all_at_once_shrinks_as_what_is_drawn_in():
    """The embedding is normalised and so only tried with the others; by themselves these do not run."""
    drawn, asked = CSWin(), CSWin()
    Pruner(drawn, IMAGE, Options()).cut({"lepe.0": 0.5, "lepe.1": 0.5, "last.conv": 0.5})
    pruner = Pruner(asked, IMAGE, Options())
    record = pruner.cut(0.5)
    assert [p.shape for p in asked.parameters()] == [p.shape for p in drawn.parameters()]
    assert (asked.embed.weight.shape[0], asked.qkv.weight.shape, asked.lepe[0].weight.shape[0]) == (8, [8, 24], 4)
    assert record.widths["last.conv"] == (8, 4)
    assert not record.notes
    assert pruner.cut(0.75).widths["embed"] == (16, 4)
