"""Arrays that go to NumPy, torch and back: shared where that is safe, else copied or refused in a sentence."""

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F


class OnGPU:
    """What a library's array on a GPU says of itself."""

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **given):
        raise AssertionError("asked for memory that NumPy cannot read")


def test_numpy_takes_the_array_itself():
    x = mg.Tensor([1.0, 2.0])
    assert np.asarray(x) is x.data and np.asarray(x, np.float32) is x.data and np.array(x, copy=False) is x.data
    assert not np.shares_memory(np.array(x), x.data) and not np.shares_memory(np.array(x, copy=True), x.data)
    assert np.asarray(x, np.float64).dtype == np.float64 and np.mean(np.asarray(x)) == 1.5
    with pytest.raises(ValueError, match="copy"):
        np.array(x, np.float64, copy=False)


def test_numpy_gets_read_only_memory_while_a_graph_needs_it():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    seen = np.asarray(x)
    with pytest.raises(ValueError, match="read-only"):
        seen[0] = 5
    del y
    seen[0] = 5
    assert x.numpy()[0] == 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_])
def test_dlpack_shares_memory_both_ways(dtype):
    x = mg.Tensor(np.arange(6).reshape(2, 3).astype(dtype))
    array = np.from_dlpack(x)
    assert array.dtype == dtype and np.shares_memory(array, x.data) and array.flags.writeable
    back = mg.from_dlpack(array)
    assert mg.from_dlpack(np.array(1, dtype)).shape == () and mg.from_dlpack(np.zeros((0, 2), dtype)).shape == (0, 2)
    assert isinstance(back, mg.Tensor) and np.shares_memory(back.data, x.data) and back.shape == (2, 3)
    assert not back.requires_grad and np.array_equal(mg.from_dlpack(x).numpy(), x.numpy())
    assert x.__dlpack_device__() == (1, 0)
    assert not np.shares_memory(np.from_dlpack(x, copy=True), x.data)


def test_strides_are_kept():
    maps = F.conv2d(np.ones((1, 3, 5, 5), np.float32), np.ones((4, 3, 3, 3), np.float32))  # channels-last in memory
    array = np.from_dlpack(maps)
    assert array.strides == maps.data.strides and np.shares_memory(array, maps.data)


def test_a_tensor_that_requires_grad_is_refused():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    for tensor in (x, x * 2):
        with pytest.raises(BufferError, match=r"requires grad.*\.detach\(\)"):
            np.from_dlpack(tensor)
    del tensor
    assert np.shares_memory(np.from_dlpack(x.detach()), x.data)


def test_memory_that_a_graph_needs_is_copied_or_refused():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    array = np.from_dlpack(x.detach())
    assert not np.shares_memory(array, x.data)
    array[0] = 100
    with pytest.raises(BufferError, match="a graph needs this read-only memory"):
        np.from_dlpack(x.detach(), copy=False)
    assert mg.grad(y, x).tolist() == [2.0, 4.0]
    del y
    assert np.shares_memory(np.from_dlpack(x.detach()), x.data)


def test_what_comes_in_is_guarded_like_any_input():
    array = np.array([1.0, 2.0])
    x = mg.from_dlpack(array)
    x.requires_grad = True
    y = x * x
    assert not x.data.flags.writeable and y.dtype == np.float64
    del y
    x.data[0] = 3
    assert array[0] == 3
    x = mg.from_numpy(np.from_dlpack(np.array([1.0, 2.0])))  # which NumPy cannot make writeable again
    x.requires_grad = True
    del_me = x * x
    del del_me
    assert not x.data.flags.writeable
    frozen = np.ones(3)
    frozen.flags.writeable = False
    assert mg.from_dlpack(frozen).tolist() == [1.0, 1.0, 1.0]


def test_what_cannot_come_in_is_refused():
    with pytest.raises(TypeError, match="expected an array that has __dlpack__, got list"):
        mg.from_dlpack([1.0])
    with pytest.raises(TypeError, match="numbers or booleans, got dtype complex64"):
        mg.from_dlpack(np.ones(2, np.complex64))
    with pytest.raises(RuntimeError, match="the OnGPU is not on the CPU, and CuPy"):
        mg.from_dlpack(OnGPU())


@pytest.mark.torch
def test_torch_shares_memory_both_ways():
    torch = pytest.importorskip("torch")
    ours = mg.Tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    theirs = torch.from_dlpack(ours)
    theirs[0, 0] = 7
    assert ours.numpy()[0, 0] == 7 and theirs.data_ptr() == ours.data.ctypes.data
    assert torch.asarray(ours).shape == (2, 3)

    theirs = torch.arange(12.0).reshape(3, 4).T  # not contiguous
    ours = mg.from_dlpack(theirs)
    theirs[1, 2] = -5
    assert ours.shape == (4, 3) and ours.numpy()[1, 2] == -5 and ours.data.ctypes.data == theirs.data_ptr()
    assert np.array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.torch
def test_torch_cannot_reach_what_a_graph_needs():
    torch = pytest.importorskip("torch")
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    torch.from_dlpack(x.detach())[0] = 100
    assert mg.grad(y, x).tolist() == [2.0, 4.0]
    with pytest.raises(BufferError, match="detach"):
        torch.from_dlpack(x)
    with pytest.raises(BufferError, match="gradient"):
        mg.from_dlpack(torch.ones(2, requires_grad=True))
    with pytest.raises(BufferError, match="this Tensor cannot be shared"):
        mg.from_dlpack(torch.ones(2, dtype=torch.bfloat16))


@pytest.mark.torch
def test_a_gradient_goes_to_torch_and_back():
    torch = pytest.importorskip("torch")
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    ours = mg.from_dlpack(x.detach())
    ours.requires_grad = True
    found = torch.from_dlpack(mg.grad((ours * ours * ours).sum(), ours))
    (x * x * x).sum().backward()
    assert torch.allclose(found, x.grad)


@pytest.mark.gpu
def test_cupy_shares_memory_both_ways():
    cupy = pytest.importorskip("cupy")
    x = mg.Tensor([1.0, 2.0]).to("cuda")
    array = cupy.from_dlpack(x)
    array[0] = 9
    assert x.tolist() == [9.0, 2.0] and mg.from_dlpack(array).device.startswith("cuda")
    with pytest.raises(TypeError, match="this one is on cuda:0"):
        np.asarray(x)
