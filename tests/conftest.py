"""Settings of the property tests (no deadlines, with CI set the same examples in every run), tests marked gpu, and
the tests of the engine and of viz on a device: `pytest --device standin` (see tests/standin/plugin.py)."""

import importlib.util
import os
from functools import cache

import pytest
from hypothesis import HealthCheck, settings

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("default", patient)
settings.register_profile("ci", patient, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


# ---- tests marked gpu ------------------------------------------------------------------------------------------------


@cache
def no_gpu():
    """Why tests marked gpu cannot run here; "" where they can."""
    if importlib.util.find_spec("cupy") is None:
        return "no GPU: CuPy is not installed"
    try:
        import cupy

        return "" if cupy.cuda.runtime.getDeviceCount() else "no GPU: CuPy finds no GPU"
    except Exception as error:  # a CUDA library that is missing, no driver, a driver too old
        return f"no GPU: CuPy finds no GPU ({str(error).splitlines()[0] if str(error) else type(error).__name__})"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("gpu") and no_gpu():
            item.add_marker(pytest.mark.skip(reason=no_gpu()))


def pytest_terminal_summary(terminalreporter):
    """Say plainly that tests for a GPU did not run, and why."""
    skipped = [r for r in terminalreporter.stats.get("skipped", ()) if "gpu" in getattr(r, "keywords", ())]
    if skipped and no_gpu():
        terminalreporter.write_line(f"{len(skipped)} tests marked gpu did not run: {no_gpu()}")


# ---- the tests on a device -------------------------------------------------------------------------------------------


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help='where tests compute: "cpu", "cuda", "cuda:1" or "standin"')


def pytest_configure(config):
    if (device := config.getoption("--device")) != "cpu":
        from tests.standin.plugin import OnDevice

        no_gpu()  # asked before the stand-in looks like one
        config.pluginmanager.register(OnDevice(device))


@pytest.fixture
def standin(request):
    """The stand-in for CuPy, as `import cupy` gives it for the time of the test: see tests/standin."""
    from tests.standin import module

    if request.config.getoption("--device") == "standin":
        yield module.installed()
        return
    yield module.install()
    module.uninstall()
