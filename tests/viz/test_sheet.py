"""Sheets look like plot.attribution's figures, for any shape and text, without matplotlib."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib import colormaps

from viz import colours, plot, sheet

pytestmark = pytest.mark.host("maps are drawn from NumPy's arrays")

LONG = "a long text about what a map measures, in units of the score, that needs several lines " * 2


def image(shape):
    return np.random.default_rng(0).random((1, 3, *shape))


@pytest.mark.parametrize("signed, name", [(False, "inferno"), (True, "RdBu_r")])
def test_colours_are_matplotlibs(signed, name):
    np.testing.assert_array_equal(colours.table(signed), colormaps[name](np.arange(256))[:, :3])
    scale = colours.Scale(2.0, signed, False)
    values = np.linspace(-3, 3, 1001)[None]
    np.testing.assert_allclose(scale.colours(values), scale.colormap(scale.norm(values))[..., :3])
    assert (scale.colours(np.array([[np.nan]])) == 0.5).all()


@pytest.mark.parametrize("shape", [(224, 224), (32, 32), (100, 300), (300, 60), (1, 1)])
@pytest.mark.parametrize("title, label", [("", ""), ("Grad-CAM: cat (p = 0.98)", "evidence"), (LONG, LONG)])
def test_every_part_is_where_it_should_be(shape, title, label):
    heat = np.random.default_rng(1).standard_normal(shape)
    drawn = sheet.attribution(image(shape), heat, title, label)
    pixels = np.asarray(drawn).astype(int)
    border = [pixels[:10], pixels[-10:], pixels[:, :10], pixels[:, -10:]]
    assert all((edge == 255).all() for edge in border)  # nothing is cut off
    assert (pixels[:, : sheet.MARGIN] == 255).all()
    height, width = sheet._cell_size(np.zeros((*shape, 3)))
    top = drawn.height - sheet.MARGIN - height
    expected = [plot.as_picture(image(shape)), colours.Scale.of(heat).colours(heat), plot.overlay(image(shape), heat)]
    for i, cell in enumerate(expected):
        left = sheet.MARGIN + i * (width + sheet.GAP)
        shown = pixels[top : top + height, left : left + width]
        rows = ((np.arange(height) + 0.5) * shape[0] / height).astype(int)
        columns = ((np.arange(width) + 0.5) * shape[1] / width).astype(int)
        off = np.abs(shown - 255 * cell[rows][:, columns]).max(2)
        assert (off <= 1).mean() > 0.85  # which neighbour is the nearest may be a tie


def test_bar_spans_the_scale_and_points_beyond_it():
    heat = np.zeros((50, 50))
    heat[:10] = np.linspace(0, 1, 50)
    assert not colours.Scale.of(heat[:1]).signed
    heat[0, 0] = 1.5
    drawn = np.asarray(sheet.attribution(image((50, 50)), heat)).astype(int)
    (height, width), scale = sheet._cell_size(heat), colours.Scale.of(heat)
    assert scale.clipped
    x = sheet.MARGIN + 3 * (width + sheet.GAP) + 3
    top = drawn.shape[0] - sheet.MARGIN - height
    bar = drawn[top + sheet.BAR : top + height, x + sheet.BAR // 2]
    np.testing.assert_allclose(bar[0], 255 * scale.colours([[scale.high]])[0, 0], atol=1)
    np.testing.assert_allclose(bar[-1], 255 * scale.colours([[0.0]])[0, 0], atol=1)
    point = drawn[top : top + sheet.BAR - 1, x : x + sheet.BAR]
    filled = (point != 255).any(2).sum(1)
    assert (np.diff(filled) >= 0).all() and filled[0] <= 2 and filled[-1] > sheet.BAR - 4  # narrow above, wide below


def test_as_wide_as_plots_figure():
    heat = np.random.default_rng(1).random((224, 224))
    figure = plot.attribution(image((224, 224)), heat, "title", "evidence")
    drawn = sheet.attribution(image((224, 224)), heat, "title", "evidence")
    assert drawn.size == pytest.approx(figure.get_size_inches() * 150, rel=0.06)


def test_matplotlib_is_not_imported():
    code = "import sys, numpy, viz.sheet as s; s.attribution(numpy.ones((3, 8, 8)), numpy.eye(8), 't', 'l'); "
    code += "print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
