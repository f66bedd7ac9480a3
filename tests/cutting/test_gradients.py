"""Gradients through a cut: those of the filters that stay are kept for the next step, the others are gone with them."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from fits import BATCH, HARMLESS, SHAPE, At, Images, Stream, build, end, fit, same, widths

from hapi_prune import PruneCallback, PruneError, load, prune
from hapi_prune.analysis.graph import tensors_of
from hapi_prune.cutting import optimizers, verify_outputs
from hapi_prune.plan import Reason, ReasonKind

pytestmark = HARMLESS

ONE = [1, *SHAPE]


def batch(number=0):
    pairs = [Images()[index] for index in range(BATCH * number, BATCH * number + BATCH)]
    return [[np.stack(part)] for part in zip(*pairs)]


def backward(model, number=0):
    """One batch of an accumulation."""
    model.train_batch(*batch(number), update=False)


def gradients(model):
    named = model.network.named_parameters()
    return {name: p.grad.numpy().copy() for name, p in named if not p.stop_gradient and p.grad is not None}


def parts(record):
    """For each parameter of `Net`, the part that a cut leaves."""
    first, second = (list(kept) for kept in record.plan.kept.values())
    flat = [4 * filter_ + place for filter_ in second for place in range(4)]
    found = dict.fromkeys(["conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias"], lambda a: a[first])
    found |= {"conv2.weight": lambda a: a[second][:, first], "conv2.bias": lambda a: a[second]}
    return {**found, "fc.weight": lambda a: a[flat], "fc.bias": lambda a: a}


def test_gradients_are_gathered_like_their_parameters():
    model = build()
    fit(model, epochs=1)
    backward(model)
    before = gradients(model)
    assert len(before) == 8
    record = prune(model.network, ONE, 0.5, optimizer=model._optimizer)
    kept = {name: np.ascontiguousarray(part(before[name])) for name, part in parts(record).items()}
    assert same(gradients(model), dict(sorted(kept.items())) | kept)
    # The next batch is added to them, and the step takes both.
    backward(model, 1)
    both = gradients(model)
    model.network.clear_gradients()
    backward(model, 1)
    for name, alone in gradients(model).items():
        np.testing.assert_allclose(both[name], kept[name] + alone, rtol=1e-4, atol=1e-6)


def test_gradients_in_float32_beside_low_weights_are_gathered_too():
    """``main_grad`` of mixed precision."""
    model = build()
    weight = model.network.conv1.weight
    values = np.arange(weight.size, dtype="float32").reshape(weight.shape)
    weight.main_grad = paddle.to_tensor(values)
    record = prune(model.network, ONE, 0.5)
    assert same(weight.main_grad.numpy(), parts(record)["conv1.weight"](values).copy())


@pytest.mark.parametrize("place", ["trying", "proving"])
def test_a_cut_that_fails_leaves_them_as_they_were(place, monkeypatch):
    model = build()
    fit(model, epochs=1)
    backward(model)
    model.network.conv1.weight.main_grad = paddle.ones(model.network.conv1.weight.shape)
    before = gradients(model), model.network.conv1.weight.main_grad.numpy()

    def fails(*args):
        raise (
            verify_outputs.Refused(Reason(ReasonKind.OTHER_VALUES, "for the test"))
            if place == "trying"
            else PruneError("here", "a fault")
        )

    monkeypatch.setattr(*{"trying": (verify_outputs, "compare"), "proving": (optimizers, "verify")}[place], fails)
    with pytest.raises(PruneError):
        prune(model.network, ONE, 0.5, optimizer=model._optimizer)
    assert same((gradients(model), model.network.conv1.weight.main_grad.numpy()), before)
    backward(model, 1)
    model._optimizer.step()


def test_sparse_gradients_go():
    """They hold rows by number, and fit no shape."""

    class Codes(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.embed = paddle.nn.Embedding(9, 6, sparse=True)
            self.conv, self.fc = paddle.nn.Conv1D(3, 6, 1), paddle.nn.Linear(6, 2)

        def forward(self, image, codes):
            return self.fc((self.conv(image) + self.embed(codes).transpose([0, 2, 1])).mean(2))

    network = Codes()
    optimizer = paddle.optimizer.SGD(0.1, parameters=network.parameters())
    image, codes = paddle.randn([2, 3, 5]), paddle.zeros([2, 5], "int64")
    network(image, codes).sum().backward()
    assert network.embed.weight.grad.is_selected_rows()
    prune(network, [image, codes], {"conv": 0.5}, optimizer=optimizer)
    assert network.embed.weight.shape == [9, 3]
    network(image, codes).sum().backward()
    optimizer.step()


def test_a_checkpoint_brings_no_gradients():
    saved, model = build(), build()
    prune(saved.network, ONE, 0.5)
    paddle.save(saved.network.state_dict(), "net.pdparams")
    backward(model)
    load(model.network, "net")
    assert all(float(p.grad.abs().max()) == 0 if p.grad is not None else True for p in model.network.parameters())
    backward(model)
    model._optimizer.step()


# accumulate_grad_batches


@pytest.mark.parametrize(("size", "every"), [(16, 3), (20, 4), (20, 2), (17, 5)])
def test_hapi_leaves_nothing_between_epochs(size, every):
    """It steps at the last batch of an epoch, so a cut at the beginning of one is never within an accumulation."""

    def left(model, epoch):
        return [float(np.abs(gradient).max()) for gradient in gradients(model).values()]

    seen = At("on_epoch_begin", left)
    fit(build(), [seen, PruneCallback({1: 0.25, 2: 0.5}, verbose=0)], Images(size), accumulate_grad_batches=every)
    assert all(largest == 0 for found in seen.found for largest in found)
    assert len(seen.found) == 3


def test_what_a_run_of_num_iters_leaves_is_carried_into_the_next():
    """A run that ends within an accumulation: hapi steps with the rest of it at the next run's first step."""
    model = build()
    fit(model, num_iters=2, accumulate_grad_batches=3, shuffle=False)
    before = gradients(model)
    assert any(np.abs(gradient).max() > 0 for gradient in before.values())
    callback = PruneCallback({0: 0.5}, verbose=0)
    seen = At("on_train_batch_begin", lambda model, step: gradients(model) if step == 0 else None)
    fit(model, [callback, seen], epochs=1, accumulate_grad_batches=3, shuffle=False)
    kept = {name: part(before[name]) for name, part in parts(callback.history[0]).items()}
    assert all(np.array_equal(seen.found[0][name], kept[name]) for name in kept)
    optimizers.verify(model._optimizer, tensors_of(model.network))


def test_accumulation_over_data_without_a_length_is_hapis_own_to_refuse():
    data = paddle.io.DataLoader(Stream(12), batch_size=BATCH)
    with pytest.raises(ValueError, match="length of IterableDataset not supported"):
        fit(build(), PruneCallback({1: 0.5}, verbose=0), data, accumulate_grad_batches=2)
    model = build()
    fit(model, PruneCallback({1: 0.5}, verbose=0), data)
    assert widths(model) == {"conv1": 4, "conv2": 6}
    assert end(model)
