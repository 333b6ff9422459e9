"""Networks whose weights are set by hand, so that what an attribution has to say of them can be written down.

A picture, black but for three squares of 4 x 4 pixels, red, green and blue. With r, g and b the sums of each colour
over the picture, divided by 16, the scores are

    template   the best match of a red square, 2 max(0, red in a window of 4 x 4, as a share, - 1/2)
    edges      left edges of what is red: the sum of max(0, red - red of the pixel to the left), by 4
    and        max(0, r + g - 1)              both, or nothing
    or         1 - max(0, 1 - 1.5 r - 1.5 g)  either is enough, and more of it adds nothing

all 1 with three squares and 0 for black; blue has no weight anywhere. So an attribution from a black baseline is

    complete    if it adds up to 1                                                (Sundararajan et al. 2017)
    dummy       if nothing lies outside the squares that have a weight            (Shapley 1953; Friedman 2004)
    symmetric   if red and green get the same of `and` and `or`, which do not tell them apart
    sensitive   if red gets something where red alone makes the difference from black: all but `and`
                                                                                  (Sundararajan et al. 2017)

Each is asked for within a tenth of the score. A method that breaks one of them is not wrong, but what it shows is
something else than a share of the score.

Letters: N pictures of S = 24 pixels a side.
"""

from typing import Any

import numpy as np

from minigrad import nn
from minigrad.nn import Module

from ..random import stream
from ..typing import Method

SIZE, SIDE = 24, 4
COLOURS = ("red", "green", "blue")
TOLERANCE = 0.1
AXIOMS = {  # and the networks of which each can be asked
    "complete": ("template", "edges", "and", "or"),
    "dummy": ("template", "edges", "and", "or"),
    "symmetric": ("and", "or"),
    "sensitive": ("template", "edges", "or"),
}
WEIGHTED = {"template": ("red",), "edges": ("red",), "and": ("red", "green"), "or": ("red", "green")}


def squares(count: int, seed: int = 0, colours: tuple[Any, ...] = COLOURS) -> tuple[np.ndarray, dict[str, Any]]:
    """(images (N,3,S,S) float32, {colour: masks (N,S,S)}): squares at places drawn for each picture, never touching.

    colours: those that are there; the places do not depend on it.
    """
    images = np.zeros((count, 3, SIZE, SIZE), np.float32)
    masks = {colour: np.zeros((count, SIZE, SIZE), bool) for colour in COLOURS}
    for n in range(count):
        places = _places(stream(seed, "known networks", str(n)))
        for c, (colour, (top, left)) in enumerate(zip(COLOURS, places, strict=True)):
            masks[colour][n, top : top + SIDE, left : left + SIDE] = True
            if colour in colours:
                images[n, c][masks[colour][n]] = 1
    return images, masks


def _places(rng: np.random.Generator) -> list:
    """Three corners (top, left), more than a pixel apart, and off the picture's rim."""
    while True:
        places = rng.integers(1, SIZE - SIDE, size=(3, 2))
        apart = abs(places[:, None] - places[None]).max(-1)[np.triu_indices(3, 1)]
        if apart.min() > SIDE + 1:
            return places


def network(name: str) -> Module:
    """The network `name`, with one score, float32: `maps` are rectified, so that all methods find a layer."""
    if name not in WEIGHTED:
        raise ValueError(f"network: name must be one of {', '.join(WEIGHTED)}, got {name!r}")
    model = nn.Sequential(_matcher(name) if name in ("template", "edges") else _gate(name))
    model.input_size, model.labels, model.value_range = (SIZE, SIZE), None, (0.0, 1.0)
    return model


def _matcher(name: str) -> dict:
    """A convolution, a ReLU, and the largest match or the sum of all."""
    if name == "template":
        weight = np.zeros((1, 3, SIDE, SIDE))
        weight[0, 0] = 2 / SIDE**2
        layers = {"conv": _conv(weight, [-1.0]), "maps": nn.ReLU(), "most": nn.AdaptiveMaxPool2d(1)}
        return layers | {"flatten": nn.Flatten(), "fc": _linear([[1.0]], [0.0])}
    weight = np.zeros((1, 3, 1, 2))
    weight[0, 0, 0] = -1, 1
    layers = {"conv": _conv(weight, [0.0]), "maps": nn.ReLU(), "mean": nn.AdaptiveAvgPool2d(1)}
    return layers | {"flatten": nn.Flatten(), "fc": _linear([[SIZE * (SIZE - 1) / SIDE]], [0.0])}


def _gate(name: str) -> dict:
    """Red and green apart, the mean of each, and a function of their sum."""
    weight = np.zeros((2, 3, 1, 1))
    weight[0, 0] = weight[1, 1] = 1
    area = (SIZE / SIDE) ** 2  # so that the mean of one square comes to 1
    first = ([[area, area]], [-1.0]) if name == "and" else ([[-1.5 * area, -1.5 * area]], [1.0])
    last = ([[1.0]], [0.0]) if name == "and" else ([[-1.0]], [1.0])
    layers = {"conv": _conv(weight, [0.0, 0.0]), "maps": nn.ReLU(), "mean": nn.AdaptiveAvgPool2d(1)}
    return layers | {"flatten": nn.Flatten(), "sum": _linear(*first), "gate": nn.ReLU(), "fc": _linear(*last)}


def _conv(weight: Any, bias: Any) -> Any:
    layer = nn.Conv2d(3, len(weight), weight.shape[2:])
    return _set(layer, weight, bias)


def _linear(weight: Any, bias: Any) -> Any:
    return _set(nn.Linear(len(weight[0]), len(weight)), weight, bias)


def _set(layer: Any, weight: Any, bias: Any) -> Any:
    layer.load_state_dict({"weight": np.array(weight, np.float32), "bias": np.array(bias, np.float32)})
    return layer.requires_grad_(False)


def axioms_kept(method: Method, count: int, seed: int = 0) -> dict[str, Any]:
    """{axiom: {network: (N,) bool}}: which of the axioms `method(model, images, target)` keeps, picture by picture.

    method: gives signed maps (N,S,S), such as `viz.per_pixel` makes of an attribution.
    """
    images, masks = squares(count, seed)
    red_alone, _ = squares(count, seed, ("red",))
    kept = {axiom: {} for axiom in AXIOMS}
    for name, weighted in WEIGHTED.items():
        model = network(name)
        maps = np.asarray(method(model, images, 0), np.float64)
        red, green = ((maps * masks[colour]).sum((1, 2)) for colour in ("red", "green"))
        inside = np.any([masks[colour] for colour in weighted], 0)
        found = {
            "complete": abs(maps.sum((1, 2)) - 1) <= TOLERANCE,
            "dummy": abs(maps * ~inside).sum((1, 2)) <= TOLERANCE * abs(maps).sum((1, 2)),
            "symmetric": abs(red - green) <= TOLERANCE * np.maximum(abs(red), abs(green)),
        }
        alone = np.asarray(method(model, red_alone, 0), np.float64)
        found["sensitive"] = abs((alone * masks["red"]).sum((1, 2))) > TOLERANCE
        for axiom, networks in AXIOMS.items():
            if name in networks:
                kept[axiom][name] = found[axiom]
    return kept
