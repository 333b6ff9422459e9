"""Class activation maps: which places of a convolutional layer speak for the class.

With A (N,C,h,w) the activations of `layer`, y the class score and g = dy/dA, all are weighted sums of the C maps.
`layer` is where the map is drawn; None takes `default_layer`. Maps are in units of score, not normalised.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor
from minigrad import functional as F
from minigrad.nn import Module

from .gradients import guided_backprop
from .head import default_layer, pass_with_default_layer
from .objective import LOGITS, explained, looked_at, score
from .perturbation import passes
from .progress import tqdm
from .remarks import remark
from .target import as_image, as_images, as_logits, fixed_target, is_class, logits, logits_layer, pick, require_units
from .typing import Images, SoFar, Target, Unit

__all__ = [
    "default_layer",
    "eigen_cam",
    "grad_cam",
    "grad_cam_plus_plus",
    "guided_grad_cam",
    "hires_cam",
    "layer_cam",
    "score_cam",
    "xgrad_cam",
]


def grad_cam(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    signed: bool = False,
    counterfactual: bool = False,
    upsample: bool = True,
) -> np.ndarray:
    """(N,H,W): Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391).

        a_k = mean over positions of dy_c/dA_k        L = ReLU(sum_k a_k A_k)

    signed: leave out the ReLU; what speaks against the class is negative.
    counterfactual: explain -y_c, so that what speaks against the class is shown.
    upsample: to the size of the image, bilinearly; False returns the layer's own (N,h,w).

    A map that is zero all over comes back as zeros, with a warning.
    """
    image = as_images(model, image)
    low, maps, *_ = grad_cam_and_more(model, image, target, layer, unit, signed, counterfactual)
    return maps if upsample else low


def grad_cam_and_more(
    model: Module,
    image: np.ndarray,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    signed: bool = False,
    counterfactual: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
    """All that one pass through the network gives: `grad_cam` not upsampled, and upsampled; the scores (N,K), or None
    where no class is explained; the layer's name."""
    y, a, scores, layer = forward("grad_cam", model, image, target, layer, unit)
    g = mg.grad(-y.sum() if counterfactual else y.sum(), a)
    weights = g.mean(axis=(2, 3), keepdims=True)
    cam = (weights * a.detach()).sum(axis=1)
    cam = cam if signed else F.relu(cam)
    warn_of_zeros("grad_cam", cam, stacklevel=4)
    return cam.numpy(), upsampled(cam, image), None if scores is None else scores.numpy(), layer


def guided_grad_cam(
    model: Module, image: Images, target: Target | None = None, layer: str | None = None, unit: Unit | None = None
) -> np.ndarray:
    """(N,3,H,W), signed: guided backpropagation times the upsampled Grad-CAM map (Selvaraju et al., section 3.2).

    Where floats do not hold the product, as of gradients near 1e-25, an image's map is in other units: a power of two.
    """
    image = as_images(model, image)
    cam = grad_cam(model, image, target, layer, unit)
    return _product(guided_backprop(model, image, target), cam[:, None])


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a * b for each image, with b in units of its largest value where the dtype has no room for the product."""
    largest = [np.frexp(abs(one).max((1, 2, 3), keepdims=True, initial=0))[1] for one in (a, b)]
    room = np.finfo(a.dtype)
    fits = (sum(largest) > room.minexp + room.nmant) & (sum(largest) < room.maxexp)
    return a * np.ldexp(b, np.where(fits, 0, -largest[1]))


def grad_cam_plus_plus(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    upsample: bool = True,
) -> np.ndarray:
    """(N,H,W): Grad-CAM++ (Chattopadhay et al. 2018, arXiv:1710.11063).

        alpha_kij = g_kij^2 / (2 g_kij^2 + (sum_ab A_kab) g_kij^3)                      (equation 19)
        w_k = sum_ij alpha_kij ReLU(g_kij)        L = ReLU(sum_k w_k A_k)

    The paper differentiates exp(y), which only multiplies the map by exp(y); that factor is left out. g^2 is cancelled
    from alpha, since a float32 does not hold the square of a small or large gradient.
    """
    image = as_images(model, image)
    a, g = maps_and_gradients("grad_cam_plus_plus", model, image, target, layer, unit)
    divisor = 2.0 + a.sum(axis=(2, 3), keepdims=True) * g
    alpha = F.where(divisor == 0, 0.0, 1.0 / F.where(divisor == 0, 1.0, divisor))
    weights = (alpha * F.relu(g)).sum(axis=(2, 3), keepdims=True)
    return finished("grad_cam_plus_plus", F.relu((weights * a).sum(axis=1)), image, upsample)


def layer_cam(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    upsample: bool = True,
) -> np.ndarray:
    """(N,H,W): Layer-CAM (Jiang et al. 2021, IEEE TIP), L = ReLU(sum_k ReLU(g_k) * A_k): a weight for every place."""
    image = as_images(model, image)
    a, g = maps_and_gradients("layer_cam", model, image, target, layer, unit)
    weights = F.relu(g)
    return finished("layer_cam", F.relu((weights * a).sum(axis=1)), image, upsample)


def hires_cam(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    signed: bool = False,
    upsample: bool = True,
) -> np.ndarray:
    """(N,H,W): HiResCAM (Draelos and Carin 2020, arXiv:2011.08891), L = ReLU(sum_k g_k * A_k): no mean over positions.

    Where a linear layer (and an average) is all that follows, the signed map adds up to the score but for the bias.

    signed: leave out the ReLU; what speaks against the class is negative.
    """
    image = as_images(model, image)
    a, g = maps_and_gradients("hires_cam", model, image, target, layer, unit)
    cam = (g * a).sum(axis=1)
    return finished("hires_cam", cam if signed else F.relu(cam), image, upsample)


def xgrad_cam(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    upsample: bool = True,
) -> np.ndarray:
    """(N,H,W): XGrad-CAM (Fu et al. 2020, arXiv:2008.02312, equation 10).

        w_k = sum_ij A_kij g_kij / sum_ij A_kij        L = ReLU(sum_k w_k A_k)

    So that sum_k w_k A_k adds up to what HiResCAM's does; a channel that is 0 everywhere has weight 0.
    """
    image = as_images(model, image)
    a, g = maps_and_gradients("xgrad_cam", model, image, target, layer, unit)
    total = a.sum(axis=(2, 3), keepdims=True)
    weights = (a * g).sum(axis=(2, 3), keepdims=True) / F.where(total == 0, 1.0, total)
    return finished("xgrad_cam", F.relu((weights * a).sum(axis=1)), image, upsample)


def eigen_cam(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    upsample: bool = True,
) -> np.ndarray:
    """(N,H,W): Eigen-CAM, A projected on its first principal direction (Muhammad and Yeasin 2020, arXiv:2008.00299).

    With A as a matrix (h*w, C) = U S V^T, not centred, L = A V_1, its sign chosen so that L adds up to at least 0. No
    score enters: the map is the same for every `target`, which is accepted for the sake of one signature.
    """
    image = as_images(model, image)
    _, a = score_and_maps("eigen_cam", model, image, target, layer, unit)
    n, c, h, w = a.shape
    matrices = a.numpy().astype(np.promote_types(a.dtype, np.float32), copy=False)  # LAPACK has no float16
    matrices = matrices.reshape(n, c, h * w).transpose(0, 2, 1)
    direction = np.linalg.svd(matrices, full_matrices=False)[2][:, 0]
    cam = (matrices @ direction[:, :, None])[:, :, 0]
    cam = np.where(cam.sum(1, keepdims=True) < 0, -cam, cam).reshape(n, h, w)
    return finished("eigen_cam", mg.from_numpy(cam.astype(a.dtype)), image, upsample)


def score_cam(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    baseline: Any = 0.0,
    batch_size: int | None = None,
    upsample: bool = True,
    progress: bool = False,
    callback: SoFar | None = None,
) -> np.ndarray:
    """(N,H,W): Score-CAM, which needs no gradient (Wang et al. 2020, arXiv:1910.01279, definition 3 and algorithm 1).

        H_k = A_k upsampled to the image and scaled to [0,1]      C_k = y_c(x * H_k) - y_c(x_b)
        a = softmax over k of C                                   L = ReLU(sum_k a_k A_k)

    baseline: x_b, what is left where H_k is 0, a number or an array that broadcasts to the image; the masked image is
        x_b + (x - x_b) H_k. batch_size: masked images in one forward pass, by default as many as go fastest; there are
        as many as the layer has channels.
    callback(step, steps, map so far): after each batch, with how many masked images were seen of all, one image
        after the other; True ends with that map, zeros for an image that was not reached.
    """
    require_units(model, "score_cam: baseline", baseline)
    image = as_images(model, image)
    with mg.no_grad():
        y, a = score_and_maps("score_cam", model, image, target, layer, unit)
        chosen = fixed_target(model, image, target)
        x = as_image(model, image).detach()
        each = chosen if is_class(chosen) else [chosen] * len(x)
        cams, steps = [a[i, 0] * 0.0 for i in range(len(x))], len(x) * a.shape[1]
        pixels, known = x.numpy(), {}
        for i in range(len(x)):
            if i and not np.array_equal(pixels[i], pixels[i - 1]):
                known = {}
            course = _score_cam_of_one(model, x[i : i + 1], a[i], each[i], baseline, batch_size, progress, known)
            for done, cams[i] in course:
                step = i * a.shape[1] + done
                if callback and callback(step, steps, _as_array(F.stack(cams), image, upsample)):
                    return _as_array(F.stack(cams), image, upsample)
        return finished("score_cam", F.stack(cams) if cams else a[:, 0], image, upsample)


def _score_cam_of_one(
    model: Module, x: Tensor, a: Tensor, target: Any, baseline: Any, batch_size: int | None, progress: bool, known: Any
) -> Iterator[tuple[int, Tensor]]:
    """Pairs, after each batch of masks, of how many of the channels of a (C,h,w) were met and their map (h,w), for x
    (1,3,H,W).

    known: {batch: the scores of all classes behind its masks}, filled here: a photograph that is asked for several
        classes, one after the other, goes through the network once.
    """
    background = x * 0.0 + mg.as_tensor(np.asarray(baseline, x.dtype)).to(x.device)

    def masked(some: slice) -> Tensor:
        masks = F.interpolate(a[some, None], x.shape[2:], mode="bilinear", align_corners=False)
        low, high = masks.min(axis=(2, 3), keepdims=True), masks.max(axis=(2, 3), keepdims=True)
        return background + (x - background) * ((masks - low) / F.where(high > low, high - low, 1.0))

    def scored(batch: Any, images: Callable[[], Tensor]) -> Tensor:
        if not is_class(target):
            return score(model, images(), target)
        if batch not in known:
            known[batch] = logits(model, images())
        return pick(known[batch], [target] * len(known[batch]))

    increases, before = [], scored("background", lambda: background)
    for some in tqdm(passes("score_cam", x, model, len(a), batch_size), desc="Score-CAM", disable=not progress):
        increases.append(scored(some.start, functools.partial(masked, some)))
        increase = F.cat(increases) - before
        weights = F.softmax(increase, 0).reshape(-1, 1, 1)
        yield len(increase), F.relu((weights * a[: len(increase)]).sum(axis=0))


# ---- the layer, its maps, and the score ------------------------------------------------------------------------------


def score_and_maps(
    method: str, model: Module, image: np.ndarray, target: Target | None, layer: str | None, unit: Unit | None
) -> tuple[Tensor, Tensor]:
    """y (N,) and A (N,C,h,w), Tensors of one forward pass: what is explained, and the activations of `layer`."""
    return forward(method, model, image, target, layer, unit)[:2]


def maps_and_gradients(
    method: str, model: Module, image: np.ndarray, target: Target | None, layer: str | None, unit: Unit | None
) -> tuple[Tensor, Tensor]:
    """A and g = dy/dA, both (N,C,h,w): the activations of `layer`, and the gradient there of what is explained."""
    y, a = score_and_maps(method, model, image, target, layer, unit)
    return a.detach(), mg.grad(y.sum(), a)


def forward(
    method: str, model: Module, image: Images, target: Target | None, layer: str | None, unit: Unit | None
) -> tuple[Tensor, Tensor, Tensor | None, str]:
    """The same; the scores of all classes, (N,K), where a class is explained; the layer's name."""
    if unit is not None:
        raise ValueError(f"{method}: explains a class, so it takes no unit; its layer is where the map is drawn")
    x, objective = as_image(model, image), explained(target)
    if layer is None:
        layer, found = pass_with_default_layer(model, x)
        found[LOGITS] = as_logits(model, found[logits_layer(model)]) if LOGITS in objective.layers else None
    else:
        found = looked_at(model, x, [layer, *objective.layers])
    a, scores = found[layer], found.get(LOGITS)
    if a.ndim != 4:
        raise ValueError(f"{method}: layer {layer!r} has no positions to map, its output is {a.shape[1:]}")
    return objective.score(model, found), a, None if scores is None else scores.detach(), layer


def finished(method: str, cam: Tensor, image: np.ndarray, upsample: bool) -> np.ndarray:
    """The maps (N,h,w) as an array, at the size of the image if `upsample`; warns of those that are zero all over."""
    warn_of_zeros(method, cam, stacklevel=4)
    return _as_array(cam, image, upsample)


def _as_array(cam: Tensor, image: np.ndarray, upsample: bool) -> np.ndarray:
    return upsampled(cam, image) if upsample else cam.numpy()


def warn_of_zeros(method: str, cam: Tensor, stacklevel: int) -> None:
    """Warn of every map of cam (N,h,w), a Tensor, that is zero all over."""
    for i in np.flatnonzero(~cam.numpy().any(axis=(1, 2))):
        remark(f"{method}: the map of image {i} is zero everywhere", stacklevel=stacklevel)


def upsampled(cam: Tensor, image: np.ndarray) -> np.ndarray:
    """The maps (N,h,w), a Tensor, at the size of the image, as an array (N,H,W)."""
    return F.interpolate(cam[:, None], size=image.shape[2:], mode="bilinear", align_corners=False)[:, 0].numpy()
