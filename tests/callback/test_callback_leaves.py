"""What a run leaves behind: the same network, but smaller."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from callbacks import as_found, quiet
from fits import BATCH, HARMLESS, SHAPE, Images, Net, build, fit, widths

pytestmark = HARMLESS


def test_the_network_is_the_same_but_smaller():
    model = build()
    before = as_found(model)
    fit(model, quiet({1: 0.25, 2: 0.5}), eval_data=Images(8, 1))
    after = as_found(model)
    for what in ("keys", "parameters", "hooks", "attributes"):
        assert after[what] == before[what]
    assert paddle.summary(model.network, (1, *SHAPE))["total_params"] == 450
    assert model.summary((1, *SHAPE))["total_params"] == 450
    conv = model.network.conv2
    assert (conv._in_channels, conv._out_channels, model.network.fc.weight.shape) == (4, 6, [24, 4])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'inputs' was not specified when Model initialization:UserWarning")
@pytest.mark.filterwarnings("ignore:The tensor `image` does not exists:UserWarning")  # of a converted network
@pytest.mark.parametrize(
    ("network", "spec"),
    [(Net, "images"), (Net, None), (lambda: paddle.jit.to_static(Net()), "images")],  # hapi itself needs the last spec
)
def test_the_exported_program_computes_the_same(network, spec):
    model = build(network, spec=spec)
    fit(model, quiet({1: 0.5}))
    model.save("export/model", training=False)
    images = np.stack([Images(BATCH, 7)[number][0] for number in range(BATCH)])
    expected = model.predict_batch([images])[0]
    exported = paddle.jit.load("export/model")
    exported.eval()
    np.testing.assert_allclose(exported(paddle.to_tensor(images)).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert sum(p.size for p in exported.parameters()) in (442, 450)  # with or without BatchNorm's statistics
    fit(model, quiet({1: 0.5}))  # exporting does not end it
    assert widths(model) == {"conv1": 2, "conv2": 3}
