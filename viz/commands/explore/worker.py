"""One thread that computes, one wish at a time: the newest first, and none that nobody waits for any more.

A wish that takes many steps is asked between them: it ends if it was cancelled, and wishes that are newer are answered
in between. So a click is answered at once, while what runs for seconds goes on.
"""

import sys
import threading
import time
import traceback
import warnings

import minigrad as mg
from models.mistakes import users_mistake

EVERY = 0.1  # seconds between two reports of a wish on its way


class Wish:
    """A question, and where its answer goes.

    owner: who asked; number: the owner's own. answer(wish) gives a dict. report(dict): called in the worker's thread.
    """

    def __init__(self, owner, number, answer, report):
        self.owner, self.number, self.answer, self._report = owner, number, answer, report
        self.worker, self.rank, self.cancelled, self._reported = None, 0, False, 0.0

    def report(self, **facts):
        self._report({"id": self.number, **facts})

    def part(self, step, steps, so_far):
        """Tell how far it is, with the facts that so_far() gives; True if it is to end. At most every EVERY seconds."""
        self.worker.answer_newer(self)
        if not self.cancelled and time.monotonic() - self._reported > EVERY:
            self.report(step=step, steps=steps, **so_far())
            self._reported = time.monotonic()
        return self.cancelled


class Worker(threading.Thread):
    """The thread. `.ask(wishes)`, the first of them to be answered first; `.cancel(owner, number)`."""

    def __init__(self):
        super().__init__(daemon=True, name="explore")
        self._changed, self._waiting, self._running, self._ranks = threading.Condition(), [], [], 0

    def ask(self, wishes):
        with self._changed:
            for wish in reversed(wishes):
                self._ranks += 1
                wish.worker, wish.rank = self, self._ranks
                self._waiting.append(wish)
            self._changed.notify()

    def cancel(self, owner, number=None):
        """Cancel one wish of an owner, or all."""
        with self._changed:
            for wish in (*self._waiting, *self._running):
                if wish.owner == owner and number in (None, wish.number):
                    wish.cancelled = True
            self._waiting = [wish for wish in self._waiting if not wish.cancelled]

    def run(self):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                wish = self._waiting.pop()
                self._running.append(wish)
            self._answer(wish)

    def answer_newer(self, running):
        """Answer the wishes that came after one that is running."""
        while True:
            with self._changed:
                if not self._waiting or self._waiting[-1].rank < running.rank:
                    return
                wish = self._waiting.pop()
                self._running.append(wish)
            self._answer(wish)

    def _answer(self, wish):
        began = time.perf_counter()
        try:
            with mg.enable_grad(), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                facts = wish.answer(wish)
            said = list(dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, UserWarning)))
            if not wish.cancelled or facts.get("kept"):
                wish.report(done=True, seconds=time.perf_counter() - began, warnings=said, **facts)
        except Exception as error:
            sentence = users_mistake(error)
            if sentence is None:
                traceback.print_exc(file=sys.stderr)
                sentence = f"explore went wrong here, which is its own fault ({type(error).__name__}: {error})"
            wish.report(done=True, refused=sentence)
        finally:
            with self._changed:
                self._running.remove(wish)
