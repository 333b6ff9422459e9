"""Keeping the memory that one pass through a network frees for the next one."""

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8  # <malloc.h> of glibc


def keep_freed_memory() -> None:
    """Tell glibc's malloc to keep all freed memory for this process; does nothing where there is no glibc.

    By default each large array is mapped anew and unmapped when freed, and the system clears it page by page as it is
    first written: a quarter of the time of a training step or of a step of style transfer, which free hundreds of
    megabytes and ask for them again. The process then stays as large as it ever was, so load the network first: what
    loading frees is better given back. Threads share one heap: in those that glibc makes for each, nothing large fits.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)  # as an unsigned number: never
    mallopt(M_TOP_PAD, 256 << 20)
    mallopt(M_ARENA_MAX, 1)
