"""Write attacks.npz: images attacked by torchattacks, with the network's weights and the clean images.

    python tests/golden/make_attacks.py

Needs torch and torchattacks (made with torch 2.13.0, torchattacks 3.5.1), in float64. Keys: w0, b0, ... (weights and
biases in the order of the layers), image, label, target, and each attack's result. Iterated attacks have few steps,
since rounding drives longer runs apart; DeepFool has one, since torchattacks overshoots at every step and the paper at
the end.
"""

from pathlib import Path

import numpy as np
import torch
import torchattacks
from torch import nn


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 5 * 4, 5),
    ).double().eval()  # fmt: skip


def main():
    model = network()
    image = torch.rand(4, 3, 10, 8, dtype=torch.float64)
    label = model(image).argmax(1)
    target = (label + 2) % 5

    def run(attack, aimed=False):
        if aimed:
            attack.set_mode_targeted_by_label(quiet=True)
        return attack(image, target if aimed else label).numpy()

    plain = {"eps": 0.05, "alpha": 0.02, "steps": 5, "random_start": False}
    round_ball = {"eps": 0.4, "alpha": 0.15, "steps": 5, "random_start": False}
    found = {
        "fgsm": run(torchattacks.FGSM(model, eps=0.05)),
        "fgsm_targeted": run(torchattacks.FGSM(model, eps=0.05), aimed=True),
        "pgd": run(torchattacks.PGD(model, **plain)),
        "pgd_targeted": run(torchattacks.PGD(model, **plain), aimed=True),
        "pgd_l2": run(torchattacks.PGDL2(model, **round_ball)),
        "pgd_l2_targeted": run(torchattacks.PGDL2(model, **round_ball), aimed=True),
        "deepfool": run(torchattacks.DeepFool(model, steps=1, overshoot=0.02)),
    }
    layers = [layer for layer in model if hasattr(layer, "weight")]
    for i, layer in enumerate(layers):
        found[f"w{i}"], found[f"b{i}"] = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    found |= {"image": image.numpy(), "label": label.numpy(), "target": target.numpy()}
    np.savez_compressed(Path(__file__).with_name("attacks.npz"), **found)


if __name__ == "__main__":
    main()
