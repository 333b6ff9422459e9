"""Adversarial training: every step on attacked images (Madry et al. 2018, arXiv:1706.06083, equation 2.1).

    min over weights of E [ max over |d| <= epsilon of loss(x + d, y) ]

The inner maximum is PGD's, also for images that are wrong already, which an attack would leave. It is sought in
evaluation mode, so that the attack on one image does not depend on the rest of the batch, and its random start depends
on (seed, epoch, batch) alone: a run that was stopped goes on bit for bit.
"""

from typing import Any

import numpy as np

from minigrad.device import to_device
from models.augment import to_float
from models.training import Trainer

from .attacks import distance_gradient, projected_step, random_in_ball
from .random import streams


class AdversarialTrainer(Trainer):
    """A `models.training.Trainer` that attacks each batch first, by PGD in L-infinity within `epsilon`.

    attack_steps: of PGD, each costing about one training step less the weights' gradient. The rest as in Trainer.
    """

    def __init__(self, *arguments: Any, epsilon: Any = 4 / 255, attack_steps: int = 3, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.epsilon, self.attack_steps = epsilon, attack_steps

    def _images(self, views: np.ndarray, labels: np.ndarray) -> Any:
        self.model.eval()
        image, size = to_float(views), 2.5 * self.epsilon / self.attack_steps
        rngs = streams([self.recipe.seed, self.epoch, self.batch], "pgd", image)
        x = random_in_ball(image, self.epsilon, "linf", rngs)
        for _ in range(self.attack_steps):
            gradient, _ = distance_gradient(self.model, x, labels)
            x = projected_step(x, size, gradient, image, self.epsilon)
        return to_device(x, self.device)

    def _fingerprint(self) -> dict:
        return super()._fingerprint() | {"epsilon": self.epsilon, "attack_steps": self.attack_steps}
