"""Tensors and the world around them: other devices, and other libraries, whose arrays are shared by DLPack."""

from typing import Any

import numpy as np

from .autograd import Function
from .device import cupy_or_reason, find_device
from .device import to_device as move
from .tensor import Tensor, as_tensor
from .typing import Array, Gradients


class ToDevice(Function):
    """x on another device; the gradient comes back to that of x."""

    def __init__(self, device: str) -> None:
        self.device = device

    def forward(self, x: Array) -> Array:
        return move(x, self.device)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return to_device(g, x.device)


def to_device(x: Tensor, device: str) -> Tensor:
    """x on `device` ("cpu", "cuda", "cuda:1", "auto"); x itself if it is there. The only way data moves."""
    x, device = as_tensor(x), find_device(device)
    return x if x.device == device else ToDevice(device)(x)


def from_dlpack(x: Any) -> Tensor:
    """A Tensor that shares the memory of x, an array of any library that speaks DLPack, such as torch.

    x: on the CPU (then it becomes a NumPy array) or on a GPU (CuPy, which must be installed: RuntimeError). What the
    other library writes later is seen here, also by a graph that was made meanwhile: nothing can stop it. Raises
    TypeError for what does not speak DLPack or holds no real numbers, and BufferError for what cannot be shared:
    torch's tensors that require grad, a dtype that NumPy does not have.
    """
    if not (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")):
        raise TypeError(f"from_dlpack: expected an array that has __dlpack__, got {type(x).__name__}")
    on_cpu = int(x.__dlpack_device__()[0]) == 1  # DLPack's kDLCPU
    module, problem = (np, "") if on_cpu else cupy_or_reason()
    if module is None:
        raise RuntimeError(f"from_dlpack: the {type(x).__name__} is not on the CPU, and {problem}")
    try:
        array = module.from_dlpack(x)
    except RuntimeError as error:  # NumPy's word for a dtype that it does not have
        raise BufferError(f"from_dlpack: this {type(x).__name__} cannot be shared: {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"from_dlpack: data must be numbers or booleans, got dtype {array.dtype}")
    # NumPy cannot make DLPack's own arrays writeable again after a graph; what it sees through a memoryview, it can
    return Tensor._wrap(np.asarray(memoryview(array)) if module is np and array.flags.writeable else array)


def to_dlpack(
    tensor: Tensor, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None
) -> Any:
    """`Tensor.__dlpack__`. A tensor that a graph needs is copied, since not every library minds that it is read-only.

    Raises BufferError for a tensor that requires grad, as torch does, and where copy=False forbids that copy.
    """
    if tensor.requires_grad:
        raise BufferError("Tensor: this one requires grad, which DLPack cannot pass on; give it .detach()")
    flags = getattr(tensor.data, "flags", None)
    if not getattr(flags, "writeable", True):
        if copy is False:
            raise BufferError("Tensor: a graph needs this read-only memory, it cannot be shared; allow a copy")
        copy = True
    given = {"stream": stream, "max_version": max_version, "dl_device": dl_device}
    array = tensor.data.copy() if copy else tensor.data
    return array.__dlpack__(**{name: value for name, value in given.items() if value is not None})
