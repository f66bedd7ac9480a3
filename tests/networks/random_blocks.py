"""What the blocks of random networks are made of, and the tables that they are entered in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st
from paddle import nn

INPUT = (2, 3, 8, 6)
"""The input's shape: all sizes differ, so that axes cannot be mixed up unseen."""

WIDTHS = st.sampled_from([4, 6, 8, 5, 3, 2, 12, 1])
MIXING = [True]
"""Whether ops mix channels; see `unmixed`."""


@contextmanager
def unmixed():
    """Inside, what mixes channels with each other is left out, in networks built before, too.

    To remove a channel and to zero it are then the same everywhere, so that a cut network can be compared with the
    masked one although it normalises channels together: whether its channels are wired right is seen all the same.
    """
    MIXING[0] = False
    try:
        yield
    finally:
        MIXING[0] = True


BLOCKS: dict[str, type[Block]] = {}
HEADS: dict[str, type[Block]] = {}


class Block(nn.Layer):
    """One step of a network: from values of shape [N, C, H, W] to another."""

    takes = 1
    "How many values."

    @staticmethod
    def options(draw, shapes):
        """What is to be chosen for values of these shapes; None where the block does not fit."""
        return {}


def block(name, table=None):
    """Enter a class into the table of blocks."""

    def enter(cls):
        (BLOCKS if table is None else table)[name] = cls
        return cls

    return enter


class Function(Block):
    """A function of one value, without layers."""

    run: Callable[[Any], Any]

    def __init__(self, shapes):
        super().__init__()

    def forward(self, x):
        return type(self).run(x)


def functions(fits, *runs):
    """Enter functions of one value, for values whose channels and places fit.

    Not as a decorator: Paddle's tracing converts a function with its decorators, and would call them again.
    """
    for run in runs:
        draw = staticmethod(lambda draw, shapes: {} if fits(*shapes[0][1:]) else None)
        BLOCKS[run.__name__] = type(run.__name__, (Function,), {"run": staticmethod(run), "options": draw})


def even(c, h, w):
    return c % 2 == 0 and c > 2


def unlike_halves(c, h, w):
    """Of four channels a half is two, as the code's own two, and no shape says which is which: it takes a trial."""
    return even(c, h, w) and c != 4


def larger(c, h, w):
    return c > 1


def any_size(c, h, w):
    return True
