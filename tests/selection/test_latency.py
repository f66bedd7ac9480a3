"""A goal in latency: the ops are timed once, by whatever clock there is, and what is cheaper by the table is chosen."""

from __future__ import annotations

import json

import fits
import numpy as np
import paddle
import pytest
from paddle import nn

from hapi_prune import History, PruneCallback, PruneError, PruneWarning, prune, resume
from hapi_prune.analysis import replay
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.analysis.curves import Grid, points
from hapi_prune.analysis.latency import measured
from hapi_prune.analysis.times import Times, folder
from hapi_prune.cutting.pruning import Pruner
from hapi_prune.reporting.run_table import left
from hapi_prune.selection.options import Options

pytestmark = fits.HARMLESS

LANES = 8


def full(count):
    """Lanes are filled up: 57 channels take as long as 64."""
    return -(-count // LANES) * LANES


def stepped(op, args):
    """A machine on which only multiples of eight channels differ; nothing but products and convolutions takes time."""
    if op.name == "conv2d":
        image, weight = args
        return 1e-9 * full(weight.shape[0]) * full(weight.shape[1]) * image.shape[2] * image.shape[3]
    if op.name == "matmul":
        return 1e-9 * full(args[1].shape[0]) * full(args[1].shape[1])
    return None


def on_a_machine(monkeypatch, seconds):
    """Ops take so long, and a network as long as its ops."""

    def of_network(channel_map):
        return sum(seconds(op, args) or 0.0 for op, args, _ in channel_map.state.propagation.evaluation.steps())

    monkeypatch.setattr(replay, "seconds_of_op", seconds)
    monkeypatch.setattr(replay, "seconds_of_network", of_network)


@pytest.fixture
def _stepped(monkeypatch):
    on_a_machine(monkeypatch, stepped)


def no_clock(*args):
    raise AssertionError("it was measured again")


class Wide(nn.Sequential):
    """Convolutions of different widths, and a Linear."""

    def __init__(self) -> None:
        layers, last = [], 3
        for width in (64, 96, 128, 96, 112, 80, 72, 120):
            layers += [nn.Conv2D(last, width, 3, padding=1), nn.ReLU()]
            last = width
        super().__init__(*layers, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(last, 10))


IMAGE = [1, 3, 6, 6]


def true_nanoseconds(network):
    """What the stepped machine takes for the network, op by op, without any table."""
    steps = ChannelMap(network, IMAGE).state.propagation.evaluation.steps()
    return sum((stepped(op, args) or 0.0) * 1e9 for op, args, _ in steps)


@pytest.mark.slow
@pytest.mark.usefixtures("_stepped")
@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.7])
def test_a_goal_in_latency_is_met_at_the_widths_that_are_cheaper(ratio, scope):
    network = Wide()
    dense = true_nanoseconds(network)
    record = prune(network, IMAGE, ratio, target="latency", scope=scope)
    assert record.reached == pytest.approx(ratio, abs=0.005)
    assert 1 - true_nanoseconds(network) / dense == pytest.approx(record.reached, abs=1e-6), "the table is right"
    assert all(now % LANES == 0 for _, now in record.widths.values()), record.widths
    assert record.latency.after == pytest.approx(record.latency.measured, rel=1e-4), "predicted beside measured"
    assert record.latency.original == pytest.approx(record.latency.measured_original)


@pytest.mark.usefixtures("_stepped")
def test_a_second_cut_goes_on_from_the_original(tmp_path):
    network = Wide()
    pruner = Pruner(network, IMAGE, Options(target="latency"))
    for ratio in (0.25, 0.5):
        record = pruner.cut(ratio)
        assert record.reached == pytest.approx(ratio, abs=0.005)
        assert record.latency.original == pytest.approx(pruner.times.original / 1e6)
    assert record.latency.before == pytest.approx(record.latency.original * 0.75, rel=0.01)


@pytest.mark.usefixtures("_stepped")
def test_limits_and_a_goal_out_of_reach():
    network = Wide()
    with pytest.raises(PruneError, match=r"95.0% of the latency. Allowed: up to \d\d.\d%, with max_ratio=0.5"):
        prune(network, IMAGE, 0.95, target="latency", max_ratio=0.5)
    record = prune(network, IMAGE, 0.4, target="latency", max_ratio=0.5, min_filters=50, round_to=4)
    for was, now in record.widths.values():
        assert now % 4 == 0 and now >= max(50, was / 2)


@pytest.mark.usefixtures("_stepped")
def test_the_table_is_kept_and_read(monkeypatch):
    network = Wide()
    first = measured(ChannelMap(network, IMAGE))
    monkeypatch.setattr(replay, "seconds_of_op", lambda op, args: None if stepped(op, args) is None else no_clock())
    monkeypatch.setattr(replay, "seconds_of_network", no_clock)
    again = measured(ChannelMap(network, IMAGE))
    assert (again.asked, again.original, again.scale) == (first.asked, first.original, first.scale)
    assert first.original > 0
    monkeypatch.setattr(replay, "conditions", lambda: {"processor": "another"})
    with pytest.raises(AssertionError, match="measured again"):
        measured(ChannelMap(network, IMAGE))


@pytest.mark.usefixtures("_stepped")
@pytest.mark.parametrize("damage", ["half", "a list", "negative", "another version", "another machine", "not text"])
def test_a_damaged_table_is_measured_anew_and_said(damage):
    network = Wide()
    good = measured(ChannelMap(network, IMAGE)).asked
    (file,) = folder().iterdir()
    sane = json.loads(file.read_text(encoding="utf-8"))
    key = next(iter(sane["nanoseconds"]))
    damaged = {
        "half": file.read_bytes()[:100],
        "a list": b"[1, 2]",
        "negative": json.dumps({**sane, "nanoseconds": {key: -1}}).encode(),
        "another version": json.dumps({**sane, "version": 99}).encode(),
        "another machine": json.dumps({**sane, "conditions": {"processor": "another"}}).encode(),
        "not text": b"\xff\xfe\x00",
    }[damage]
    file.write_bytes(damaged)
    with pytest.warns(PruneWarning, match="cannot be read .* measured anew"):
        assert measured(ChannelMap(network, IMAGE)).asked == good
    assert json.loads(file.read_text(encoding="utf-8")) == sane
    assert [path.name for path in folder().iterdir()] == [file.name], "no draft is left"


@pytest.mark.usefixtures("_stepped")
def test_a_table_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HAPI_PRUNE_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.warns(PruneWarning, match="cannot be"):
        assert prune(Wide(), IMAGE, 0.5, target="latency").reached == pytest.approx(0.5, abs=0.005)


def test_what_others_have_measured_in_the_meantime_is_kept():
    one, other = Times(), Times()
    one.known["a"], other.known["b"] = 1, 2
    one.save()
    other.save()
    assert Times().known == {"a": 1, "b": 2}


@pytest.mark.parametrize("size", [1, 2, 6, 7, 8, 12, 57, 64, 100, 512, 2048])
def test_widths_that_fill_the_lanes_are_exact_and_no_other_seems_cheaper(size):
    widths = points(size)
    assert widths[0] == 1 and widths[-1] == size and len(widths) <= 10
    axis = Grid(widths)
    for width in range(1, size + 1):
        near = axis.near(width)
        found = sum(weight * full(widths[number]) for number, weight in near)
        assert sum(weight for _, weight in near) == pytest.approx(1)
        if width % LANES == 0 and width >= LANES:
            assert found == pytest.approx(full(width))
        elif width in widths:
            assert found == full(width)
        else:
            assert found >= full(width) - LANES / 2


def test_a_cliff_is_found(monkeypatch):
    """A cache that ends at 400 channels: the work of one more takes four times as long."""

    def cliff(op, args):
        return 1e-8 * args[1].size * (4 if args[1].shape[0] > 400 else 1) if op.name == "conv2d" else None

    on_a_machine(monkeypatch, cliff)
    network = nn.Sequential(nn.Conv2D(3, 512, 1), nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(512, 2))
    pruner = Pruner(network, [1, 3, 2, 2], Options(target="latency"))
    (key,) = pruner.goal(0.1).ratios
    for width in (100, 256, 352, 376, 424, 480, 512):
        truth = 1e-5 * 3 * width * (4 if width > 400 else 1)
        assert pruner.predicted({key: width}) == pytest.approx(truth, rel=0.05), width


NETWORKS = {"resnet18": (3, 64), "mobilenet_v3_small": (3, 64), "squeezenet1_0": (3, 64), "LeNet": (1, 28)}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_op_by_itself_gives_what_it_gives_in_the_network(name, monkeypatch):
    channels, size = NETWORKS[name]
    channel_map = ChannelMap(getattr(paddle.vision.models, name)(), [2, channels, size, size])
    shapes = []
    monkeypatch.setattr(replay, "median", lambda run: shapes.append(tuple(run().shape)) or 1.0)
    known = 0
    for op, args, outs in channel_map.traced.evaluation.steps():
        if op.name in replay.REPLAYS:
            assert replay.seconds_of_op(op, args) == 1.0, op
            assert shapes[-1] == outs[0].shape, op
            known += 1
    assert known > 5


def test_the_clock_is_read_around_many_runs_of_what_is_short():
    runs, now = [], [0.0]

    def run():
        runs.append(None)
        now[0] += 1e-5

    assert replay.median(run, lambda: now[0]) == pytest.approx(1e-5)
    assert len(runs) == replay.WARM_UP + replay.REPEATS * 20


@pytest.mark.usefixtures("_stepped")
def test_ops_that_are_slower_in_a_network_than_by_themselves_are_so_by_the_same_factor(monkeypatch):
    exact = measured(ChannelMap(Wide(), IMAGE))
    alone = replay.seconds_of_network
    monkeypatch.setattr(replay, "seconds_of_network", lambda channel_map: 3 * alone(channel_map))
    network = paddle.nn.Sequential(Wide())  # its whole time is not known yet
    slower = measured(ChannelMap(network, IMAGE), {k: v for k, v in exact.asked.items() if not k.startswith("network")})
    assert slower.scale == pytest.approx(3, rel=1e-3)
    assert slower.original == pytest.approx(3 * exact.original, rel=1e-3)


def test_measuring_leaves_the_network_and_the_generators_alone():
    network = fits.Net(0.5)
    network.train()
    before = {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}
    drawn = fits.generators()
    measured(ChannelMap(network, [2, *fits.SHAPE]))
    assert all(np.array_equal(before[name], tensor.numpy()) for name, tensor in network.state_dict().items())
    assert network.training and network.drop.training
    assert fits.same(fits.generators(), drawn)


@pytest.mark.slow
def test_a_run_by_the_real_clock_tells_what_it_predicted_and_what_it_took(capsys):
    model = fits.build(Wide)
    callback = PruneCallback({1: 0.2}, target="latency", log_dir="log", inputs=[4, 3, 12, 12])
    shown = str(callback.preview(model))
    assert "latency" in shown and "ms" in shown
    model.fit(fits.Images(), fits.Images(), batch_size=fits.BATCH, epochs=3, verbose=0, callbacks=[callback])
    printed = capsys.readouterr().out
    assert "latency, ms" in printed and "measured" in printed
    latency = callback.history[0].latency
    assert min(latency.original, latency.before, latency.after, latency.measured_original, latency.measured) > 0
    assert callback.history[0].reached == 1 - latency.kept
    assert History.from_json(callback.history.to_json()) == callback.history
    assert all(len(line) <= 100 for line in callback.history.table().splitlines())


@pytest.mark.usefixtures("_stepped")
# The first of the two runs ends before the second cut, and says so.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PruneCallback. the schedule goes on to epoch 3:hapi_prune.PruneWarning")
def test_a_resumed_run_goes_by_the_table_that_it_began_with(tmp_path, monkeypatch):
    ends = []
    for stop in (None, 2):
        for first in (True, False) if stop else (True,):
            paddle.seed(0)
            np.random.seed(0)
            model = paddle.Model(Wide(), [paddle.static.InputSpec([None, *fits.SHAPE], "float32", "image")])
            model.prepare(fits.momentum(model.parameters()), nn.CrossEntropyLoss())
            callback = PruneCallback({1: 0.2, 3: 0.4}, target="latency", verbose=0)
            epochs = stop if stop and first else 5 - (0 if first else resume(model, callback, tmp_path / "ckpt"))
            folders = {"save_dir": str(tmp_path / "ckpt")} if stop and first else {}
            model.fit(fits.Images(), batch_size=fits.BATCH, epochs=epochs, verbose=0, callbacks=[callback], **folders)
            if stop and first:  # the machine has another clock, and has lost its table
                monkeypatch.setenv("HAPI_PRUNE_CACHE", str(tmp_path / "empty"))
                monkeypatch.setattr(replay, "seconds_of_op", lambda op, args: (stepped(op, args) or 0) ** 2 or None)
        ends.append((fits.weights(model), [record.widths for record in callback.history]))
    assert len(ends[0][1]) == 2 and ends[0][1][0] != ends[0][1][1]
    assert ends[0][1] == ends[1][1]
    assert fits.same(ends[0][0], ends[1][0])


@pytest.mark.usefixtures("_stepped")
def test_a_cut_that_was_taken_back_leaves_the_latency_of_the_dense_network():
    history = History([prune(Wide(), IMAGE, 0.5, target="latency")])
    history.take_back("it was too much")
    now = left(history.records).latency
    assert now.after == now.original and now.measured == now.measured_original
    assert history[0].latency.after < now.after
    assert history.table()
