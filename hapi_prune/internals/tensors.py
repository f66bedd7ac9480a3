"""Tensors and the storage beneath them: resized in place, shared, held by layers."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from math import prod
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


def empty(shape: Sequence[int], tensor: paddle.Tensor) -> paddle.Tensor:
    """A new tensor of the type of ``tensor`` and where that is, to be filled."""
    found = _empty(shape, tensor.dtype)
    return found if found.place == tensor.place else found._copy_to(tensor.place, True)


def _empty(shape: Sequence[int], dtype: Any) -> paddle.Tensor:
    """A new tensor where Paddle puts them: as ``paddle.empty``, which takes longer to find out what it was asked."""
    return paddle._C_ops.empty(shape, dtype, paddle.framework._current_expected_place_())


@cache
def numpy_type(dtype: Any) -> np.dtype[Any]:
    """The type of the elements of a tensor of ``dtype`` as an array."""
    return np.asarray(paddle.empty([0], dtype=dtype).numpy()).dtype


def view(tensor: paddle.Tensor) -> npt.NDArray[Any]:
    """The numbers of ``tensor``, to be read at once: its own memory where NumPy can see it, else a copy.

    The array is of no use once the tensor has another storage, or is gone.
    """
    size = prod(tensor.shape)
    if not (tensor.place.is_cpu_place() and tensor.is_dense() and tensor.is_contiguous() and size):
        return np.asarray(tensor.numpy())
    dtype = numpy_type(tensor.dtype)
    memory = (ctypes.c_char * (size * dtype.itemsize)).from_address(tensor.data_ptr())
    return np.frombuffer(memory, dtype).reshape(tensor.shape)


@contextmanager
def written(tensor: paddle.Tensor) -> Iterator[npt.NDArray[Any]]:
    """The numbers of ``tensor`` as an array for the length of a block; what is written there is the tensor's."""
    array = view(tensor)
    yield array
    if array.ctypes.data != tensor.data_ptr():
        resize(tensor, array)


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
    held = _empty([0], tensor.dtype)
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


def gradient_places(tensor: paddle.Tensor) -> dict[str, paddle.Tensor]:
    """What `gradients` gives, by the attribute of the tensor that holds it."""
    dense = gradients(tensor)
    held = {place: getattr(tensor, place, None) for place in ("grad", "main_grad")} if dense else {}
    return {place: gradient for place, gradient in held.items() if gradient is not None and gradient.is_dense()}


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
