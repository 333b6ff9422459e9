"""Error by algorithm, end to end: `python -m benchmarks.accuracy FOLDER` ends with a line of JSON.

VGG16 at 224 px in float32, against itself in float64 (by direct convolution): the scores of all classes, and the
gradient of the top one by the image. Over five images, a photograph and four of smooth
noise: a decision of ReLU or max-pooling that flips deep in the network, where two values nearly tie, changes the whole
gradient by far more than rounding does, in any float32 program, so medians over the images are judged.
"""

import json
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

import minigrad as mg
import models
from benchmarks import cases, torch_side
from minigrad.backend import thread_count


def images(folder):
    """(5,3,224,224): the sample photograph's centre, and noise of four scales."""
    photograph = models.load_image(Path(folder) / "cat.png", 224, 256)
    noise = np.random.default_rng(0).standard_normal((4, 3, 224, 224))
    smooth = [gaussian_filter(noise[i], (0, scale, scale)) for i, scale in enumerate((1, 2, 4, 8))]
    smooth = [np.clip(0.5 + 0.2 * image / image.std(), 0, 1)[None] for image in smooth]
    return np.concatenate([photograph, *smooth]).astype(np.float32)


def observed(model, image, target=None):
    """Scores, input gradient of the target (default: the top class), and the choices made by ReLU and max-pooling."""
    x = mg.Tensor(image, requires_grad=True)
    rectified = [name for name in model.names() if name.startswith("relu")]
    found = model.activations(x, [*rectified, "fc8"])
    scores = found["fc8"]
    target = int(scores.numpy()[0].argmax()) if target is None else target
    gradient = mg.grad(scores[0, target], x).numpy()
    arrays = {name: found[name].numpy() for name in rectified}
    pooled = [max(name for name in rectified if name.startswith(f"relu{stage}_")) for stage in range(1, 6)]
    return {
        "target": target,
        "scores": scores.numpy(),
        "gradient": gradient,
        "relu": [a > 0 for a in arrays.values()],
        "pool": [winners(arrays[name]) for name in pooled],
    }


def winners(a):
    """The place, 0 to 3, of the first maximum in each 2x2 window of a (N,C,H,W)."""
    n, c, h, w = a.shape
    return a.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4).argmax(-1)


def differences(found, truth):
    """What is reported of an image: errors as shares of the largest true value, 1 - cosine, choices that differ."""
    row = {}
    for name in ("scores", "gradient"):
        a, b = found[name].astype(np.float64).ravel(), truth[name].astype(np.float64).ravel()
        off = np.abs(a - b) / np.abs(b).max()
        row[f"{name} 99.9 %"], row[f"{name} max"] = float(np.percentile(off, 99.9)), float(off.max())
        unit = (v / np.linalg.norm(v) for v in (a, b))
        row[f"{name} 1 - cosine"] = float(0.5 * np.square(np.subtract(*unit)).sum())
    for name in ("relu", "pool"):
        if name in found:
            flips = sum(int((a != b).sum()) for a, b in zip(found[name], truth[name], strict=True))
            row[f"{name} flips"], row[f"{name} decisions"] = flips, sum(a.size for a in truth[name])
    return row


def by_torch(model, image, target):
    """PyTorch's own float32, contiguous: how much is to be expected of any."""
    x = torch.from_numpy(image).requires_grad_(True)
    scores = model(x)
    gradient = torch.autograd.grad(scores[0, target], x)[0]
    return {"scores": scores.detach().numpy(), "gradient": gradient.numpy()}


def main(folder):
    torch.set_num_threads(thread_count())
    single = models.load(Path(folder) / "vgg16.h5").requires_grad_(False)
    double = models.load(Path(folder) / "vgg16.h5").requires_grad_(False)
    double.load_state_dict({name: array.astype(np.float64) for name, array in double.state_dict().items()})
    reference = torch_side.load(folder, "vgg16").eval().requires_grad_(False)
    rows = {name: [] for name in (*cases.ERROR_BARS, "torch")}
    for image in images(folder)[:, None]:
        with mg.conv_algorithm("direct"):
            truth = observed(double, image.astype(np.float64))
        for algorithm in cases.ERROR_BARS:
            with mg.conv_algorithm(algorithm):
                rows[algorithm].append(differences(observed(single, image, truth["target"]), truth))
        rows["torch"].append(differences(by_torch(reference, image, truth["target"]), truth))
    print(json.dumps({name: overall(found) for name, found in rows.items()}))


def overall(rows):
    """Of each entry the median over images; largest errors are the largest of all, counts are added up."""
    found = {}
    for key in rows[0]:
        how = sum if "flips" in key or "decisions" in key else max if key.endswith("max") else statistics.median
        found[key] = how(row[key] for row in rows)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
