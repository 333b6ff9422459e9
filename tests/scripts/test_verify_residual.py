"""Every method on a residual network against captum and pytorch-grad-cam, in float64: the rows of verify.py."""

import importlib

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (make verify installs it)")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]  # captum says that it sets hooks

agreement = importlib.import_module("verification.agreement")
references = importlib.import_module("verification.references")
residual = importlib.import_module("verification.residual")
setting = importlib.import_module("verification.setting")


@pytest.fixture(scope="module")
def shared():
    return setting.Setting("minivgg", 0)


@pytest.fixture(scope="module")
def checks(shared):
    return {(one.family, one.name): one for one in residual.checks(shared) if one.family.startswith("residual")}


@pytest.mark.parametrize(
    "row", [*(("residual", name) for name in residual.METHODS), *(("residual maps", name) for name in residual.MAPS)]
)
def test_agrees(shared, checks, row):
    check = checks[row]
    try:
        references.reference(check.needs)
    except references.MissingReference as error:
        pytest.skip(f"{check.needs} {error}")
    (found,) = [row for row in agreement.rows_of(check, check.needs, shared) if row.dtype == "float64"]
    assert not found.missed, found
