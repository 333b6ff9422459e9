"""Adversarial examples within a budget: one step along the gradient, and many.

An attack moves an image x0 a little, so that a network gives it another class. The budget epsilon is in pixel space (a
network carries its own preprocessing, pixels lie in [0, 1]), and whatever the steps, what comes back is

    x' = clip(x0 + P(x - x0), 0, 1),   P the projection onto the ball of radius epsilon in L-infinity or in L2.

All attacks share their arguments: `target` is the class to reach, one for all images or one for each; with None the
attack is untargeted and only leaves `label`, which is by default what the network says of the image. Both are given by
name, since elsewhere the right class stands third and here it would be the class to reach. Each may be an Objective or
a function of the network's output (viz/objective.py) in place of a class: as `target` it is raised, as `label` lowered;
where an attack ends once the class has changed, it ends once the score is above 0, or below. An untargeted attack
leaves an image that has another class than `label` already as it is. How an attacked image fares once it is saved as a
picture is `viz.report_attack`'s to say. A defended network (`viz.defend`) is attacked like any other; where it is
random, `samples` averages the gradient over its draws.

Letters: N images, K classes, H W height and width.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor
from minigrad import functional as F
from minigrad.nn import Module
from minigrad.typing import Decorated

from .objective import Objective, as_objective, evaluate
from .progress import tqdm
from .random import drawn, streams
from .ranges import require
from .target import as_images, as_leaf, as_pixels, check_pixels, classes, in_pixels, is_class, logits, pick
from .typing import Callback, Classes, Images, Target

# ---- what every attack needs -----------------------------------------------------------------------------------------

NORMS = "linf", "l2"  # of budgets
MEANING = {
    "label": "label= is the class to leave, the right one",
    "target": "target= is the class to reach",
    "weight": "it takes no class, for weight says which score is moved",
}


def aimed_by_name(attack: Decorated) -> Decorated:
    """`attack`, which refuses a class without a name: it says which of label and target is which."""
    parameters = inspect.signature(attack).parameters.values()
    places = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    meaning = "; ".join(text for name, text in MEANING.items() if name in {p.name for p in parameters})

    @functools.wraps(attack)
    def called(*given: Any, **named: Any) -> Any:
        if len(given) > places:
            which = meaning or "it takes no class, but leaves the network's own"
            raise TypeError(f"{attack.__name__}: give argument {places + 1} by its name: {which}")
        return attack(*given, **named)

    return called


def checked_images(name: str, model: Module, image: Images) -> np.ndarray:
    """`image`, as `as_images` takes it, as a floating point array (N,3,H,W) in [0, 1]; raises ValueError for others."""
    image = as_pixels(name, model, image)
    if not image.size:
        raise ValueError(f"{name}: image is empty, its shape is {image.shape}")
    return image


def scores(model: Module, image: Images, batch_size: int = 64) -> np.ndarray:
    """Scores before the softmax (N,K) of images (N,3,H,W), an array."""
    return measured(model, as_images(model, image), logits, batch_size)


def measured(model: Module, image: Images, measure: Callable[..., Any], batch_size: int = 64) -> np.ndarray:
    """measure(model, x) of checked images (N,3,H,W), some at a time, as one array (N,...)."""
    with mg.no_grad():
        batches = [image[start : start + batch_size] for start in range(0, len(image) or 1, batch_size)]
        return np.concatenate([measure(model, as_leaf(model, batch)).numpy() for batch in batches])


def require_classes(name: str, scores: np.ndarray) -> None:
    """Refuse scores (N,1): the one class is always the highest."""
    if scores.shape[1] < 2:
        raise ValueError(f"{name}: the model has a single class, so there is no other to reach")


def aim(
    name: str, model: Module, image: np.ndarray, target: Target | None, label: Classes | None
) -> tuple[np.ndarray, int]:
    """(classes (N,) or an Objective, direction): +1 to move away from it (untargeted), -1 to move towards it."""
    if target is not None and label is not None:
        raise ValueError(f"{name}: give target (the class to reach) or label (the class to leave), not both")
    given, direction = (label, 1) if target is None else (target, -1)
    argument = "label" if target is None else "target"
    if not is_class(given):
        return as_objective(given), direction
    grey = np.full_like(image[:1], 0.5)  # any image tells how many classes there are; none of the batch is drawn for
    found = scores(model, image if given is None else grey)
    require_classes(name, found)
    found = np.broadcast_to(found, (len(image), found.shape[1]))
    return classes(model, mg.as_tensor(found), given, argument), direction


def left_alone(
    model: Module, image: np.ndarray, chosen: np.ndarray, direction: int, label: Classes | None
) -> np.ndarray:
    """(N,1,1,1) bool: the images that an untargeted attack leaves as they are: their class is not `label` already."""
    if direction < 0 or label is None or isinstance(chosen, Objective):
        return np.zeros((len(image), 1, 1, 1), bool)
    return ~is_reached(model, image, chosen)[:, None, None, None]


def require_class(name: str, chosen: Objective | np.ndarray) -> None:
    """Refuse an Objective, for attacks that need all classes' scores."""
    if isinstance(chosen, Objective):
        raise ValueError(f"{name}: takes a class only, since it weighs its score against the other classes'")


def distance(
    model: Module, x: Tensor, chosen: list[int] | np.ndarray, between: Callable[..., Any] | None = None
) -> Tensor:
    """(N,): how far the scores of x, a Tensor (N,3,H,W), are from what `aim` has chosen: below 0 where it is reached.

    Of an Objective it is minus its score; of classes, what `between`, by default `distance_to`, makes of the scores.
    """
    if isinstance(chosen, Objective):
        return -evaluate(model, [chosen], x)
    return (between or distance_to)(logits(model, x), chosen)


def is_reached(model: Module, image: np.ndarray, chosen: int | np.ndarray) -> np.ndarray:
    """(N,) bool: whether images, an array, have the class that `aim` has chosen, or a score above 0."""
    if isinstance(chosen, Objective):
        return measured(model, image, lambda model, x: distance(model, x, chosen)) < 0
    return scores(model, image).argmax(1) == chosen


def distance_to(scores: Tensor, classes: list[int] | np.ndarray) -> Tensor:
    """(N,): log sum exp of the other classes' scores (N,K), minus the score of `classes` (N,). Tensors.

    Where p is the probability of the class, this is log((1 - p) / p), and its gradient is that of the cross-entropy
    divided by 1 - p: the same direction, which does not vanish by rounding when the network is sure of the class.
    """
    own = mg.from_numpy(np.asarray(classes)[:, None] == np.arange(scores.shape[1])).to(scores.device)
    return F.logsumexp(F.where(own, -math.inf, scores), 1) - pick(scores, classes)


def distance_gradient(
    model: Module, image: Images, chosen: list[int] | np.ndarray, samples: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (N,3,H,W) of the `distance` by each image, and its value (N,); means over `samples` passes.

    With a network that draws random numbers, this is the gradient of an expectation (Athalye et al. 2018, "EOT").
    """
    gradient, value = 0.0, 0.0
    for _ in range(samples):
        x = as_leaf(model, image)
        loss = distance(model, x, chosen)
        gradient = gradient + mg.grad(loss.sum(), x).numpy() / samples
        value = value + loss.numpy() / samples
    return gradient, value


# ---- budgets ---------------------------------------------------------------------------------------------------------


def project(x: np.ndarray, image: np.ndarray, epsilon: float, norm: str = "linf") -> np.ndarray:
    """x' = clip(x0 + P(x - x0), 0, 1): the nearest point to x in the ball of radius epsilon about x0, then a valid
    image.

    x, image: (N,3,H,W), image (x0) in [0, 1]. norm: "linf" clips each difference to [-epsilon, epsilon]; "l2" scales
    each image's difference to length epsilon where it is longer. Clipping to [0, 1] only moves x towards x0.
    """
    if norm not in NORMS:
        raise ValueError(f'project: norm must be "linf" or "l2", got {norm!r}')
    return np.clip(image + within_ball(x - image, epsilon, norm), 0, 1)


def within_ball(delta: np.ndarray, epsilon: float, norm: str) -> np.ndarray:
    """The nearest differences to delta (N,3,H,W) in the ball of radius epsilon about 0."""
    if norm == "linf":
        return np.clip(delta, -epsilon, epsilon)
    return delta * np.minimum(1, epsilon / np.maximum(_length(delta), 1e-30)).astype(delta.dtype)


def steepest(gradient: np.ndarray, norm: str) -> np.ndarray:
    """The step of size 1 in `norm` along which a linear function of this gradient (N,3,H,W) grows most.

    Its sign in L-infinity; the gradient scaled to length 1 in L2. Zero stays zero.
    """
    if norm == "linf":
        return np.sign(gradient)
    length = _length(gradient)
    return (gradient / np.where(length > 0, length, 1)).astype(gradient.dtype)


def projected_step(
    x: np.ndarray, size: float, gradient: np.ndarray, image: np.ndarray, epsilon: float, norm: str = "linf"
) -> np.ndarray:
    """project(x + size * d), with d the `steepest` direction of the gradient."""
    return project(x + size * steepest(gradient, norm), image, epsilon, norm).astype(image.dtype)


def _length(x: np.ndarray) -> np.ndarray:
    """L2 norm of each image, (N,1,1,1), in float64 so that small gradients do not underflow."""
    return np.sqrt((x.astype(np.float64) ** 2).sum((1, 2, 3), keepdims=True))


def random_in_ball(image: np.ndarray, epsilon: float, norm: str, rngs: list[np.random.Generator]) -> np.ndarray:
    """Points drawn uniformly from the balls of radius epsilon about the images, each by its Generator, made valid."""
    shape = image.shape[1:]
    if norm == "linf":
        delta = drawn(rngs, lambda rng: rng.uniform(-epsilon, epsilon, shape))
    else:
        delta = drawn(rngs, lambda rng: rng.standard_normal(shape))
        radius = epsilon * drawn(rngs, lambda rng: rng.random((1, 1, 1))) ** (1 / image[0].size)
        delta *= radius / _length(delta)
    return project(image + delta.astype(image.dtype), image, epsilon, norm)


def check_budget(name: str, image: np.ndarray, epsilon: float, norm: str = "linf", argument: str = "epsilon") -> None:
    """Refuse another norm than the two, and an epsilon that is no distance, or none between images in [0, 1] but in
    levels of 255."""
    if norm not in NORMS:
        raise ValueError(f'{name}: norm must be "linf" or "l2", got {norm!r}')
    if not epsilon >= 0 or not math.isfinite(epsilon):
        raise ValueError(f"{name}: {argument} must be a distance in pixel space such as 8/255, got {epsilon}")
    in_pixels(name, argument, epsilon, 1 if norm == "linf" else math.sqrt(image[0].size))


# ---- attacks ---------------------------------------------------------------------------------------------------------


@aimed_by_name
def fgsm(
    model: Module,
    image: Images,
    *,
    target: Target | None = None,
    label: Classes | None = None,
    epsilon: float = 8 / 255,
    samples: int = 1,
) -> np.ndarray:
    """The fast gradient sign method (Goodfellow, Shlens and Szegedy 2015, arXiv:1412.6572, section 4).

    x' = clip(x0 + epsilon * sign(g), 0, 1), g the gradient of the cross-entropy of the label; with a target,
    x' = clip(x0 - epsilon * sign(g), 0, 1), g that of the target.

    image: (N,3,H,W) in [0, 1]. target, label: see the top of this file. epsilon: the L-infinity budget, in pixels'
    units. samples: how many passes g is averaged over, for a random network.

    Returns (N,3,H,W) of the image's dtype. Where the class is not `label` already, it is the image itself.
    """
    image = checked_images("fgsm", model, image)
    check_budget("fgsm", image, epsilon)
    require("fgsm", samples=samples)
    chosen, direction = aim("fgsm", model, image, target, label)
    left = left_alone(model, image, chosen, direction, label)
    gradient, _ = distance_gradient(model, image, chosen, samples)
    attacked = project(image + direction * epsilon * np.sign(gradient), image, epsilon).astype(image.dtype)
    return np.where(left, image, attacked)


@aimed_by_name
def pgd(
    model: Module,
    image: Images,
    *,
    target: Target | None = None,
    label: Classes | None = None,
    epsilon: float = 8 / 255,
    norm: str = "linf",
    steps: int = 20,
    step_size: float | None = None,
    random_start: bool = True,
    samples: int = 1,
    seed: int = 0,
    key: Any = None,
    progress: bool = False,
    callback: Callback | None = None,
) -> np.ndarray:
    """Projected gradient descent (Madry et al. 2018, arXiv:1706.06083), in L-infinity or L2.

    From a point drawn in the ball of radius epsilon about x0 (or from x0, without `random_start`: the iterative method
    of Kurakin et al. 2017, arXiv:1607.02533), `steps` times x <- project(x + step_size * d), d being `steepest`.

    image: (N,3,H,W) in [0, 1]. target, label: see the top of this file. epsilon: the budget in `norm` ("linf" or "l2").
    step_size: 2.5 * epsilon / steps by default, which can reach any point of the ball. samples: passes a gradient is
    averaged over, for a random network. seed, key: of the start (see viz/random.py). progress: show a bar.
    callback(step, x, distance (N,)): called before every step; True stops.

    Returns (N,3,H,W) of the image's dtype, within the budget and [0, 1]. Where the class is not `label` already, it is
    the image itself.
    """
    image = checked_images("pgd", model, image)
    require("pgd", steps=steps, samples=samples)
    check_budget("pgd", image, epsilon, norm)
    size = 2.5 * epsilon / steps if step_size is None else step_size
    if step_size is not None:
        check_budget("pgd", image, step_size, norm, "step_size")
    chosen, direction = aim("pgd", model, image, target, label)
    left = left_alone(model, image, chosen, direction, label)

    x = random_in_ball(image, epsilon, norm, streams(seed, "pgd", image, key)) if random_start else image
    for step in tqdm(range(steps), "pgd", disable=not progress):
        gradient, value = distance_gradient(model, x, chosen, samples)
        if callback and callback(step, x, value):
            break
        x = projected_step(x, direction * size, gradient, image, epsilon, norm)
    return np.where(left, image, x)


@aimed_by_name
def targeted_ascent(
    model: Module,
    image: Images,
    *,
    target: Target,
    objective: Any = "score",
    confidence: float = 0.9,
    step_size: float = 0.5,
    steps: int = 200,
    progress: bool = False,
    callback: Callback | None = None,
) -> Any:
    """Gradient ascent from a real image until the network is sure of another class; no budget but [0, 1].

    x <- clip(x + step_size * g / |g|_2, 0, 1), an image at rest once the target's probability reaches `confidence`.
    (Simonyan et al. 2013 climb like this from an empty image; the "fooling images" of Stanford's CS231n from a real
    one.)

    image: (N,3,H,W) in [0, 1]. target: a class, or one for each image; of an Objective or a function of the output,
    which have no probability, the score is climbed for all `steps`. objective: "score", g is the gradient of the
    target's raw score; "cross_entropy", of its log probability. step_size: L2 length of a step. callback(step, x,
    probability or score (N,)): called before every step; True stops.

    Returns (N,3,H,W) of the image's dtype.
    """
    image = checked_images("targeted_ascent", model, image)
    check_budget("targeted_ascent", image, step_size, "l2", "step_size")
    require("targeted_ascent", steps=steps, confidence=confidence)
    if objective not in ("score", "cross_entropy"):
        raise ValueError(f'targeted_ascent: objective must be "score" or "cross_entropy", got {objective!r}')
    if target is None:
        raise ValueError("targeted_ascent: needs a target, the class to climb to")
    chosen, _ = aim("targeted_ascent", model, image, target, None)

    x = image
    for step in tqdm(range(steps + 1), "targeted_ascent", disable=not progress):
        variable = as_leaf(model, x)
        climbed, told = _climbed(model, variable, chosen, objective)
        climbing = told < (math.inf if isinstance(chosen, Objective) else confidence)
        if callback and callback(step, x, told) or step == steps or not climbing.any():
            break
        direction = steepest(mg.grad(climbed.sum(), variable).numpy(), "l2")
        x = np.clip(x + step_size * direction * climbing[:, None, None, None], 0, 1).astype(image.dtype)
    return x


def _climbed(model: Module, x: np.ndarray, chosen: Any, objective: Any) -> tuple:
    """(what is to grow (N,), a Tensor; the class's probability, or the score, (N,), an array)."""
    if isinstance(chosen, Objective):
        value = evaluate(model, [chosen], x)
        return value, value.numpy()
    found = logits(model, x)
    away = distance_to(found, chosen)
    return pick(found, chosen) if objective == "score" else -away, np.exp(-np.logaddexp(0, away.numpy()))


@aimed_by_name
def linear_attack(weight: Any, image: Images, *, epsilon: float = 8 / 255) -> Any:
    """The linear demonstration (Goodfellow et al. 2015, section 3): x + epsilon * sign(w), and how far it moves a
    score.

    The score w.x + b moves by exactly epsilon * |w|_1, which grows with the number of pixels while no pixel moves by
    more than epsilon.

    weight: (3,H,W), a linear classifier's weights for one class, or the difference of two classes'. image: (N,3,H,W) in
    [0, 1].

    Returns (attacked images (N,3,H,W), not clipped to [0, 1], and the move, a float).
    """
    if isinstance(weight, Module):
        raise TypeError(
            f"linear_attack: takes the weights (3,H,W) of a score, no network, got {type(weight).__name__}: "
            "of a viz.linear_classifier give viz.templates(model)[c], c the class; viz.fgsm attacks any network"
        )
    weight, image = np.asarray(weight.numpy() if isinstance(weight, mg.Tensor) else weight), np.asarray(image)
    check_pixels("linear_attack", "image", image)
    if image.shape[1:] != weight.shape:
        raise ValueError(f"linear_attack: weight has shape {weight.shape}, expected one image's, {image.shape[1:]}")
    check_budget("linear_attack", image, epsilon)
    move = epsilon * float(np.abs(weight.astype(np.float64)).sum())
    return (image + epsilon * np.sign(weight)).astype(image.dtype), move
