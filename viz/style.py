"""Style transfer and its two halves: content reconstruction and texture synthesis (Gatys et al. 2015 and 2016).

    result = viz.style_transfer(model, content, style)
    result.image                                  (1,3,H,W)
    result.losses["style"]                        the course of that term, weighted

The image is what is optimised; the model only looks at it, up to the deepest layer that is named.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor
from minigrad import functional as F
from minigrad.nn import Module

from .gram import content_loss, mean_gram, style_loss
from .head import stages
from .maximize import start_image
from .network import with_average_pooling
from .optimize import Optimized, optimize_image
from .random import streams
from .ranges import require
from .regularize import total_variation
from .sizes import activations
from .target import as_image, as_pixels, channels, require_rgb
from .typing import Images

# Default layers by the names a network has: VGG's (Gatys et al.), those of a truncated or small VGG, and SqueezeNet's.
CONTENT_LAYERS = (("relu4_2",), ("relu4_1",), ("relu3_1",), ("fire4.relu_expand",))
STYLE_LAYERS = (
    ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
    ("relu1", *(f"fire{i}.relu_expand" for i in (2, 3, 4, 5))),
)

STYLE_OVER_CONTENT = 40.0  # the default balance: see style_weight below
STYLE_ALONE = 1e3  # the weight of the style half where there is no content to weigh it against


def style_transfer(
    model: Module,
    content: Images,
    style: Any,
    content_layers: Any = None,
    style_layers: Any = None,
    content_weight: float = 1.0,
    style_weight: float | None = None,
    tv_weight: float = 0.0,
    layer_weights: Any = None,
    blend: Any = None,
    normalization: str = "gatys",
    style_scale: float = 1.0,
    average_pooling: bool | None = False,
    original_colors: bool = False,
    start: Any = "content",
    optimizer: Any = "lbfgs",
    lr: float = 0.02,
    steps: int = 200,
    seed: int = 0,
    **course: Any,
) -> Optimized:
    """The content of one image in the style of another, or of several. Returns an Optimized.

        minimise  content_weight * 1/2 sum (F - P)^2, summed over content layers                          "content"
                  + style_weight * sum_l w_l / (4 N_l^2 M_l^2) sum (G_l - A_l)^2                          "style"
                  + tv_weight * sum (dx^2 + dy^2)                                                         "tv"

    content: (1,3,H,W) in [0,1]; the result has its size. style: one such array of any size, or a list of them.
    content_layers, style_layers: names; by default conv4_2, and conv1_1 to conv5_1, rectified (see `default_layers`).
        With [] for one of them the other half is alone.
    style_weight: None takes the one with which all of the content, 1/2 sum P^2, weighs a fortieth (with content_weight
        1) of the style loss of the content image, whatever the network and the sizes.
    layer_weights: the w_l, one for each style layer; by default equal, with sum 1; "balanced" takes those with which
        each layer has the same part in the style loss of the content image. blend: a weight for each style; by default
        equal; they are divided by their sum. normalization: of the style loss, "gatys" as above, "chw" or "hw".
    style_scale: the style image is resized by this factor first: below 1 for finer strokes, above 1 for coarser ones.
    average_pooling: replace max pooling, in a copy of the model; None does wherever `with_average_pooling` can.
    original_colors: transfer luminance only, and keep the colours of `content` (see `luminance_only`).
    start: "content", "style", "noise", "grey", "zeros", or an image. optimizer: "lbfgs", "adam", "momentum" or "sgd";
        lr means nothing to the first. steps: of the optimiser. Pixels stay in [0,1].
    course: progress, callback, record: see `optimize_image`.
    """
    styles = list(style) if isinstance(style, list | tuple) else [style]
    if not styles or any(one is None for one in styles):
        raise ValueError("style_transfer: there is no style: give a picture, or a list of some")
    content, styles = photograph(model, "content", content), [photograph(model, "style", s) for s in styles]
    weights = {"content_weight": content_weight, "style_weight": style_weight, "tv_weight": tv_weight, "blend": blend}
    require("style_transfer", **weights, style_scale=style_scale)
    restore = None
    if original_colors:
        require_rgb("style_transfer: original_colors", model)
        content, styles, restore = luminance_only(content, styles)
    model = _pooled(model, average_pooling)
    content_layers, style_layers = default_layers(model, content_layers, style_layers)
    if not (content_layers or style_layers):
        raise ValueError("style_transfer: there is neither a content nor a style layer: name one")
    wanted = _contents(model, content, content_layers)
    grams = _styles(model, styles, style_layers, blend, style_scale) if style_layers else {}
    weighed = isinstance(layer_weights, str) or (style_weight is None and wanted)
    begun = _contents(model, content, list(grams)) if weighed else {}  # what the weights are taken from
    weights = _layer_weights(layer_weights, begun, grams, normalization)
    if style_weight is None:
        style_weight = _balance(begun, wanted, grams, weights, normalization)
    if isinstance(start, str) and start in ("content", "style"):
        start = content if start == "content" else resized(styles[0], content.shape[2:])

    losses = _losses(model, wanted, grams, weights, normalization, content_weight, style_weight, tv_weight)
    x = start_image(model, start, content.shape[2:], streams(seed, "style_transfer", content))
    result = _finished(optimize_image(losses, x, optimizer, lr, steps, **_restored(course, restore)), restore)
    settings = {"content_layers": content_layers, "style_layers": style_layers, "layer_weights": weights}
    return replace(result, settings=settings | {"style_weight": style_weight})


def reconstruct_content(
    model: Module,
    image: Images,
    layers: Any = None,
    tv_weight: float = 0.0,
    start: Any = "noise",
    optimizer: Any = "lbfgs",
    lr: float = 0.05,
    steps: int = 200,
    seed: int = 0,
    **course: Any,
) -> Optimized:
    """An image with the activations of `image` (N,3,H,W) in one layer or in several: the content half, alone.

    minimise 1/2 sum (F - P)^2, summed over `layers` (a name or a list; by default the content layer), plus tv_weight *
    sum (dx^2 + dy^2). start, optimizer, lr, steps, course as in `style_transfer`. Returns an Optimized.
    """
    require("reconstruct_content", tv_weight=tv_weight)
    image = as_pixels("reconstruct_content", model, image, whole=True)
    layers, _ = default_layers(model, layers, ())
    if not layers:
        raise ValueError("reconstruct_content: there is no layer: name one")
    losses = _losses(model, _contents(model, image, layers), {}, tv_weight=tv_weight)
    x = start_image(model, start, image.shape[2:], streams(seed, "reconstruct_content", image))
    return optimize_image(losses, x, optimizer, lr, steps, **course)


def synthesize_texture(
    model: Module,
    style: Any,
    layers: Any = None,
    size: Any = None,
    layer_weights: Any = None,
    weight: float = STYLE_ALONE,
    normalization: str = "gatys",
    style_scale: float = 1.0,
    average_pooling: bool = False,
    tv_weight: float = 0.0,
    optimizer: Any = "lbfgs",
    lr: float = 0.05,
    steps: int = 200,
    seed: int = 0,
    **course: Any,
) -> Optimized:
    """A new image with the texture of `style` (1,3,h,w): its Gram matrices, from noise (Gatys et al. 2015, the texture
    paper, arXiv:1505.07376): the style half, alone.

    size: (H, W) of the result; by default that of `style`. weight: of the style loss, which has an effect only beside
    tv_weight. The rest is as in `style_transfer`. Returns an Optimized.
    """
    require("synthesize_texture", weight=weight, tv_weight=tv_weight, style_scale=style_scale)
    style = photograph(model, "style", style)
    model = with_average_pooling(model) if average_pooling else model
    _, layers = default_layers(model, (), layers)
    if not layers:
        raise ValueError("synthesize_texture: there is no layer: name one")
    grams = _styles(model, [style], layers, None, style_scale)
    weights = _shares("layer_weights", layer_weights, len(layers), normalize=False)
    losses = _losses(model, {}, grams, weights, normalization, style_weight=weight, tv_weight=tv_weight)
    x = start_image(model, "noise", size or style.shape[2:], streams(seed, "synthesize_texture", style))
    return optimize_image(losses, x, optimizer, lr, steps, **course)


def default_layers(model: Module, content_layers: Any = None, style_layers: Any = None) -> tuple[list[str], list[str]]:
    """(content layers, style layers) as lists of names: those given, or the first default that this model has.

    For VGG: relu4_2, and relu1_1, relu2_1, relu3_1, relu4_1, relu5_1, as far as the network goes. Of a network with
    other names the style layers are the last maps of each size, and the content layer the last of these but one. Raises
    ValueError for a layer that is named twice.
    """
    names = set(model.names())
    inside = "network." if "network" in names else ""  # models.Model's customary name of a whole network
    if content_layers is None:
        found = ([inside + layer for layer in layers] for layers in CONTENT_LAYERS)
        content_layers = next((layers for layers in found if names.issuperset(layers)), None)
    if style_layers is None:
        found = ([inside + layer for layer in layers if inside + layer in names] for layers in STYLE_LAYERS)
        style_layers = next((layers for layers in found if len(layers) > 1), None)
    if content_layers is None or style_layers is None:
        found = stages(model)
        content_layers = found[-2:][:1] if content_layers is None else content_layers
        style_layers = found if style_layers is None else style_layers
    both = [[layers] if isinstance(layers, str) else layers for layers in (content_layers, style_layers)]
    for layers in both:
        if not isinstance(layers, list | tuple) or not all(isinstance(layer, str) for layer in layers):
            raise ValueError(f"layers are given by their names, one or a list, got {layers!r}")
        twice = next((layer for layer in layers if layers.count(layer) > 1), None)
        if twice is not None:
            raise ValueError(f"the layer {twice!r} is named twice: name it once, layer_weights may make it count more")
    return [list(layers) for layers in both]


# ---- original colours ------------------------------------------------------------------------------------------------

# Luminance and two colour differences (YIQ, the NTSC's), from RGB.
YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])


def luminance(image: np.ndarray) -> np.ndarray:
    """(N,1,H,W): the brightness of RGB images (N,3,H,W), 0.299 R + 0.587 G + 0.114 B."""
    return np.einsum("c,nchw->nhw", YIQ[0], image)[:, None].astype(image.dtype)


def luminance_only(
    content: np.ndarray, styles: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray], Callable[..., Any]]:
    """Grey versions of the images, and the function that gives a grey result the colours of `content` back.

    "Luminance-only transfer" (Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer", section 4,
    arXiv:1606.05897): the luminance of each style image is first given mean and standard deviation of the content's,
    L' = (L - mean)/deviation * deviation_c + mean_c. The result takes its luminance from the optimised image and both
    colour differences (I, Q) from the content; where that leaves [0,1], it is cut off.
    """
    light = luminance(content)
    greys = [luminance(style) for style in styles]
    greys = [(grey - grey.mean()) / max(grey.std(), 1e-6) * light.std() + light.mean() for grey in greys]
    colors = content - light  # has luminance 0: adding it leaves the luminance and sets I and Q

    def restore(image: np.ndarray) -> np.ndarray:
        return np.clip(luminance(image) + colors, 0, 1).astype(image.dtype)

    return np.repeat(light, 3, 1), [np.repeat(np.clip(grey, 0, 1), 3, 1) for grey in greys], restore


# ---- the terms -------------------------------------------------------------------------------------------------------


def _losses(
    model: Module,
    wanted: dict[str, Tensor],
    grams: dict,
    weights: Sequence[float] = (),
    normalization: str = "gatys",
    content_weight: float = 1.0,
    style_weight: float = 1.0,
    tv_weight: float = 0.0,
) -> Callable[[Tensor], dict]:
    """The terms of an image, as far as there are any. wanted: {layer: P}; grams: {layer: A}; weights: the w_l."""

    def losses(x: Tensor) -> dict:
        found = activations(model, x, [*wanted, *grams])
        terms = {"content": _content(found, wanted, content_weight)} if wanted else {}
        if grams:
            terms["style"] = _style(found, grams, weights, normalization, style_weight)
        if tv_weight:
            terms["tv"] = total_variation(x, "l2", tv_weight)
        return terms

    return losses


def _balance(
    begun: dict[str, Tensor], wanted: dict[str, Tensor], grams: dict, weights: Sequence[float], normalization: str
) -> float:
    """The default style_weight; begun: {layer: the content image's maps}."""
    if not wanted or not grams:
        return STYLE_ALONE
    unlike = _style(begun, grams, weights, normalization, 1.0).item()
    everything = _sum(content_loss(a, F.zeros_like(a)) for a in wanted.values()).item()
    return STYLE_OVER_CONTENT * everything / unlike if unlike > 0 else 1.0


def _layer_weights(given: Any, begun: dict[str, Tensor], grams: dict, normalization: str) -> list[float]:
    """The w_l of the layers in grams: those given, equal ones, or, "balanced", those that weigh each layer alike."""
    if not grams:
        return []
    if not isinstance(given, str):
        return _shares("layer_weights", given, len(grams), normalize=False)
    if given != "balanced":
        raise ValueError(f'style_transfer: layer_weights are numbers or "balanced", got {given!r}')
    unlike = [style_loss(begun[layer], gram, normalization).item() for layer, gram in grams.items()]
    shares = [1 / loss if loss > 0 else 0.0 for loss in unlike]
    return _shares("layer_weights", shares if any(shares) else None, len(grams))


def _content(found: dict[str, Tensor], wanted: dict[str, Tensor], weight: float) -> Tensor:
    return _sum(content_loss(found[layer], wanted[layer]) for layer in wanted) * weight


def _style(
    found: dict[str, Tensor], grams: dict, weights: Sequence[float], normalization: str, weight: float
) -> Tensor:
    terms = zip(grams.items(), weights, strict=True)
    return _sum(style_loss(found[layer], gram, normalization) * w for (layer, gram), w in terms) * weight


def _sum(terms: Iterable[Tensor]) -> Tensor:
    first, *rest = terms
    for term in rest:
        first = first + term
    return first


def _pooled(model: Module, average: bool | None) -> Module:
    """The model with average pooling, or as it is; None asks for the first where it can be had."""
    try:
        return model if average is False else with_average_pooling(model)
    except NotImplementedError:
        if average:
            raise
        return model


def _contents(model: Module, image: Any, layers: Sequence[str]) -> dict:
    if not layers:
        return {}
    with mg.no_grad():
        return activations(model, as_image(model, image), layers)


def _styles(model: Module, styles: list, layers: Sequence[str], blend: Any, scale: float) -> dict:
    """{layer: (1,N,N) Tensor}: the mean Gram matrices of the styles, blended."""
    grams = {}
    for style, share in zip(styles, _shares("blend", blend, len(styles)), strict=True):
        found = _contents(model, resized(style, tuple(max(1, round(n * scale)) for n in style.shape[2:])), layers)
        for layer, a in found.items():
            if a.ndim != 4:
                raise ValueError(f"layer {layer!r} has no positions, its output is {a.shape[1:]}: it has no style")
            grams[layer] = mean_gram(a) * share + grams.get(layer, 0.0)
    return grams


def _shares(name: str, weights: Any, count: int, normalize: bool = True) -> list[float]:
    """`count` weights: those given, or equal ones with sum 1."""
    weights = [1.0 / count] * count if weights is None else [float(w) for w in weights]
    if len(weights) != count or min(weights) < 0 or not sum(weights) > 0:
        raise ValueError(f"{name} must be {count} weights, none negative and not all zero, got {weights}")
    return [w / sum(weights) for w in weights] if normalize else weights


def photograph(model: Module, name: str, image: Any) -> np.ndarray:
    image, c = as_pixels("an optimised image", model, image, whole=True, argument=name), channels(model)
    if image.shape[:2] != (1, c):
        raise ValueError(f"{name} must be one picture, (1,{c},H,W), got shape {image.shape}")
    return image


def resized(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    if image.shape[2:] == tuple(size):
        return image
    from models import load_image

    bands = [load_image(image[:, c : c + 1], size)[:, :1] for c in range(image.shape[1])]
    return np.concatenate(bands, axis=1).astype(image.dtype)


def _restored(course: dict, restore: Callable[..., Any] | None) -> dict:
    """The course, whose callback is shown images as the result will be."""
    callback = course.get("callback")
    if restore is None or callback is None:
        return course
    return course | {"callback": lambda step, image, losses: callback(step, restore(image), losses)}


def _finished(result: Optimized, restore: Callable[..., Any] | None) -> Optimized:
    if restore is None:
        return result
    frames = [restore(frame) for frame in result.frames]
    return Optimized(restore(result.image), result.losses, result.stopped, frames, result.steps)
