"""Whether a forward reads the mode of its layers, or the sizes of its values.

Code that reads neither does the same in training and in evaluation mode, and with images of any size, so that one trace
shows what it does in all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paddle
from paddle.nn.layer.norm import _BatchNormBase
from paddle.pir import Value

from .preserve import replaced
from .stacks import is_paddle_code, is_user_code

_FLAG_ONLY = tuple(kind.forward.__code__ for kind in (_BatchNormBase, paddle.nn.BatchNorm, paddle.nn.Dropout))
"""Forwards of Paddle's own layers that run the same operation in both modes, and give it the mode as an attribute."""


@dataclass
class ForwardReads:
    """What a forward has read.

    Attributes:
        mode: whether it read ``training`` of a layer, so that it may do something else in the other mode.
        sizes: whether it read the shape of a value, so that it may do something else at other sizes.
    """

    mode: bool = False
    sizes: bool = False


class OpenSize(Exception):
    """A forward reads a size that Paddle leaves open, such as that of an image enlarged to ``paddle.shape(x)[2:]``."""


@contextmanager
def recording_reads(layers: Iterable[paddle.nn.Layer], reads: ForwardReads) -> Iterator[None]:
    """Within the block, in which ``layers`` run on symbolic values, record in ``reads`` what their code reads.

    Raises:
        OpenSize: the code would go on with the -1 that stands for a size.
    """
    reads.mode = any(_has_a_mode_of_its_own(kind) for kind in set(map(type, layers)))
    shape = Value.shape

    def training(layer: paddle.nn.Layer) -> bool:
        code = sys._getframe(1).f_code
        if (
            code not in _FLAG_ONLY or getattr(layer, "axis", None) is not None
        ):  # with an axis, Dropout is several operations
            reads.mode = True
        return bool(vars(layer)["training"])

    def set_training(layer: paddle.nn.Layer, flag: bool) -> None:
        reads.mode = True
        vars(layer)["training"] = flag

    def sizes(value: Any) -> Any:
        found = shape.fget(value)
        path = sys._getframe(1).f_code.co_filename
        if not is_paddle_code(path):
            reads.sizes = True
            if -1 in found and is_user_code(path):
                raise OpenSize(f"a shape is read that is not known while tracing: {found}")
        return found

    mode = replaced(paddle.nn.Layer, {"training": property(training, set_training)})
    with mode, replaced(Value, {"shape": property(sizes, shape.fset)}):
        yield


def _has_a_mode_of_its_own(kind: type) -> bool:
    """Whether a class of layers defines ``training`` itself, so that reading it would not be noticed."""
    return any("training" in vars(base) for base in kind.__mro__ if base is not paddle.nn.Layer)
