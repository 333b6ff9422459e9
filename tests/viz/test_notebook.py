"""What a notebook shows of results: figures, optimised images and measurements as PNG, tables as HTML."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import viz


@pytest.fixture(scope="module")
def model(small_network):
    return small_network(dtype=np.float32)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((2, 3, 16, 20), dtype=np.float32)


def opened(result):
    """The PNG that a notebook would show, as an array (H,W,3)."""
    return np.asarray(Image.open(io.BytesIO(result._repr_png_()), formats=["PNG"]).convert("RGB"))


def test_figures(image):
    from viz import plot

    shown = opened(plot.attribution(image[0], image[0, 0]))
    assert shown.shape[0] > 100 and shown.std() > 10


def test_optimised_images_show_their_own_pixels(model, image):
    red = np.zeros((1, 3, 16, 20), np.float32)
    red[:, 0] = 1
    result = viz.maximize(model, 1, start=red, lr=1e-6, steps=1)
    assert (opened(result) == [255, 0, 0]).all(-1).mean() > 0.2
    wild = viz.Optimized(red * 4 - 1, {})  # from -1 to 3: the red is all there is, the rest is black
    assert (opened(wild) == [255, 0, 0]).all(-1).mean() > 0.2


def test_measurements(model, image):
    maps = viz.saliency(model, image)
    for result in (
        viz.insertion_deletion(model, image, maps, steps=4),
        viz.model_randomization(model, image, viz.saliency),
        viz.top_patches(model, image, "relu1", 2, count=2),
    ):
        assert opened(result).std() > 5


def test_tables(model, image):
    report = viz.report_attack(model, image, viz.fgsm(model, image, epsilon=0.1))
    shown = report._repr_html_()
    assert shown.count("<tr>") == 3 and "<th>saved linf</th>" in shown and f"{report[0]['saved']['linf']:.4g}" in shown
    assert json.loads(json.dumps(report)) == report
    rows = viz.attack_table(model, image, [0, 1], {"<fgsm>": lambda m, x, y, n: viz.fgsm(m, x, label=y)})
    assert "&lt;fgsm&gt;" in rows._repr_html_()


def test_matplotlib_waits_until_something_is_shown():
    code = "import sys, viz; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
