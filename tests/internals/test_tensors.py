"""The memory beneath a tensor, seen and written through NumPy."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from hapi_prune.internals.tensors import become, memory, storage, view, write_back

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_view_is_the_tensor_s_own_memory(dtype):
    tensor = (paddle.randn([3, 4]) * 5).astype(dtype)
    array = view(tensor)
    assert array.ctypes.data == tensor.data_ptr()
    assert array.dtype == tensor.numpy().dtype
    assert array.tobytes() == tensor.numpy().tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [[], [0, 3], [5], [2, 3]])
def test_a_tensor_becomes_what_an_array_holds_and_back(dtype, shape):
    tensor, other = (paddle.randn([3, 4]) * 5).astype(dtype), (paddle.randn(shape) * 5).astype(dtype)
    before, name = tensor.numpy().tobytes(), tensor.name
    kept = storage(tensor)
    array = other.numpy()
    become(tensor, memory(array, tensor.place))
    assert (tensor.shape, tensor.dtype, tensor.name) == (other.shape, other.dtype, name)
    assert tensor.numpy().tobytes() == array.tobytes()
    become(tensor, kept)
    assert (tensor.shape, tensor.dtype) == ([3, 4], other.dtype)
    assert tensor.numpy().tobytes() == before


def test_memory_is_not_that_of_the_array():
    tensor, array = paddle.zeros([3]), np.ones(3, "float32")
    become(tensor, memory(array, tensor.place))
    array[:] = 2
    assert tensor.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [[], [0, 3], [1], [2, 3, 1, 1]])
def test_a_view_has_the_shape_of_its_tensor(shape):
    tensor = paddle.ones(shape)
    assert view(tensor).shape == tuple(shape)
    assert np.array_equal(view(tensor), tensor.numpy())


def test_what_does_not_lie_in_one_piece_is_copied_and_written_back():
    tensor = paddle.arange(6, dtype="float32").reshape([2, 3])
    turned = paddle.as_strided(tensor, [3, 2], [1, 3])
    assert not turned.is_contiguous()
    array = view(turned)
    array[0] = 7
    write_back(turned, array)
    assert turned.numpy().tolist() == [[7, 7], [1, 4], [2, 5]]


@pytest.mark.parametrize("part", [slice(1, 3), slice(2, None)])
def test_a_part_of_another_tensor_is_seen_where_it_begins(part):
    tensor = paddle.arange(12, dtype="float32").reshape([4, 3])
    assert view(tensor[part]).tolist() == tensor.numpy()[part].tolist()
    assert view(tensor.detach()).tolist() == tensor.tolist()


def test_what_is_written_is_the_tensor_s_and_its_storage_stays():
    tensor = paddle.zeros([2, 2])
    place = tensor.data_ptr()
    array = view(tensor)
    array[1] = np.nan
    write_back(tensor, array)
    assert tensor.data_ptr() == place
    assert np.array_equal(tensor.numpy(), [[0, 0], [np.nan, np.nan]], equal_nan=True)
