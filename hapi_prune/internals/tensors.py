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
    become(tensor, memory(array, tensor.place))


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


def sees(array: npt.NDArray[Any], tensor: paddle.Tensor) -> bool:
    """Whether ``array`` is still a `view` of the memory of ``tensor``."""
    same = isinstance(array.base, _Memory) and array.base.address == tensor.data_ptr()
    return same and array.shape == tuple(tensor.shape)


def new(shape: Sequence[int], tensor: paddle.Tensor, array: npt.NDArray[Any]) -> tuple[paddle.Tensor, npt.NDArray[Any]]:
    """A new uninitialised tensor of the type and in the place of ``tensor``, and its `view`.

    As ``paddle.empty``, without the checks of arguments that take most of its time; what NumPy calls its type is told
    by ``array``, which holds the numbers of ``tensor``.
    """
    place = tensor.place
    made = paddle._C_ops.empty(shape, tensor.dtype, place)
    if not (place.is_cpu_place() and all(shape)):
        return made, view(made)
    return made, np.asarray(_Memory(made.data_ptr(), tuple(shape), array.dtype.str))


class _Memory:
    """Memory as NumPy takes it. An array type of ctypes would be made, and kept, for each size that is looked at."""

    __slots__ = ("__array_interface__", "address")

    def __init__(self, address: int, shape: tuple[int, ...], kind: str) -> None:
        self.address = address
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


def memory(array: npt.NDArray[Any], place: Any) -> Any:
    """A new storage with the shape and the numbers of ``array``, for `become`."""
    if not place.is_cpu_place():
        return storage(paddle.to_tensor(array, place=place))
    made = paddle.base.core.DenseTensor()
    made.set(array, paddle.CPUPlace())  # a fifth of the time of a tensor
    return made


def storage(tensor: paddle.Tensor) -> Any:
    """The shape and storage that ``tensor`` has now, kept alive when `become` replaces it."""
    held = paddle.base.core.DenseTensor()
    held._share_data_with(tensor.get_tensor())
    return held


def become(tensor: paddle.Tensor, storage: Any) -> None:
    """Give ``tensor`` another shape and storage, as from `memory` or `storage`, without copying."""
    tensor.get_tensor()._share_data_with(storage)


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
