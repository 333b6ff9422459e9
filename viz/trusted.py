"""What can be said against one map: of one photograph, by one method, on one network.

Whether a method can be trusted is measured over many photographs and scenes (viz/checks.py, viz/ground_truth). This is
the question of someone with one picture: does the map depend on what the network has learned, does the score follow it
further than it follows maps that cannot be right, does it survive noise that nobody sees, do other methods agree?

The rivals are fair: the same method's maps of other photographs, this map shifted, and a blob at the centre. Random
noise would be a straw man, for it loses to anything smooth.

Letters: M other photographs, R rivals, P other methods, H W of the photograph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad.nn import Module

from .cam import grad_cam
from .checks import insertion_deletion, per_pixel, sensitivity
from .gradients import integrated_gradients, saliency
from .intervals import Estimate, estimate
from .perturbation import occlusion
from .progress import tqdm
from .randomization import model_randomization
from .target import as_image, fixed_target, is_class
from .typing import Callback, Images, Method, SoFar, Target


def _occlusion(model: Module, image: np.ndarray, target: Any, callback: SoFar | None = None) -> np.ndarray:
    """By squares of 24 pixels, or as large as a smaller photograph has room for, two thirds apart."""
    side = min(24, *np.shape(image)[2:])
    return occlusion(model, image, target, patch=side, stride=max(1, 2 * side // 3), callback=callback)


PANEL = {  # what other methods say, each with per_pixel's `how`
    "saliency": (saliency, "magnitude"),
    "integrated_gradients": (partial(integrated_gradients, steps=16), "signed"),
    "grad_cam": (grad_cam, "signed"),
    "occlusion": (_occlusion, "signed"),
}
GRID = 14  # maps are compared with each other as means over GRID x GRID fields: some are no finer
SHIFTS = 4  # the map is shifted by quarters of the picture, in each direction
# When a check speaks against a map. Only "top" is measured: of fifteen methods on MiniVGG, without their classifier the
# three that are known to ignore it stay at 0.99 and above, the next at 0.83 (docs/measured.md). The others are
# conventions, which docs/techniques/trust.md gives reasons for; all are asked of the interval, not of the number.
LIKE_BEFORE = {"top": 0.9, "all": 0.5}  # rank correlations from which a map is said not to have changed
AS_GOOD, FEW_AS_GOOD = 0.25, 0.05  # of the rivals: above the first no better than chance finds, up to the other good
MOVED, HELD = 1.0, 0.5  # of the map's own length


@dataclass(frozen=True)
class Rivals:
    """Maps (R,H,W) that cannot be right, and the areas (R,) below their insertion and deletion curves."""

    maps: np.ndarray
    insertion: np.ndarray
    deletion: np.ndarray


@dataclass(frozen=True)
class Finding:
    """What one check found: `against` (True), for (False) or neither (None), and a sentence with the numbers."""

    against: bool | None
    text: str


@dataclass(frozen=True)
class Trust:
    """map, random_map: (H,W), that of the network, and that of one whose layers are all drawn anew.

    top, all: its rank correlation with itself after the top layer, and after all layers were drawn anew. insertion,
    deletion: areas below its curves; rivals: {kind: Rivals}. change: how far noise of at most `radius` a pixel moves
    the map, relative to its length. agreement: {method: rank correlation with that method's map}; chance: the same with
    their maps of other photographs.
    """

    map: np.ndarray
    random_map: np.ndarray
    top: Estimate
    all: Estimate
    insertion: float
    deletion: float
    rivals: dict
    radius: float
    change: Estimate
    agreement: dict
    chance: Estimate

    def as_good(self, measure: str, kind: str | None = None) -> Estimate:
        """The share of the rivals (of one kind) whose insertion area is no lower, or deletion area no higher."""
        chosen = self.rivals.values() if kind is None else [self.rivals[kind]]
        sign, own = (1, self.insertion) if measure == "insertion" else (-1, self.deletion)
        return estimate(np.concatenate([sign * (getattr(one, measure) - own) >= 0 for one in chosen]))

    @property
    def findings(self) -> dict[str, Any]:
        """{check: Finding}."""
        found = {"learned": self._learned()}
        found |= {measure: self._followed(measure) for measure in ("insertion", "deletion")}
        return found | {"stability": self._stable(), "agreement": self._agreed()}

    @property
    def verdict(self) -> str:
        """One sentence."""
        found = self.findings
        against = [name for name, one in found.items() if one.against]
        unclear = [name for name, one in found.items() if one.against is None]
        if against:
            return f"Do not lean on this map: {_listed(against)} {_verb(against, 'speak')} against it."
        if unclear:
            return f"Nothing speaks against this map, but {_listed(unclear)} {_verb(unclear, 'leave')} it open."
        return "Nothing here speaks against this map, which does not prove it."

    def _learned(self) -> Finding:
        numbers = f"rank correlation {self.top.text('{:.2f}')} after the top layer, {self.all.text('{:.2f}')} after all"
        if self.top.low > LIKE_BEFORE["top"] or self.all.low > LIKE_BEFORE["all"]:
            return Finding(True, f"It stays alike when the network's weights are drawn anew: {numbers}")
        if self.top.high > LIKE_BEFORE["top"] or self.all.high > LIKE_BEFORE["all"]:
            return Finding(None, f"It may stay alike when the network's weights are drawn anew: {numbers}")
        return Finding(False, f"It depends on what the network has learned: {numbers}")

    def _followed(self, measure: str) -> Finding:
        share, own = self.as_good(measure), getattr(self, measure)
        each = ", ".join(
            f"{self.as_good(measure, kind):.0%} of {len(one.maps)} {kind}" for kind, one in self.rivals.items()
        )
        against = True if share.low > AS_GOOD else False if share <= FEW_AS_GOOD else None
        return Finding(against, f"{measure} {own:.3f}: as good are {each}; of all {share.text('{:.0%}')}")

    def _stable(self) -> Finding:
        numbers = f"noise of at most {255 * self.radius:.0f}/255 moves it by {self.change.text('{:.0%}')} of its length"
        return Finding(self.change.low > MOVED or (None if self.change > HELD else False), numbers)

    def _agreed(self) -> Finding:
        own = _mean(list(self.agreement.values()))
        each = ", ".join(f"{name} {value:.2f}" for name, value in self.agreement.items())
        against = True if own < self.chance.low else False if own > self.chance.high else None
        by_chance = f"{self.chance.text('{:.2f}')} with their maps of other photographs"
        return Finding(against, f"rank correlation with {each}: {own:.2f} on average, {by_chance}")


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _verb(names: Sequence[str], verb: str) -> str:
    return verb + "s" if len(names) == 1 else verb


def trust(
    model: Module,
    image: Images,
    method: Method,
    target: Target | None = None,
    *,
    others: Any,
    how: str = "magnitude",
    panel: Any = None,
    draws: int = 5,
    steps: int = 16,
    radius: float = 0.02,
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
) -> Trust:
    """What can be said against `method`'s map of one photograph, as a Trust.

    method: `method(model, image, target)` gives an attribution, such as viz.grad_cam; how: what makes of it one number
        a pixel, as in viz.per_pixel ("signed" for maps of evidence). image: (1,3,H,W) or a picture. target: a class, a
        Contrast, None for the top class; or an Objective, or a function of the output.
    others: other photographs (M,3,H,W), four at least, of which the method explains the top class; or the same
        Objective or function, where `target` is one.
    panel: {name: (method, how)} of other methods to compare with; by default PANEL without `method`.
        Those that refuse the network have no part in it; where all do, the sentence is raised.
    draws: of the weights, and of the noise. steps: of the insertion and deletion curves. radius: of the noise.
    callback(step, steps, map): after each part of the work, and within, between passes and the steps of a method that
        takes a `callback`; the map is 0 until it is made. What it gives has no effect, for half a trial says nothing.

    Insertion, deletion and the rivals' share are those of Petsiuk et al. 2018 (viz.insertion_deletion); randomisation
    is Adebayo et al.'s 2018 (viz.model_randomization); the change under noise Yeh et al.'s 2019 (viz.sensitivity).
    """
    x, others = _checked(as_image(model, image).numpy(), as_image(model, others).numpy(), draws)
    target = fixed_target(model, x, target)
    explained = [(x, target), (others, None if is_class(target) else target)]
    panel = {name: one for name, one in PANEL.items() if one[0] is not method} if panel is None else panel
    tests, change = [], []
    with tqdm(total=3 + 2 * draws, desc="trust", disable=not progress) as bar:
        course = _Course(bar, callback, np.zeros(x.shape[2:], x.dtype))
        method = course.watched(method)
        panel = {name: (course.watched(other), its) for name, (other, its) in panel.items()}
        (own,), elsewhere = (per_pixel(method(model, *one), how) for one in explained)
        course.done(own)
        rivals = _measured(model, x, target, own, elsewhere, steps, seed, course.sign)
        course.done(own)
        for draw in range(draws):
            tests.append(model_randomization(model, x, method, target, (seed, draw), looks=2))
            course.done(own)
            change.append(sensitivity(model, x, method, target, radius, 1, (seed, draw))[0])
            course.done(own)
        agreement, chance = _agreement(model, explained, own, panel)
        course.done(own)
    top, everything = (_mean([test.spearman[k, 0] for test in tests]) for k in (1, -1))
    insertion, deletion = rivals.pop("itself")
    return Trust(
        *(own, tests[0].maps[-1, 0], top, everything, insertion, deletion, rivals, radius, _mean(change)),
        *(agreement, chance),
    )


@dataclass
class _Course:
    """How far a trial is, for its callback."""

    bar: Any
    callback: Callback | None
    map: np.ndarray
    step: int = 0

    def sign(self, *_: Any) -> None:
        if self.callback:
            self.callback(self.step, self.bar.total, self.map)

    def done(self, own: np.ndarray) -> None:
        """A part of it is, after the map `own` was made."""
        self.map, self.step = own, self.step + 1
        self.bar.update()
        self.sign()

    def watched(self, method: Method) -> Method:
        """The method, which signs between its own steps where it can."""
        return partial(method, callback=self.sign) if "callback" in signature(method).parameters else method


def _checked(x: np.ndarray, others: np.ndarray, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """The photograph and the others, if a trial can be made of them."""
    if len(x) != 1 or len(others) < 4 or others.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"trust: needs one photograph and others of its size, at least four: got {x.shape} and {others.shape}"
        )
    if draws < 2:
        raise ValueError(f"trust: draws must be at least 2, for an interval; got {draws}")
    return x, others


def _measured(
    model: Module, x: np.ndarray, target: Any, own: Any, elsewhere: np.ndarray, steps: int, seed: int, sign: Callback
) -> dict:
    """{"itself": (insertion, deletion), kind: Rivals}."""
    height, width = own.shape
    by = [(i * height // SHIFTS, j * width // SHIFTS) for i in range(SHIFTS) for j in range(SHIFTS) if i or j]
    kinds = {"itself": own[None], "maps of other photographs": elsewhere}
    kinds |= {"shifts of it": np.stack([np.roll(own, shift, (0, 1)) for shift in by])}
    kinds |= {"blob at the centre": centre_blob(height, width)[None]}
    found = {}
    for kind, maps in kinds.items():
        each = target if np.ndim(target) == 0 or target is None else np.repeat(target, len(maps))
        curves = insertion_deletion(model, np.repeat(x, len(maps), 0), maps, each, steps, seed=seed, callback=sign)
        found[kind] = Rivals(maps, curves.insertion_area, curves.deletion_area)
    return found | {"itself": (float(found["itself"].insertion[0]), float(found["itself"].deletion[0]))}


def centre_blob(height: int, width: int) -> np.ndarray:
    """(H,W): a bump at the centre, whatever the image: photographers put their subject there."""
    y, x = np.mgrid[:height, :width]
    return np.exp(-(((y - (height - 1) / 2) / height) ** 2 + ((x - (width - 1) / 2) / width) ** 2) * 8)


def _agreement(model: Module, explained: Any, own: np.ndarray, panel: dict) -> tuple:
    """({method: rank correlation}, what it is with the methods' maps of other photographs, an Estimate)."""
    field = _fields(own[None])[0]
    agreement, by_chance, refused = {}, [], None
    for name, (method, how) in panel.items():
        try:
            maps = [_fields(per_pixel(method(model, *one), how)) for one in explained]
        except (NotImplementedError, ValueError) as error:
            refused = error
            continue
        ranks = [[_correlation(field, other) for other in part] for part in maps]
        agreement[name] = float(ranks[0][0])
        by_chance.append(ranks[1])
    if refused is not None and not agreement:
        raise refused
    return agreement, _mean(np.mean(by_chance, 0))


def _fields(maps: np.ndarray) -> np.ndarray:
    """(N,GRID*GRID): the means of maps (N,H,W) over fields."""
    means = F.adaptive_avg_pool2d(mg.from_numpy(np.asarray(maps, np.float64)[:, None]), GRID).numpy()
    return means.reshape(len(maps), -1)


def _mean(values: Any) -> Estimate:
    """As an Estimate; values of 1 alone are no share here, but correlations."""
    return estimate(np.asarray(values)[None])


def _correlation(field: np.ndarray, other: np.ndarray) -> float:
    """Of ranks; 0 where one of the two is the same everywhere."""
    from scipy.stats import spearmanr

    return 0.0 if np.ptp(field) == 0 or np.ptp(other) == 0 else spearmanr(field, other).statistic
