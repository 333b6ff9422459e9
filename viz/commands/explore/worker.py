"""Wishes are computed one at a time: the newest first, and none that nobody waits for any more.

A wish that takes many steps gives way between them. It ends if it was cancelled, rests while it is paused, and lets
newer wishes go first; those that were asked together take turns. So a click is answered at once, while what runs for
seconds goes on. Each wish that has begun has a thread, and one of them computes.
"""

import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import minigrad as mg
from models.mistakes import users_mistake

EVERY = 0.1  # seconds between two reports of a wish on its way


class Cancelled(Exception):
    """Raised within an answer of which a part says nothing, where nobody waits for it any more."""


class Wish:
    """A question, and where its answer goes.

    owner: who asked; number: the owner's own. answer(wish) gives a dict. report(dict): called in the wish's thread, and
    in the owner's for a change. changes: ["40:lr=0.01", ...], what is to be otherwise from which step on.
    """

    def __init__(
        self,
        owner: object,
        number: int,
        answer: Callable[["Wish"], dict[str, Any]],
        report: Callable[[dict[str, Any]], Any],
    ) -> None:
        self.owner, self.number, self.answer, self._report = owner, number, answer, report
        self.worker: Worker | None = None  # set where it is asked, as is its order
        self.batch, self.order, self.turns = 0, 0, 0
        self.begun, self.cancelled, self.paused = False, False, False
        self.step, self.changes, self._reported = 0, [], 0.0
        self.warned, self._catching = [], None

    def report(self, **facts: Any) -> None:
        """Give the owner facts, with the number of the wish."""
        self._report({"id": self.number, **facts})

    def part(self, step: int, steps: int | None, so_far: Callable[[], dict[str, Any]]) -> bool:
        """Let others go first, and tell how far it is, with the facts that so_far() gives, at most every EVERY seconds;
        True if it is to end."""
        if self.paused:  # what stands while it rests
            self.report(step=step, steps=steps, **so_far())
        self.worker.give_way(self, step)
        if not self.cancelled and time.monotonic() - self._reported > EVERY:
            self.report(step=step, steps=steps, **so_far())
            self._reported = time.monotonic()
        return self.cancelled

    @property
    def urgency(self) -> tuple[int, int, int]:
        """The largest goes first: of the newest batch the one with the fewest turns, and of these the first asked."""
        return self.batch, -self.turns, -self.order

    def begin_turn(self) -> None:
        """From now on warnings are this wish's: only one wish may catch them at a time."""
        self._catching = warnings.catch_warnings(record=True)
        self.warned.append(self._catching.__enter__())
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of what another thread reads

    def end_turn(self) -> None:
        """Catch no more warnings."""
        self._catching.__exit__(None, None, None)

    def warnings(self) -> list[str]:
        """What was said to a user, each sentence once."""
        caught = [one for turn in self.warned for one in turn]
        return list(dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, UserWarning)))


class Worker:
    """`.ask(wishes)`, the first of them to be answered first; `.cancel(owner, number)`, `.pause`, `.change`."""

    def __init__(self) -> None:
        self._changed, self._wishes, self._batches = threading.Condition(), [], 0
        self._turn, self._idle = None, 0  # the wish that computes; threads that wait for one

    def ask(self, wishes: Sequence[Wish]) -> None:
        """Take wishes up as one batch, before all that were asked earlier."""
        with self._changed:
            self._batches += 1
            for order, wish in enumerate(wishes):
                wish.worker, wish.batch, wish.order = self, self._batches, order
                self._wishes.append(wish)
            self._wake()

    def cancel(self, owner: object, number: int | None = None) -> None:
        """Cancel one wish of an owner, or all."""
        with self._changed:
            for wish in self._of(owner, number):
                wish.cancelled = True
            self._wishes = [wish for wish in self._wishes if wish.begun or not wish.cancelled]
            if self._turn not in self._wishes:  # it has the turn, but no thread has come to begin it
                self._turn = None
            self._wake()

    def pause(self, owner: object, number: int, paused: bool = True) -> None:
        """Let a wish rest after its step, or go on."""
        with self._changed:
            for wish in self._of(owner, number):
                wish.paused = paused
            self._wake()

    def change(self, owner: object, numbers: Sequence[int], what: str) -> None:
        """Have wishes go on otherwise, all from the same step on; they report their changes."""
        with self._changed:
            wishes = [wish for number in numbers for wish in self._of(owner, number)]
            first = 2 + max((wish.step for wish in wishes), default=0)  # the next step may have begun
            for wish in wishes:
                wish.changes.append(f"{first}:{what}")
        for wish in wishes:
            wish.report(changes=list(wish.changes))

    def give_way(self, wish: Wish, step: int) -> None:
        """Between two steps: whoever is more urgent goes on; returns when it is this wish's turn again."""
        with self._changed:
            wish.step, wish.turns = step, wish.turns + 1
            self._turn = None
            self._wake()
            if self._turn is not wish:
                wish.end_turn()
                self._changed.wait_for(lambda: self._turn is wish)
                wish.begin_turn()

    # ---- with the lock held

    def _of(self, owner: object, number: int | None) -> list[Wish]:
        return [wish for wish in self._wishes if wish.owner == owner and number in (None, wish.number)]

    def _wake(self) -> None:
        """Where none computes, give the turn to the most urgent."""
        ready = [wish for wish in self._wishes if wish.cancelled or not wish.paused]
        if self._turn is None and ready:
            self._turn = max(ready, key=lambda wish: wish.urgency)
            if not self._turn.begun and not self._idle:
                self._idle += 1
                threading.Thread(target=self._work, daemon=True, name="explore").start()
            self._changed.notify_all()

    # ---- in the threads

    def _work(self) -> None:
        """Of a thread: begin the wish whose turn it is, answer it, and wait for the next."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._turn is not None and not self._turn.begun)
                wish = self._turn
                wish.begun = True
                self._idle -= 1
            self._answer(wish)
            with self._changed:
                self._wishes.remove(wish)
                self._turn = None
                self._idle += 1
                self._wake()

    def _answer(self, wish: Wish) -> None:
        """Report its answer, or the sentence that says why there is none."""
        began = time.perf_counter()
        wish.begin_turn()
        try:
            with mg.enable_grad():
                facts = wish.answer(wish)
            said = wish.warnings()
            if not wish.cancelled or facts.get("kept"):
                wish.report(done=True, seconds=time.perf_counter() - began, warnings=said, **facts)
        except Cancelled:
            pass
        except Exception as error:
            sentence = users_mistake(error)
            if sentence is None:
                traceback.print_exc(file=sys.stderr)
                sentence = f"explore went wrong here, which is its own fault ({type(error).__name__}: {error})"
            wish.report(done=True, refused=sentence)
        finally:
            wish.end_turn()
