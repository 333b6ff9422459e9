"""Attribution by covering parts of the image and watching the score. No gradient is needed.

All take `image` (N,3,H,W) in the model's input space and `target`, `layer`, `unit` as `viz.objective.score` does, and
return NumPy arrays (N,H,W). `output` says what is watched: "logit", the score itself, or "probability", its softmax
(for a class only; of a network with one output, whose softmax is always 1, it is the score itself). Changed images go
through the network `batch_size` at a time, at most, by default as many as go fastest.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad.nn import Module
from models.layers import Preprocess

from .objective import score
from .progress import tqdm
from .random import stream
from .ranges import require
from .target import (
    as_image,
    as_leaf,
    explained_classes,
    fixed_target,
    is_class,
    logits,
    pick,
    probabilities,
    require_units,
)
from .typing import Images, SoFar, Target, Unit

# Of a pass on the CPU: 41 images of 112 pixels, 10 of 227. By 20 images a pass Score-CAM, RISE and occlusion by MiniVGG
# took 1 to 13 % longer, on one thread and on two, by 8 a quarter longer on two; by 64 they took as long.
PIXELS_AT_ONCE = 1 << 19
AT_ONCE_ON_GPU = 32  # images


def occlusion(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    patch: int | Sequence[int] = 16,
    stride: int | Sequence[int] = 8,
    fill: Any = 0.5,
    output: str = "logit",
    batch_size: int | None = None,
    progress: bool = False,
    callback: SoFar | None = None,
) -> np.ndarray:
    """(N,H,W), signed: how much the score falls when a square covers a pixel (Zeiler and Fergus 2013, section 4.2).

    A patch of `fill` slides over the image; a pixel gets the mean of y(x) - y(covered) over the patches that cover it.

    patch, stride: in pixels, an int or a pair (rows, columns); a last patch at each far edge leaves no pixel out.
    fill: a number or an array that broadcasts to the image; 0.5 is grey; "mean": see `filling`.
    callback(step, steps, map so far): after each batch of squares; True ends with that map, 0 where none has been.
    """
    target = fixed_target(model, image, target, layer)
    x = as_image(model, image).numpy()
    filled = filling("occlusion", model, fill, x)
    size, step = F.pair("occlusion", "patch", patch, 1), F.pair("occlusion", "stride", stride, 1)
    if any(p > n for p, n in zip(size, x.shape[2:], strict=True)) or any(
        s > p for s, p in zip(step, size, strict=True)
    ):
        raise ValueError(f"occlusion: patch {size} must fit the image {x.shape[2:]} and be at least the stride {step}")
    rows, columns = (_starts(n, p, s) for n, p, s in zip(x.shape[2:], size, step, strict=True))
    windows = [(slice(r, r + size[0]), slice(c, c + size[1])) for r in rows for c in columns]
    windows.insert(0, (slice(0), slice(0)))  # covers nothing: the score before

    falls, count = np.zeros((len(x), *x.shape[2:])), np.zeros(x.shape[2:])
    with tqdm(total=len(windows), desc="occlusion", disable=not progress) as bar:
        for some in passes("occlusion", x, model, len(windows), batch_size):
            group = windows[some]
            covered = np.repeat(x[None], len(group), axis=0)
            for one, window in zip(covered, group, strict=True):
                one[:, :, *window] = filled[:, :, *window]
            after = watched_many(model, covered, target, layer, unit, output)
            if some.start == 0:
                before = after[0]
            for y, window in zip(after, group, strict=True):
                falls[:, *window] += (before - y)[:, None, None]
                count[window] += 1
            bar.update(len(group))
            so_far = (falls / np.maximum(count, 1)).astype(x.dtype)
            if callback and callback(some.stop - 1, len(windows) - 1, so_far):
                break
    return so_far


def rise(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    samples: int = 2000,
    cells: int = 7,
    keep: float = 0.5,
    fill: Any = 0.0,
    output: str = "probability",
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = False,
    callback: SoFar | None = None,
) -> np.ndarray:
    """(N,H,W): RISE, the mean of random masks weighted by what is scored behind them (Petsiuk et al. 2018).

        S = 1 / (keep * samples) * sum_i y(x * M_i) M_i                                                  (equation 6)

    arXiv:1806.07421. Each mask is a grid of `cells` x `cells`, a cell 1 with probability `keep` and else 0, upsampled
    bilinearly to one cell more than the image and cropped at a random place (section 3.2). All photographs see the same
    masks, drawn from `seed`.

    fill: what the masks leave of the image is put on this, black as published; "mean", as the authors' code has it: see
        `filling`. Theirs draws 6000 masks of cells=8, keep=0.1; the article has 4000 or 8000 of cells=7, keep=0.5.
    output: "probability" as published, or "logit"; of what is no class the score is taken as it is.
    callback(step, steps, map so far): after each batch, with the number of masks; True ends with that map.
    """
    require("rise", samples=samples, cells=cells, keep=keep)
    target = fixed_target(model, image, target, layer)
    x = as_image(model, image).numpy()
    filled, rng = filling("rise", model, fill, x), stream(seed, "rise")
    total = np.zeros((len(x), *x.shape[2:]))
    output = output if layer is None and is_class(target) else "logit"
    with tqdm(total=samples, desc="RISE", disable=not progress) as bar:
        for some in passes("rise", x, model, samples, batch_size):
            masks = rise_masks(some.stop - some.start, x.shape[2:], cells, keep, rng).astype(x.dtype)
            shown = masks[:, None, None]
            y = watched_many(model, x * shown + filled * (1 - shown), target, layer, unit, output)
            total += np.einsum("mn,mhw->nhw", y, masks)
            bar.update(len(masks))
            so_far = (total / (keep * some.stop)).astype(x.dtype)
            if callback and callback(some.stop, samples, so_far):
                break
    return so_far


def filling(method: str, model: Module, fill: float | str, x: np.ndarray) -> np.ndarray:
    """What covers the images x (N,C,H,W), an array of their shape.

    fill: a number or an array that broadcasts to x; or "mean", the colour that the network's preprocessing makes 0, for
        the code of RISE and others covers pictures that are preprocessed already, by zeros.
    """
    if isinstance(fill, str):
        if fill != "mean":
            raise ValueError(f'{method}: fill must be numbers or "mean", got {fill!r}')
        layers = [one for _, one in model.named_modules() if isinstance(one, Preprocess)]
        fill = 0.0
        if layers:
            mean = layers[0].mean if layers[0].channel_order == "RGB" else layers[0].mean[::-1]
            fill = np.reshape(mean, (-1, 1, 1)) / layers[0].scale
    require_units(model, f"{method}: fill", fill)
    return np.broadcast_to(np.asarray(fill, x.dtype), x.shape)


def rise_masks(count: int, hw: tuple[int, int], cells: int, keep: float, rng: np.random.Generator) -> np.ndarray:
    """(count, H, W) float32 masks in [0,1] as RISE draws them, from the Generator `rng`."""
    cell = [-(-n // cells) for n in hw]
    full = [(cells + 1) * c for c in cell]
    masks = np.empty((count, *hw), np.float32)
    for mask in masks:
        grid = mg.from_numpy((rng.random((1, 1, cells, cells)) < keep).astype(np.float32))
        smooth = F.interpolate(grid, full, mode="bilinear", align_corners=False).numpy()[0, 0]
        row, column = (int(rng.integers(c)) for c in cell)
        mask[:] = smooth[row : row + hw[0], column : column + hw[1]]
    return masks


def watched(
    model: Module,
    x: np.ndarray,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    output: str = "logit",
) -> np.ndarray:
    """(N,) float64 array: the score of each image of the array x, or its probability (see the module's docstring)."""
    if output not in ("logit", "probability"):
        raise ValueError(f'output must be "logit" or "probability", got {output!r}')
    with mg.no_grad():
        x = as_leaf(model, x)
        if output == "logit":
            return score(model, x, target, layer, unit).numpy().astype(np.float64)
        if layer is not None or not is_class(target):
            raise ValueError('output "probability" is for classes: what is explained here is no probability')
        y = logits(model, x)
        return pick(probabilities(y), explained_classes(model, y, target)).numpy().astype(np.float64)


def passes(name: str, x: np.ndarray, model: Module, changes: int, asked: int | None = None) -> list[slice]:
    """Slices of range(changes), as alike as can be: the changes of the images x (N,C,H,W), so many of each image,
    that go through the network in one pass.

    asked: the most images of a pass; None takes as many as go fastest. A change of all images is never cut.
    """
    if asked is None:
        on_cpu = all(tensor.device == "cpu" for _, tensor in model.named_tensors())
        asked = max(1, PIXELS_AT_ONCE // (x.shape[2] * x.shape[3])) if on_cpu else AT_ONCE_ON_GPU
    require(name, batch_size=asked)
    count = -(-changes // max(1, asked // max(1, len(x))))
    size = -(-changes // max(1, count))
    return [slice(start, min(start + size, changes)) for start in range(0, changes, max(1, size))]


def watched_many(
    model: Module, changed: np.ndarray, target: Any, layer: str | None, unit: Any, output: Any
) -> np.ndarray:
    """(M,N): the scores of changed (M,N,3,H,W), M changes of each of the N images.

    Where these are one photograph, asked for several classes, it goes through the network once.
    """
    m, n = changed.shape[:2]
    several = n > 1 and layer is None and is_class(target) and output in ("logit", "probability")
    if several and (changed == changed[:, :1]).all():
        with mg.no_grad():
            y = logits(model, as_leaf(model, changed[:, 0]))
            y = (probabilities(y) if output == "probability" else y)[[i for i in range(m) for _ in range(n)]]
            return pick(y, np.tile(target, m)).numpy().astype(np.float64).reshape(m, n)
    if is_class(target) and target is not None:
        target = np.tile(target, len(changed))
    images = changed.reshape(changed.shape[0] * changed.shape[1], *changed.shape[2:])
    return watched(model, images, target, layer, unit, output).reshape(changed.shape[:2])


def _starts(size: int, patch: int, stride: int) -> list[int]:
    """Where patches begin along one axis: every `stride`, and one that ends with the image."""
    starts = list(range(0, size - patch + 1, stride))
    return starts if starts[-1] == size - patch else [*starts, size - patch]
