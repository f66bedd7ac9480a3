"""What a forward asks of its surroundings: in which mode it runs, and how large its values are.

Code that asks for neither does the same in training and in evaluation, and with an image of any size: then one run
shows what all of them do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paddle
from paddle.nn.layer.norm import _BatchNormBase
from paddle.pir import Value

from .layers import named_layers
from .preserve import replaced
from .stacks import is_paddle_code

_FLAG_ONLY = tuple(kind.forward.__code__ for kind in (_BatchNormBase, paddle.nn.BatchNorm, paddle.nn.Dropout))
"""Code of Paddle's that makes the same operations in both modes, and gives them the mode as an attribute."""


@dataclass
class Asked:
    """What was asked for.

    Attributes:
        mode: whether training or evaluation may lead through other code.
        sizes: whether the sizes of values may.
    """

    mode: bool = False
    sizes: bool = False


@contextmanager
def noticed(network: paddle.nn.Layer, asked: Asked) -> Iterator[None]:
    """Write into ``asked`` what is asked for until the block ends, as ``network`` runs on symbolic values."""
    asked.mode = any(_has_a_mode_of_its_own(kind) for kind in {type(layer) for layer in named_layers(network).values()})
    shape = Value.shape

    def training(layer: paddle.nn.Layer) -> bool:
        code = sys._getframe(1).f_code
        if code not in _FLAG_ONLY or getattr(layer, "axis", None) is not None:  # along an axis, Dropout draws by itself
            asked.mode = True
        return bool(vars(layer)["training"])

    def set_training(layer: paddle.nn.Layer, flag: bool) -> None:
        asked.mode = True
        vars(layer)["training"] = flag

    def sizes(value: Any) -> Any:
        if not is_paddle_code(sys._getframe(1).f_code.co_filename):
            asked.sizes = True
        return shape.fget(value)

    mode = replaced(paddle.nn.Layer, {"training": property(training, set_training)})
    with mode, replaced(Value, {"shape": property(sizes, shape.fset)}):
        yield


def _has_a_mode_of_its_own(kind: type) -> bool:
    """Whether a class of layers says itself what its mode is."""
    return any("training" in vars(base) for base in kind.__mro__ if base is not paddle.nn.Layer)
