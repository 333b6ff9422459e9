"""Figures: colours mean what the colour bar says, nothing overlaps or is cut off, and no global state is touched."""

import itertools
import math
import subprocess
import sys
from unittest import mock

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from viz import plot

pytestmark = pytest.mark.host("figures are drawn of NumPy's arrays")

rng = np.random.default_rng(0)
SHAPES = [(32, 32), (16, 160), (160, 16), (1, 1)]
LONG = "guided integrated gradients: English springer, English springer spaniel, of all the dogs here (p = 0.0123)"


def image(shape):
    return rng.random((1, 3, *shape))


def heat(shape, signed=False):
    return rng.standard_normal(shape) if signed else rng.random(shape)


def boxes(figure):
    """{what: bounding box in pixels} of every text around images and charts that is drawn, and of those themselves."""
    figure.canvas = canvas = FigureCanvasAgg(figure)
    drawn, draw = [], Text.draw
    with mock.patch.object(Text, "draw", lambda text, renderer: (drawn.append(text), draw(text, renderer))):
        canvas.draw()
    found = {f"axes {number}": axes.get_window_extent() for number, axes in enumerate(figure.axes)}
    charted = [text for axes in figure.axes for text in axes.texts]  # numbers that belong inside a chart
    for number, text in enumerate(drawn):
        if text.get_text().strip() and text not in charted:
            found[f"text {number}: {text.get_text()}"] = text.get_window_extent()
    return found


def assert_tidy(figure):
    found = boxes(figure)
    width, height = figure.canvas.get_width_height()
    for name, box in found.items():
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, f"{name} is cut off"
    for (a, one), (b, other) in itertools.combinations(found.items(), 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        along = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(across, along) < 1.5, f"{a} overlaps {b}"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("title", ["", "Saliency: cat (p = 0.98)", LONG])
@pytest.mark.parametrize("signed", [False, True])
def test_attribution_is_tidy(shape, title, signed):
    assert_tidy(plot.attribution(image(shape), heat(shape, signed), title, "max over channels of |dy/dx|"))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows, columns", [(1, 1), (2, 3), (3, 8)])
def test_grids_are_tidy(shape, rows, columns):
    maps = [[heat(shape, (r + c) % 2) for c in range(columns)] for r in range(rows)]
    names = [["cat (p = 0.98)", LONG, "zebra"][r] for r in range(rows)]
    assert_tidy(plot.attribution_grid(image(shape), maps, names, [f"method_{c}" for c in range(columns)], LONG))
    assert_tidy(plot.pictures([image(shape)] * (rows * columns), [f"step {i}" for i in range(rows * columns)], "Steps"))
    cells = [heat(shape) for _ in range(rows * columns)]
    assert_tidy(
        plot.maps(cells, [f"channel {i}" for i in range(len(cells))], "Activations", "activation", shared=False)
    )


@pytest.mark.parametrize("beside", [None, *SHAPES])
def test_bars_are_tidy(beside):
    names = ["cat", "a class whose name is rather long, as some are, and longer", "zebra"]
    assert_tidy(plot.bars(names, [1.0, 0.5, 0.0], LONG, image=None if beside is None else image(beside), highlight=0))
    assert_tidy(plot.bars(["cat"], [0.2], "One"))


def test_charts_are_tidy():
    lines = {"insertion": np.linspace(0, 1, 20), "deletion": (np.linspace(0, 1, 9), np.linspace(1, 0, 9))}
    assert_tidy(plot.curves(lines, "share of pixels", "probability", "Insertion and deletion"))
    assert_tidy(
        plot.scatter(rng.random((50, 2)), rng.integers(0, 3, 50), ["cat", "zebra", "tench"], "PCA", "1st", "2nd")
    )
    names = ["English springer", "cat"]
    assert_tidy(plot.matrix(rng.random((2, 2)), names, names, "Confusion", x="predicted", y="true"))
    assert_tidy(plot.matrix(rng.random((2, 3)), ["a", "b"], ["insertion (higher is better)", "b", "c"]))
    assert_tidy(plot.matrix([[1, math.nan]], ["a"], ["a long name of a column", "b"], shades=[[0, 1]]))


def test_a_line_that_lies_on_another_lets_it_be_seen():
    falling = np.linspace(1, 0, 9)
    series = {"a": falling, "b": falling + 1e-3, "c": falling[::-1], "d": falling[:5]}
    styles = [line.get_linestyle() for line in plot.curves(series).axes[0].lines]
    assert styles == ["-", "--", "-", "-"]


def test_overlay_goes_from_the_grey_photograph_to_the_map():
    picture = image((2, 2))
    grey = np.tensordot(np.array([0.299, 0.587, 0.114]), picture[0], 1)
    np.testing.assert_allclose(plot.overlay(picture, np.zeros((2, 2))), np.repeat(grey[..., None], 3, 2))
    blended = plot.overlay(picture, np.array([[0.0, 1.0], [0.5, 1.0]]), plot.Scale(1.0, False, False))
    brightest = np.array(matplotlib.colormaps["inferno"](1.0)[:3])
    np.testing.assert_allclose(blended[0, 1], 0.9 * brightest + 0.1 * grey[0, 1])
    np.testing.assert_allclose(blended[0, 0], [grey[0, 0]] * 3)


def test_overlay_wants_a_map_of_the_image_size():
    with pytest.raises(ValueError, match=r"overlay: the map is \(4, 4\), the image \(8, 8\)"):
        plot.overlay(image((8, 8)), np.ones((4, 4)))


def test_signed_maps_are_centred_at_zero():
    scale = plot.Scale.of(np.array([[-4.0, 0.0, 1.0]]), percentile=100)
    assert scale.signed and scale.high == 4.0
    neutral, against, slightly = scale.colours(np.array([[0.0, -4.0, 1.0]]))[0]
    np.testing.assert_allclose(neutral, matplotlib.colormaps["RdBu_r"](0.5)[:3], atol=0.01)
    assert against[2] > against[0] and slightly[0] > slightly[2] and slightly.min() > 0.5


def test_one_bright_pixel_does_not_darken_all_others():
    values = np.concatenate([np.linspace(0, 1, 999), [3.0]])
    scale = plot.Scale.of(values)
    assert scale.high == pytest.approx(np.percentile(values, 99.5)) and scale.clipped
    lonely = np.zeros(1000)
    lonely[7] = 3.0
    assert plot.Scale.of(lonely) == plot.Scale(3.0, False, False)


def test_maps_without_a_scale():
    assert plot.Scale.of(np.zeros((3, 3))) == plot.Scale(1.0, False, False)
    broken = np.array([[np.nan, np.inf], [1.0, -2.0]])
    scale = plot.Scale.of(broken)
    assert np.isfinite(scale.high) and scale.signed
    np.testing.assert_allclose(scale.colours(broken)[0], 0.5)
    assert_tidy(plot.maps([broken, np.zeros((2, 2))], ["broken", "empty"]))


def test_centred_colours():
    gradient = np.zeros((1, 3, 4, 4))
    gradient[0, 0, 1, 1:3], gradient[0, 2, 2, 2] = 2.0, -1.0
    colours = plot.centred(gradient)
    assert colours.shape == (3, 4, 4) and colours[1].tolist() == np.full((4, 4), 0.5).tolist()
    assert (colours[0, 1, 1], colours[2, 2, 2]) == (1.0, 0.25)


@pytest.mark.parametrize(
    "draw, said",
    [
        (lambda: plot.maps([]), "nothing to draw"),
        (lambda: plot.pictures([np.zeros((3, 4, 4))], ["a", "b"]), "2 labels for 1"),
        (lambda: plot.pictures([np.zeros((4, 4, 3))]), r"got \(4, 4, 3\)"),
        (lambda: plot.maps([np.zeros((2, 4, 4))]), r"got \(2, 4, 4\)"),
        (lambda: plot.attribution_grid(np.zeros((3, 4, 4)), [[np.zeros((4, 4))]], ["a"], ["b", "c"]), "1 rows"),
    ],
)
def test_what_cannot_be_drawn(draw, said):
    with pytest.raises(ValueError, match=said):
        draw()


def test_text_is_never_mathematics():
    boxes(plot.pictures([image((8, 8))], ["cost: $5_{ and $x^2$"], "a $\\nonsense$ title"))


def test_no_global_state():
    code = "import sys; from viz import plot; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
