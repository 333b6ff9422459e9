"""Make the drawings of docs/engine.md and docs/convolution.md: graphs, and what convolution's algorithms do.

python docs/diagrams.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from skimage import data  # noqa: E402

import minigrad as mg  # noqa: E402
import minigrad.functional as F  # noqa: E402
import models  # noqa: E402
from minigrad import nn  # noqa: E402
from minigrad.kernels import winograd  # noqa: E402

IMAGES = Path(__file__).resolve().parent / "images"
USUAL, OURS, THIRDS = (0, 1, -1, 2, -2), (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2), (0, 2 / 3, -2 / 3, 4 / 3, -4 / 3)


def graphs():
    """engine.md's graphs: a multiplication and an addition, the gradient's own graph, and a small network."""
    a, b = mg.Tensor(2.0, requires_grad=True), mg.Tensor(3.0, requires_grad=True)
    c = a * b + a
    mg.graph(c, names={"a": a, "b": b, "c": c}).save(IMAGES / "graph_product.svg")

    x = mg.Tensor(2.0, requires_grad=True)
    slope = mg.grad(x * x * x, x, create_graph=True)
    mg.graph(slope, names={"x": x, "3x^2": slope}).save(IMAGES / "graph_gradient.svg")

    rng = np.random.default_rng(0)
    model = nn.Sequential(
        {
            "conv": nn.Conv2d(3, 8, 3, padding=1, rng=rng),
            "relu": nn.ReLU(),
            "pool": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(8 * 4 * 4, 3, rng=rng),
        }
    )
    image = mg.Tensor(rng.random((1, 3, 8, 8), np.float32), requires_grad=True)
    score = model(image)[0, 2]
    names = {"image": image, "score": score, **dict(model.named_parameters())}
    mg.graph(score, names=names).save(IMAGES / "graph_network.svg")


def show_matrix(ax, matrix, title, limit=None, values=False):
    limit = limit or abs(matrix).max()
    ax.imshow(matrix, cmap="RdBu", vmin=-limit, vmax=limit)
    ax.set_title(title, fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([])
    if values:
        for (i, j), value in np.ndenumerate(matrix):
            colour = "white" if abs(value) > 0.6 * limit else "black"
            ax.text(j, i, f"{round(value, 6) + 0:.3g}", ha="center", va="center", fontsize=6, color=colour)


def direct():
    """A 3x3 convolution of a 5x5 image as im2col lays it out, and as one large matrix with its transpose."""
    rng = np.random.default_rng(3)
    x, w = rng.integers(0, 10, (5, 5)).astype(float), rng.integers(-3, 4, (3, 3)).astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3)).reshape(9, 9)
    fig, axes = plt.subplots(1, 4, figsize=(9, 2.9), width_ratios=(5, 9, 1.6, 1.6), layout="constrained")
    show_matrix(axes[0], x, "x, 5x5", 12, values=True)
    axes[0].add_patch(plt.Rectangle((0.5, -0.5), 3, 3, fill=False, edgecolor="black", linewidth=2))
    show_matrix(axes[1], windows, "its 9 windows, one in each row", 12, values=True)
    axes[1].add_patch(plt.Rectangle((-0.5, 0.5), 9, 1, fill=False, edgecolor="black", linewidth=2))
    show_matrix(axes[2], w.reshape(9, 1), "w", 4, values=True)
    show_matrix(axes[3], windows @ w.reshape(9, 1), "y", 90, values=True)
    save(fig, "convolution_windows.png")

    identity = np.eye(25).reshape(25, 1, 5, 5)
    matrix = F.conv2d(identity, w.reshape(1, 1, 3, 3)).numpy().reshape(25, 9).T
    fig, axes = plt.subplots(1, 2, figsize=(7, 3), width_ratios=(25, 9), layout="constrained")
    show_matrix(axes[0], matrix, "M: y = M x, 9 outputs by 25 pixels", 4)
    show_matrix(axes[1], matrix.T, "its transpose: gx = M$^T$ g", 4)
    save(fig, "convolution_matrix.png")


def transforms():
    """Winograd's three matrices, and the tiles that they act on."""
    fig, axes = plt.subplots(1, 4, figsize=(10, 2.6), width_ratios=(6, 3, 6, 7), layout="constrained")
    show_matrix(axes[0], winograd.F4.BT, "B$^T$: 6 pixels to 6 values", 6, values=True)
    show_matrix(axes[1], winograd.F4.G, "G: 3 weights to 6", 6, values=True)
    show_matrix(axes[2], winograd.F4.AT, "A$^T$: 6 products to 4 outputs", 6, values=True)
    axes[3].set(xlim=(-0.5, 14.5), ylim=(14.5, -0.5), aspect="equal", xticks=[], yticks=[])
    axes[3].set_title("6x6 tiles, 4 apart, of 14x14 pixels", fontsize=9)
    for k, colour in zip(range(3), ("#4a78b0", "#b9791f", "#5a8f5a"), strict=True):
        axes[3].add_patch(plt.Rectangle((4 * k, 0), 6, 6, facecolor=colour, alpha=0.45, edgecolor=colour, linewidth=2))
        axes[3].add_patch(plt.Rectangle((4 * k + 1, 1), 4, 4, fill=False, edgecolor="black", linestyle=":"))
    axes[3].add_patch(plt.Rectangle((0, 0), 14, 14, fill=False, edgecolor="black"))
    save(fig, "winograd_transforms.png")


def steps():
    """F(4x4, 3x3) on a layer of MiniVGG: a channel of its input, V, one output's products, and that output."""
    model, channel, output = models.load("minivgg"), 11, 5
    photograph = mg.Tensor(models.load_image(data.cat(), 112))
    x, w = model.activations(photograph, ["relu2_1"])["relu2_1"].numpy(), model["conv2_2"].weight.numpy()
    v, u = winograd.transformed_tiles(x, (1, 1), winograd.F4), winograd.transformed_weights(w, winograd.F4)
    y = winograd.to_pixels(v @ u, (1, len(w), *x.shape[2:]), winograd.F4)
    fig = plt.figure(figsize=(10, 2.7), layout="constrained")
    panels = fig.subfigures(1, 4)
    titles = (
        "a channel of the input, 56x56",
        "V: its 36 values, 14x14 tiles",
        "M: 36 products of an output",
        "the output",
    )
    for panel, title in zip(panels, titles, strict=True):
        panel.suptitle(title, fontsize=9)
    panels[0].subplots().imshow(x[0, channel], cmap="gray")
    panels[3].subplots().imshow(y[0, output], cmap="gray")
    for panel, values in ((panels[1], v[:, :, channel]), (panels[2], (v @ u)[:, :, output])):
        for ax, value in zip(panel.subplots(6, 6).flat, values.reshape(36, 14, 14), strict=True):
            limit = abs(value).max()
            ax.imshow(value, cmap="RdBu", vmin=-limit, vmax=limit)
    for ax in fig.axes:
        ax.axis("off")
    save(fig, "winograd_steps.png")


def evaluation(points, coefficients):
    """The values at the points and at infinity of a polynomial: (points + 1, coefficients), float64."""
    finite = [[point**power for power in range(coefficients)] for point in points]
    return np.array([*finite, [0] * (coefficients - 1) + [1]])


def worst_error(points, seeds=8, channels=256, dtype=np.float32):
    """The largest error of F(m x m, 3x3) at these points, as a fraction of the largest output; the median of seeds.

    Sums over `channels` channels of normal weights and pixels that are 0 or more, as behind a ReLU; float64 is exact.
    """
    n = len(points) + 1
    m, errors = n - 2, []
    back, weigh = evaluation(points, m).T.astype(dtype), evaluation(points, 3).astype(dtype)
    into = np.linalg.inv(evaluation(points, n)).T.astype(dtype)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        d = np.maximum(rng.standard_normal((64, channels, n, n)), 0).astype(dtype)
        h = (rng.standard_normal((channels, 16, 3, 3)) * np.sqrt(2 / (9 * channels))).astype(dtype)
        v = into @ d @ into.T
        u = weigh @ h @ weigh.T
        products = np.einsum("tcij,coij->toij", v, u, optimize=True)
        y = back @ products @ back.T
        windows = np.lib.stride_tricks.sliding_window_view(d.astype(np.float64), (3, 3), (2, 3))
        exact = np.einsum("tcabij,coij->toab", windows, h.astype(np.float64), optimize=True)
        errors.append(abs(y - exact).max() / abs(exact).max())
    return float(np.median(errors))


def points():
    """The error of several sizes and choices of points, against the products for each output."""
    choices = {
        "F(2x2): 0, 1, -1": (0, 1, -1),
        "F(4x4): 0, ±1, ±2": USUAL,
        "F(4x4): 0, ±2/3, ±4/3": THIRDS,
        "F(4x4): 0, ±3/4, ±3/2 (ours)": OURS,
        "F(6x6): 0, ±1, ±2, ±1/2": (0, 1, -1, 2, -2, 1 / 2, -1 / 2),
        "F(6x6): 0, ±3/4, ±3/2, ±3/8": (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2, 3 / 8, -3 / 8),
    }
    errors = {name: worst_error(chosen) for name, chosen in choices.items()}
    scales = np.linspace(0.4, 1.4, 21)
    scaled = [worst_error((0, s, -s, 2 * s, -2 * s)) for s in scales]

    fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.2), layout="constrained")
    axes[0].barh(
        list(errors), list(errors.values()), color=["#b9791f" if "ours" in name else "#4a78b0" for name in errors]
    )
    axes[0].invert_yaxis()
    axes[0].set(xscale="log", xlabel="largest error / largest output (float32)")
    for i, (error, chosen) in enumerate(zip(errors.values(), choices.values(), strict=True)):
        m = len(chosen) - 1
        axes[0].text(error, i, f" {error:.1e}, {(m + 2) ** 2 / m**2:.2f} products", va="center", fontsize=7)
    axes[0].set_xlim(right=5e-3)
    axes[1].semilogy(scales, scaled, "o-", markersize=3, color="#4a78b0")
    axes[1].set(xlabel="s, for the points 0, ±s, ±2s and infinity", ylabel="the same error of F(4x4)")
    axes[1].grid(alpha=0.3)
    save(fig, "winograd_points.png")
    for name, error in errors.items():
        print(f"{name}: {error:.1e}")
    print("best scale", scales[int(np.argmin(scaled))])


def save(fig, name):
    fig.savefig(IMAGES / name, dpi=110)
    plt.close(fig)
    print(IMAGES / name)


if __name__ == "__main__":
    graphs()
    direct()
    transforms()
    steps()
    points()
