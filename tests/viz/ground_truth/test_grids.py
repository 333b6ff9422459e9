"""DiFull and DiPart: scores of the cells, and what lies outside a cell."""

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import nn
from viz.ground_truth.grids import Join, Split, cell_class, difull, dipart
from viz.ground_truth.networks import ARCHITECTURES, build, scored
from viz.ground_truth.scenes import KINDS, SIZE, scenes

CELL = (SIZE, SIZE)


@pytest.fixture(scope="module")
def grid():
    """Two grids (2,3,2S,2S), the labels and the boxes of the cells to explain."""
    drawn = scenes(8, seed=1)
    return viz.mosaics(drawn.images, np.arange(8) % 4, 2)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request):
    return build(request.param, seed=1).requires_grad_(False)


def cells_of(pictures):
    """[row][column] of each grid: (N,3,S,S)."""
    return [[pictures[:, :, r : r + SIZE, c : c + SIZE] for c in (0, SIZE)] for r in (0, SIZE)]


def test_split_and_join_undo_each_other():
    x = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
    split = Split(2)(mg.from_numpy(x)).numpy()
    np.testing.assert_array_equal(split[:4], [x[0, :, :2, :3], x[0, :, :2, 3:], x[0, :, 2:, :3], x[0, :, 2:, 3:]])
    np.testing.assert_array_equal(Join(2)(mg.from_numpy(split)).numpy(), x)


def test_difull_scores_each_cell_as_the_network_alone_does(model, grid):
    pictures, _, _ = grid
    y = scored(difull(model), pictures).reshape(2, 2, 2, KINDS)
    for r, row in enumerate(cells_of(pictures)):
        for c, cell in enumerate(row):
            np.testing.assert_allclose(y[:, r, c], scored(model, cell), rtol=1e-4, atol=1e-5)


def test_dipart_averages_to_the_network_of_the_whole_grid(model, grid):
    """Its heads are linear in the mean over a cell, so the mean of the heads is the head of the mean."""
    y = scored(dipart(model), grid[0]).reshape(2, 4, KINDS)
    np.testing.assert_allclose(y.mean(1), scored(model, grid[0]), rtol=1e-4, atol=1e-5)


def test_pixels_outside_a_cell_cannot_matter_to_difull(model, grid):
    pictures, labels, boxes = grid
    target = cell_class(labels, boxes, CELL, 2, KINDS)
    network = difull(model)
    noise = np.random.default_rng(0).random(pictures.shape, np.float32)
    for n, (top, left, bottom, right) in enumerate(boxes):
        noise[n, :, top:bottom, left:right] = pictures[n, :, top:bottom, left:right]
    before, after = (scored(network, x)[[0, 1], target] for x in (pictures, noise))
    np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-6)
    gradient = viz.saliency(network, pictures, target)
    np.testing.assert_allclose(viz.positive_share(gradient, boxes), 1)


def test_what_reaches_into_a_cell_of_dipart_is_a_receptive_field_wide(grid):
    pictures, labels, boxes = grid
    network = dipart(build("plain", seed=1).requires_grad_(False))
    maps = viz.saliency(network, pictures, cell_class(labels, boxes, CELL, 2, KINDS))
    reach = 1 + 1 + 2 * (1 + 1) + 4 * 1 + 3  # the convolutions' at strides 1, 2 and 4, and the pools'
    for one, (top, left, bottom, right) in zip(maps, boxes, strict=True):
        far = np.ones(one.shape, bool)
        far[max(top - reach, 0) : bottom + reach, max(left - reach, 0) : right + reach] = False
        least = 1e-5 * one.max()  # Winograd's rounding reaches as far as its tiles
        assert one[far].max() < least
        one[top:bottom, left:right] = 0
        assert one.max() > least, "and the border is crossed"


@pytest.mark.parametrize(
    "method", [viz.lrp, viz.layer_cam, viz.grad_cam, viz.guided_backprop], ids=lambda m: m.__name__
)
def test_every_kind_of_method_has_a_map_of_the_whole_grid(model, grid, method):
    pictures, labels, boxes = grid
    for network in (difull(model), dipart(model)):
        maps = method(network, pictures, cell_class(labels, boxes, CELL, 2, KINDS))
        assert maps.shape[-2:] == (2 * SIZE, 2 * SIZE) and len(maps) == 2 and np.isfinite(maps).all()


def test_grad_cam_leaks_into_cells_that_cannot_matter(model, grid):
    """Its weights are means over all cells (Rao et al. 2022, section 5.1); Layer-CAM's belong to a place each."""
    pictures, labels, boxes = grid
    target, network = cell_class(labels, boxes, CELL, 2, KINDS), difull(model)
    assert (viz.positive_share(viz.grad_cam(network, pictures, target, signed=True), boxes) < 0.9).all()
    assert (viz.positive_share(viz.layer_cam(network, pictures, target), boxes) > 0.9).all()


def test_classes_of_cells():
    boxes = np.array([[0, 0, 4, 6], [0, 6, 4, 12], [4, 0, 8, 6], [4, 6, 8, 12]])
    np.testing.assert_array_equal(cell_class(np.array([1, 0, 2, 3]), boxes, (4, 6), 2, 4), [1, 4, 10, 15])


def test_a_network_that_is_no_chain_of_maps_and_a_head_is_refused():
    inner = nn.Sequential({"conv": nn.Conv2d(3, 2, 3), "relu": nn.ReLU(), "gap": nn.AdaptiveAvgPool2d(1)})
    nested = nn.Sequential({"features": inner, "flatten": nn.Flatten(), "fc": nn.Linear(2, 2)})
    nested.input_size = (8, 8)
    with pytest.raises(ValueError, match="the last maps, 'features.relu', are inside another layer"):
        difull(nested)
    with pytest.raises(ValueError, match=r"dipart: needs a chain \(nn.Sequential\), got ReLU"):
        dipart(nn.ReLU())
