"""Regions, boxes, GrabCut and bias: by hand, and minimum cuts by trying every labelling."""

import itertools

import numpy as np
import pytest

from viz import bias, localization, tiles
from viz.grabcut import _costs, _fit, _links, grabcut, minimum_cut

pytestmark = pytest.mark.host("maps and boxes are NumPy's arrays")

# ---- regions and boxes -----------------------------------------------------------------------------------------------


def test_the_largest_region_above_the_threshold_and_its_box():
    heat = np.zeros((2, 6, 7))
    heat[0, 1, 1], heat[0, 1, 2] = 1.0, 0.3
    heat[0, 3:5, 4:6] = 0.2
    heat[0, 5, 6] = 0.16  # joined over a corner
    heat[0, 5, 0] = 0.14  # below 0.15
    masks, boxes = localization.localize(heat)
    np.testing.assert_array_equal(boxes, [[3, 4, 6, 7], [0, 0, 0, 0]])
    assert masks[0].sum() == 5 and not masks[1].any()
    masks, boxes = localization.localize(heat, fraction=0.25)
    np.testing.assert_array_equal(boxes[0], [1, 1, 2, 3])


def test_box_iou_by_hand():
    a = np.array([[0, 0, 4, 4], [0, 0, 2, 2], [0, 0, 0, 0]])
    b = np.array([[2, 2, 6, 6], [2, 2, 4, 4], [0, 0, 0, 0]])
    np.testing.assert_allclose(localization.box_iou(a, b), [4 / 28, 0, 0])
    np.testing.assert_allclose(localization.box_iou(a[0], a[0]), 1)


def test_seeds_are_quantiles_and_never_both():
    heat = np.arange(100.0).reshape(10, 10)
    certain, outside = localization.seeds(heat)
    assert certain.sum() == 5 and outside.sum() == 30 and not (certain & outside).any()
    certain, outside = localization.seeds(np.zeros((4, 4)))
    assert not certain.any() and outside.all()


# ---- the cut ---------------------------------------------------------------------------------------------------------


def energy(label, gain, links):
    m, n, price = links
    return -gain[label].sum() + price[label[m] != label[n]].sum()


@pytest.mark.parametrize("seed", range(4))
def test_the_minimum_cut_is_that_of_every_labelling(seed):
    rng = np.random.default_rng(seed)
    shape = (3, 4)
    links = _links(rng.uniform(0, 255, (12, 3)), shape, 2.0)
    gain = rng.normal(0, 3, 12)
    known = np.zeros(12, int)
    known[[0, 7]] = 1, -1
    labels = [np.array(bits, bool) for bits in itertools.product((False, True), repeat=12) if bits[0] and not bits[7]]
    best = min(energy(label, gain, links) for label in labels)
    found = minimum_cut(gain, known, links)
    assert found[0] and not found[7]
    assert energy(found, gain, links) == pytest.approx(best, abs=0.05)  # in hundredths: 12 terms and 29 links rounded


def test_links_are_the_eight_neighbours_once_with_the_papers_price():
    z = np.random.default_rng(0).uniform(0, 255, (12, 3))
    m, n, price = _links(z, (3, 4), 50.0)
    pairs = {}
    for i, j in itertools.combinations(range(12), 2):
        down, right = abs(i // 4 - j // 4), abs(i % 4 - j % 4)
        if max(down, right) == 1:
            pairs[i, j] = np.hypot(down, right)
    contrast = {pair: ((z[pair[0]] - z[pair[1]]) ** 2).sum() for pair in pairs}
    beta = 1 / (2 * np.mean(list(contrast.values())))
    expected = {pair: 50 * np.exp(-beta * contrast[pair]) / pairs[pair] for pair in pairs}
    found = {(min(i, j), max(i, j)): p for i, j, p in zip(m.tolist(), n.tolist(), price, strict=True)}
    assert found.keys() == expected.keys() and len(m) == len(pairs)
    for pair in pairs:
        assert found[pair] == pytest.approx(expected[pair], rel=1e-12)


def test_a_components_cost_is_minus_the_log_of_its_gaussian():
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(0)
    z, part = rng.normal(100, 20, (60, 3)), np.repeat([0, 1], [20, 40])
    costs = _costs(z, _fit(z, part))
    for k, share in ((0, 1 / 3), (1, 2 / 3)):
        own = z[part == k]
        gaussian = multivariate_normal(own.mean(0), np.cov(own.T, bias=True) + np.eye(3))
        expected = -np.log(share) - gaussian.logpdf(z) - 1.5 * np.log(2 * np.pi)
        np.testing.assert_allclose(costs[:, k], expected, rtol=1e-10)


# ---- GrabCut ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk():
    """A noisy red disk of two shades on green and blue, and its mask."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:40, :48]
    mask = (rows - 21) ** 2 + (columns - 23) ** 2 < 12**2
    image = np.where(rows < 20, np.array([0.1, 0.6, 0.2])[:, None, None], np.array([0.1, 0.3, 0.7])[:, None, None])
    red = np.where(columns < 23, np.array([0.8, 0.2, 0.2])[:, None, None], np.array([0.7, 0.4, 0.1])[:, None, None])
    return np.clip(np.where(mask, red, image) + rng.normal(0, 0.04, (3, 40, 48)), 0, 1), mask


def test_grabcut_finds_a_disk_in_a_box_and_its_energy_falls(disk):
    image, mask = disk
    outside = np.ones(mask.shape, bool)
    outside[5:38, 7:40] = False
    energies = []
    note = lambda iteration, mask, energy: energies.append(energy) and None  # noqa: E731
    found = grabcut(image, np.zeros_like(mask), outside, components=3, callback=note)
    assert (found == mask).mean() > 0.99
    assert len(energies) > 1 and (np.diff(energies) <= 1.0).all()


def test_certain_pixels_stay_what_they_are(disk):
    image, mask = disk
    certain, outside = np.zeros_like(mask), ~mask
    certain[20:22, 20:22] = True
    outside[20, 30] = True  # inside the disk, and red: certain all the same
    found = grabcut(image, certain, outside, components=2)
    assert found[certain].all() and not found[outside].any()


def test_segmentation_from_a_map_that_is_only_roughly_right(disk):
    image, mask = disk
    rows, columns = np.mgrid[:40, :48]
    heat = np.exp(-((rows - 18) ** 2 + (columns - 26) ** 2) / (2 * 9**2))
    found = localization.segment(image, heat, components=3)
    assert (found & mask).sum() / (found | mask).sum() > 0.95


@pytest.mark.parametrize("foreground, background", [(True, True), (False, False)])
def test_seeds_must_make_sense(disk, foreground, background):
    image, mask = disk
    with pytest.raises(ValueError, match="grabcut"):
        grabcut(image, np.full(mask.shape, foreground), np.full(mask.shape, background))


# ---- bias ------------------------------------------------------------------------------------------------------------


def test_mass_inside_by_hand():
    heat = np.array([[[1.0, -3.0], [0.0, 4.0]], [[0, 0], [0, 0]]])
    found = bias.mass_inside(heat, np.array([[False, True], [True, False]]))
    assert found[0] == 3 / 8 and np.isnan(found[1])
    with pytest.raises(ValueError, match="do not fit"):
        bias.mass_inside(heat, np.ones((3, 3)))


def test_the_central_box_has_its_share():
    box = bias.central_box(40, 60, 0.25)
    assert box.mean() == 0.25 and box[10:30, 15:45].all()


def test_the_table_separates_right_and_wrong():
    inside = np.array([0.9, 0.5, 0.2, np.nan])
    rows = bias.bias_table(inside, np.full(4, 0.3), [0, 0, 0, 2], [0, 1, 1, 2], ("a", "b", "c"))
    assert [row["class"] for row in rows] == ["a", "c", "all"]
    assert rows[0]["accuracy"] == pytest.approx(1 / 3) and rows[0]["most_taken_for"] == "b"
    assert rows[0]["inside_right"] == 0.9 and rows[0]["inside_wrong"] == pytest.approx(0.35)
    assert rows[1]["inside"] is None and rows[1]["inside_wrong"] is None and rows[1]["most_taken_for"] is None
    assert rows[2]["images"] == 4 and rows[2]["inside"] == pytest.approx(1.6 / 3)


# ---- tiles -----------------------------------------------------------------------------------------------------------


def test_tiles_lie_in_rows_with_gaps():
    images = np.arange(3)[:, None, None, None] * np.ones((3, 1, 2, 2)) / 10
    sheet = tiles.tile(images, columns=2, gap=1)
    expected = [[0, 0, 1, 0.1, 0.1]] * 2 + [[1] * 5] + [[0.2, 0.2, 1, 1, 1]] * 2
    np.testing.assert_allclose(sheet[1], expected)


def test_outlines_are_on_the_edge():
    image = np.zeros((3, 5, 6))
    boxed = tiles.outline_box(image, (1, 1, 5, 5), colour=(1, 1, 1))
    assert boxed[0].sum() == 12 and not boxed[0, 2:4, 2:4].any()
    mask = np.zeros((5, 6), bool)
    mask[1:4, 1:5] = True
    drawn = tiles.outline_mask(np.ones((3, 5, 6)), mask, colour=(0, 0, 0))
    np.testing.assert_array_equal(drawn[0] == 0, mask & ~(np.pad(np.ones((1, 2), bool), ((2, 2), (2, 2)))))
    assert drawn[0, 0, 0] == 0.35


def test_enlarging_repeats_pixels():
    images = np.arange(12.0).reshape(1, 3, 2, 2)
    found = tiles.enlarge(images, 5)
    assert found.shape == (1, 3, 6, 6)
    np.testing.assert_array_equal(found[0, 1, :3, 3:], 5)
    np.testing.assert_array_equal(tiles.enlarge(images, 2), images)
