"""Measures against Quantus, attributions against saliency, attacks against ART, in float64: rows of verify.py."""

import importlib

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (make verify installs it)")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

agreement = importlib.import_module("verification.agreement")
references = importlib.import_module("verification.references")
setting = importlib.import_module("verification.setting")
FAMILIES = {name: importlib.import_module(f"verification.{name}") for name in ("measures", "pair", "art")}
SHARED = setting.Setting("minivgg", 0)
CHECKS = {f"{name}: {one.name}": one for name, family in FAMILIES.items() for one in family.checks(SHARED)}


@pytest.mark.parametrize("name", CHECKS)
def test_agrees(name):
    check = CHECKS[name]
    try:
        references.reference(check.needs)
    except references.MissingReference as error:
        pytest.skip(f"{check.needs} {error}")
    (found,) = [row for row in agreement.rows_of(check, check.needs, SHARED) if row.dtype == "float64"]
    assert not found.missed, found


def test_an_installed_package_comes_before_a_script_of_its_name():
    try:
        found = references.reference("saliency")
    except references.MissingReference as error:
        pytest.skip(f"saliency {error}")
    assert found.GradientSaliency
