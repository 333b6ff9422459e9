"""Does the map depend on what the network has learned, and on the class that is asked for?

Letters: N images, H W of a map, L layers drawn anew.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.nn import Module

from .checks import per_pixel
from .progress import trange
from .random import drawn, stream, streams
from .ranges import require
from .target import as_image, classes, fixed_target, logits
from .typing import Images, Method, Target


@dataclass(frozen=True)
class Randomization:
    """`layers`: down to which layer all were randomised at each of the L steps, from the top. maps (L+1,N,H,W):
    magnitudes, those of the trained model first. spearman, ssim (L+1,N): each step's likeness to the trained model's
    map, 1 for the first."""

    layers: tuple
    maps: np.ndarray
    spearman: np.ndarray
    ssim: np.ndarray

    def _repr_png_(self) -> bytes:
        """For notebooks: the first image's maps, from the trained network's on, with their rank correlations."""
        from .plot import maps

        steps = zip(("trained", *self.layers), self.spearman[:, 0], strict=True)
        return maps(self.maps[:, 0], [f"{name}: {r:.2f}" for name, r in steps], shared=False)._repr_png_()


def model_randomization(
    model: Module,
    image: Images,
    method: Method,
    target: Target | None = None,
    seed: int = 0,
    progress: bool = False,
    looks: int | None = None,
) -> Any:
    """The cascading randomisation test (Adebayo et al. 2018, arXiv:1810.03292, section 4.1), as a `Randomization`.

    Layer after layer with weights, from the top, is drawn anew as before training (in a copy of the model), and the map
    is compared with that of the trained model, both as magnitudes: rank correlation, and SSIM after scaling each to
    [0,1]. A method whose maps stay alike does not show what was learned: guided backpropagation, deconvnet and LRP's
    z-plus are known for it (Sixt et al. 2020, arXiv:1912.09818).

    method: `method(model, image, target)` returns an attribution, such as viz.saliency. A map that is the same
    everywhere counts as uncorrelated. looks: after how many of the layers a map is made and compared, from the first to
    the last evenly, in place of all: deep networks have a hundred. Needs scikit-image.
    """
    require("model_randomization", looks=looks)
    target = fixed_target(model, image, target)
    rng = stream(seed, "model_randomization")
    changed = copy.deepcopy(model)
    names = [name for name in model.names() if isinstance(model[name], nn.Conv2d | nn.Linear | nn.BatchNorm2d)][::-1]
    looked_at = set(np.linspace(0, len(names) - 1, min(looks or len(names), len(names))).round().astype(int).tolist())
    maps = [per_pixel(method(changed, image, target))]
    for k in trange(len(names), desc="randomising layers", disable=not progress):
        _draw_anew(changed[names[k]], rng)
        if k in looked_at:
            maps.append(per_pixel(method(changed, image, target)))
    names = [name for k, name in enumerate(names) if k in looked_at]
    maps = np.stack(maps)
    return Randomization(tuple(names), maps, *_likeness(maps))


def random_logit(
    model: Module, image: Images, method: Method, target: Target | None = None, seed: int = 0, key: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """(rank correlation, SSIM), each (N,): the map's likeness to that of another class (Sixt et al. 2020).

    arXiv:1912.09818. The other class of each image is drawn from seed and key; both maps are compared as magnitudes, as
    in `model_randomization`. Near 1: whatever the class, the map is the same. Needs scikit-image.
    """
    with mg.no_grad():
        scores = logits(model, as_image(model, image))
    known = scores.shape[1]
    if known < 2:
        raise ValueError("random_logit: the model has a single class, so there is no other to explain")
    chosen = classes(model, scores, target)
    rngs = streams(seed, "random_logit", as_image(model, image).numpy(), key)
    others = (chosen + np.array([rng.integers(1, known) for rng in rngs])) % known
    spearman, ssim = _likeness(np.stack([per_pixel(method(model, image, c)) for c in (chosen, others)]))
    return spearman[1], ssim[1]


def smoothed(method: Method, samples: int = 50, sigma: float = 0.1, seed: int = 0) -> Callable[..., Any]:
    """`method` averaged over noisy images, for the smooth randomisation test (Hedstroem et al. 2024, arXiv:2401.06465):

        model_randomization(model, image, smoothed(viz.saliency))

    What the gradients of random networks have of noise is averaged out before maps are compared. sigma: of the noise,
    as a share of each image's range of values.
    """
    require("smoothed", samples=samples, sigma=sigma)

    def averaged(model: Module, image: Images, target: Any = None) -> np.ndarray:
        target = fixed_target(model, image, target)
        x = as_image(model, image).numpy()
        spread = sigma * np.ptp(x, axis=(1, 2, 3), keepdims=True)
        rngs, total = streams(seed, "smoothed", x), 0.0
        for _ in range(samples):
            noise = spread * drawn(rngs, lambda rng: rng.standard_normal(x.shape[1:]))
            total = total + np.asarray(method(model, (x + noise).astype(x.dtype), target), np.float64)
        return total / samples

    return averaged


def _draw_anew(layer: Module, rng: np.random.Generator) -> None:
    """The weights that the layer had before training, or might have had."""
    drawn = {} if isinstance(layer, nn.BatchNorm2d) else {"rng": rng}
    fresh = type(layer)(**layer.describe(), **drawn)
    for (_, old), (_, new) in zip(layer.named_tensors(), fresh.named_tensors(), strict=True):
        old.data = new.to(old.device).astype(old.dtype).data


def _likeness(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rank correlation, SSIM), each (K,N), of maps (K,N,H,W) to the first of K; 0 where one is the same everywhere."""
    from scipy.stats import rankdata

    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        raise ImportError("model_randomization needs scikit-image: pip install 'minigrad[demo]'") from None
    spearman, ssim = np.zeros((2, *maps.shape[:2]))
    for n in range(maps.shape[1]):
        ranks = rankdata(maps[:, n].reshape(len(maps), -1), axis=1)
        ranks -= ranks.mean(1, keepdims=True)
        squares = np.array([row @ row for row in ranks])
        first, *_ = scaled = [(one - one.min()) / (np.ptp(one) or 1) for one in maps[:, n]]
        for k in np.flatnonzero(squares * squares[0]):
            spearman[k, n] = ranks[k] @ ranks[0] / np.sqrt(squares[k] * squares[0])
            ssim[k, n] = structural_similarity(
                first, scaled[k], data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
    return spearman, ssim
