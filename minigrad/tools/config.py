"""What the engine runs on: `minigrad.show_config()`.

Everything is looked up when asked for, so that importing minigrad stays quick.
"""

import contextlib
import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels import cgroup_quota, current_algorithm, current_kernels, frozen, tf32_allowed, thread_count

# What OpenBLAS's kernel families need of a CPU, best first; families not listed here need less than AVX2.
AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
FAMILIES = {
    "AVX-512": (AVX512, ("skylakex", "cooperlake", "sapphirerapids")),
    "AVX2": ({"avx2", "fma"}, ("haswell", "zen")),
}


def show_config(mode: str = "stdout") -> Any:
    """Print what minigrad runs on, as numpy.show_config does; mode="dicts" returns it as {name: text} instead.

    Versions, the BLAS and its family of kernels, the threads and what limits them, the kernels and the convolution
    algorithm in force in this thread, the memory that transformed weights take, the CPU, the GPU with its driver,
    CuPy's pool of its memory and whether TF32 is allowed; and a warning if OPENBLAS_CORETYPE pins kernels below what
    the CPU has. CuPy is imported where it is installed. Raises ValueError for any other mode.
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f'show_config: mode is {mode!r}, expected "stdout" or "dicts"')
    found = {
        "minigrad": _version(),
        "Python": f"{platform.python_version()} ({platform.platform()})",
        "NumPy": np.__version__,
        "BLAS": "; ".join(map(_described, _blas())) or "unknown to threadpoolctl",
        "threads": _threads(),
        "kernels": current_kernels(),
        "convolution": current_algorithm(),
        "frozen weights": _frozen_weights(),
        "CPU": cpu_name(),
        **_gpu(),
    }
    warning = pinned_below(os.environ.get("OPENBLAS_CORETYPE"), [blas.get("architecture") for blas in _blas()])
    if warning:
        found["warning"] = warning
    if mode == "dicts":
        return found
    width = max(map(len, found))
    print("\n".join(f"{name:{width}}  {text}" for name, text in found.items()))


def _frozen_weights():
    """ "143.0 MiB of at most 192 kept transformed; of at most 1024 on GPUs, 449.0 MiB on cuda:0"."""
    kept = {device: f"{size / 2**20:.1f} MiB" for device, size in frozen.kept_by_device().items()}
    text = f"{kept.pop('cpu', '0.0 MiB')} of at most {frozen.limit >> 20} kept transformed"
    if not kept:
        return text
    there = ", ".join(f"{size} on {device}" for device, size in kept.items())
    return f"{text}; of at most {frozen.gpu_limit >> 20} on GPUs, {there}"


def _version():
    from .. import __version__

    return f"{__version__} in {Path(__file__).parents[1]}"


# ---- BLAS ------------------------------------------------------------------------------------------------------------


def _blas():
    """threadpoolctl's entries of the BLAS libraries in this process; NumPy's is the first."""
    from threadpoolctl import threadpool_info

    return [entry for entry in threadpool_info() if entry["user_api"] == "blas"]


def _described(blas):
    """ "openblas 0.3.31, SkylakeX kernels, 2 threads"."""
    kernels = f", {blas['architecture']} kernels" if blas.get("architecture") else ""
    return f"{blas['internal_api']} {blas['version']}{kernels}, {blas['num_threads']} threads"


def pinned_below(core_type: str | None, architectures: Any, flags: Any = None) -> str | None:
    """A sentence if OPENBLAS_CORETYPE, with this value, holds kernels of these families below the CPU; else None.

    flags: what the CPU can do, in /proc/cpuinfo's words; by default this one's.
    """
    if not core_type:
        return None
    flags = _cpu_flags() if flags is None else flags
    has = next((name for name, (needed, _) in FAMILIES.items() if needed <= flags), None)
    for architecture in filter(None, architectures):
        runs = next((name for name, (_, known) in FAMILIES.items() if architecture.lower() in known), "older")
        if has is not None and (*FAMILIES, "older").index(runs) > list(FAMILIES).index(has):
            return f"OPENBLAS_CORETYPE={core_type} holds BLAS to {runs} kernels, this CPU has {has}: unset it for speed"
    return None


# ---- CPU and threads -------------------------------------------------------------------------------------------------


def _cpuinfo(*names):
    """The first value of one of these names in /proc/cpuinfo; "" where there is none, or no such file."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in names:
                return value.strip()
    return ""


def cpu_name() -> str:
    """The CPU's name, as far as the system tells it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine() or "unknown"


def _cpu_flags():
    return set(_cpuinfo("flags", "Features").split())


def _threads():
    """How many threads the kernels use, and everything that may limit them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = [f"{cores} of {os.cpu_count()} cores allowed"]
    if "OMP_NUM_THREADS" in os.environ:
        limits.append(f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}")
    quota = cgroup_quota()
    if quota is not None:
        limits.append(f"cgroup: {quota:g} cores' worth of time")
    return f"{thread_count()} ({', '.join(limits)})"


# ---- GPU -------------------------------------------------------------------------------------------------------------


def gpu_facts(cupy: Any) -> dict[str, Any]:
    """What a record says of the current GPU: {"gpu": its name, "driver", "cuda", "cupy", "memory_pool": bytes}.

    cupy: the module. memory_pool holds used_bytes, total_bytes (kept from the system) and limit_bytes (0: none) of
    CuPy's pool on this GPU. What cannot be found out is None: nothing is raised.
    """
    runtime = cupy.cuda.runtime
    return {
        "gpu": _asked(lambda: runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()),
        "driver": _driver_version(),
        "cuda": _asked(lambda: _cuda_version(runtime.runtimeGetVersion())),
        "cupy": _asked(lambda: cupy.__version__),
        "memory_pool": _asked(lambda: _pool_bytes(cupy.get_default_memory_pool())),
    }


def _asked(question):
    """question(), or None: a broken driver raises whatever it likes, and a record is to be written all the same."""
    try:
        return question()
    except Exception:
        return None


def _pool_bytes(pool):
    return {"used_bytes": pool.used_bytes(), "total_bytes": pool.total_bytes(), "limit_bytes": pool.get_limit()}


def _gpu():
    """{"GPU": the current one, its driver and CuPy; or why there is none, "GPU memory": the pool's, "TF32": on or off}.

    Nothing that goes wrong here is raised.
    """
    if "cupy" not in sys.modules and find_spec("cupy") is None:
        driver = _driver_version()
        there = f"; there is an NVIDIA driver, {driver}" if driver else ""
        return {"GPU": f"not used: CuPy is not installed{there}"}
    try:
        import cupy

        runtime = cupy.cuda.runtime
        name = runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
        cuda, supported = runtime.runtimeGetVersion(), runtime.driverGetVersion()
    except Exception as error:  # a broken driver raises whatever it likes, and this function is what one looks at then
        return {
            "GPU": f"not used: CuPy finds none ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        }
    driver = f"driver {_driver_version() or 'of unknown version'} for CUDA {_cuda_version(supported)}"
    found = {"GPU": f"{name}, CuPy {cupy.__version__}, CUDA {_cuda_version(cuda)}, {driver}"}
    memory = _asked(lambda: _memory(cupy))
    factors = "on: products round their factors to TF32" if tf32_allowed() else "off: products of float32 stay float32"
    return found | ({"GPU memory": memory} if memory else {}) | {"TF32": f"{factors} (in this thread)"}


def _memory(cupy):
    """ "12 MiB used of 40 kept in CuPy's pool, no limit; 70000 of 81000 MiB free on the GPU"."""
    used, kept, limit = (n / 2**20 for n in _pool_bytes(cupy.get_default_memory_pool()).values())
    free, total = (n / 2**20 for n in cupy.cuda.runtime.memGetInfo())
    bound = f"limit {limit:.0f} MiB" if limit else "no limit"
    pool = f"{used:.0f} MiB used of {kept:.0f} MiB kept in CuPy's pool, {bound}"
    return f"{pool}; {free:.0f} of {total:.0f} MiB free on the GPU"


def _cuda_version(number):
    """ "12.4" of 12040."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _driver_version():
    """The version of NVIDIA's driver, as far as the system tells it; None where there is none."""
    with contextlib.suppress(OSError):
        words = Path("/proc/driver/nvidia/version").read_text("utf-8").splitlines()[0].split()
        return next((w for w in words if w[0].isdigit()), None)
    return None
