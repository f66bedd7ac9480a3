"""What is done at once about a cut: the statistics of BatchNorm are those of the smaller network, and nothing else."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from callbacks import quiet
from fits import BATCH, HARMLESS, At, Images, Net, build, fit, generators
from paddle import nn

from hapi_prune import PruneError
from hapi_prune.training import healing

pytestmark = HARMLESS


def at_epoch_1(look):
    """Looks at the network when epoch 1 has begun; to stand behind the callback that cuts."""
    return At("on_epoch_begin", lambda model, epoch: look(model.network) if epoch == 1 else None)


def statistics(network):
    norms = [layer for layer in network.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    return [(norm._mean.numpy(), norm._variance.numpy(), norm._momentum) for norm in norms]


def test_the_statistics_are_the_mean_over_the_batches_of_the_smaller_network():
    seen = []

    def look(network):
        return statistics(network), network.conv1.weight.numpy(), network.conv1.bias.numpy()

    at = at_epoch_1(look)
    data = paddle.io.DataLoader(Images(), batch_size=BATCH)
    fit(build(), [quiet({1: 0.5}, recalibrate=2), at], data)
    (found, *_), weight, bias = at.found[1]
    for batch in list(data)[:2]:
        image = batch[0]
        out = nn.functional.conv2d(image, paddle.to_tensor(weight), paddle.to_tensor(bias), padding=1)
        seen.append((out.mean([0, 2, 3]).numpy(), out.var([0, 2, 3], unbiased=False).numpy()))
    assert np.allclose(found[0], np.mean([mean for mean, _ in seen], axis=0), atol=1e-5)
    assert np.allclose(found[1], np.mean([variance for _, variance in seen], axis=0), rtol=1e-3)
    assert found[2] == 0.9, "the momentum is its own again"


def test_nothing_else_is_touched():
    states, random = [], []

    def look(network):
        random.append(repr(generators()))
        return {name: tensor.numpy() for name, tensor in network.state_dict().items()}

    for option in (0, 3):
        at = at_epoch_1(look)
        fit(build(), [quiet({1: 0.5}, recalibrate=option), at])
        states.append(at.found[1])
    changed = {name for name in states[0] if not np.array_equal(states[0][name], states[1][name])}
    assert changed == {name for name in states[0] if name.endswith(("_mean", "_variance"))}
    assert random[0] == random[1]


def test_statistics_that_the_user_has_fixed_stay_as_they_are():
    class Fixed(Net):
        def __init__(self) -> None:
            super().__init__()
            self.bn1 = nn.BatchNorm2D(8, use_global_stats=True)

    at = at_epoch_1(statistics)
    fit(build(Fixed), [quiet({1: 0.5}, recalibrate=2), at])
    ((mean, variance, _),) = at.found[1]
    assert np.array_equal(mean, np.zeros(4))
    assert np.array_equal(variance, np.ones(4))


def test_the_record_shows_both():
    callback = quiet({1: 0.5}, recalibrate=2)
    fit(build(), callback, eval_data=Images())
    record = callback.history[0]
    assert record.metrics_healed.keys() == record.metrics_after.keys()
    assert "healed at once" in str(record)
    plain = quiet({1: 0.5})
    fit(build(), plain, eval_data=Images())
    assert plain.history[0].metrics_after == record.metrics_after
    assert plain.history[0].metrics_healed == {}


def test_without_data_that_can_be_gone_through_again_nothing_is_done():
    batches = [[part.numpy() for part in batch] for batch in paddle.io.DataLoader(Images(), batch_size=BATCH)]
    callback = quiet({0: 0.5}, recalibrate=2)
    fit(build(), callback, iter(batches), eval_data=Images(), epochs=1)
    assert callback.history[0].metrics_healed == {}
    assert healing.recalibrate(build(), 2) == 0, "outside of a fit there is no data"


def test_a_number_that_is_none_is_refused():
    with pytest.raises(PruneError, match="recalibrate"):
        quiet({1: 0.5}, recalibrate=-1)
