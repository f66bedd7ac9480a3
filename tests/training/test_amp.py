"""Mixed precision: what is stored twice is cut twice, what is rounded is compared as such, what scales goes on.

Paddle has no convolution in bfloat16 or float16 on the CPU. The networks here store their weights in bfloat16, as a
decorated network does, compute in float32, and round what each layer returns to bfloat16: the numbers of a GPU, but
for the order of sums.
"""

from __future__ import annotations

import numpy as np
import paddle
import paddle.amp.grad_scaler as scaling
import paddle.nn.functional as F  # noqa: N812  # as everyone calls it
import pytest
from budgets import at_least, built
from fits import HARMLESS, SHAPE, At, Images, Net, build, end, fit, same, weights, widths
from paddle import nn

from hapi_prune import PruneCallback, PruneError, load, prune, resume
from hapi_prune.analysis.graph import tensors_of
from hapi_prune.cutting import optimizers, verify_outputs
from hapi_prune.training.atomic_save import read_note

pytestmark = HARMLESS

ONE = [1, *SHAPE]
LOW = "bfloat16"


# On a CPU, Paddle says that float32 is all that is left of it.
NO_AMP = pytest.mark.filterwarnings("ignore:.*(AMP|amp|auto_cast|AmpScaler|float16).*:UserWarning")


def rounded(x):
    return x.astype(LOW).astype("float32")


class Conv(nn.Conv2D):
    def forward(self, x):
        bias = None if self.bias is None else self.bias.astype("float32")
        weight, options = self.weight.astype("float32"), (self._stride, self._padding, self._dilation, self._groups)
        return rounded(F.conv2d(rounded(x), weight, bias, *options))


class Linear(nn.Linear):
    def forward(self, x):
        return rounded(F.linear(rounded(x), self.weight.astype("float32"), self.bias.astype("float32")))


def as_it_is(network):
    return network


def low(network):
    """As ``paddle.amp.decorate`` makes it, which does nothing on a CPU: all but the norms in bfloat16."""
    for layer in network.sublayers():
        kind = {nn.Conv2D: Conv, nn.Linear: Linear}.get(type(layer))
        if kind is not None:
            layer.__class__ = kind
            layer.to(dtype=LOW)
    return network


def low_net():
    return low(Net())


class Mixed(paddle.optimizer.Momentum):
    """Paddle's own multi-precision momentum, with the arithmetic in Python: on a CPU it has no kernel for bfloat16."""

    def _append_optimize_op(self, block, param_and_grad):
        parameter, gradient = param_and_grad
        velocity = self._get_accumulator_master(self._velocity_acc_str, parameter)
        master = self._master_weights.get(parameter.name, parameter)
        velocity.set_value(0.9 * velocity + gradient.astype("float32"))
        master.set_value(master - 0.05 * velocity)
        if master is not parameter:
            parameter.set_value(master.astype(parameter.dtype))


def momentum(parameters):
    return Mixed(0.05, 0.9, parameters=parameters, multi_precision=True)


def quiet(schedule, *args, **options):
    return PruneCallback(schedule, *args, verbose=0, **options)


def masters(model):
    found = optimizers.masters(model._optimizer, tensors_of(model.network))
    return {name: tensor.numpy().copy() for name, tensor in found.items()}


# Master weights


LOWERED = ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc.weight", "fc.bias"]


@pytest.mark.smoke
def test_master_weights_are_cut_by_the_same_indices_and_train_on():
    model = build(low_net, momentum)
    before, after = (At("on_epoch_begin", lambda model, _: (masters(model), end(model)["state"])) for _ in range(2))
    callback = quiet({1: 0.25, 2: 0.5})
    fit(model, [before, callback, after])
    for epoch, record in ((1, callback.history[0]), (2, callback.history[1])):
        (dense, state), (cut, state_now) = before.found[epoch], after.found[epoch]
        assert sorted(dense) == sorted(LOWERED)
        first, second = record.plan.kept.values()
        first, second = list(first), list(second)
        flat = [4 * filter_ + place for filter_ in second for place in range(4)]
        assert same(cut["conv1.weight"], dense["conv1.weight"][first].copy())
        assert same(cut["conv2.weight"], dense["conv2.weight"][second][:, first].copy())
        assert same(cut["fc.weight"], dense["fc.weight"][flat].copy())
        assert all(array.dtype == np.float32 for array in cut.values())
        mirrors = [key for key in state if key.startswith("conv2d_1.w_0") and np.size(state[key]) > 1]
        assert mirrors
        for key in mirrors:
            assert same(state_now[key], state[key][second][:, first].copy())
    # After training on, the low weights are what the master weights round to.
    for name, tensor in tensors_of(model.network).items():
        if name in LOWERED:
            assert same(tensor.numpy(), paddle.to_tensor(masters(model)[name]).astype(LOW).numpy())
    assert widths(model) == {"conv1": 4, "conv2": 6}


def test_the_master_weights_are_scored_in_float32():
    """Rounded to eight digits, filters that differ are alike."""
    model, seen = build(low_net, momentum), []
    fit(model, epochs=1)
    conv1 = model.network.conv1.weight
    close = np.ones(conv1.shape, "float32")
    close[5] -= 1e-4
    conv1.set_value(paddle.to_tensor(close).astype(LOW))
    model._optimizer._master_weights[conv1.name].set_value(close)
    assert len(np.unique(conv1.numpy())) == 1

    def criterion(weight):
        seen.append(weight.copy())
        return np.abs(weight).sum((1, 2, 3))

    record = prune(model.network, ONE, {"conv1": 0.125}, criterion, optimizer=model._optimizer)
    assert list(record.plan.kept.values()) == [(0, 1, 2, 3, 4, 6, 7)]
    assert same(seen, [close])


def test_without_master_weights_the_low_ones_are_scored_in_float32():
    model, seen = build(low_net), []

    def criterion(weight):
        seen.append(weight.copy())
        return np.abs(weight).sum((1, 2, 3))

    expected = model.network.conv1.weight.astype("float32").numpy()
    prune(model.network, ONE, {"conv1": 0.5}, criterion)
    assert same(seen, [expected])


# Pruned == masked, as far as the precision goes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet34"])  # and up to 7e-3 in densenet121, which takes longer
def test_a_low_network_is_not_refused_for_its_rounding(name, monkeypatch):
    """The same cut as in float32, and nothing said against it. 1e-3, as for float32, refuses such networks.

    Whether a number is rounded otherwise is up to the order of sums in it, which no two processors share: some networks
    come out the same on some of them, and so several are cut.
    """
    off, real = {}, verify_outputs.compare

    def compare(pruned, masked, exact, most):
        found = max(np.abs(ours - theirs).max() / np.abs(theirs).max() for ours, theirs in zip(pruned, masked))
        off.setdefault(change, []).append(found)
        real(pruned, masked, exact, most)

    monkeypatch.setattr(verify_outputs, "compare", compare)
    for seed in (1, 2, 3):
        records = []
        for change in (as_it_is, low):
            paddle.seed(seed)
            network = change(getattr(paddle.vision.models, name)())
            records.append(prune(network, [2, 3, 64, 64], 0.3))
        assert records[0].widths == records[1].widths
        assert records[0].notes == records[1].notes
    assert max(off[as_it_is]) < 1e-4
    assert verify_outputs.TOLERANCE < max(off[low]) < verify_outputs.LOW[LOW]


@pytest.mark.parametrize(
    ("kind", "fine", "wrong"), [("float32", 0.0009, 0.0011), ("float16", 0.003, 0.005), (LOW, 0.03, 0.04)]
)
@pytest.mark.parametrize("cast", [True, False])
def test_what_is_more_than_rounding_is_refused(kind, fine, wrong, cast):
    network = nn.Linear(2, 2)
    if not cast:
        network.to(dtype=kind)
    most = verify_outputs.tolerance(network.parameters(), {f"paddle.{kind}"} if cast else (), training=False)
    ones = [np.ones([2, 2], "float32")]
    verify_outputs.compare([ones[0] + np.float32(fine)], ones, True, most)
    with pytest.raises(verify_outputs.Refused, match="of its largest value"):
        verify_outputs.compare([ones[0] + np.float32(wrong)], ones, True, most)
    assert verify_outputs.tolerance(network.parameters(), {f"paddle.{kind}"}, training=True) == pytest.approx(3 * most)


class Cast(Net):
    """Weights in float32; the network itself goes down to bfloat16 in between."""

    def forward(self, image):
        features = rounded(self.relu(rounded(self.conv2(rounded(self.relu(self.bn1(self.conv1(image))))))))
        return self.fc(rounded(self.pool(features).flatten(1)))


def test_a_network_that_casts_by_itself():
    model, callback = build(Cast), quiet({1: 0.25, 2: 0.5})
    fit(model, callback)
    assert widths(model) == {"conv1": 4, "conv2": 6}
    assert callback.history[0].notes == ()


@NO_AMP
def test_under_auto_cast():
    """On a CPU it changes nothing, and it must not disturb the cut."""
    records = []
    for level in ("O0", "O1", "O2"):
        model = build()
        fit(model, epochs=1, shuffle=False)
        with paddle.amp.auto_cast(enable=level != "O0", level=level, dtype=LOW):
            record = prune(model.network, ONE, 0.5, optimizer=model._optimizer)
        records.append([record.widths, record.plan, end(model)])
    assert records[0][:2] == records[1][:2] == records[2][:2]
    assert same(records[0][2], records[1][2])


# In a fit of hapi


CONFIGS = ["O1", "O2", {"level": "O1"}, {"level": "O1", "init_loss_scaling": 64.0, "custom_black_list": ["conv2d"]}]


@NO_AMP
@pytest.mark.parametrize("configs", CONFIGS, ids=str)
def test_hapis_own_mixed_precision_on_a_cpu(configs):
    ends = []
    for amp in (configs, None):
        model, callback = build(amp_configs=amp), quiet({1: 0.25, 2: 0.5})
        fit(model, callback, eval_data=Images(8, 1), shuffle=False)
        assert [record.epoch for record in callback.history] == [1, 2]
        ends.append(end(model))
    assert same(*ends)


def test_hapi_takes_no_type():
    """So there is no bfloat16 through ``prepare``, with or without us. Where that changes, there is more to test."""
    with pytest.raises(ValueError, match="could not be recognized"):
        build(amp_configs={"level": "O1", "dtype": LOW})


@pytest.mark.skipif(not paddle.is_compiled_with_cuda(), reason="Paddle without CUDA: hapi decorates on a GPU only (O2)")
def test_o2_on_a_gpu():
    paddle.set_device("gpu")
    model, callback = build(amp_configs={"level": "O2"}), quiet({1: 0.25, 2: 0.5}, eval_data=False)
    fit(model, callback)
    assert widths(model) == {"conv1": 4, "conv2": 6}
    assert model.network.conv1.weight.dtype == paddle.float16
    optimizers.verify(model._optimizer, tensors_of(model.network))
    assert masters(model)["conv1.weight"].shape == (4, 3, 3, 3)


# The loss scaling


class Anywhere:
    """Stands in for a place and for what knows it, so that a GradScaler works where there is no GPU."""

    amp_dtype = "float16"

    @property
    def _expected_place(self):
        return self

    def is_gpu_place(self):
        return True


@pytest.fixture
def scaled(monkeypatch):
    monkeypatch.setattr(scaling, "_dygraph_tracer", Anywhere)
    monkeypatch.setattr(scaling, "amp_global_state", Anywhere)
    if not paddle.amp.GradScaler().is_enable():
        pytest.skip("this Paddle decides in another way whether a GradScaler works")


GROWING = {"level": "O1", "init_loss_scaling": 8.0, "incr_every_n_steps": 3, "use_dynamic_loss_scaling": True}


def scaler(model):
    found = dict(model._scaler.state_dict()) if getattr(model, "_scaler", None) else {}
    return {name: float(np.ravel(value)[0]) for name, value in found.items()}


@NO_AMP
@pytest.mark.usefixtures("scaled")
def test_the_scaler_goes_on_through_cuts():
    found = []
    for pruned in (True, False):
        model = build(amp_configs=GROWING)
        seen = At("on_train_batch_end", lambda model, _: (id(model._scaler), scaler(model)))
        fit(model, [*[quiet({1: 0.25, 2: 0.5})] * pruned, seen])
        assert len({number for number, _ in seen.found}) == 1
        found.append([told for _, told in seen.found])
    assert found[0] == found[1]
    assert found[0][-1]["scale"] == 8.0 * 2**4  # every third of 12 steps
    assert found[0][-2]["incr_count"] == 2


def in_parts(amp, network, optimizer, least=0, **options):
    """What a run of 4 epochs ends with, in one piece and in two, and the files of the first part.

    With ``max_drop`` among the options, cuts that leave less than ``least`` filters are taken back.
    """

    def run(epochs, again=False):
        with paddle.utils.unique_name.guard():
            model, callback = (
                built(at_least(least), optimizer, network, amp_configs=amp),
                quiet({1: 0.25, 2: 0.5} if epochs > 2 else {1: 0.25}, **options),
            )
            done = resume(model, callback, "save") if again else 0
            data = Images(8, 1) if options else None
            fit(model, callback, None, data, epochs=epochs - done, save_dir="save" if epochs == 2 or again else None)
            assert least <= widths(model)["conv1"] < 8 or epochs == 2
            return [end(model), masters(model), scaler(model)]

    whole = run(4)
    run(2)
    files = read_note("save/1")["files"]
    return whole, run(4, again=True), files


@NO_AMP
@pytest.mark.usefixtures("scaled")
def test_a_resumed_run_goes_on_with_the_scaler():
    whole, resumed, files = in_parts(GROWING, Net, momentum)
    assert ".pdscaler" in files
    assert whole[2]["scale"] > GROWING["init_loss_scaling"]
    assert same(resumed, whole)


def test_a_resumed_run_goes_on_with_the_master_weights():
    """Else they would start anew from what was rounded."""
    whole, resumed, _ = in_parts(None, low_net, momentum)
    assert whole[1]
    assert same(resumed, whole)


@NO_AMP
@pytest.mark.usefixtures("scaled")
def test_where_a_cut_is_taken_back_the_scaler_is_too():
    whole, resumed, files = in_parts(GROWING, Net, momentum, 7, max_drop=0.01)
    assert "_before.pdscaler" in files
    without = in_parts(GROWING, Net, momentum)[0]
    assert whole[2]["scale"] < without[2]["scale"], "the steps of the cut that failed do not count"
    assert same(resumed, whole)


def test_where_a_cut_is_taken_back_the_master_weights_are_too():
    whole, resumed, _ = in_parts(None, low_net, momentum, 7, max_drop=0.01)
    assert whole[1]
    assert same(resumed, whole)


# Checkpoints


@pytest.mark.parametrize("kinds", [(LOW, LOW), (LOW, "float32"), ("float32", LOW)], ids=str)
def test_a_checkpoint_of_either_precision_into_a_network_of_either(kinds):
    """NumPy holds bfloat16 as whole numbers, which must not be taken for the values."""
    saved, fresh = (build(low_net if kind == LOW else Net).network for kind in kinds)
    prune(saved, ONE, 0.5)
    for tensor in saved.parameters():
        tensor.set_value((paddle.randn(tensor.shape) * 2).astype(tensor.dtype))
    paddle.save(saved.state_dict(), "net.pdparams")
    load(fresh, "net")
    for name, tensor in fresh.state_dict().items():
        kept = saved.state_dict()[name].astype(tensor.dtype)
        assert tensor.shape == kept.shape
        assert same(tensor.numpy(), kept.numpy())
    assert fresh.conv1.weight.dtype == (paddle.bfloat16 if kinds[1] == LOW else paddle.float32)


def test_a_failing_cut_leaves_low_weights_and_masters_as_they_were(monkeypatch):
    model = build(low_net, momentum)
    fit(model, epochs=1)
    before = [end(model), masters(model), weights(model)]

    def fails(*args):
        raise PruneError("here", "a fault")

    monkeypatch.setattr(optimizers, "verify", fails)
    with pytest.raises(PruneError, match="a fault"):
        prune(model.network, ONE, 0.5, optimizer=model._optimizer)
    assert same([end(model), masters(model), weights(model)], before)
