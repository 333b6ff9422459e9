"""Threads that work for another one, and how the two wait for each other.

A thread that sleeps takes the system 50 us to wake. On a busy machine it takes milliseconds: a core that falls idle is
given to somebody else for a whole time slice. Most kernels are done sooner. So for as long as a pass through a network
lasts, workers and their caller wait for each other spinning, as OpenMP's threads do: in C, without the interpreter's
lock. Where the C library has no spin locks, they sleep.
"""

import contextlib
import ctypes
import os
import threading
from queue import SimpleQueue


def _spin_functions():
    """(lock, unlock) for a lock in memory that is waited for spinning; (None, None) where there are none.

    Glibc's know no owner: what one thread locks, another may unlock. lock lets go of the interpreter while it waits.
    """
    try:
        return ctypes.CDLL(None).pthread_spin_lock, ctypes.PyDLL(None).pthread_spin_unlock
    except (OSError, AttributeError, TypeError):
        return None, None


_spin_lock, _spin_unlock = _spin_functions()
CAN_SPIN = _spin_lock is not None and os.name == "posix"


class _Turnstile:
    """Lets the one thread that waits pass, once for each opening. Both sides say whether it waits spinning."""

    def __init__(self):
        self.sleeping, self.spinning = SimpleQueue(), ctypes.c_int()
        if CAN_SPIN:
            ctypes.CDLL(None).pthread_spin_init(ctypes.byref(self.spinning), 0)
            _spin_lock(ctypes.byref(self.spinning))

    def wait(self, spin):
        _spin_lock(ctypes.byref(self.spinning)) if spin else self.sleeping.get()

    def open(self, spin):
        _spin_unlock(ctypes.byref(self.spinning)) if spin else self.sleeping.put(None)


class Worker:
    """A thread that does one task at a time, on `cores` if these are given."""

    def __init__(self, cores=None):
        self.spins = False  # how it is waiting for its next task
        self._handed, self._done = _Turnstile(), _Turnstile()
        self._last = self._finished = self._error = self._message = None
        threading.Thread(target=self._run, args=(cores,), name="minigrad", daemon=True).start()

    def start(self, task, spin):
        """Hand over task(). spin: how it is to wait for the next one, and the caller in `finish` for this one's end."""
        self._last = object()
        self._message = task, spin, self._last
        self._handed.open(self.spins)

    def finish(self, spin):
        """Wait for the end of the task; returns the exception that ended it, or None. A Ctrl-C is raised after it."""
        interrupt = None
        while self._finished is not self._last:  # the turnstile may be open from an earlier task, interrupted here
            try:
                self._done.wait(spin)
            except KeyboardInterrupt as pressed:
                interrupt = pressed
        if interrupt is not None:
            raise interrupt
        error, self._error = self._error, None
        return error

    def _run(self, cores):
        if cores:
            stay_on(cores)
        while True:
            self._handed.wait(self.spins)
            (task, self.spins, this), self._message = self._message, None
            try:
                task()
            except BaseException as error:
                self._error = error
            del task  # and what it holds
            self._finished = this
            self._done.open(self.spins)


def stay_on(cores):
    """Let this thread run on `cores` only, where the system can say so."""
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # a core may have been taken from the process meanwhile
            os.sched_setaffinity(0, cores)
