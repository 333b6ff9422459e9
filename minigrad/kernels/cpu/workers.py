"""Threads that work for another one. Behind threads.py, which alone uses them: kernels share out their work there.

The system takes 50 us to wake a thread that sleeps, on some virtual machines more, and milliseconds where other
processes want the cores. So nobody waits for a worker to wake up: the caller works as well, and takes back what its
worker has not begun when the caller is through. Work that is shorter than a hand-over thus stays on one thread,
whatever a hand-over costs on the machine and at the moment.

What a worker has begun must be waited for. On a quiet machine that is sooner over than a sleeper is woken, and the
caller waits spinning: in C, without the interpreter's lock. Where the C library has no spin locks, it sleeps.
"""

import contextlib
import ctypes
import os
import threading
from queue import Empty, SimpleQueue


def _spin_functions():
    """(init, lock, unlock) of locks in memory that are waited for spinning; None where there are none.

    Glibc's know no owner: what one thread locks, another may unlock. lock lets go of the interpreter while it waits.
    """
    try:
        free, held = ctypes.CDLL(None), ctypes.PyDLL(None)
        return held.pthread_spin_init, free.pthread_spin_lock, held.pthread_spin_unlock
    except (OSError, AttributeError, TypeError):
        return None


_SPIN = _spin_functions()
CAN_SPIN = _SPIN is not None and os.name == "posix"


class _SpinGate:
    """Closed until opened once. Its methods are a queue's: get() waits, spinning, and put(None) opens."""

    def __init__(self):
        init, self._lock, self._unlock = _SPIN
        self._word = ctypes.byref(ctypes.c_int())
        init(self._word, 0)
        self._lock(self._word)

    def get(self):
        self._lock(self._word)

    def put(self, _):
        self._unlock(self._word)


class _Task:
    """A function that a worker is to call."""

    def __init__(self, function, spin):
        self.function, self.error, self.ended = function, None, False
        self.gate = _SpinGate() if spin and CAN_SPIN else SimpleQueue()

    def run(self):
        try:
            self.function()
        except BaseException as error:
            self.error = error
        self.function = None  # and what it holds
        self.ended = True
        self.gate.put(None)


class Worker:
    """A thread that does one task at a time, on `cores` if these are given."""

    def __init__(self, cores=None):
        self._tasks = SimpleQueue()
        self._task = None  # the last one handed over
        threading.Thread(target=self._run, args=(cores,), name="minigrad", daemon=True).start()

    def start(self, function, spin):
        """Hand over function(). spin: how `finish` waits for its end."""
        self._task = _Task(function, spin)
        self._tasks.put(self._task)

    def finish(self):
        """Take the task back if it has not begun, else wait for its end; returns the exception that ended it, or None.

        A Ctrl-C is raised when it is over.
        """
        task, self._task, interrupt = self._task, None, None
        with contextlib.suppress(Empty):
            self._tasks.get_nowait()
            return None
        while not task.ended:
            try:
                task.gate.get()
            except KeyboardInterrupt as pressed:
                interrupt = pressed
        if interrupt is not None:
            raise interrupt
        return task.error

    def _run(self, cores):
        if cores:
            stay_on(cores)
        while True:
            self._tasks.get().run()


def stay_on(cores):
    """Let this thread run on `cores` only, where the system can say so."""
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # a core may have been taken from the process meanwhile
            os.sched_setaffinity(0, cores)
