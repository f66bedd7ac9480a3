"""A network saved as Paddle's own program, whatever form its inputs have."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import paddle
from paddle.static import InputSpec

from ..analysis.example_input import Example, is_leaf


class Flat(paddle.nn.Layer):
    """A network that takes its tensors as one list, so that every form of input can be saved."""

    network: paddle.nn.Layer
    given: Example

    def forward(self, leaves: Sequence[paddle.Tensor]) -> Any:
        args, kwargs = self.given.rebuilt(leaves)
        return self.network(*args, **kwargs)


def save_program(network: paddle.nn.Layer, given: Example, path: str, specs: Sequence[InputSpec]) -> None:
    """Save a network, in the mode that it is in, with the tensors of ``given`` as its inputs."""
    flat = Flat()
    flat.network, flat.given = network, given
    paddle.jit.save(flat, path, input_spec=[list(specs)])


def program_file(path: str) -> str:
    """The file of the operations; its suffix depends on the version of Paddle."""
    return next(path + end for end in (".json", ".pdmodel") if os.path.exists(path + end))


def specs_of(inputs: Any, given: Example) -> tuple[list[InputSpec], bool]:
    """An InputSpec for each tensor of the example, by the user's names where there are any; is the batch left open?"""
    shapes = [list(leaf.shape) for leaf in given.leaves]
    names = [f"input_{number}" for number in range(len(shapes))]
    is_open = False
    for number, value in enumerate(leaves_of(inputs)):
        names[number] = (isinstance(value, InputSpec) and value.name) or names[number]
        first = next(iter(value.shape if hasattr(value, "shape") else value), 1)
        if first in (None, -1):
            shapes[number][0], is_open = None, True
    return [InputSpec(s, leaf.dtype, n) for s, leaf, n in zip(shapes, given.leaves, names)], is_open


def leaves_of(inputs: Any) -> Iterator[Any]:
    """The shapes, InputSpecs and tensors in the user's inputs, in the order of the example's leaves."""
    if is_leaf(inputs):
        yield inputs
    elif isinstance(inputs, (Mapping, list, tuple)):
        for value in inputs.values() if isinstance(inputs, Mapping) else inputs:
            yield from leaves_of(value)
