"""The network in VisualDL's GRAPHS tab: read back by VisualDL itself, at the sizes that the network has."""

from __future__ import annotations

import json
import os

import paddle
import pytest
from budgets import at_least, built
from fits import HARMLESS, Images, Net, build, fit
from paddle import nn
from visualdl.reader.graph_reader import GraphReader

from hapi_prune import PruneCallback, PruneWarning
from hapi_prune.analysis.channel_map import ChannelMap
from hapi_prune.cutting.pruning import Pruner
from hapi_prune.reporting import dashboard
from hapi_prune.reporting.network_graph import drawn
from hapi_prune.selection.options import Options

pytestmark = HARMLESS

SHAPE = [1, 3, 8, 8]


def graphs(log_dir="log"):
    return sorted(name for name in os.listdir(log_dir) if "vdlgraph" in name)


def read(log_dir="log", **how):
    """The boxes that the page draws, by what stands on them."""
    reader = GraphReader(log_dir)
    reader.runs()
    return {node["type"]: node for node in reader.get_graph(os.path.realpath(log_dir), **how)["nodes"]}


def shapes(box):
    """The network's own tensors that stand on a box, by name."""
    arguments = [one for parameter in box["inputs"] for one in parameter["arguments"] if one["initializer"]]
    return {one["name"]: one["type"]["shape"]["dimensions"] for one in arguments}


def attributes(box):
    return {one["name"]: one["value"] for one in box["attributes"]}


def test_a_run_leaves_one_network_at_the_sizes_of_now():
    model = build()
    fit(model, PruneCallback({1: 0.25, 2: 0.5}, verbose=0, log_dir="log"), eval_data=Images(8, 1))
    assert len(graphs()) == 1
    found, now = read(), {name: list(tensor.shape) for name, tensor in model.network.state_dict().items()}
    assert now["conv1.weight"] == [4, 3, 3, 3]
    for title, own in [("conv1 (Conv2D)", "weight bias"), ("bn1 (BatchNorm2D)", "weight bias _mean _variance")]:
        layer = title.split()[0]
        assert shapes(found[title]) == {f"{layer}.{name}": now[f"{layer}.{name}"] for name in own.split()}
    assert attributes(found["conv1 (Conv2D)"]) == {
        "weight before pruning": "[8, 3, 3, 3]",
        "bias before pruning": "[8]",
    }
    assert attributes(found["fc (Linear)"]) == {"weight before pruning": "[48, 4]"}


def test_values_lead_from_layer_to_layer_when_folded_and_when_not():
    channel_map = ChannelMap(nn.Sequential(Net(), nn.ReLU()), SHAPE)
    data = drawn(channel_map)
    nodes = {node["name"]: node for node in data["nodes"]}
    (outer,) = [name for name, node in nodes.items() if node["type"] == "0 (Net)"]
    inner = [nodes[name]["type"] for name in nodes[outer]["children_node"]]
    assert inner[:3] == ["0.conv1 (Conv2D)", "0.bn1 (BatchNorm2D)", "ReLU"]
    values = {value["name"]: value for value in data["vars"]}
    assert [values[name]["shape"] for name in nodes[outer]["input_vars"]["X"]] == [SHAPE]
    assert [values[name]["shape"] for name in nodes[outer]["output_vars"]["Y"]] == [[1, 4]]
    for value in values.values():
        assert value["persistable"] == (value["from_node"] == "")
        assert all(nodes[name]["is_leaf_node"] for name in value["to_nodes"])
    assert not any(node["attrs"] for node in nodes.values() if not node["is_leaf_node"]), "nothing is cut yet"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v1", "shufflenet_v2_x0_25", "resnet18"])
def test_every_tensor_of_a_real_network_is_there_at_its_size(name):
    network = getattr(paddle.vision.models, name)()
    pruner = Pruner(network, [1, 3, 32, 32], Options("l1_norm"))
    pruner.cut(0.5)
    data = json.loads(json.dumps(drawn(pruner.channel_map)))
    found = {value["name"]: value["shape"] for value in data["vars"] if value["persistable"]}
    assert found == {name: list(tensor.shape) for name, tensor in network.state_dict().items()}


def test_a_cut_that_is_taken_back_is_taken_back_on_the_page():
    model = built(at_least(5))
    fit(model, PruneCallback({1: 0.25, 2: 0.5}, max_drop=0.01, verbose=0, log_dir="log"), eval_data=Images(8, 1))
    assert model.network.conv1.weight.shape == [6, 3, 3, 3]
    assert shapes(read()["conv1 (Conv2D)"])["conv1.weight"] == [6, 3, 3, 3]


def test_a_network_that_cannot_be_drawn_leaves_the_curves(monkeypatch):
    def fails(channel_map):
        raise RecursionError("too deep")

    monkeypatch.setattr(dashboard, "drawn", fails)
    with pytest.warns(
        PruneWarning, match="the network cannot be shown in VisualDL .*too deep.* The curves go on"
    ) as told:
        fit(build(), PruneCallback({1: 0.25, 2: 0.5}, verbose=0, log_dir="log"), eval_data=Images(8, 1))
    assert len([one for one in told if "cannot be shown" in str(one.message)]) == 1
    assert graphs() == []
    assert os.path.getsize(os.path.join("log", os.listdir("log")[0])) > 1000
