"""Write style.json: the losses of style transfer on fixed maps, computed by PyTorch in float64.

    python tests/golden/make_style.py

The maps are given by formulas, so that the test can make the same ones. PyTorch is needed here only.
"""

import json
from pathlib import Path

import numpy as np
import torch


def maps(shape, seed):
    """Activations without a random generator: rectified sines of unequal frequency."""
    n = np.arange(np.prod(shape), dtype=np.float64)
    return np.maximum(np.sin(n * 0.7 + seed) + np.cos(n * (0.13 + 0.01 * seed)), 0).reshape(shape)


def gram(a):
    return torch.einsum("bihw,bjhw->bij", a, a)


def main():
    generated, style = (torch.tensor(maps((1, 6, 5, 7), seed), requires_grad=seed == 1) for seed in (1, 2))
    channels, positions = 6, 35
    difference = gram(generated) - gram(style)
    losses = {
        "content": 0.5 * ((generated - style) ** 2).sum(),
        "gatys": (difference**2).sum() / (4 * channels**2 * positions**2),
        "chw": torch.nn.functional.mse_loss(
            gram(generated) / (channels * positions), gram(style) / (channels * positions)
        ),
        "hw": torch.nn.functional.mse_loss(gram(generated) / positions, gram(style) / positions),
    }
    found = {"gram": gram(style)[0].tolist(), "torch": torch.__version__}
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, generated, retain_graph=True)
        found[name] = {"loss": loss.item(), "gradient": gradient.flatten().tolist()}
    Path(__file__).with_name("style.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
