"""An adversarial example of one photograph, reported after it was saved as an 8-bit PNG and read again.

fgsm       x0 + epsilon * sign(gradient) (Goodfellow et al. 2015, arXiv:1412.6572)
iterative  the same in small steps (Kurakin et al. 2017, arXiv:1607.02533)
pgd        from a random start in the budget (Madry et al. 2018, arXiv:1706.06083); --norm linf or l2
apgd       with momentum, in steps that halve (Croce and Hein 2020, arXiv:2003.01690); apgd_dlr: on the logits ratio
square     random squares, no gradient (Andriushchenko et al. 2020, arXiv:1912.00049)
auto       apgd, then apgd_dlr to each likely class, then square, until one succeeds
ascent     up the target's score, without a budget, until the network is sure
deepfool   the shortest way over a border (Moosavi-Dezfooli et al. 2016, arXiv:1511.04599); --norm l2 or linf
cw         the smallest change, by optimisation (Carlini and Wagner 2017, arXiv:1608.04644)
one_pixel  by differential evolution (Su et al. 2019, arXiv:1710.08864)
jsma       pairs of values, full on (Papernot et al. 2016, arXiv:1511.07528); a pass each, so minutes at 224 pixels

With --target the network is to say that class, without it any other than it says now.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import viz
from models.mistakes import UserError
from viz import plot

from .job import Job
from .options import MOST, distance, parser

NAMES = {  # in titles
    "fgsm": "FGSM",
    "iterative": "Iterative FGSM",
    "pgd": "PGD",
    "apgd": "APGD",
    "apgd_dlr": "APGD on the logits ratio",
    "square": "Square attack",
    "auto": "AutoAttack",
    "ascent": "Ascent",
    "deepfool": "DeepFool",
    "cw": "Carlini and Wagner",
    "one_pixel": "One-pixel attack",
    "jsma": "JSMA",
}

options = parser(__doc__, "photo.jpg --method pgd --target zebra --epsilon 8/255", target="any but the present one")
add, number = options.add_argument, options.number
add(
    "--method",
    choices=tuple(NAMES),
    default="pgd",
    metavar="NAME",
    help="of attack, one of those above (default %(default)s)",
)
number("--epsilon", distance, f"the budget of those down to auto, {MOST}", above=0, shown="default 8/255, or 1 in L2")
add("--norm", choices=("linf", "l2"), help="of the budget, or of what deepfool makes small (default linf; deepfool l2)")
number(
    "--steps",
    int,
    "of all but fgsm and jsma; queries of square, generations of one_pixel",
    shown="default: the method's",
)
number("--kappa", 0.0, "the lead in score that cw asks for")
number("--pixels", 1, "how many one_pixel may change")


def run(job: Job) -> None:
    """Attack the photograph, save the picture, and write what is left of the attack in the file."""
    image, attacked, saved, found, farther = attempt(job)
    job.write(
        line(job, found, farther),
        figure=figure(job, image, saved, found, farther),
        arrays={"image": image, "attacked": attacked, "saved": saved},
        numbers=found | {"farther": farther},
        pictures={"original": image, "adversarial": saved},
        settings=in_effect(job),
    )


def attempt(job: Job) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any], float]:
    """(photograph, attacked, saved in 8 bits, the report on these, how much farther than found it goes)."""
    args = job.args
    target = None if args.target is None else job.target
    check_options(job)
    if target is None and args.method in ("ascent", "jsma"):
        raise UserError(f"{args.method} needs a --target to reach")
    if target is not None and args.method in ("deepfool", "auto"):
        raise UserError(f"{args.method} takes no --target: it leaves the class by {WAY[args.method]}")
    if target is not None and target == int(job.probabilities.argmax()):
        raise UserError(f"the network says {job.class_name(target)} already: give another --target, or none")

    image = viz.as_saved(job.image)  # both pictures lie on the levels of a file
    limited = "epsilon" in USES[args.method] and args.norm != "l2"
    epsilon = (8 / 255 if args.epsilon is None else args.epsilon) if limited else None
    with job.stoppable():
        attacked = METHODS[args.method](job, image, target)
    farther = 1.0
    if args.method in ("deepfool", "cw"):
        farther, attacked = surviving(job, image, attacked, target)
    (found,) = viz.report_attack(job.model, image, attacked, target=target, epsilon=epsilon)
    saved = viz.round_within(attacked, image, epsilon) if limited else viz.as_saved(attacked)
    return image, attacked, saved, found, farther


FARTHER = (1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)


def surviving(job: Job, image: np.ndarray, attacked: np.ndarray, target: int | None) -> tuple[float, np.ndarray]:
    """(how much farther, picture): the attack as far along its way as it takes to survive 8 bits, or as it was.

    The smallest attacks end just over the border, and rounding takes them back.
    """
    for farther in FARTHER:
        x = (image + farther * (attacked - image)).clip(0, 1).astype(image.dtype)
        (found,) = viz.report_attack(job.model, image, x, target=target)
        if found["saved"]["success"]:
            return farther, x
    return 1.0, attacked


def check_options(job: Job) -> None:
    """Refuse an option that the method has no use for."""
    for name in ("epsilon", "kappa", "norm", "pixels", "steps"):
        value = getattr(job.args, name)
        if name not in USES[job.args.method] and value not in (None, options.get_default(name)):
            if (name, value) != ("norm", "linf"):
                raise UserError(f"{job.args.method} has no use for --{name}: leave it out")


def in_effect(job: Job) -> dict[str, Any]:
    """{option: value} of those that the method has a use for: as they were given, or its own."""
    method, found = job.args.method, {}
    parameters = inspect.signature(FUNCTIONS[method]).parameters
    for name in USES[method]:
        asked = getattr(job.args, name)
        own = parameters[COUNTED.get(method, name) if name == "steps" else name].default
        found[name] = own if asked is None else asked
    return found | (budget(job) if "norm" in USES[method] and "epsilon" in USES[method] else {})


def given(job: Job, *names: str, **values: Any) -> dict[str, Any]:
    """The options that were given, as keyword arguments."""
    values |= {name: getattr(job.args, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def stop(
    job: Job, function: Callable[..., Any], done: Callable[..., Any] = lambda step, *_: step, counted: str = "steps"
) -> Callable[..., bool]:
    """The callback that ends an attack on Ctrl-C. done: the steps behind it, of what the callback is given."""
    total = job.args.steps or inspect.signature(function).parameters[counted].default
    return job.until_stopped(total, done)


def after_step(step: int, *_: Any) -> int:
    return step + 1


def budget(job: Job) -> dict[str, Any]:
    """What a method with a budget is given: epsilon, by default 8/255, or 1 in L2, and the norm."""
    return {"epsilon": 1.0 if job.args.norm == "l2" else 8 / 255} | given(job, "epsilon", "norm")


def pgd(job: Job, image: np.ndarray, target: int | None, random_start: bool) -> np.ndarray:
    chosen = budget(job) | given(job, "steps", random_start=random_start)
    shown = {"seed": job.args.seed, "progress": job.progress, "callback": stop(job, viz.pgd)}
    return viz.pgd(job.model, image, target=target, **chosen, **shown)


def apgd(job: Job, image: np.ndarray, target: int | None, loss: str) -> np.ndarray:
    chosen = budget(job) | given(job, "steps", loss=loss)
    shown = {"seed": job.args.seed, "progress": job.progress, "callback": stop(job, viz.apgd)}
    return viz.apgd(job.model, image, target=target, **chosen, **shown)


def square(job: Job, image: np.ndarray, target: int | None) -> np.ndarray:
    callback = stop(job, viz.square_attack, counted="queries")
    shown = {"seed": job.args.seed, "progress": job.progress, "callback": callback}
    return viz.square_attack(
        job.model, image, target=target, **budget(job), **given(job, queries=job.args.steps), **shown
    )


def auto(job: Job, image: np.ndarray, target: int | None) -> np.ndarray:
    chosen = budget(job) | given(job, "steps", seed=job.args.seed, progress=job.progress)
    return viz.auto_attack(job.model, image, **chosen)


WAY = {"deepfool": "the shortest way", "auto": "whichever way works"}

USES = {
    "fgsm": ("epsilon",),
    "iterative": ("epsilon", "norm", "steps"),
    "pgd": ("epsilon", "norm", "steps"),
    "apgd": ("epsilon", "norm", "steps"),
    "apgd_dlr": ("epsilon", "norm", "steps"),
    "square": ("epsilon", "norm", "steps"),
    "auto": ("epsilon", "norm", "steps"),
    "ascent": ("steps",),
    "deepfool": ("norm", "steps"),
    "cw": ("kappa", "steps"),
    "one_pixel": ("pixels", "steps"),
    "jsma": (),
}


def ascent(job: Job, image: np.ndarray, target: int | None) -> np.ndarray:
    how = given(job, "steps", callback=stop(job, viz.targeted_ascent))
    return viz.targeted_ascent(job.model, image, target=target, **how, progress=job.progress)


def deepfool(job: Job, image: np.ndarray, target: int | None) -> np.ndarray:
    how = given(job, "norm", "steps", callback=stop(job, viz.deepfool, after_step))
    return viz.deepfool(job.model, image, **how, progress=job.progress)


def carlini_wagner(job: Job, image: np.ndarray, target: int | None) -> np.ndarray:
    function = viz.carlini_wagner
    searches = inspect.signature(function).parameters["searches"].default
    steps = job.args.steps or inspect.signature(function).parameters["steps"].default
    callback = job.until_stopped(searches * steps, lambda search, step, _: search * steps + step)
    how = given(job, "kappa", "steps", callback=callback)
    return function(job.model, image, target=target, **how, progress=job.progress)


def one_pixel(job: Job, image: np.ndarray, target: int | None) -> np.ndarray:
    callback = stop(job, viz.one_pixel, lambda n, generation, _: generation, "generations")
    how = given(job, "pixels", generations=job.args.steps, callback=callback)
    return viz.one_pixel(job.model, image, target=target, **how, seed=job.args.seed, progress=job.progress)


def jsma(job: Job, image: np.ndarray, target: int | None) -> np.ndarray:
    callback = job.until_stopped(None, after_step)
    return viz.jsma(job.model, image, target=target, progress=job.progress, callback=callback)


FUNCTIONS = {
    "fgsm": viz.fgsm,
    "iterative": viz.pgd,
    "pgd": viz.pgd,
    "apgd": viz.apgd,
    "apgd_dlr": viz.apgd,
    "square": viz.square_attack,
    "auto": viz.auto_attack,
    "ascent": viz.targeted_ascent,
    "deepfool": viz.deepfool,
    "cw": viz.carlini_wagner,
    "one_pixel": viz.one_pixel,
    "jsma": viz.jsma,
}
COUNTED = {"square": "queries", "one_pixel": "generations"}  # what --steps is called there

METHODS = {
    "fgsm": lambda job, image, target: viz.fgsm(job.model, image, target=target, **given(job, "epsilon")),
    "iterative": lambda job, image, target: pgd(job, image, target, random_start=False),
    "pgd": lambda job, image, target: pgd(job, image, target, random_start=True),
    "apgd": lambda job, image, target: apgd(job, image, target, "cross_entropy"),
    "apgd_dlr": lambda job, image, target: apgd(job, image, target, "dlr"),
    "square": square,
    "auto": auto,
    "ascent": ascent,
    "deepfool": deepfool,
    "cw": carlini_wagner,
    "one_pixel": one_pixel,
    "jsma": jsma,
}


def way(farther: float) -> str:
    return f", {farther - 1:.0%} farther than it found, to survive 8 bits" if farther > 1 else ""


def end(found: Mapping[str, Any]) -> str:
    """How it came out, in the pixels as found and in those of the file."""
    if found["saved"]["success"]:
        return "succeeds"
    return "succeeds, but what is left in 8 bits fails" if found["attacked"]["success"] else "fails"


def outcome(job: Job, state: Mapping[str, Any]) -> str:
    return f"{job.class_name(state['class'])} (p = {state['probability']:.3g})"


def line(job: Job, found: Mapping[str, Any], farther: float) -> str:
    """The line that is printed: how it came out, and what the network says of each of the three pictures."""
    moved = f"L-inf {255 * found['saved']['linf']:.1f}/255, L2 {found['saved']['l2']:.3g}, L0 {found['saved']['l0']}"
    states = ", ".join(f"{name} {outcome(job, found[name])}" for name in ("original", "attacked", "saved"))
    return f"{job.args.method} {end(found)}: {states}; saved {moved}" + way(farther)


def figure(job: Job, image: np.ndarray, saved: np.ndarray, found: Mapping[str, Any], farther: float) -> Figure:
    """The photograph, the difference made visible, and the picture of the file."""
    difference = saved - image
    labels = [
        f"photograph: {outcome(job, found['original'])}",
        f"difference, {255 * abs(difference).max():.0f} levels at most, made visible",
        f"saved and read again: {outcome(job, found['saved'])}",
    ]
    wanted = "" if found["target"] is None else f" to {job.class_name(found['target'])}"
    changed = f"{found['saved']['l0']} pixel{'' if found['saved']['l0'] == 1 else 's'}"
    moved = f"L-inf {255 * found['saved']['linf']:.1f}/255, L2 {found['saved']['l2']:.2f}, {changed}"
    pictures = [image, plot.centred(difference), saved]
    title = job.heading(f"{NAMES[job.args.method]}{wanted}: {moved}{way(farther)}; {end(found)}")
    return plot.pictures(pictures, labels, title, columns=3)
