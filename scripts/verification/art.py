"""Attacks against the Adversarial Robustness Toolbox (ART): single and few steps exactly, APGD by what it reaches.

ART takes images and gives attacked ones in float32, and its sign of a gradient is that of float32 too.
"""

from functools import cache
from unittest import mock

import numpy as np
import torch

import viz
from verification.agreement import FLOAT64, Check
from verification.attacks import EPSILON, ROUND, ROUND_STEP, STEP, STEPS, Duel
from verification.measures import Doubling
from verification.references import reference

ROUNDED = 2e-6  # of the largest change: pixels in float32
REACHED = 0.05  # of the score's margin, relative: what another start may give away


def checks(setting):
    duel = cache(lambda: Duel(setting, "small"))
    fixed = {"steps": STEPS, "random_start": False}
    their = {"max_iter": STEPS, "num_random_init": 0, "verbose": False}
    rows = (
        ("fgsm", viz.fgsm, {"epsilon": EPSILON}, "FastGradientMethod", {"eps": EPSILON}),
        (
            *("pgd, 5 steps", viz.pgd, {"epsilon": EPSILON, "step_size": STEP, **fixed}),
            *("ProjectedGradientDescent", {"eps": EPSILON, "eps_step": STEP, **their}),
        ),
        (
            *("pgd in L2, 5 steps", viz.pgd, {"epsilon": ROUND, "step_size": ROUND_STEP, "norm": "l2", **fixed}),
            *("ProjectedGradientDescent", {"eps": ROUND, "eps_step": ROUND_STEP, "norm": 2, **their}),
        ),
    )
    for name, function, options, kind, their_options in rows:
        for aimed in (False, True):
            yield Check(
                *("attacks", name + ", targeted" * aimed, "art", lambda: setting.small_shape),
                ours=lambda p, f=function, a=aimed, o=options: duel().moves(duel().ours(f, p, a, **o)),
                theirs=lambda k=kind, a=aimed, o=their_options: duel().moves(attacked(duel(), k, a, **o)),
                gate="ties" if options.get("norm") == "l2" else "decisions",
                tolerance=ROUNDED / EPSILON,
                note="the changes of the pixels; ART's images are float32, where near ties fall otherwise",
            )
    yield Check(
        *("attacks", "apgd, 20 steps", "art", lambda: setting.small_shape),
        ours=lambda p: margins(duel(), duel().ours(viz.apgd, p, epsilon=EPSILON, steps=20, seed=setting.seed)),
        theirs=lambda: margins(duel(), by_apgd(duel())),
        precisions=(FLOAT64,),
        gate="outcome",
        tolerance=REACHED,
        note="the label's score less the highest other, lower is better; ART begins at the image itself",
    )


def attacked(duel, kind, aimed=False, **options):
    """(N,3,H,W): by the attack of that name."""
    attacks = reference("art")
    from art.estimators.classification import PyTorchClassifier

    network = PyTorchClassifier(
        model=Doubling(duel.network).eval(),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=duel.images.shape[1:],
        nb_classes=duel.order.shape[1],
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = getattr(attacks, kind)(network, **options | {"targeted": aimed})
    return attack.generate(x=duel.images, y=(duel.targets if aimed else duel.labels).numpy())


def by_apgd(duel):
    """From the images themselves: ART's own start is drawn from a generator that all share."""
    reference("art")
    options = {"eps": EPSILON, "eps_step": 2 * EPSILON, "max_iter": 20, "nb_random_init": 1, "verbose": False}
    module = "art.attacks.evasion.auto_projected_gradient_descent"
    with mock.patch(f"{module}.random_sphere", lambda count, size, *_, **__: np.zeros((count, size))):
        return attacked(duel, "AutoProjectedGradientDescent", loss_type="cross_entropy", **options)


def margins(duel, images):
    """(N,): the label's score less the highest other."""
    scores = duel.network(torch.from_numpy(np.asarray(images, np.float64))).detach().numpy()
    own = duel.labels.numpy()
    others = np.where(np.arange(scores.shape[1]) == own[:, None], -np.inf, scores)
    return scores[np.arange(len(own)), own] - others.max(1)
