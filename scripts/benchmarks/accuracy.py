"""Error by algorithm, end to end: `python -m benchmarks.accuracy FOLDER` ends with a line of JSON.

VGG16 at 224 px in float32, against itself in float64 (by direct convolution): the scores of all classes, and the
gradient of the top one by the image. A decision of ReLU or max-pooling between values that nearly tie may flip by
rounding, in any float32 program, and one flip deep in the network changes the whole gradient by far more than rounding
does. So flips are counted, and the gradient is judged against the float64 gradient by float32's own decisions
("held"); how far it is from the gradient by float64's decisions is reported as well. Of five images, the worst counts.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

import minigrad as mg
import models
from benchmarks import cases
from minigrad import functional as F
from minigrad import nn
from minigrad.device import to_device
from minigrad.kernels import thread_count


def images(folder):
    """(5,3,224,224): the sample photograph's centre, and noise of four scales."""
    return np.concatenate([models.load_image(Path(folder) / "cat.png", 224, 256), noises()])


def noises(scales=(1, 2, 4, 8), size=224):
    """(len(scales),3,size,size) float32 in [0,1]: noise blurred by so many pixels each."""
    noise = np.random.default_rng(0).standard_normal((len(scales), 3, size, size))
    smooth = [gaussian_filter(noise[i], (0, scale, scale)) for i, scale in enumerate(scales)]
    return np.stack([np.clip(0.5 + 0.2 * image / image.std(), 0, 1) for image in smooth]).astype(np.float32)


def in_double(path):
    """The network of a weights file in float64, on the CPU."""
    model = models.load(path).requires_grad_(False)
    model.load_state_dict({name: array.astype(np.float64) for name, array in model.state_dict().items()})
    return model


def observed(model, image, target=None, device="cpu"):
    """Scores, input gradient of the target (default: the top class), and the choices made by ReLU and max-pooling.

    device: where the model is. What is found is on the CPU.
    """
    x = mg.Tensor(to_device(image, device), requires_grad=True)
    rectified = [name for name in model.names() if name.startswith("relu")]
    names = model.names()
    found = model.activations(x, [*rectified, names[-1]])
    scores = found[names[-1]]
    target = int(scores.numpy()[0].argmax()) if target is None else target
    pooled = [before for before, name in zip(names, names[1:], strict=False) if isinstance(model[name], nn.MaxPool2d)]

    def gradient(rules=None):
        return mg.grad(scores[0, target], x, rules=rules).numpy()

    return {
        "target": target,
        "scores": scores.numpy(),
        "gradient": gradient(),
        "gradient_by": gradient,
        "relu": {name: found[name].numpy() > 0 for name in rectified},
        "pool": {name: winners(found[name].numpy()) for name in pooled},
        "functions": {found[name].function: name for name in rectified},
    }


def holding(choices, functions):
    """Rules of a backward pass that goes by the choices of another run, in place of its own.

    choices: what `observed` returned of that run. functions: {ReLU in the graph: its layer's name}; a max-pooling is
    known by the ReLU before it.
    """

    def relu(function, g):
        return g * mg.from_numpy(choices["relu"][functions[function]].astype(g.dtype))

    def pool(function, g):
        winner = choices["pool"][functions[function.inputs[0].function]]
        n, c, h, w = winner.shape
        spread = (winner[..., None] == np.arange(4)) * g.numpy()[..., None]
        spread = spread.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)
        return mg.from_numpy(spread)

    return {F.ReLU: relu, F.MaxPool2d: pool}


def winners(a):
    """The place, 0 to 3, of the first maximum in each 2x2 window of a (N,C,H,W)."""
    n, c, h, w = a.shape
    return a.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4).argmax(-1)


def differences(found, truth):
    """What is reported of an image: errors as shares of the largest true value, 1 - cosine, choices that differ."""
    row = errors("scores", found["scores"], truth["scores"]) | errors("gradient", found["gradient"], truth["gradient"])
    if "relu" in found:
        held = truth["gradient_by"](holding(found, truth["functions"]))
        row |= errors("held gradient", found["gradient"], held)
        for kind in ("relu", "pool"):
            row[f"{kind} flips"] = sum(int((found[kind][name] != truth[kind][name]).sum()) for name in truth[kind])
            row[f"{kind} decisions"] = sum(a.size for a in truth[kind].values())
    return row


def errors(name, found, true):
    a, b = found.astype(np.float64).ravel(), true.astype(np.float64).ravel()
    off = np.abs(a - b) / np.abs(b).max()
    unit_a, unit_b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return {
        f"{name} 99.9 %": float(np.percentile(off, 99.9)),
        f"{name} max": float(off.max()),
        f"{name} 1 - cosine": float(0.5 * np.square(unit_a - unit_b).sum()),
    }


def by_torch(model, image, target, device="cpu"):
    """PyTorch's own float32, contiguous: how much is to be expected of any."""
    import torch

    x = torch.from_numpy(image).to(device).requires_grad_(True)
    scores = model(x)
    gradient = torch.autograd.grad(scores[0, target], x)[0]
    return {"scores": scores.detach().cpu().numpy(), "gradient": gradient.cpu().numpy()}


def main(folder):
    import torch

    from benchmarks import torch_side

    torch.set_num_threads(thread_count())
    single = models.load(Path(folder) / "vgg16.h5").requires_grad_(False)
    double = in_double(Path(folder) / "vgg16.h5")
    reference = torch_side.load(folder, "vgg16").eval().requires_grad_(False)
    rows = {name: [] for name in (*cases.ERROR_BARS, "torch")}
    for image in images(folder)[:, None]:
        with mg.conv_algorithm("direct"):
            truth = observed(double, image.astype(np.float64))
        for algorithm in cases.ERROR_BARS:
            with mg.conv_algorithm(algorithm):
                rows[algorithm].append(differences(observed(single, image, truth["target"]), truth))
        rows["torch"].append(differences(by_torch(reference, image, truth["target"]), truth))
    print(json.dumps({name: worst(found) for name, found in rows.items()}))


def worst(rows):
    """The largest of each entry; counts are added up."""
    return {key: (sum if "flips" in key or "decisions" in key else max)(row[key] for row in rows) for key in rows[0]}


if __name__ == "__main__":
    main(*sys.argv[1:])
