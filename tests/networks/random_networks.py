"""Random small convolutional networks, drawn by hypothesis.

A `Recipe` says how to build one: a list of steps, each a block over earlier values, and the heads that make the
outputs. Its repr can be pasted into a test. Every block is one structure that pruning must get right; whether it is
drawn where it does not fit (an odd number of channels to be halved) is decided by running it on the shapes at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
import random_blocks_layers
import random_blocks_wiring
import reference
from hypothesis import strategies as st
from paddle import nn
from random_blocks import BLOCKS, HEADS, INPUT, WIDTHS
from random_blocks_sizes import WRITTEN_DOWN

FILES = [random_blocks_layers, random_blocks_wiring]
"""Which enter the blocks."""


@dataclass(frozen=True)
class Step:
    """A block by name, the numbers of the values that it takes (0 is the input), and its options."""

    kind: str
    takes: tuple[int, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How to build a network.

    Attributes:
        steps: step n makes value n + 1.
        heads: the outputs.
        training_head: an output that is there in training only.
        seed: fixes all numbers.
    """

    steps: tuple[Step, ...]
    heads: tuple[Step, ...]
    training_head: Step | None = None
    seed: int = 0

    def build(self, kind=None):
        """The network, in training mode, with random weights and statistics."""
        return reference.randomise((kind or RandomNetwork)(self), self.seed, weights=True)

    def inputs(self):
        """Example input, the same each time."""
        return [paddle.to_tensor(np.random.RandomState(self.seed + 1).standard_normal(INPUT).astype("float32"))]

    def has(self, *kinds):
        """Whether a block of one of these kinds is in it."""
        return any(step.kind in kinds for step in self.steps)


class RandomNetwork(nn.Layer):
    """What a recipe says."""

    def __init__(self, recipe):
        super().__init__()
        shapes = [INPUT]
        with paddle.no_grad():
            self.steps = nn.LayerList()
            values = [paddle.zeros(INPUT)]
            for step in recipe.steps:
                self.steps.append(made(step, shapes))
                values.append(self.steps[-1](*(values[n] for n in step.takes)))
                shapes.append(tuple(values[-1].shape))
            self.heads = nn.LayerList([made(step, shapes) for step in recipe.heads])
            self.training_head = made(recipe.training_head, shapes) if recipe.training_head else None
        self.plan = [step.takes for step in recipe.steps]
        self.ends = [step.takes[0] for step in recipe.heads]
        self.training_end = recipe.training_head.takes[0] if recipe.training_head else 0

    @paddle.jit.not_to_static
    def forward(self, x):
        """Traced as it is: to convert the source first takes Paddle most of the time, and changes nothing."""
        return self.result(x)

    def result(self, x):
        values = [x]
        for step, takes in zip(self.steps, self.plan):
            values.append(step(*[values[n] for n in takes]))
        results = [head(values[n]) for head, n in zip(self.heads, self.ends)]
        if self.training and self.training_head is not None:
            results.append(self.training_head(values[self.training_end]))
        return results[0] if len(results) == 1 else tuple(results)


class Converted(RandomNetwork):
    """The same, whose source Paddle converts before it traces it, as it does with networks of anybody's."""

    def forward(self, x):
        return self.result(x)


def made(step, shapes):
    """The block of a step over values of the shapes so far."""
    table = {**BLOCKS, **WRITTEN_DOWN, **HEADS}
    return table[step.kind]([shapes[n] for n in step.takes], **step.options)


@st.composite
def recipes(draw, most_steps=7, written_down=False, kinds=None):
    """A random recipe.

    Args:
        draw: given by hypothesis.
        most_steps: at most this many blocks after the first convolution.
        written_down: with blocks that cannot shrink.
        kinds: the blocks to choose from; None for all.
    """
    kinds = list(kinds or BLOCKS) + (list(WRITTEN_DOWN) if written_down else [])
    table = {**BLOCKS, **WRITTEN_DOWN}
    steps = [Step("conv", (0,), {"width": draw(WIDTHS), "kernel": 3, "stride": 1, "bias": draw(st.booleans())})]
    shapes = [INPUT]
    values = [paddle.zeros(INPUT)]

    def add(step):
        with paddle.no_grad():
            values.append(made(step, shapes)(*(values[n] for n in step.takes)))
        shapes.append(tuple(values[-1].shape))

    add(steps[0])
    for _ in range(draw(st.integers(1, most_steps))):
        kind = draw(st.sampled_from(kinds))
        last = len(values) - 1
        takes = (last, *(draw(st.integers(1, last)) for _ in range(table[kind].takes - 1)))
        if draw(st.integers(0, 5)) == 5:  # a branch off an earlier value
            takes = (draw(st.integers(1, last)), *takes[1:])
        options = table[kind].options(draw, [shapes[n] for n in takes])
        if options is not None:
            steps.append(Step(kind, takes, options))
            add(steps[-1])
    used = {n for step in steps for n in step.takes}
    loose = [n for n in range(1, len(values)) if n not in used]
    ends = loose[-3:]
    if len(ends) < 3 and draw(st.integers(0, 3)) == 3:
        ends.append(draw(st.integers(1, len(values) - 1)))
    # One bare output would leave a short network nothing to prune.
    tops = list(HEADS) if len(ends) > 1 else [kind for kind in HEADS if kind != "bare"]
    heads = [Step(draw(st.sampled_from(tops)), (n,), {}) for n in ends]
    extra = draw(st.integers(0, 3)) == 3
    training = Step("mean_linear", (draw(st.integers(1, len(values) - 1)),), {}) if extra else None
    return Recipe(tuple(steps), tuple(heads), training, draw(st.integers(0, 2**16)))
