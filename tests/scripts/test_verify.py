"""verify.py: the arithmetic of comparing, its verdicts, and the script with checks planted in the place of its own."""

import importlib
import json
import math

import numpy as np
import pytest

import minigrad as mg

pytest.importorskip("torch", reason="PyTorch is not installed (make verify installs it)")
pytestmark = pytest.mark.torch

verify = importlib.import_module("verify")
agreement = importlib.import_module("verification.agreement")
references = importlib.import_module("verification.references")
setting = importlib.import_module("verification.setting")

TWO_DTYPES = agreement.WITHOUT_CONVOLUTION


def check(name="planted", ours=(1.0, 2.0), theirs=(1.0, 2.0), needs="torch", **options):
    given = {"inputs": "two numbers", "precisions": TWO_DTYPES} | options
    return agreement.Check(
        "family", name, needs, ours=lambda precision: np.array(ours), theirs=lambda: np.array(theirs), **given
    )


def rows(one):
    return list(agreement.rows_of(one, "reference 1.0", setting.Setting("minivgg", 0)))


# ---- arithmetic ------------------------------------------------------------------------------------------------------


def test_errors_are_relative_to_the_largest_value():
    found = agreement.measure(np.array([1.0, -8.0, 3.0]), np.array([1.0, -8.0, 3.008]), 1e-4)
    assert found.error == pytest.approx(1e-3) and found.digits == pytest.approx(3)
    assert (found.differing, found.elements) == (1, 3)


def test_the_percentile_leaves_out_one_in_a_thousand():
    theirs = np.ones(10_000)
    ours = theirs.copy()
    ours[:5] = 2.0
    found = agreement.measure(ours, theirs, 1e-5)
    assert (found.error, found.percentile, found.differing) == (1.0, 0.0, 5)


def test_the_cosine():
    found = agreement.measure(np.array([1.0, 1.0]), np.array([1.0, 0.0]), 1e-5)
    assert found.cosine == pytest.approx(math.sqrt(0.5))
    assert agreement.measure(np.zeros(3), np.ones(3), 1e-5).cosine == 0


def test_the_worst_of_several_results_counts():
    found = agreement.measure([np.ones(4), np.array(2.0)], [np.ones(4), np.array(4.0)], 1e-5)
    assert (found.error, found.differing, found.elements) == (0.5, 1, 5)


def test_equal_results_and_zeros_agree_to_sixteen_digits():
    for value in (np.zeros(3), np.arange(3.0)):
        found = agreement.measure(value, value, 1e-10)
        assert (found.error, found.cosine, found.digits, found.differing) == (0.0, pytest.approx(1), 16.0, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_never_agrees(bad):
    found = agreement.measure(np.array([1.0, bad]), np.array([1.0, bad]), 1e-5)
    assert found.error == math.inf and found.digits == 0 and found.differing == 1


def test_other_shapes_are_an_error():
    with pytest.raises(ValueError, match="shapes"):
        agreement.measure(np.zeros(3), np.zeros((3, 1)), 1e-5)


# ---- verdicts --------------------------------------------------------------------------------------------------------


def test_each_precision_has_its_tolerance():
    wide, narrow = rows(check(ours=(1.0, 2.0 + 2e-6)))
    assert (wide.result, narrow.result) == ("MISS", "pass") and wide.tolerance == 1e-10
    assert [row.result for row in rows(check(ours=(1.0, 2.0 + 2e-6), tolerance=1e-5))] == ["pass", "pass"]


def test_a_definition_that_enlarges_errors_is_allowed_as_much_more():
    for enlarged, found in ((0.1, ["MISS", "pass"]), (1e5, ["pass", "pass"])):
        given = rows(check(ours=(1.0, 2.0 + 8e-6), enlarged=lambda by=enlarged: by))
        assert [row.result for row in given] == found
    assert [row.tolerance for row in given] == pytest.approx([1e-5, 1.0])


def test_an_outcome_may_be_better_but_not_worse():
    better, worse = check(ours=(0.5,), theirs=(1.0,)), check(ours=(1.2,), theirs=(1.0,))
    for one, result in ((better, "pass"), (worse, "MISS")):
        found = agreement.measure(one.ours(None), one.theirs(), 0.05)
        assert agreement.passes("outcome", found, one.ours(None), one.theirs(), 0.05) == (result == "pass")


def test_the_precision_reaches_the_convolution():
    from minigrad.kernels import current_algorithm

    seen = []
    one = check(precisions=agreement.PRECISIONS)
    agreement_of = one.__class__(
        **vars(one) | {"ours": lambda p: seen.append((p.dtype, current_algorithm())) or np.ones(2)}
    )
    assert len(rows(agreement_of)) == 3
    assert seen == [("float64", "direct"), ("float32", "direct"), ("float32", "winograd")]


def test_a_reference_that_is_wrong_must_be_shown_to_be():
    parts = {"wrong": "adds one", "definition": lambda: np.array([1.0, 2.0]), "deviation": lambda: np.array([2.0, 3.0])}
    assert {row.result for row in rows(check(theirs=(2.0, 3.0), **parts))} == {"reference is wrong"}
    assert {row.result for row in rows(check(theirs=(2.0, 9.0), **parts))} == {"MISS"}
    assert {row.result for row in rows(check(ours=(2.0, 3.0), theirs=(2.0, 3.0), **parts))} == {"MISS"}


def test_a_near_tie_is_one_only_if_the_reference_moves_as_much_by_itself():
    world = setting.Setting("minivgg", 0)
    image = world.images("planted", (1, 3, 8, 8)).astype(np.float64)

    def tied(x):
        """Jumps where the sum passes that of the image as it was drawn."""
        return np.array([1.0, 1.0 + 0.01 * (x.sum() - image.sum() > 1e-9)])

    one = agreement.Check(
        "family", "planted", "torch", "an image",
        ours=lambda precision: np.array([1.0, 1.01]),
        theirs=lambda: tied(world.images("planted", (1, 3, 8, 8)).astype(np.float64)),
        gate="decisions", precisions=TWO_DTYPES,
    )  # fmt: skip
    assert [row.result for row in agreement.rows_of(one, "reference", world)] == ["MISS", "near ties"]
    still = agreement.Check(**vars(one) | {"theirs": lambda: np.array([1.0, 1.0])})
    assert [row.result for row in agreement.rows_of(still, "reference", world)] == ["MISS", "MISS"]
    np.testing.assert_array_equal(world.images("planted", (1, 3, 8, 8)), image)


# ---- the script ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run the script on planted checks; gives (exit code, stdout, stderr, the record's numbers or None)."""

    def go(checks, *argv):
        functions = importlib.import_module("verification.functions")
        for name in set(verify.FAMILIES) - {"functions"}:
            monkeypatch.setattr(importlib.import_module(f"verification.{name}"), "checks", lambda setting: [])
        monkeypatch.setattr(functions, "checks", lambda setting: checks)
        try:
            code = verify.main("verify", verify.options, verify.run, [*argv, "--out", str(tmp_path / "out")])
        except SystemExit as stopped:
            code = stopped.code
        records = list((tmp_path / "out").glob("*.json"))
        return code, *capsys.readouterr(), json.loads(records[0].read_text())["numbers"] if records else None

    return go


def test_a_planted_miss_exits_with_1_and_is_written_all_the_same(run, tmp_path):
    code, out, err, numbers = run([check("good"), check("bad", ours=(1.0, 2.1))])
    assert (code, err) == (1, "") and "MISS" in out
    assert numbers["counts"] == {"pass": 2, "MISS": 2}
    assert "| bad |" in (tmp_path / "out" / "verify_minivgg.md").read_text()


def test_agreement_exits_with_0(run, tmp_path):
    code, out, _, numbers = run([check("good")], "--quiet")
    assert (code, out, numbers["counts"]) == (0, "", {"pass": 2})
    (row, _) = numbers["rows"]
    assert (row["error"], row["digits"], row["result"], row["dtype"]) == (0.0, 16.0, "pass", "float64")


def test_a_reference_that_is_missing_gets_one_row(run, monkeypatch):
    monkeypatch.setitem(references.PACKAGES, "absent", ("no_such_module", "no-such-distribution"))
    code, out, _, numbers = run([check("one", needs="absent"), check("two", needs="absent"), check("three")])
    assert code == 0 and numbers["counts"] == {"pass": 2, "not compared": 1}
    missing = next(row for row in numbers["rows"] if row["result"] == "not compared")
    assert missing["what"] == "one, two" and "No module named 'no_such_module'" in missing["note"]
    assert missing["note"] in out


def test_only_names_rows_by_a_part_of_them(run):
    checks = [check("grad_cam"), check("pgd, 5 steps"), check("saliency")]
    *_, numbers = run(checks, "--only", "cam, PGD")
    assert {row["what"] for row in numbers["rows"]} == {"grad_cam", "pgd, 5 steps"}
    code, _, err, _ = run(checks, "--only", "tulip")
    assert code == 2 and "no row has that" in err


def test_what_a_user_gets_wrong_exits_with_2(run):
    assert run([check()], "--device", "cuda")[0] == 2
    assert run([check()], "--seed", "-1")[0] == 2


def test_the_same_seed_draws_the_same_images_whatever_else_is_drawn():
    one, other = setting.Setting("minivgg", 3), setting.Setting("minivgg", 3)
    other.images("before", (1, 3, 9, 9))
    np.testing.assert_array_equal(one.images("x", (1, 3, 8, 8)), other.images("x", (1, 3, 8, 8)))
    assert (one.images("x", (1, 3, 8, 8)) != setting.Setting("minivgg", 4).images("x", (1, 3, 8, 8))).any()


def test_a_framed_image_is_white_at_its_edges_and_drawn_once():
    world = setting.Setting("minivgg", 0)
    image = world.framed
    assert image.shape == world.image.shape and world.framed is image
    for edge in (image[:, :, :22], image[:, :, -22:], image[..., :22], image[..., -22:]):
        assert (edge == 1).all()
    assert (image[:, :, 22:-22, 22:-22] < 1).mean() > 0.9
    with world.nudged(0):
        assert 0 < (world.framed < 1)[:, :, :22].mean() < 1


@pytest.mark.parametrize("name", ["minivgg", "squeezenet1_1"])
def test_torchs_network_has_our_weights(name):
    import torch

    networks = importlib.import_module("verification.networks")
    pair = networks.Pair.named(name, 0)
    x = np.random.default_rng(0).random((1, 3, 48, 48))
    with mg.no_grad():
        ours = pair.ours["float64"](mg.Tensor(x)).numpy()
    np.testing.assert_allclose(ours, pair.torch(torch.from_numpy(x)).numpy(), rtol=1e-10)


@pytest.mark.parametrize(
    "name, families",
    [
        ("minivgg", {"networks", "squeezenet at 227 px", "vgg16 at 224 px"}),
        ("squeezenet", {"networks"}),
        ("some/file.h5", {"networks"}),
        ("vgg16", {"networks", "vgg16 at 224 px"}),
    ],
)
def test_full_sized_networks_are_compared_beside_the_embedded_one_only(name, families):
    architectures = importlib.import_module("verification.architectures")
    assert {check.family for check in architectures.checks(setting.Setting(name, 0))} == families


def test_torchvision_is_stood_in_for_while_importing_only():
    import sys

    if importlib.util.find_spec("torchvision"):
        pytest.skip("torchvision is installed")
    with references._stand_in_for_torchvision():
        from torchvision.transforms import Compose

        with pytest.raises(ImportError, match="Compose: torchvision is not installed"):
            Compose([])
    assert "torchvision" not in sys.modules
