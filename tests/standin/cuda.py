"""cupy.cuda of the stand-in: two GPUs that are not there, streams and events that have nothing to wait for."""

import threading
import time
import types

from . import cublas

COUNT = 2
_state = threading.local()


def current():
    """The number of this thread's current GPU."""
    return getattr(_state, "stack", [0])[-1]


class Device:
    """A GPU by its number, the current one without; within `with Device(1):` it is this thread's current one."""

    def __init__(self, device=None):
        self.id = current() if device is None else int(device)
        if not 0 <= self.id < COUNT:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def __enter__(self):
        _state.stack = [*getattr(_state, "stack", [0]), self.id]
        return self

    def __exit__(self, *exception):
        _state.stack = _state.stack[:-1]

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self):
        return self.id

    def __int__(self):
        return self.id

    def __repr__(self):
        return f"<CUDA Device {self.id}>"

    def use(self):
        """Make it this thread's current one for good."""
        _state.stack = [self.id]

    def synchronize(self):
        """Nothing runs that could be waited for."""

    compute_capability = "90"
    mem_info = (1 << 36, 1 << 36)


class CUDARuntimeError(RuntimeError):
    """What the CUDA runtime refuses."""


class Stream:
    """A queue of work. Here, work is done when it is asked for."""

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self.ptr = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def use(self):
        return self

    def synchronize(self):
        pass

    def record(self, event=None):
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event):
        pass


class Event:
    """A moment of a stream."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.seconds = None

    def record(self, stream=None):
        self.seconds = time.perf_counter()

    def synchronize(self):
        pass

    done = True


def get_elapsed_time(start_event, end_event):
    """Milliseconds from one event to another."""
    return (end_event.seconds - start_event.seconds) * 1e3


class MemoryPool:
    """The bytes of the arrays that live, for each GPU; what has been freed is given back at once."""

    def __init__(self):
        self.used, self.limit, self.lock = [0] * COUNT, [0] * COUNT, threading.Lock()

    def count(self, device, size):
        with self.lock:
            self.used[device] += size

    def used_bytes(self):
        return self.used[current()]

    total_bytes = used_bytes

    def free_bytes(self):
        return 0

    def n_free_blocks(self):
        return 0

    def free_all_blocks(self, stream=None):
        pass

    def get_limit(self):
        return self.limit[current()]

    def set_limit(self, size=None, fraction=None):
        self.limit[current()] = size if size is not None else int(fraction * Device.mem_info[1])


pool = MemoryPool()


def _properties(device):
    return {"name": b"stand-in for a GPU", "major": 9, "minor": 0, "multiProcessorCount": 1, "totalGlobalMem": 1 << 36}


runtime = types.SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    getDeviceCount=lambda: COUNT,
    getDevice=current,
    setDevice=lambda device: Device(device).use(),
    getDeviceProperties=_properties,
    runtimeGetVersion=lambda: 13000,
    driverGetVersion=lambda: 13000,
    memGetInfo=lambda: Device.mem_info,
    deviceSynchronize=lambda: None,
)


def offered():
    """The attributes of cupy.cuda."""
    return {
        "Device": Device,
        "Stream": Stream,
        "Event": Event,
        "MemoryPool": MemoryPool,
        "get_elapsed_time": get_elapsed_time,
        "get_current_stream": Stream,
        "is_available": lambda: True,
        "runtime": runtime,
        "cublas": cublas,
        "get_cublas_handle": cublas.get_cublas_handle,
    }
