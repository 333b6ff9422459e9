"""Adversarial training: every step on attacked images (Madry et al. 2018, arXiv:1706.06083, equation 2.1).

    min over weights of E [ max over |d| <= epsilon of loss(x + d, y) ]

The inner maximum is PGD's. It is sought in evaluation mode, so that the attack on one image does not depend on the rest
of the batch, and its random start depends on (seed, epoch, batch) alone: a run that was stopped goes on bit for bit.
"""

from minigrad.device import to_device
from models.augment import to_float
from models.training import Trainer

from .attacks import pgd


class AdversarialTrainer(Trainer):
    """A `models.training.Trainer` that attacks each batch first, by PGD in L-infinity within `epsilon`.

    attack_steps: of PGD, each costing about one training step less the weights' gradient. The rest as in Trainer.
    """

    def __init__(self, *arguments, epsilon=4 / 255, attack_steps=3, **named):
        super().__init__(*arguments, **named)
        self.epsilon, self.attack_steps = epsilon, attack_steps

    def _images(self, views, labels):
        self.model.eval()
        attacked = pgd(
            self.model,
            to_float(views),
            label=labels,
            epsilon=self.epsilon,
            steps=self.attack_steps,
            seed=[self.recipe.seed, self.epoch, self.batch],
        )
        return to_device(attacked, self.device)

    def _fingerprint(self):
        return super()._fingerprint() | {"epsilon": self.epsilon, "attack_steps": self.attack_steps}
