"""Rendered scenes: exact masks, parts that are independent, and pictures that depend on their number only."""

import numpy as np
import pytest

from viz.ground_truth.scenes import CARDS, KINDS, PARTS, SIZE, scenes

pytestmark = pytest.mark.host("pictures are drawn by NumPy")


@pytest.fixture(scope="module")
def drawn():
    return scenes(200, seed=3)


def test_pictures_are_on_the_levels_of_a_file(drawn):
    assert drawn.images.shape == (200, 3, SIZE, SIZE) and drawn.images.dtype == np.float32
    assert drawn.images.min() >= 0 and drawn.images.max() <= 1
    np.testing.assert_allclose(drawn.images * 255, np.round(drawn.images * 255), atol=1e-4)


def test_a_scene_depends_on_its_number_alone(drawn):
    one = scenes(1, seed=3, first=17)
    np.testing.assert_array_equal(one.images[0], drawn.images[17])
    assert all(one.kinds[part][0] == drawn.kinds[part][17] for part in PARTS)
    assert (scenes(1, seed=4, first=17).images != one.images).any()


def test_masks_share_out_the_picture(drawn):
    assert (np.sum([drawn.masks[part] for part in PARTS], 0) == 1).all()
    for part, side in CARDS.items():
        assert (drawn.masks[part].sum((1, 2)) == side**2).all()


@pytest.mark.parametrize("part", PARTS)
def test_another_kind_changes_pixels_of_its_own_mask_only(drawn, part):
    other = drawn.changed(part, (drawn.kinds[part] + 1) % KINDS)
    differs = (other.images != drawn.images).any(1)
    assert not (differs & ~drawn.masks[part]).any()
    assert (differs.sum((1, 2)) > 0.1 * drawn.masks[part].sum((1, 2))).all()
    same = other.changed(part, drawn.kinds[part])
    np.testing.assert_array_equal(same.images, drawn.images)


def test_backgrounds_tell_their_kinds_apart_all_over(drawn):
    """Rows, columns, slanting and checks are all dark together at one pixel in eight, and else they differ."""
    kinds = [drawn.changed("background", np.full(len(drawn), kind)).images for kind in range(KINDS)]
    differs = np.any([kind != kinds[0] for kind in kinds], 0).any(1)
    share = (differs & drawn.masks["background"]).sum() / drawn.masks["background"].sum()
    assert abs(share - 7 / 8) < 0.01


def test_kinds_are_independent_and_even():
    kinds = np.stack([scenes(1000, seed=5).kinds[part] for part in PARTS])
    for i in range(len(PARTS)):
        assert abs(np.bincount(kinds[i], minlength=KINDS) / 1000 - 1 / KINDS).max() < 0.06
        for j in range(i):
            together = np.histogram2d(kinds[i], kinds[j], KINDS)[0] / 1000
            assert abs(together - 1 / KINDS**2).max() < 0.03


def test_places_are_independent_of_kinds(drawn):
    """A place that told the kind would be a second cue."""
    big = scenes(1000, seed=6)
    rows = big.masks["mark"].any(2).argmax(1)
    means = [rows[big.kinds["mark"] == kind].mean() for kind in range(KINDS)]
    assert np.ptp(means) < 4 * rows.std() / np.sqrt(250)


def test_what_makes_no_sense_is_refused(drawn):
    with pytest.raises(ValueError, match="count must be at least 1"):
        scenes(0)
    with pytest.raises(ValueError, match="part must be one of background, object, distractor, mark, got 'sky'"):
        drawn.changed("sky", drawn.kinds["mark"])
    for wrong in (np.zeros(3, int), np.full(200, KINDS)):
        with pytest.raises(ValueError, match="kinds must be 200 whole numbers from 0 to 3"):
            drawn.changed("mark", wrong)
