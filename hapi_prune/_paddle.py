"""Every private attribute and undocumented behaviour of Paddle that the library stands on, named once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import paddle
from paddle import nn
from paddle.static import InputSpec


def resize(tensor: paddle.Tensor, array: npt.NDArray[Any]) -> None:
    """Give ``tensor`` a new shape and new values, in place: object, name and references stay.

    ``set_value`` refuses another shape; the storage underneath does not. Gradients have to follow, see `gradients`.
    bfloat16 travels as NumPy's uint16, both ways.
    """
    become(tensor, paddle.to_tensor(array, place=tensor.place))


def as_type(array: npt.NDArray[Any], dtype: Any) -> npt.NDArray[Any]:
    """``array`` as NumPy holds a tensor of ``dtype``; bfloat16 is uint16 there, and its numbers are not those of it."""
    tensor = paddle.to_tensor(array, place=paddle.CPUPlace())
    found: npt.NDArray[Any] = (tensor if tensor.dtype == dtype else tensor.astype(dtype)).numpy()
    return found


def become(tensor: paddle.Tensor, other: paddle.Tensor) -> None:
    """Let ``tensor`` have the shape and the storage of ``other``; nothing is copied."""
    tensor.get_tensor()._share_data_with(other.get_tensor())


def storage(tensor: paddle.Tensor) -> paddle.Tensor:
    """Another tensor on the storage that ``tensor`` has now, which stays when `become` gives it another."""
    held = paddle.empty([0], dtype=tensor.dtype)
    held.get_tensor()._share_data_with(tensor.get_tensor())
    return held


def gradients(tensor: paddle.Tensor) -> list[paddle.Tensor]:
    """What a backward pass has left at ``tensor`` for the next step; of the sparse kind, which fits no shape, none.

    In mixed precision there may be a second one, in float32.
    """
    if tensor.stop_gradient:
        return []
    found = [tensor.grad, getattr(tensor, "main_grad", None)]
    if found[0] is not None and found[0].is_selected_rows():
        tensor.clear_gradient(False)
        found[0] = None
    return [gradient for gradient in found if gradient is not None and gradient.is_dense()]


_HOME = os.path.dirname(paddle.__file__)
_HERE = os.path.dirname(__file__)
_MODELS = os.path.join(_HOME, "vision")


@dataclass(frozen=True)
class RawOp:
    """One operation of Paddle's program (PIR), its values numbered.

    Attributes:
        name: without the dialect.
        tensor: Paddle's name of the network's own tensor, where the op only stands for one.
    """

    name: str
    attrs: dict[str, Any]
    operands: tuple[int | None, ...]
    results: tuple[int, ...]
    shapes: tuple[tuple[int, ...] | None, ...]
    where: str
    scope: str
    tensor: str = ""


class Traced:
    """A function, traced to Paddle's own op program (PIR) at fixed shapes.

    A plain function is traced and not the Layer itself, since that would replace the Layer's forward.
    """

    def __init__(self, function: Callable[..., Any], leaves: Sequence[paddle.Tensor]) -> None:
        specs = [InputSpec(list(leaf.shape), leaf.dtype, name=f"input_{n}") for n, leaf in enumerate(leaves)]
        static = paddle.jit.to_static(function, input_spec=[specs], full_graph=True)
        self._program = static.concrete_program
        self._numbers: dict[str, int] = {}

    def outputs(self) -> tuple[int, ...]:
        """The numbers of the values that the function returned."""
        return tuple(
            self._number(value) for value in paddle.utils.flatten(self._program.outputs) if hasattr(value, "id")
        )

    def ops(self) -> Iterator[RawOp]:
        """The operations, in order."""
        for op in self._program.main_program.global_block().ops:
            attrs = op.attrs()
            stack = attrs.pop("op_callstack", None) or ()
            operands = tuple(self._operand(value) for value in op.operands_source())
            inner = tuple(self._number(value) for block in op.blocks() for value in _captured(block))
            yield RawOp(
                name=op.name().replace("pd_op.", "", 1),
                attrs=attrs,
                operands=operands + inner,
                results=tuple(self._number(value) for value in op.results()),
                shapes=tuple(_shape(value) for value in op.results()),
                where=_user_line(stack),
                scope=attrs.pop("struct_name", ""),
                tensor=attrs.get("parameter_name", "") if op.name() == "builtin.parameter" else "",
            )

    def _number(self, value: Any) -> int:
        return self._numbers.setdefault(value.id, len(self._numbers))

    def _operand(self, value: Any) -> int | None:
        return self._number(value) if value.initialized() else None


def _captured(block: Any) -> Iterator[Any]:
    """Values that a nested block (a branch, a loop body) uses."""
    for op in block.ops:
        yield from (value for value in op.operands_source() if value.initialized())
        for inner in op.blocks():
            yield from _captured(inner)


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a value; None for a list of values."""
    try:
        return tuple(value.shape)
    except ValueError:
        return None


def is_user_code(path: str) -> bool:
    """Whether a file is neither Paddle's nor ours. The models that Paddle ships count as a user's."""
    return path.startswith(_MODELS) or not path.startswith((_HOME, _HERE, "<"))


def _user_line(stack: Sequence[str]) -> str:
    """``file:line`` of the innermost frame that is neither Paddle's nor ours."""
    for frame in reversed(stack):
        if not frame.startswith('  File "'):
            continue
        path, _, rest = frame[8:].partition('"')
        if is_user_code(path):
            return f"{path}:{rest.split('line ')[1].split(',')[0]}"
    return ""


def own_tensors(layer: paddle.nn.Layer) -> dict[str, paddle.Tensor]:
    """The parameters and buffers that belong to a layer itself, by attribute."""
    found = {**layer._parameters, **layer._buffers}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def hold(layer: paddle.nn.Layer, tensors: dict[str, paddle.Tensor]) -> None:
    """Let a layer's buffers be those of ``tensors`` again, whatever a forward pass has put into their places."""
    for name, tensor in list(layer._buffers.items()):
        if tensor is not None and tensors.get(name) is not tensor:
            if name in tensors:
                layer._buffers[name] = tensors[name]
            else:
                del layer._buffers[name]


def sizes(layer: paddle.nn.Layer, depthwise: bool) -> dict[str, Any]:
    """What the attributes of a layer have to say, now that its tensors have the shapes that they have.

    Some are only printed; ``LayerNorm`` and convolutions compute with them.
    """
    tensors = own_tensors(layer)
    weight = tensors.get("weight")
    shape = list(weight.shape) if weight is not None else []
    told: dict[str, Any] = {}
    if hasattr(layer, "_in_channels") and hasattr(layer, "_groups") and len(shape) > 2:
        told = _conv_sizes(layer, shape, depthwise)
    elif isinstance(layer, nn.Linear) and len(shape) == 2:
        told = {"in_features": shape[0], "out_features": shape[1]}
    elif isinstance(layer, nn.Embedding):
        told = {"_embedding_dim": shape[1], "embedding_dim": shape[1]}
    elif isinstance(layer, nn.LayerNorm) and tensors:
        # Its tensors are flat: which axis shrank is known where the others have size 1, as in [C, 1, 1].
        width, spread = next(iter(tensors.values())).shape[0], [size for size in layer._normalized_shape if size > 1]
        told = {"_normalized_shape": [width if size > 1 else 1 for size in layer._normalized_shape]}
        told = told if len(spread) == 1 else {}
    elif shape or tensors:
        width = (shape or list(next(iter(tensors.values())).shape))[0:1]
        told = {name: width[0] for name in ("_num_features", "_num_channels", "_num_parameters") if width}
    return {name: value for name, value in told.items() if hasattr(layer, name)}


def takes_any_width(layer: paddle.nn.Layer) -> bool:
    """Whether a layer checks how many channels arrive, and holds nothing that says how many there should be."""
    return isinstance(layer, nn.LayerNorm) and len(layer._normalized_shape) == 1 and not own_tensors(layer)


def width_arriving(layer: paddle.nn.Layer, value: paddle.Tensor) -> dict[str, Any]:
    """What the attributes of such a layer have to say when ``value`` arrives."""
    width = [value.shape[-1]]
    return {} if list(layer._normalized_shape) == width else {"_normalized_shape": width}


def is_depthwise(layer: paddle.nn.Layer) -> bool:
    """Whether a dense layer is a convolution with a group for each channel."""
    groups = getattr(layer, "_groups", 1)
    return bool(groups > 1 and groups == getattr(layer, "_in_channels", 0))


def _conv_sizes(layer: paddle.nn.Layer, shape: list[int], depthwise: bool) -> dict[str, Any]:
    """The sizes of a convolution, from the shape of its weight; a depthwise one has a group for each channel."""
    groups = layer._groups
    if isinstance(layer, (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)):
        groups = shape[0] if depthwise else groups
        return {"_groups": groups, "_in_channels": shape[0], "_out_channels": shape[1] * groups}
    if depthwise:
        groups = shape[0] * groups // layer._out_channels
    return {"_groups": groups, "_in_channels": shape[1] * groups, "_out_channels": shape[0]}
