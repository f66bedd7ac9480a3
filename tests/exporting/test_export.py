"""What is exported runs without the network's code, and computes what the network computes; or nothing is written."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import paddle
import pytest
from daily import some
from fits import HARMLESS, Net, build
from paddle import inference, nn
from paddle.static import InputSpec
from zoo import ZOO

from hapi_prune import PruneError, PruneWarning, cost, export, prune
from hapi_prune.exporting import export as exporting
from hapi_prune.exporting import runtimes
from hapi_prune.exporting import served as serving
from hapi_prune.internals.random_state import RandomState

pytestmark = HARMLESS

SHAPE = [1, 3, 8, 8]


@pytest.fixture(autouse=True)
def _process(request, monkeypatch):
    """Paddle Inference runs in this process, as another takes seconds to start; but not in the tests marked apart."""

    def run(folder):
        try:
            serving.main(folder)
        except Exception as error:  # as of the other process, of which only its words are left
            raise RuntimeError(str(error)) from error

    if "apart" not in request.keywords:
        monkeypatch.setattr(serving, "run_in_process", run)


def state(network):
    tensors = {name: (id(t), t.numpy().tobytes()) for name, t in network.state_dict().items()}
    flags = [layer.training for layer in network.sublayers(include_self=True)]
    attributes = [sorted(vars(layer)) for layer in network.sublayers(include_self=True)]
    return tensors, flags, attributes, RandomState.now().to_plain(), paddle.in_dynamic_mode(), paddle.is_grad_enabled()


def run(path, *arrays):
    """What Paddle Inference returns for the files."""
    config = inference.Config(f"{path}.json", f"{path}.pdiparams")
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    for name, array in zip(predictor.get_input_names(), arrays):
        predictor.get_input_handle(name).copy_from_cpu(array)
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


@pytest.mark.slow
@pytest.mark.smoke
@pytest.mark.apart
def test_a_pruned_network_is_exported_and_is_as_small_as_it_says():
    network = Net()
    dense = export(network, "dense", SHAPE)
    prune(network, SHAPE, 0.5)
    report = export(network, "out/small", SHAPE)
    assert sorted(os.listdir("out")) == sorted(report.files) == ["small.json", "small.pdiparams"]
    assert report.files == {name: os.path.getsize(f"out/{name}") for name in report.files}
    assert report.bytes == sum(report.files.values()) < dense.bytes
    assert report.cost == cost(network, SHAPE)
    assert list(report.differences) == ["paddle.inference"]
    assert 0 <= report.difference == report.differences["paddle.inference"] <= 1e-5
    image = np.random.RandomState(1).standard_normal(SHAPE).astype("float32")
    network.eval()
    np.testing.assert_allclose(run("out/small", image)[0], network(paddle.to_tensor(image)).numpy(), atol=1e-5)
    assert str(report).startswith("out/small: ")


@pytest.mark.smoke
def test_the_network_is_left_as_it_was():
    network = nn.Sequential(Net(drop=0.5), nn.ReLU())
    network[0].bn1.eval()
    before, forward = state(network), network.forward
    export(network, "net", SHAPE)
    assert state(network) == before
    assert network.forward == forward
    network(paddle.randn(SHAPE)).sum().backward()


def test_it_is_the_network_in_evaluation_mode():
    class Auxiliary(Net):
        def forward(self, image):
            out = super().forward(image)
            return (out, out * 2) if self.training else out

    network = Auxiliary(drop=0.5)
    assert export(network, "net", SHAPE).difference <= 1e-5
    assert len(run("net", np.zeros(SHAPE, "float32"))) == 1
    assert network.training


def test_an_open_batch_takes_any_and_a_fixed_one_is_kept():
    network = Net()
    export(network, "open", [InputSpec([None, *SHAPE[1:]], "float32", "image")])
    images = np.random.RandomState(1).standard_normal([5, *SHAPE[1:]]).astype("float32")
    network.eval()
    np.testing.assert_allclose(run("open", images)[0], network(paddle.to_tensor(images)).numpy(), atol=1e-5)
    config = inference.Config("open.json", "open.pdiparams")
    config.disable_glog_info()
    assert inference.create_predictor(config).get_input_names() == ["image"]


def test_a_batch_that_the_program_cannot_follow_is_refused():
    class Fixed(Net):
        def forward(self, image):
            return super().forward(image.reshape(SHAPE))

    export(Fixed(), "fixed", SHAPE)
    with pytest.raises(PruneError, match=r"does not run on \[3, 3, 8, 8\]"):
        export(Fixed(), "open", [None, *SHAPE[1:]])
    assert sorted(os.listdir()) == ["fixed.json", "fixed.pdiparams"]


class Forms(nn.Layer):
    """Inputs by name, in a dict, in a list; outputs in a dict."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2D(3, 8, 3), nn.Conv2D(8, 2, 1)

    def forward(self, image, scale=None, more=None):
        image = image["x"] if isinstance(image, dict) else image[0] if isinstance(image, list) else image
        out = self.head(nn.functional.relu(self.conv(image)))
        out = out if scale is None else out * scale.reshape([-1, 1, 1, 1])
        return {"out": out, "sum": out.sum() if more is None else out + more}


FORMS = {
    "positions": [SHAPE, [1]],
    "names": {"scale": [1], "image": SHAPE},
    "keyword": {"image": SHAPE, "more": [1, 2, 6, 6]},
    "dict": [{"x": SHAPE}],
    "list": [[SHAPE], [1]],
    "none": [SHAPE, None],
    "tensors": [paddle.ones(SHAPE), paddle.ones([1])],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_is_exported(form):
    network = Forms()
    prune(network, FORMS[form], 0.5)
    assert export(network, "net", FORMS[form]).difference <= 1e-5


@pytest.mark.skipif(paddle.__version__ < "3.2", reason="its to_static loses the defaults of keyword-only arguments")
def test_arguments_by_keyword_alone_are_exported():
    class Keyword(Forms):
        def forward(self, image, *, scale=None, more=None):
            return super().forward(image, scale, more)

    network = Keyword()
    prune(network, FORMS["keyword"], 0.5)
    assert export(network, "net", FORMS["keyword"]).difference <= 1e-5


@pytest.mark.parametrize("name", some([name for name in sorted(ZOO) if "huffle" in name or "plit" in name], 5))
def test_structures_are_exported_after_a_cut(name):
    one = ZOO[name]
    network = one.build()
    prune(network, one.inputs, one.ratio)
    assert export(network, "net", one.inputs).difference <= 1e-5


def another(network, given, path, specs):
    """A program of the same network with another weight."""
    kept = network.conv1.weight.numpy()
    network.conv1.weight.set_value(kept + 1)
    paddle.jit.save(network, path, input_spec=specs)
    network.conv1.weight.set_value(kept)


def narrow(network, given, path, specs):
    paddle.jit.save(nn.Sequential(network, nn.Linear(4, 2)), path, input_spec=specs)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (another, "other values than the network, by"),
        (narrow, r"shapes \[\[1, 2\]\], the network \[\[1, 4\]\]"),
    ],
)
def test_a_program_that_computes_something_else_is_refused_and_what_was_there_stays(monkeypatch, wrong, message):
    network = Net()
    export(network, "net", SHAPE)
    before = {name: Path(name).read_bytes() for name in os.listdir()}
    monkeypatch.setattr(exporting, "save_program", wrong)
    with pytest.raises(PruneError, match=message):
        export(network, "net", SHAPE)
    assert {name: Path(name).read_bytes() for name in os.listdir()} == before


def test_the_tolerance_is_the_users():
    network = Net()
    with pytest.raises(PruneError, match="other values"):
        export(network, "net", SHAPE, tolerance=-1.0)
    assert os.listdir() == []


def test_without_paddle_inference_it_is_loaded_and_run(monkeypatch):
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    report = export(Net(), "net", [None, *SHAPE[1:]])
    assert list(report.differences) == ["paddle.jit.load"]
    assert report.difference <= 1e-5


def tells(default, plain):
    """Stands for the process of its own: what it returns with and without oneDNN; an error is raised."""

    def served(program, params, tries, onednn):
        given = default if onednn else plain
        if isinstance(given, Exception):
            raise given
        return given(tries)

    return served


def test_a_runtime_that_crashes_with_onednn_is_told_and_tried_without(monkeypatch):
    network = Net()
    network.eval()

    def right(tries):
        return [[network(paddle.to_tensor(*arrays.values())).numpy()] for arrays in tries]

    crashes = RuntimeError("it crashed (signal 11)")
    monkeypatch.setattr(runtimes, "served", tells(crashes, right))
    with pytest.warns(PruneWarning, match=r"signal 11.*With paddle.inference without oneDNN it is right") as told:
        report = export(network, "net", SHAPE)
    assert told[0].filename == __file__
    assert list(report.differences) == ["paddle.inference without oneDNN"]
    monkeypatch.setattr(runtimes, "served", tells(crashes, crashes))
    with pytest.raises(PruneError, match=r"paddle.inference: .*signal 11.*without oneDNN: .*signal 11"):
        export(network, "other", SHAPE)
    assert sorted(os.listdir()) == ["net.json", "net.pdiparams"]


@pytest.mark.slow
@pytest.mark.apart
def test_a_process_that_ends_badly_or_never_is_told(monkeypatch):
    export(Net(), "net", SHAPE)
    arrays = [{"input_0": np.zeros(SHAPE, "float32")}]
    assert serving.served("net.json", "net.pdiparams", arrays, onednn=True)[0][0].shape == (1, 4)
    with pytest.raises(RuntimeError, match="nothing.json"):
        serving.served("nothing.json", "net.pdiparams", arrays, onednn=True)
    here = subprocess.run

    def killed(command, **options):
        return here([*command[:-1], "import os; os.kill(os.getpid(), 9)"], **options)

    monkeypatch.setattr(serving.subprocess, "run", killed)
    with pytest.raises(RuntimeError, match=r"it crashed \(signal 9\)"):
        serving.served("net.json", "net.pdiparams", arrays, onednn=True)
    monkeypatch.setattr(
        serving.subprocess, "run", lambda command, **options: here([*command[:-1], "while True: pass"], **options)
    )
    monkeypatch.setattr(serving, "PATIENCE", 0.5)
    with pytest.raises(RuntimeError, match="no answer"):
        serving.served("net.json", "net.pdiparams", arrays, onednn=True)


@pytest.mark.smoke
def test_model_save_exports_what_was_pruned():
    model = build()
    prune(model.network, SHAPE, 0.5)
    model.save("served/net", training=False)
    image = np.random.RandomState(1).standard_normal(SHAPE).astype("float32")
    model.network.eval()
    np.testing.assert_allclose(run("served/net", image)[0], model.network(paddle.to_tensor(image)).numpy(), atol=1e-5)


# --- ONNX -----------------------------------------------------------------------------------------------------


def test_onnx_without_its_tools_says_what_to_install(monkeypatch):
    monkeypatch.setattr(runtimes.importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(PruneError, match=r'paddle2onnx is not installed.*pip install "hapi-prune\[onnx\]"'):
        export(Net(), "net", SHAPE, onnx=True)
    assert os.listdir() == []


@pytest.mark.filterwarnings("default")  # theirs
@pytest.mark.parametrize("network", ["Net", "mobilenet_v1", "shufflenet_v2_x0_25"])
def test_onnx_is_run_and_compared(network):
    pytest.importorskip("paddle2onnx", reason="needs hapi-prune[onnx]")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs hapi-prune[onnx]")
    made, shape = (Net(), SHAPE) if network == "Net" else (getattr(paddle.vision.models, network)(), [1, 3, 64, 64])
    prune(made, shape, 0.3)
    report = export(made, "net", [None, *shape[1:]], onnx=True)
    assert sorted(report.files) == sorted(os.listdir()) == ["net.json", "net.onnx", "net.pdiparams"]
    assert list(report.differences) == ["paddle.inference", "onnxruntime"]
    assert report.difference <= 1e-5
    session = onnxruntime.InferenceSession("net.onnx")
    images = np.random.RandomState(1).standard_normal([4, *shape[1:]]).astype("float32")
    made.eval()
    theirs = session.run(None, {session.get_inputs()[0].name: images})[0]
    np.testing.assert_allclose(theirs, made(paddle.to_tensor(images)).numpy(), atol=1e-4)


@pytest.mark.slow
@pytest.mark.apart
def test_a_pruned_program_is_timed_beside_the_dense_one(monkeypatch):
    network = Forms()
    dense = export(network, "dense", SHAPE)
    assert dense.latency == {} and dense.bytes_beside == 0
    prune(network, SHAPE, 0.5)
    report = export(network, "pruned", SHAPE, beside="dense")
    assert list(report.latency) == ["dense", "pruned"]
    assert all(took > 0 for took in report.latency.values())
    assert report.bytes_beside == dense.bytes > report.bytes
    assert re.search(r"ms a run beside \S+ ms of dense, \d+\.\d% of its bytes$", str(report))


def test_times_are_medians_taken_in_turn(monkeypatch):
    export(Forms(), "one", SHAPE)
    files = [("one.json" if os.path.exists("one.json") else "one.pdmodel", "one.pdiparams")] * 3
    monkeypatch.setattr(serving, "ROUNDS", 4)
    assert len(serving.timed(files, {"input_0": np.ones(SHAPE, "float32")}, onednn=True)) == 3


@pytest.mark.parametrize(
    ("beside", "message"),
    [("nowhere", "where no program is"), ("./pruned", "which is written now"), ("wide", "does not run on the inputs")],
)
def test_what_cannot_be_timed_beside_it_is_told_and_nothing_is_written(beside, message):
    export(nn.Conv2D(5, 4, 3), "wide", [1, 5, 8, 8])
    with pytest.raises(PruneError, match=message):
        export(Forms(), "pruned", SHAPE, beside=beside)
    assert not [name for name in os.listdir() if "pruned" in name]
