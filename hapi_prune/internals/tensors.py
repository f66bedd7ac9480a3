"""Tensors and their storage: resized in place, shared, viewed, and as held by layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle


def resize(tensor: paddle.Tensor, array: npt.NDArray[Any]) -> None:
    """Give ``tensor`` a new shape and new values, in place: object, name and references stay.

    ``set_value`` refuses another shape; the storage underneath does not. Gradients have to follow, see `gradients`.
    bfloat16 travels as NumPy's uint16, both ways.
    """
    become(tensor, paddle.to_tensor(array, place=tensor.place))


@cache
def _numpy_type(dtype: Any) -> str:
    """NumPy's type for the elements of a tensor of ``dtype``, as `_Memory` tells it."""
    return np.asarray(paddle.empty([0], dtype=dtype).numpy()).dtype.str


def view(tensor: paddle.Tensor) -> npt.NDArray[Any]:
    """The numbers of ``tensor``, to be read at once: a view of its memory if that is possible, else a copy.

    The view is invalid as soon as the tensor is deleted or has another storage.
    """
    shape = tuple(tensor.shape)
    if not (tensor.place.is_cpu_place() and tensor.is_dense() and tensor.is_contiguous() and all(shape)):
        return np.asarray(tensor.numpy())
    return np.asarray(_Memory(tensor.data_ptr(), shape, _numpy_type(tensor.dtype)))


def new(shape: Sequence[int], tensor: paddle.Tensor, array: npt.NDArray[Any]) -> tuple[paddle.Tensor, npt.NDArray[Any]]:
    """A new uninitialised tensor of the type and in the place of ``tensor``, and its `view`.

    As ``paddle.empty``, without the checks of arguments that take most of its time; what there is to know of the
    tensor is told by ``array``, its view.
    """
    made = paddle._C_ops.empty(shape, tensor.dtype, tensor.place)
    if not isinstance(array.base, _Memory):
        return made, view(made)
    return made, np.asarray(_Memory(made.data_ptr(), tuple(shape), array.dtype.str))


class _Memory:
    """Memory as NumPy takes it. An array type of ctypes would be made, and kept, for each size that is looked at."""

    __slots__ = ("__array_interface__",)

    def __init__(self, address: int, shape: tuple[int, ...], kind: str) -> None:
        self.__array_interface__ = {"version": 3, "data": (address, False), "shape": shape, "typestr": kind}


def write_back(tensor: paddle.Tensor, array: npt.NDArray[Any]) -> None:
    """Give a tensor the numbers of its `view`, if that is a copy."""
    if not isinstance(array.base, _Memory):
        resize(tensor, array)


def as_type(array: npt.NDArray[Any], dtype: Any) -> npt.NDArray[Any]:
    """``array`` converted to ``dtype``, as NumPy holds it: bfloat16 is held as the bits of a uint16."""
    tensor = paddle.to_tensor(array, place=paddle.CPUPlace())
    found: npt.NDArray[Any] = (tensor if tensor.dtype == dtype else tensor.astype(dtype)).numpy()
    return found


def become(tensor: paddle.Tensor, other: paddle.Tensor) -> None:
    """Give ``tensor`` the shape and the storage of ``other``, without copying."""
    tensor.get_tensor()._share_data_with(other.get_tensor())


def storage(tensor: paddle.Tensor) -> Any:
    """The shape and storage that ``tensor`` has now, kept alive when `become` replaces it; `restore` takes it."""
    held = paddle.base.core.DenseTensor()
    held._share_data_with(tensor.get_tensor())
    return held


def restore(tensor: paddle.Tensor, held: Any) -> None:
    """Give ``tensor`` the shape and the storage that it had when `storage` was asked for them."""
    tensor.get_tensor()._share_data_with(held)


def gradients(tensor: paddle.Tensor) -> list[paddle.Tensor]:
    """The dense gradients of ``tensor``; in mixed precision there may be a second one, in float32.

    A sparse gradient, which fits no new shape, is cleared.
    """
    if tensor.stop_gradient:
        return []
    found = [tensor.grad, getattr(tensor, "main_grad", None)]
    if found[0] is not None and found[0].is_selected_rows():
        tensor.clear_gradient(False)
        found[0] = None
    return [gradient for gradient in found if gradient is not None and gradient.is_dense()]


def let_gradient_be(tensor: paddle.Tensor, gradient: paddle.Tensor | None, place: str = "grad") -> None:
    """Give a leaf a gradient, or none; ``place``: the attribute that holds it, see `gradient_places`."""
    if gradient is None and place == "grad":
        tensor.clear_gradient(False)  # Paddle 3.0 refuses None
    else:
        setattr(tensor, place, gradient)


def gradient_places(tensor: paddle.Tensor) -> dict[str, paddle.Tensor]:
    """The dense gradients of ``tensor`` by the attribute that holds each."""
    dense = gradients(tensor)
    held = {place: getattr(tensor, place, None) for place in ("grad", "main_grad")} if dense else {}
    return {place: gradient for place, gradient in held.items() if gradient is not None and gradient.is_dense()}


def own_tensors(layer: paddle.nn.Layer) -> dict[str, paddle.Tensor]:
    """The parameters and buffers that belong to a layer itself, by attribute."""
    if not (layer._parameters or layer._buffers):  # as of every other layer: activations, and those that hold layers
        return {}
    found = {**layer._parameters, **layer._buffers}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def hold(layer: paddle.nn.Layer, tensors: dict[str, paddle.Tensor]) -> None:
    """Restore a layer's buffers to the objects in ``tensors``, after a forward pass that may have replaced them."""
    for name, tensor in list(layer._buffers.items()):
        if tensor is not None and tensors.get(name) is not tensor:
            if name in tensors:
                layer._buffers[name] = tensors[name]
            else:
                del layer._buffers[name]
