"""The current network in the format of VisualDL's GRAPHS tab.

``LogWriter.add_graph`` is no way there: it asks for a ``.pdmodel``, which Paddle 3 does not write, and leaves hooks in
the network. What the page reads is JSON, and all that it is to show was traced before the first cut: nothing is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from ..analysis.channel_map import ChannelMap
from ..analysis.graph import Graph
from ..analysis.labels import Value, signals_of
from ..analysis.layer_names import layer_name
from ..analysis.op import Op

VERSION = "1.0.0"
"""The version of the format."""

INPUT, FEED, FETCH = "data", "feed", "fetch"
"""Paddle's name for an input of a program, and the page's names for inputs and outputs."""

HIDDEN = {"stop_gradient", "place", "dtype", "name", "conv_bias", "held"}
"""Attributes that are not shown."""


def drawn(channel_map: ChannelMap) -> dict[str, Any]:
    """The forward pass in evaluation mode at the sizes of now: a box for each layer, its operations inside it.

    A layer with a tensor that was cut says what shape that had before.
    """
    found = PageGraph(channel_map)
    for number, (op, args, results) in enumerate(channel_map.state.propagation.evaluation.steps()):
        if args or op.name == INPUT:  # all others are numbers that the code holds
            found.add(number, op, results)
    for number, output in enumerate(channel_map.graph.evaluation.outputs):
        if output in found.names:
            found.node(PurePosixPath(f"/{FETCH}.{number}"), FETCH, {"X": [found.names[output]]}, [])
    found.close()
    return {"version": VERSION, "nodes": list(found.nodes.values()), "vars": list(found.values.values()), "edges": []}


class PageGraph:
    """Collects boxes and values.

    Attributes:
        nodes, values: by name, as the page wants them.
        names: number of a value in the program -> its name.
    """

    def __init__(self, channel_map: ChannelMap) -> None:
        self._graph, self._sizes = channel_map.graph, channel_map.sizes
        self._titles = titles(channel_map.graph)
        self.nodes: dict[str, dict[str, Any]] = {}
        self.values: dict[str, dict[str, Any]] = {}
        self.names: dict[int, str] = {}

    def add(self, number: int, op: Op, results: list[Value]) -> None:
        """An operation, in the boxes of the layers that it ran in."""
        kind = "input" if op.name == INPUT else op.name
        made = [f"{kind}.{number}" + (f".{place}" if place else "") for place in range(len(op.results))]
        for name, value, result in zip(made, op.results, results):
            self.names[value] = name
            signals = signals_of([result])
            self._value(name, signals[0].shape if len(signals) == 1 else ())
        tensors = tensors_of(op, self._graph)
        taken = {"X": [self.names[value] for value in op.operands if value in self.names]}
        taken.update((tensor.rpartition(".")[2], [tensor]) for tensor in tensors)
        path = PurePosixPath("/", *PurePosixPath(op.scope).parts[2:], f"{op.name}.{number}")
        attrs = {name: value for name, value in op.attrs.items() if name not in HIDDEN}
        for tensor in tensors:
            self._value(tensor, self._graph.shape(tensor, self._sizes), persistable=True)
        self.node(path, FEED if op.name == INPUT else op.name, taken, made, attrs)
        if tensors and len(path.parts) > 2:
            self._tell(self.nodes[str(path.parent)], tensors)

    def _value(self, name: str, shape: tuple[int, ...], persistable: bool = False) -> None:
        """A value between operations, or a tensor of the network."""
        told = {"name": name, "shape": list(shape), "dtype": "", "persistable": persistable}
        self.values.setdefault(name, {**told, "from_node": "", "to_nodes": []})

    def _tell(self, layer: dict[str, Any], tensors: list[str]) -> None:
        """Add the layer's own tensors to its box."""
        for tensor in tensors:
            own = tensor.rpartition(".")[2]
            layer["input_vars"][own] = [tensor]
            if self._graph.shape(tensor, self._sizes) != self._graph.shapes[tensor]:
                layer["attrs"][f"{own} before pruning"] = str(list(self._graph.shapes[tensor]))
                layer["attr_types"][f"{own} before pruning"] = "STRING"

    def node(
        self,
        path: PurePosixPath,
        kind: str,
        taken: dict[str, list[str]],
        made: list[str],
        attrs: Mapping[str, Any] = {},
    ) -> None:
        """Add an operation, and the boxes around it that are missing."""
        name = str(path)
        self.nodes[name] = {**box(path, kind, leaf=True), "input_vars": taken, "output_vars": {"Y": made}}
        self.nodes[name] |= {"attrs": {key: str(value) for key, value in attrs.items()}}
        self.nodes[name] |= {"attr_types": dict.fromkeys(attrs, "STRING")}
        for value in (value for values in taken.values() for value in values):
            self.values[value]["to_nodes"].append(name)
        for value in made:
            self.values[value]["from_node"] = name
        for parent in path.parents:
            around = self.nodes.setdefault(str(parent), box(parent, self._titles.get(parent.parts[1:], ""), leaf=False))
            if name in around["children_node"]:
                break
            around["children_node"].append(name)
            name = str(parent)

    def close(self) -> None:
        """Add its inputs and outputs to each box: the page draws them while the box is folded up."""
        for value in self.values.values():
            source, targets = around(value["from_node"]), [around(target) for target in value["to_nodes"]]
            if not value["persistable"]:
                for layer in dict.fromkeys(layer for target in targets for layer in target if layer not in source):
                    self.nodes[layer]["input_vars"]["X"].append(value["name"])
                for layer in source:
                    if any(layer not in target for target in targets):
                        self.nodes[layer]["output_vars"]["Y"].append(value["name"])


def tensors_of(op: Op, graph: Graph) -> list[str]:
    """The tensors of the network among the operands of an operation."""
    return [graph.evaluation.tensors[value] for value in op.operands if value in graph.evaluation.tensors]


def titles(graph: Graph) -> dict[tuple[str, ...], str]:
    """The text on the box of each call of a layer: its class, and its name if a tensor tells it."""
    found: dict[tuple[str, ...], str] = {}
    for op in graph.evaluation.ops:
        calls = PurePosixPath(op.scope).parts[2:]
        for depth in range(1, len(calls) + 1):
            found.setdefault(calls[:depth], kind_of(calls[depth - 1]))
        for layer in (layer_name(tensor) for tensor in tensors_of(op, graph)):
            inner = calls
            while inner and layer:
                if graph.kinds.get(layer) == kind_of(inner[-1]):
                    found[inner] = f"{layer} ({kind_of(inner[-1])})"
                    inner = inner[:-1]
                layer = layer.rpartition(".")[0]
    return found


def kind_of(call: str) -> str:
    """The class of the layer that was called, as in ``Conv2D_3``: the third call."""
    return call.rpartition("_")[0]


def around(name: str) -> list[str]:
    """The boxes around an operation, without that of the network itself."""
    return [str(parent) for parent in PurePosixPath(name).parents if len(parent.parts) > 1]


def box(path: PurePosixPath, kind: str, leaf: bool) -> dict[str, Any]:
    """A new box: an operation, or a layer around operations."""
    return {
        "name": str(path),
        "show_name": str(path),
        "type": kind,
        "attrs": {},
        "attr_types": {},
        "input_vars": {"X": []},
        "output_vars": {"Y": []},
        "children_node": [],
        "parent_node": str(path.parent) if path.name else "",
        "is_leaf_node": leaf,
    }
