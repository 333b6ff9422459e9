"""Attacks against torchattacks and foolbox: single steps and five of them exactly, the others by what they reach."""

from functools import cache

import numpy as np
import torch

import minigrad as mg
import viz
from verification.agreement import DIRECT, FLOAT64, Check
from verification.references import reference

EPSILON, STEP, STEPS = 8 / 255, 3 / 255, 5
ROUND, ROUND_STEP = 1.5, 0.5  # the same in L2
CANDIDATES = 10  # classes that DeepFool looks at


def checks(setting):
    yield from exact(setting)
    yield from deepfool(setting)
    yield from searches(setting)
    yield floor_at_zero(setting)


class Duel:
    """The network, some images, the classes it gives them (`labels`) and others (`targets`), for all who attack it.

    images: "small" or "tiny", those of the Setting.
    """

    def __init__(self, setting, images):
        self.setting, self.drawn, self.network = setting, images, setting.pair.torch
        self.order = self.network(self.double).argsort(1, descending=True)
        self.labels, self.targets = self.order[:, 0], self.order[:, 2]

    @property
    def images(self):
        return getattr(self.setting, self.drawn)

    @property
    def double(self):
        return torch.from_numpy(self.images).double()

    def ours(self, function, precision, aimed=False, **options):
        aim = {"target": self.targets.numpy()} if aimed else {"label": self.labels.numpy()}
        model = self.setting.pair.ours[precision.dtype]
        return function(model, self.images.astype(precision.dtype), **aim, **options)

    def torchattacks(self, kind, aimed=False, **options):
        attack = getattr(reference("torchattacks"), kind)(self.network, **options)
        if aimed:
            attack.set_mode_targeted_by_label(quiet=True)
        return attack(self.double, self.targets if aimed else self.labels).detach().numpy()

    def foolbox(self, kind, aimed=False, epsilon=None, **options):
        package = reference("foolbox")
        model = package.PyTorchModel(self.network, bounds=(0, 1))
        criterion = package.criteria.TargetedMisclassification(self.targets) if aimed else self.labels
        attack = getattr(package.attacks, kind)(**options)
        return attack(model, self.double, criterion, epsilons=epsilon)[0].detach().numpy()

    def moves(self, attacked):
        """The changes of the pixels, in float64."""
        return np.asarray(attacked, np.float64) - self.images

    def distances(self, attacked):
        """(N,): the L2 lengths of the changes; 1e9 where the network still gives the label."""
        found = self.network(torch.from_numpy(np.asarray(attacked, np.float64))).argmax(1)
        away = np.sqrt((self.moves(attacked) ** 2).sum((1, 2, 3)))
        return np.where((found == self.labels).numpy(), 1e9, away)


def exact(setting):
    duel = cache(lambda: Duel(setting, "small"))
    fixed = {"steps": STEPS, "random_start": False}
    pgd = {"epsilon": EPSILON, "step_size": STEP, **fixed}
    round_pgd = {"epsilon": ROUND, "step_size": ROUND_STEP, "norm": "l2", **fixed}
    flat, ball = (
        {"eps": EPSILON, "alpha": STEP, **fixed},
        {"eps": ROUND, "alpha": ROUND_STEP, "eps_for_division": 0.0, **fixed},
    )
    rows = (
        ("fgsm", viz.fgsm, {"epsilon": EPSILON}, "torchattacks", "FGSM", {"eps": EPSILON}),
        ("pgd, 5 steps", viz.pgd, pgd, "torchattacks", "PGD", flat),
        ("pgd in L2, 5 steps", viz.pgd, round_pgd, "torchattacks", "PGDL2", ball),
        ("fgsm", viz.fgsm, {"epsilon": EPSILON}, "foolbox", "LinfFastGradientAttack", {"epsilon": EPSILON}),
        ("pgd, 5 steps", viz.pgd, pgd, "foolbox", "LinfPGD", {"epsilon": EPSILON, "abs_stepsize": STEP, **fixed}),
        (
            *("pgd in L2, 5 steps", viz.pgd, round_pgd, "foolbox", "L2PGD"),
            {"epsilon": ROUND, "abs_stepsize": ROUND_STEP, **fixed},
        ),
    )
    for aimed in (False, True):
        for name, function, options, package, kind, their_options in rows:
            if aimed and kind == "LinfFastGradientAttack":  # which foolbox has for no target
                continue
            theirs = {"kind": kind, "aimed": aimed, **their_options}
            yield Check(
                *("attacks", name + ", targeted" * aimed, package, lambda: setting.small_shape),
                ours=lambda p, f=function, a=aimed, o=options: duel().moves(duel().ours(f, p, a, **o)),
                theirs=lambda k=package, o=theirs: duel().moves(getattr(duel(), k)(**o)),
                gate="decisions",
                note="the changes of the pixels",
            )


# ---- DeepFool --------------------------------------------------------------------------------------------------------


class Likeliest(torch.nn.Module):
    """The scores of a few classes only, for attacks that look at all there are."""

    def __init__(self, network, classes):
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, x):
        return self.network(x)[:, self.classes]


def deepfool(setting):
    """torchattacks overshoots at every step and the paper at the end, so the first step is what both do alike."""
    small, tiny = cache(lambda: Duel(setting, "small")), cache(lambda: Duel(setting, "tiny"))

    def by_torchattacks(duel, steps):
        found = []
        for image, order in zip(duel.double, duel.order, strict=True):
            network = Likeliest(duel.network, order[:CANDIDATES]).eval()  # torchattacks restores the mode inside too
            attack = reference("torchattacks").DeepFool(network, steps=steps, overshoot=0.02)
            found.append(attack(image[None], torch.tensor([0])))
        return torch.cat(found).numpy()

    yield Check(
        *("attacks", "deepfool, its first step", "torchattacks", lambda: setting.small_shape),
        ours=lambda p: small().moves(small().ours(viz.deepfool, p, candidates=CANDIDATES, steps=1, overshoot=0.02)),
        theirs=lambda: small().moves(by_torchattacks(small(), 1)),
        gate="decisions",
        note="the changes of the pixels",
    )
    rows = {
        "torchattacks": lambda: by_torchattacks(tiny(), 20),
        "foolbox": lambda: tiny().foolbox("L2DeepFoolAttack", steps=20, candidates=CANDIDATES, overshoot=0.02),
    }
    for package, theirs in rows.items():
        yield outcome("deepfool", package, tiny, theirs, viz.deepfool, {"candidates": CANDIDATES, "steps": 20})


# ---- searches --------------------------------------------------------------------------------------------------------


def searches(setting):
    """Carlini and Wagner's attack, with as many steps on both sides."""
    duel = cache(lambda: Duel(setting, "tiny"))
    course = {"searches": 3, "steps": 50, "lr": 0.01, "c": 1.0}
    by_foolbox = {"binary_search_steps": 3, "steps": 50, "stepsize": 0.01, "initial_const": 1.0, "abort_early": False}
    rows = {
        "foolbox": lambda: duel().foolbox("L2CarliniWagnerAttack", **by_foolbox),
        "torchattacks": lambda: duel().torchattacks("CW", c=1.0, steps=150, lr=0.01),
    }
    for package, theirs in rows.items():
        yield outcome("carlini_wagner", package, duel, theirs, viz.carlini_wagner, course)


def outcome(name, package, duel, theirs, function, options):
    """The mean L2 distance to images of another class: ours at most 5 % further off than theirs."""
    return Check(
        *("attacks", f"{name}, how far", package, lambda: f"{duel().setting.pair.title} {duel().images.shape}"),
        ours=lambda p: duel().distances(duel().ours(function, p, **options)).mean(),
        theirs=lambda: duel().distances(theirs()).mean(),
        gate="outcome",
        tolerance=0.05,
        precisions=(DIRECT,),
        note="the mean L2 distance to another class; passes if ours is no more than 5 % further",
    )


# ---- a reference that is wrong ---------------------------------------------------------------------------------------


def floor_at_zero(setting):
    """Carlini and Wagner's margin where all scores are negative, which no class minds."""
    from viz.minimal_attacks import cw_margin

    rng = setting.rng("margin")
    scores, labels = (rng.normal(size=(6, 12)) - 9).astype(np.float32), rng.integers(0, 12, 6)
    own = labels[:, None] == np.arange(12)

    def definition():
        return scores[own].astype(np.float64) - np.where(own, -np.inf, scores).max(1)

    def theirs():
        attack = reference("torchattacks").CW(torch.nn.Linear(1, 1), kappa=1e9)
        return attack.f(torch.from_numpy(scores).double(), torch.from_numpy(labels)).numpy()

    return Check(
        *("attacks", "carlini_wagner, margin of negative scores", "torchattacks", "(6,12), all below 0"),
        ours=lambda p: -cw_margin(mg.Tensor(scores.astype(p.dtype)), labels).numpy(),
        theirs=theirs,
        precisions=(FLOAT64, DIRECT),
        wrong="multiplies the other classes' scores with 0 in place of leaving them out, so no maximum is below 0",
        definition=definition,
        deviation=lambda: np.zeros(6),
    )
