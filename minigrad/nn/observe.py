"""One walk for all: how the calls of modules are seen by whoever asked.

    with observed(network, observer):
        network(x)

For every module that runs in this thread as a part of `network`, whatever its `forward`, calls with its dotted name

    observer.asks_for(name)              whether its output is to be seen: what nobody asks for may be fused
    observer.leaves(name, module, x, y)  after it has run, with its input and output, tuples where there are several;
                                         of fused layers the last is seen, with the input of the first

and ends the pass once `observer.done` is true.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..kernels import whole_pass


class _Running(threading.local):
    """What runs in this thread: how many modules deep it is, and who watches."""

    depth = 0
    watches: tuple = ()


_running = _Running()


class PassEnded(BaseException):
    """All that was asked for has been seen. Not an Exception, so that no `except Exception` of a network's stops it."""


class Watch:
    """One observer, and where the pass is in the network that it observes (None: in whichever is called first)."""

    def __init__(self, network: Any, observer: Any) -> None:
        self.network, self.observer = network, observer
        self.inside: list[str | None] = []  # the running modules, innermost last; None for one outside of the network
        self.names = {} if network is None else self._names_in(network)

    @staticmethod
    def _names_in(network):
        """{id of a module: its dotted names}. One module under several names, as a ReLU may be, has them in turn."""
        names = {id(network): [""]}
        for name, inner in network.named_modules():
            names.setdefault(id(inner), []).append(name)
        return names

    @contextlib.contextmanager
    def within(self, module: Any) -> Iterator[None]:
        """While a module runs."""
        if not self.inside:
            self.names = self._names_in(module if self.network is None else self.network)
        names = self.names.get(id(module), [None])
        self.inside.append(names[0])
        names.append(names.pop(0))
        try:
            yield
        finally:
            self.inside.pop()

    def asks_for(self, module: Any) -> bool:
        """Whether the observer wants to see this module, under any of its names."""
        return any(self.observer.asks_for(name) for name in self.names.get(id(module), ()))

    def sees(self, module: Any, inputs: Any, y: Any) -> None:
        if self.inside[-1] is not None:
            self.observer.leaves(self.inside[-1], module, inputs[0] if len(inputs) == 1 else inputs, y)
            if self.observer.done:
                raise PassEnded(self)


@contextlib.contextmanager
def observed(network: Any, observer: Any) -> Iterator["Watch"]:
    """Within it, `observer` sees what runs in this thread as a part of `network`, or, if that is None, of whatever is
    called. Where the observer is done the pass ends, and the `with` with it. Gives the Watch."""
    watch, before = Watch(network, observer), _running.watches
    _running.watches = (*before, watch)
    try:
        yield watch
    except PassEnded as ended:
        if ended.args != (watch,):
            raise
    finally:
        _running.watches = before


def called(module: Any, *inputs: Any) -> Any:
    """module.forward(*inputs), for all observers to see."""
    return seen(module, inputs, module.forward)


@contextlib.contextmanager
def _outermost():
    _running.depth += 1
    try:
        with whole_pass():
            yield
    finally:
        _running.depth -= 1


def seen(module: Any, inputs: Any, forward: Callable[..., Any]) -> Any:
    """forward(*inputs), which `module` does by its own `forward`, or by a kernel that has done layers before it too."""
    if _running.depth and not _running.watches:
        return forward(*inputs)
    with contextlib.ExitStack() as stack:
        if not _running.depth:
            stack.enter_context(_outermost())
        for watch in _running.watches:
            stack.enter_context(watch.within(module))
        y = forward(*inputs)
        for watch in _running.watches:
            watch.sees(module, inputs, y)
        return y


def nobody_looks() -> bool:
    """Whether a module that is called now is the outermost in this thread, and nobody watches."""
    return not _running.depth and not _running.watches


def asked_for(modules: Iterable[Any]) -> bool:
    """Whether anyone asks for one of these modules."""
    return any(watch.asks_for(module) for watch in _running.watches for module in modules)


class Collected:
    """An observer that keeps the outputs of the modules `names`, and is done when it has them all."""

    def __init__(self, names: Any) -> None:
        self.waiting, self.done = set(names), not names
        self.outputs: dict[str, Any] = {}

    def asks_for(self, name: str) -> bool:
        return name in self.waiting

    def leaves(self, name: str, module: Any, x: Any, y: Any) -> None:
        if name in self.waiting:
            self.waiting.remove(name)
            self.outputs[name] = y
            self.done = not self.waiting
