"""Trainers of public libraries call PaddleSlim in these ways: each shape of a call runs, and does what it says."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import paddle
import pytest
from fits import HARMLESS
from paddle import nn

from hapi_prune import PruneError, PruneWarning, paddleslim
from hapi_prune.paddleslim.analysis import dygraph_flops as flops

pytestmark = HARMLESS
SHAPE = [3, 16, 16]


def conv(inputs, outputs, stride=1, groups=1):
    layer = nn.Conv2D(inputs, outputs, 3, stride, 1, groups=groups)
    return nn.Sequential(layer, nn.BatchNorm2D(outputs), nn.ReLU())


def fresh(build):
    with paddle.utils.unique_name.guard():
        return build()


def images(count=2):
    return paddle.to_tensor(np.random.RandomState(0).standard_normal([count, *SHAPE]).astype("float32"))


def steps(network, loss, count=2):
    """Train a little; the optimizer is built after the cut, as trainers do."""
    optimizer = paddle.optimizer.Momentum(0.01, parameters=network.parameters())
    network.train()
    for _ in range(count):
        loss().backward()
        optimizer.step()
        optimizer.clear_grad()


def served(network, inputs, expected):
    """Exported by Paddle's own function, and run."""
    paddle.jit.save(network, "model", input_spec=inputs)
    found = paddle.jit.load("model")(*inputs)
    found = found[0] if isinstance(found, (list, tuple)) else found
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)


# --- classification: the pruner is an attribute of the network, and every convolution is named ----------------


class Classifier(nn.Layer):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(3, 16, 2), conv(16, 16, groups=16), conv(16, 24))
        self.pool, self.fc = nn.AdaptiveAvgPool2D(1), nn.Linear(24, 10)

    def forward(self, x):
        return self.fc(self.pool(self.body(x)).flatten(1))


@pytest.mark.parametrize("name", ["fpgm", "l1_norm"])
def test_a_classifier_with_its_pruner_as_an_attribute(name):
    config = {"Global": {"image_shape": SHAPE}, "Slim": {"prune": {"name": name, "pruned_ratio": 0.5}}}
    model, shape = fresh(Classifier), [1] + config["Global"]["image_shape"]
    pruners = {"fpgm": paddleslim.dygraph.FPGMFilterPruner, "l1_norm": paddleslim.dygraph.L1NormFilterPruner}
    model.pruner = pruners[config["Slim"]["prune"]["name"]](model, shape)
    before = flops(model, shape)
    model.eval()
    params = [
        parameter.name
        for layer in model.sublayers()
        for parameter in layer.parameters(include_sublayers=False)
        if isinstance(layer, paddle.nn.Conv2D)
    ]
    plan = model.pruner.prune_vars(dict.fromkeys(params, config["Slim"]["prune"]["pruned_ratio"]), [0])
    assert plan.pruned_flops == pytest.approx(1 - flops(model, shape) / before)
    shapes = {parameter.name: parameter.shape for parameter in model.parameters() if "conv2d" in parameter.name}
    assert (shapes["conv2d_0.w_0"], shapes["conv2d_1.w_0"], shapes["conv2d_2.w_0"]) == (
        [8, 3, 3, 3],
        [8, 1, 3, 3],
        [12, 8, 3, 3],
    )
    labels = paddle.to_tensor([[1], [2]])
    steps(model, lambda: nn.functional.cross_entropy(model(images()), labels))
    model.eval()
    served(model, [images()], model(images()))


# --- segmentation: sensitivities first, small layers skipped --------------------------------------------------


class Segmenter(nn.Layer):
    """Returns a list of logits, as segmentation networks do."""

    def __init__(self):
        super().__init__()
        self.stem, self.deep, self.thin = conv(3, 16, 2), conv(16, 32, 2), conv(32, 8)
        self.up, self.head = nn.Conv2DTranspose(8, 8, 2, 2), nn.Conv2D(24, 4, 1)

    def forward(self, x):
        stem = self.stem(x)
        logit = self.head(paddle.concat([stem, self.up(self.thin(self.deep(stem)))], axis=1))
        return [nn.functional.interpolate(logit, x.shape[2:], mode="bilinear")]


def eval_fn(net, dense, num_workers):
    net.eval()
    with paddle.no_grad():
        return 1 / (1 + float((net(images())[0] - dense).abs().mean()))


def test_a_segmenter_by_its_sensitivities():
    net = fresh(Segmenter)
    net.eval()
    dense, sample_shape, sen_file = net(images())[0].detach(), [1, *SHAPE], "sen.pickle"
    pruner = paddleslim.dygraph.L1NormFilterPruner(net, sample_shape)
    with pytest.warns(PruneWarning, match="'head' stays: is an output of the network"):
        pruner.sensitive(eval_func=partial(eval_fn, net, dense, 0), sen_file=sen_file)
    assert Path(sen_file).is_file()
    assert eval_fn(net, dense, 0) == 1, "it is whole again"
    before = flops(net, sample_shape)
    skips = [parameter.name for parameter in net.parameters() if parameter.shape[0] <= 8]
    pruner.sensitive_prune(0.3, skip_vars=skips)
    assert 1 - flops(net, sample_shape) / before == pytest.approx(0.3, abs=0.05)
    assert net.thin[0].weight.shape[0] == 8, "skipped"
    steps(net, lambda: net(images())[0].square().mean())
    net.eval()
    expected = net(images())[0]
    net.forward = paddle.jit.to_static(net.forward)
    served(net, [images()], expected)


# --- detection: a dict in a list, and a forward that wants boxes in training ----------------------------------


class Detector(nn.Layer):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(conv(3, 16, 2), conv(16, 24, 2))
        self.boxes, self.scores = nn.Conv2D(24, 4, 1), nn.Conv2D(24, 2, 1)

    def forward(self, inputs):
        features = self.backbone(inputs["image"])
        boxes, scores = self.boxes(features), self.scores(features)
        if self.training:
            return {"loss": (boxes.mean([2, 3]) - inputs["gt_bbox"]).abs().mean() + scores.square().mean()}
        scale = inputs["im_shape"] / inputs["scale_factor"]
        return {"bbox": boxes * scale.sum(), "score": scores}


def detector_inputs():
    return [
        {
            "image": paddle.ones([1, *SHAPE], dtype="float32"),
            "im_shape": paddle.full([1, 2], 16, dtype="float32"),
            "scale_factor": paddle.ones([1, 2], dtype="float32"),
        }
    ]


def test_a_detector_whose_training_wants_more_inputs():
    model = fresh(Detector)
    model.eval()
    input_spec = detector_inputs()
    before = flops(model, input_spec) / (1000**3)
    pruner = paddleslim.dygraph.FPGMFilterPruner(model, input_spec)
    pruned_params, pruned_ratios = ["conv2d_0.w_0", "conv2d_1.w_0"], [0.25, "0.5"]
    with pytest.warns(PruneWarning, match="training mode does not run with these inputs.*gt_bbox.*in evaluation mode"):
        pruner.prune_vars({name: float(ratio) for name, ratio in zip(pruned_params, pruned_ratios)}, [0])
    assert flops(model, input_spec) / (1000**3) < before
    assert [model.backbone[n][0].weight.shape[0] for n in (0, 1)] == [12, 12]
    assert not model.training
    batch = {"image": images(), "gt_bbox": paddle.ones([2, 4])}
    steps(model, lambda: model(batch)["loss"])


def test_a_detector_with_a_layer_for_training_alone_has_to_show_its_training():
    class WithAuxiliaryHead(Detector):
        def __init__(self):
            super().__init__()
            self.auxiliary = nn.Conv2D(24, 1, 1)

        def forward(self, inputs):
            found = super().forward(inputs)
            if self.training:
                found["loss"] += self.auxiliary(self.backbone(inputs["image"])).mean()
            return found

    model = fresh(WithAuxiliaryHead)
    model.eval()
    with pytest.raises(PruneError, match="gt_bbox.*give the inputs of training too, as it alone uses 'auxiliary'"):
        paddleslim.dygraph.FPGMFilterPruner(model, detector_inputs())
    shown = [{**detector_inputs()[0], "gt_bbox": paddle.ones([1, 4])}]
    paddleslim.dygraph.FPGMFilterPruner(model, shown).prune_vars({"conv2d_1.w_0": 0.5}, [0])
    assert model.auxiliary.weight.shape == [1, 12, 1, 1]


def test_a_network_that_is_to_be_trained_has_to_run_in_training():
    with pytest.raises(PruneError, match="tracing Detector in training mode: KeyError: 'gt_bbox'"):
        flops(fresh(Detector), detector_inputs())


# --- text recognition and others: all parameters are named, a loss is asked for -------------------------------


def test_all_parameters_but_some_are_named():
    model = fresh(Segmenter)
    model.train()
    pruner = paddleslim.dygraph.FPGMFilterPruner(model, [1, *SHAPE])
    named = [parameter.name for parameter in model.parameters()]
    ratios = {name: 0.1 for name in named if "transpose" not in name and "linear" not in name}
    with pytest.warns(PruneWarning) as told:
        plan = pruner.prune_vars(ratios, [0])
    assert [str(one.message).partition(":")[2][:20] for one in told] == [" 'batch_norm2d_0.w_0", " 'head' stays: is an"]
    assert 0 < plan.pruned_flops < 0.3
    assert model.training


def test_ratios_by_a_loss():
    pruner = paddleslim.dygraph.FPGMFilterPruner(fresh(Classifier), [1, *SHAPE])
    losses = {"conv2d_0.w_0": {0.1: 0.0, 0.2: 0.04}, "conv2d_2.w_0": {0.1: 0.5}}
    assert pruner._get_ratios_by_loss(losses, loss=0.02) == {"conv2d_0.w_0": pytest.approx(0.15)}
    assert pruner._get_ratios_by_loss(losses, 0.02, ["conv2d_0.w_0"]) == {}


class ByItsOwn(paddleslim.dygraph.FilterPruner):
    """A subclass with a method of its own, which returns the ratios too."""

    def __init__(self, model, inputs, sen_file=None):
        super().__init__(model, inputs, sen_file)

    def pruned(self, share, skip_vars, align=None):
        dims = paddleslim.dygraph.filter_pruner.FILTER_DIM
        self.restore()
        ratios, share = self.get_ratios_by_sensitivity(share, align=align, dims=dims, skip_vars=skip_vars)
        self.plan = self.prune_vars(ratios, dims)
        self.plan._pruned_flops = share
        return self.plan, ratios


def test_a_subclass_that_prunes_by_sensitivities():
    network = fresh(Classifier)
    network.eval()
    dense = network(images()).detach()
    pruner = ByItsOwn(network, [1, *SHAPE])
    pruner.sensitive(lambda: 1 / (1 + float((network(images()) - dense).abs().mean())), "model.sensi.data")
    depthwise = [
        p.name for layer in network.sublayers() if getattr(layer, "_groups", 1) > 1 for p in layer.parameters()
    ]
    plan, ratios = pruner.pruned(0.4, skip_vars=depthwise, align=4)
    assert ratios.keys() == {"conv2d_0.w_0", "conv2d_2.w_0"}
    assert plan.pruned_flops == pytest.approx(0.4, abs=0.1)
    assert [network.body[n][0].weight.shape[0] % 4 for n in (0, 2)] == [0, 0]


def test_the_pruned_file_loads_into_a_network_pruned_alike():
    """As evaluation scripts do: the same ratios on a fresh network, and then the weights."""
    trained, fresh_one = fresh(Classifier), fresh(Classifier)
    for network in (trained, fresh_one):
        pruner = paddleslim.dygraph.L1NormFilterPruner(network, [1] + SHAPE)
        pruner.prune_vars({"conv2d_0.w_0": 0.5, "conv2d_2.w_0": 0.25}, [0])
    paddle.save(trained.state_dict(), "checkpoint.pdparams")
    model = paddle.Model(fresh_one)
    model.prepare(None, nn.CrossEntropyLoss())
    model.load("checkpoint")
    trained.eval()
    fresh_one.eval()
    np.testing.assert_array_equal(fresh_one(images()).numpy(), trained(images()).numpy())


# --- what 2.6 takes beside ------------------------------------------------------------------------------------


def test_the_type_of_the_inputs():
    network = fresh(lambda: nn.Sequential(nn.Embedding(10, 16), nn.Conv1D(5, 8, 3), nn.ReLU(), nn.Conv1D(8, 2, 3)))
    pruner = paddleslim.dygraph.L1NormFilterPruner(network, [1, 5], input_dtype="int64", prune_type="conv", num_head=-1)
    pruner.prune_var("conv1d_0.w_0", 0, 0.5)
    assert network[1].weight.shape[0] == 4


@pytest.mark.parametrize("more", [{"prune_type": "fc"}, {"num_head": 4}])
def test_what_is_not_pruned_here_is_refused_with_what_to_do(more):
    with pytest.raises(
        PruneError, match=r'to shrink a Linear, call hapi_prune.prune\(network, inputs, \{"fc": 0.5\}\)'
    ):
        paddleslim.dygraph.L1NormFilterPruner(fresh(Classifier), [1, *SHAPE], **more)


def test_a_mask_of_ones_own_is_not_left_uncalled():
    with pytest.raises(PruneError, match="class Mine: cal_mask, which is not called here.*criterion = staticmethod"):
        type("Mine", (paddleslim.FilterPruner,), {"cal_mask": lambda self, ratio, collection: None})


def test_a_file_of_sensitivities_that_is_not_there_is_an_error():
    pruner = paddleslim.dygraph.L1NormFilterPruner(fresh(Classifier), [1, *SHAPE])
    with pytest.raises(PruneError, match="none.pickle.*no such file"):
        pruner.sensitive(sen_file="none.pickle")
