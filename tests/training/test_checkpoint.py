"""A pruned checkpoint in a fresh dense network: the same structure, the same numbers, the same next step."""

import copy
import pickle

import numpy as np
import paddle
import pytest
from daily import slow
from paddle import nn

import hapi_prune
from hapi_prune import PruneError, load, prune
from hapi_prune.analysis.graph import tensors_of
from hapi_prune.cutting import optimizers

SHAPE = [2, 3, 12, 12]

# BatchNorm says this whenever it is asked to train; hapi copies the labels that its own DataLoader made.
pytestmark = [
    pytest.mark.filterwarnings("ignore:When training, we now always track global mean and variance:UserWarning"),
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning"),
]


class Net(nn.Layer):
    """Depthwise, group and transposed convolutions, a concatenation, norms and a tied weight."""

    def __init__(self, seed=0):
        super().__init__()
        paddle.seed(seed)
        self.stem = nn.Sequential(nn.Conv2D(3, 8, 3, padding=1), nn.BatchNorm2D(8), nn.PReLU(8))
        self.depthwise = nn.Conv2D(8, 16, 3, padding=1, groups=8)
        self.grouped = nn.Conv2D(16, 24, 3, padding=1, groups=4)
        self.up = nn.Conv2DTranspose(24, 6, 2, stride=2)
        self.side = nn.Conv2D(8, 10, 1)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x)
        y = self.up(self.grouped(nn.functional.relu(self.depthwise(x))))
        z = paddle.concat([nn.functional.max_pool2d(y, 2), self.side(x)], axis=1)
        return self.head(self.norm(z.mean([2, 3])))


def fresh(kind=Net, **options):
    with paddle.utils.unique_name.guard():
        return kind(**options)


@pytest.fixture
def pruned(tmp_path):
    """A pruned network and the file that it was saved to."""
    network = fresh(seed=1)
    prune(network, SHAPE, 0.4)
    prune(network, SHAPE, 0.3)
    paddle.save(network.state_dict(), str(tmp_path / "net.pdparams"))
    return network, tmp_path / "net"


def outputs(network, x):
    network.eval()
    return network(x).numpy()


@pytest.mark.parametrize("suffix", ["", ".pdparams"])
def test_a_dense_network_takes_on_structure_and_weights(pruned, suffix):
    network, path = pruned
    other = fresh(seed=2)
    objects = {name: id(tensor) for name, tensor in tensors_of(other).items()}
    load(other, str(path) + suffix)
    assert {name: id(tensor) for name, tensor in tensors_of(other).items()} == objects
    x = paddle.randn(SHAPE)
    np.testing.assert_array_equal(outputs(other, x), outputs(network, x))
    assert str(other) == str(network)
    assert hapi_prune.cost(other, SHAPE) == hapi_prune.cost(network, SHAPE)


def test_the_file_is_as_small_as_the_network(pruned, tmp_path):
    _, path = pruned
    paddle.save(fresh().state_dict(), str(tmp_path / "dense.pdparams"))
    share = hapi_prune.cost(pruned[0], SHAPE).params / hapi_prune.cost(fresh(), SHAPE).params
    sizes = [(tmp_path / f"{name}.pdparams").stat().st_size for name in ("net", "dense")]
    assert sizes[0] < sizes[1] * (share + 1) / 2
    assert path.name == "net"


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v1", slow("shufflenet_v2_x0_25"), slow("resnext50_32x4d"), slow("densenet121", slowest=True)],
)
def test_networks_of_paddle(name, tmp_path):
    make = getattr(paddle.vision.models, name)
    network, other = fresh(make), fresh(make)
    prune(network, [1, 3, 64, 64], 0.4)
    paddle.save(network.state_dict(), str(tmp_path / "net.pdparams"))
    load(other, tmp_path / "net.pdparams", inputs=[1, 3, 64, 64])
    x = paddle.randn([1, 3, 64, 64])
    np.testing.assert_array_equal(outputs(other, x), outputs(network, x))
    assert str(other) == str(network)


def test_a_checkpoint_of_paddleslim_keeps_dense_backups(pruned, tmp_path):
    network, path = pruned
    state = paddle.load(f"{path}.pdparams")
    state["stem.0.conv2d_0_w_0_backup"] = paddle.zeros([8, 3, 3, 3])
    paddle.save(state, str(tmp_path / "slim.pdparams"))
    other = fresh(seed=2)
    load(other, tmp_path / "slim")
    x = paddle.randn(SHAPE)
    np.testing.assert_array_equal(outputs(other, x), outputs(network, x))


class Data(paddle.io.Dataset):
    def __getitem__(self, index):
        rng = np.random.RandomState(index)
        return rng.standard_normal(SHAPE[1:]).astype("float32"), np.array([index % 5])

    def __len__(self):
        return 12


def model_of(network, inputs=True):
    specs = [paddle.static.InputSpec([None, *SHAPE[1:]], "float32", "x")] if inputs else None
    model = paddle.Model(network, specs)
    rate = paddle.optimizer.lr.StepDecay(0.01, 2)
    model.prepare(paddle.optimizer.Adam(rate, parameters=model.parameters()), nn.CrossEntropyLoss())
    return model


@pytest.mark.parametrize("trained_before", [False, True])
def test_a_model_goes_on_where_the_pruned_one_was(tmp_path, trained_before):
    with paddle.utils.unique_name.guard():  # two processes, as far as Paddle's names go
        first = model_of(Net(seed=1))
        callback = hapi_prune.PruneCallback({1: 0.4}, verbose=0)
        first.fit(Data(), epochs=2, batch_size=4, verbose=0, callbacks=[callback], shuffle=False)
        first.save(str(tmp_path / "run"))
        first.fit(Data(), epochs=1, batch_size=4, verbose=0, shuffle=False)
    with paddle.utils.unique_name.guard():
        second = model_of(Net(seed=2))
        if trained_before:
            second.fit(Data(), epochs=1, batch_size=4, verbose=0, shuffle=False)
        load(second, tmp_path / "run")
        optimizers.verify(second._optimizer, tensors_of(second.network))
        second.fit(Data(), epochs=1, batch_size=4, verbose=0, shuffle=False)
    for name, tensor in first.network.state_dict().items():
        np.testing.assert_array_equal(second.network.state_dict()[name].numpy(), tensor.numpy(), err_msg=name)
    assert second._optimizer.get_lr() == first._optimizer.get_lr()


class Other(nn.Layer):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2D(3, 8, 3)
        self.tail = nn.Linear(4, 4)


def state_of(network):
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def broken_files(path, tmp_path):
    """Files that must be refused, and what the text says."""
    whole = paddle.load(f"{path}.pdparams")

    def saved(name, state):
        paddle.save(state, str(tmp_path / f"{name}.pdparams"))
        return tmp_path / name

    without = {name: value for name, value in whole.items() if name != "side.bias"}
    wide = {**whole, "side.bias": paddle.zeros([30])}
    flat = {**whole, "side.bias": paddle.zeros([1, 5])}
    empty = {**whole, "side.bias": paddle.zeros([0])}
    unfit = {**whole, "side.bias": paddle.zeros([2])}
    classes = {**whole, "head.weight": whole["head.weight"][:, :4], "head.bias": whole["head.bias"][:4]}
    (tmp_path / "cut.pdparams").write_bytes((tmp_path / "net.pdparams").read_bytes()[:200])
    (tmp_path / "noise.pdparams").write_bytes(b"\x00\x01nothing")
    (tmp_path / "number.pdparams").write_bytes(pickle.dumps(7, protocol=2))
    return [
        (tmp_path / "nowhere", "no such file.*give the path"),
        (tmp_path / "cut", "cannot be read"),
        (tmp_path / "noise", "cannot be read"),
        (tmp_path / "number", "cannot be read|it holds a"),
        (saved("without", without), "not one of this Net: without side.bias"),
        (saved("other", fresh(Other).state_dict()), r"without .* and \d+ more; with unknown stem.weight"),
        (saved("wide", wide), r"with 'side.bias' \[30\] for \[10\]"),
        (saved("flat", flat), r"with 'side.bias' \[1, 5\] for \[10\]"),
        (saved("empty", empty), r"with 'side.bias' \[0\] for \[10\]"),
        (saved("unfit", unfit), "widths do not fit each other"),
        (saved("classes", classes), "widths do not fit each other .*has 5 units, not 4"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(11))
def test_what_is_no_checkpoint_of_this_network_is_refused_and_nothing_changed(pruned, tmp_path, number):
    path, text = broken_files(pruned[1], tmp_path)[number]
    network = fresh(seed=2)
    before, printed = state_of(network), str(network)
    with pytest.raises(PruneError, match=text):
        load(network, path, inputs=SHAPE)
    after = state_of(network)
    assert str(network) == printed
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_file_that_fails_half_way_leaves_the_network_alone(pruned, monkeypatch):
    network = fresh(seed=2)
    before = copy.deepcopy(state_of(network))
    monkeypatch.setattr("hapi_prune.internals.layers.sizes", lambda layer, depthwise: 1 / 0)
    with pytest.raises(PruneError, match="ZeroDivisionError"):
        load(network, pruned[1])
    assert all(np.array_equal(before[name], value) for name, value in state_of(network).items())


class Plain(nn.Layer):
    """A LayerNorm that holds nothing: only what arrives says how wide it is."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2D(3, 8, 3), nn.LayerNorm(8, weight_attr=False, bias_attr=False)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.norm(self.conv(x).mean([2, 3])))


def test_a_layer_norm_without_parameters_takes_on_the_width_that_arrives(tmp_path):
    network = fresh(Plain)
    prune(network, SHAPE, 0.5)
    assert network.norm._normalized_shape == [4]
    paddle.save(network.state_dict(), str(tmp_path / "net.pdparams"))
    loaded = fresh(Plain)
    before = {name: tensor.numpy().copy() for name, tensor in loaded.state_dict().items()}
    with pytest.raises(PruneError, match=r"how wide 'norm' is.*write load\(\.\.\., inputs="):
        load(loaded, tmp_path / "net")
    assert all(np.array_equal(before[name], tensor.numpy()) for name, tensor in loaded.state_dict().items())
    load(loaded, tmp_path / "net", inputs=SHAPE)
    x = paddle.randn(SHAPE)
    assert np.array_equal(network(x).numpy(), loaded(x).numpy())
    model = paddle.Model(fresh(Plain), [paddle.static.InputSpec([None, *SHAPE[1:]], "float32", "image")])
    load(model, tmp_path / "net")
    assert np.array_equal(network(x).numpy(), model.network(x).numpy())
    assert not loaded.norm._forward_pre_hooks
