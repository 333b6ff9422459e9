"""`pytest --device`: the same tests with their tensors and networks on a device.

    pytest --device standin tests/viz       on the stand-in's second GPU, while its first one is current
    pytest --device cuda tests/viz          on a GPU

What a test file makes with mg.Tensor, mg.from_numpy, mg.as_tensor, the layers of minigrad.nn, models.build,
models.load and viz.linear's linear_classifier goes to the device; what minigrad, models and viz make is left as it is:
an array that they make on the host meets others on the device, and is refused. A file whose tests did not compute on
the device at all fails. Tests marked `host` are left out, for the reason that they give.
"""

import functools
import inspect
import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = str(Path(__file__).parents[1])
HERE = str(Path(__file__).parent)


class OnDevice:
    """The plugin. device: "cuda", "cuda:1" or "standin"."""

    def __init__(self, device):
        if device == "standin":
            from tests.standin import module

            module.install()
            device = "cuda:1"
        self.device = device
        self.calls = Counter()  # functions of minigrad on arrays of the device, by the file of the test that ran them
        self.file, self.idle = None, []
        self._redirect()

    def _redirect(self):
        import minigrad as mg
        import models
        from minigrad import autograd, device, nn
        from viz import linear

        on_device, init = self.device, mg.Tensor.__init__

        def init_on_device(tensor, *args, **kwargs):
            init(tensor, *args, **kwargs)
            if _called_from_test():
                tensor._data = device.to_device(tensor._data, on_device)

        mg.Tensor.__init__ = init_on_device
        for owner, name in ((mg, "from_numpy"), (mg, "as_tensor"), (models, "build"), (models, "load")):
            setattr(owner, name, self._moved(getattr(owner, name)))
        linear.linear_classifier = self._moved(linear.linear_classifier)
        for kind in vars(nn).values():
            if inspect.isclass(kind) and issubclass(kind, nn.Module) and "__init__" in vars(kind):
                kind.__init__ = self._moved_module(kind.__init__)

        call = autograd.Function.__call__

        def counted(function, *inputs):
            output = call(function, *inputs)
            self.calls[self.file] += output.device != "cpu"
            return output

        autograd.Function.__call__ = counted

    def _moved(self, make):
        @functools.wraps(make)
        def made(*args, **kwargs):
            result = make(*args, **kwargs)
            return result.to(self.device) if _called_from_test() else result

        return made

    def _moved_module(self, init):
        @functools.wraps(init)
        def made(module, *args, **kwargs):
            init(module, *args, **kwargs)
            if _called_from_test():
                module.to(self.device)

        return made

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item):
        self.file = item.path
        if reason := next((mark.args[0] for mark in item.iter_markers("host")), None):
            pytest.skip(f"on the CPU only: {reason}")

    def pytest_sessionfinish(self, session):
        ran = {item.path for item in session.items if getattr(item, "ran_on_device", False)}
        if idle := sorted(str(path) for path in ran if not self.calls[path]):
            self.idle, session.exitstatus = idle, 1

    def pytest_runtest_call(self, item):
        item.ran_on_device = True

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.write_line(f"{sum(self.calls.values())} functions computed on {self.device}")
        for path in self.idle:
            terminalreporter.write_line(f"no test computed on {self.device} in {path}", red=True)


def _called_from_test():
    """Whether a file of tests called the function that asks, other than through this one."""
    file = sys._getframe(2).f_code.co_filename
    return file.startswith(TESTS) and not file.startswith(HERE)
