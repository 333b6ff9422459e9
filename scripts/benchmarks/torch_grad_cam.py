"""Grad-CAM of VGG16 by PyTorch and captum, from a weights file to a PNG: bench.py times scripts/grad_cam.py against it.

python scripts/benchmarks/torch_grad_cam.py WEIGHTS.pth PHOTO.png OUT.png

Written to be quick: the weights are mapped into memory, no layer is initialised, matplotlib draws without pyplot.
WEIGHTS.pth holds a state dict with minigrad's names (conv1_1.weight, ..., fc8.bias).
"""

import sys
from collections import OrderedDict

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
MEAN = (103.939, 116.779, 123.68)  # of the blue, green and red channel, of 255


def vgg16():
    """The network without memory for its weights: they come from the file."""
    layers, channels = OrderedDict(), 3
    for stage, widths in enumerate(STAGES, 1):
        for place, width in enumerate(widths, 1):
            layers[f"conv{stage}_{place}"] = nn.Conv2d(channels, width, 3, padding=1)
            layers[f"relu{stage}_{place}"] = nn.ReLU()
            channels = width
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["fc6"], layers["relu6"] = nn.Linear(512 * 49, 4096), nn.ReLU()
    layers["fc7"], layers["relu7"] = nn.Linear(4096, 4096), nn.ReLU()
    layers["fc8"] = nn.Linear(4096, 1000)
    return nn.Sequential(layers)


def photograph(path):
    """(224,224,3) uint8: the centre of the picture, its short side reduced to 256."""
    picture = Image.open(path).convert("RGB")
    scale = 256 / min(picture.size)
    picture = picture.resize([round(side * scale) for side in picture.size], Image.Resampling.BICUBIC)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    return np.asarray(picture.crop((left, top, left + 224, top + 224)))


def figure(picture, heat, title):
    """The photograph, the map with a colour bar, and the map over the photograph."""
    norm = Normalize(0, np.percentile(heat, 99.5), clip=True)
    colours = colormaps["inferno"](norm(heat))[..., :3]
    grey = (picture / 255) @ np.array([0.299, 0.587, 0.114])
    opacity = 0.9 * norm(heat).data[..., None]
    drawn = Figure(figsize=(9.3, 3.2), dpi=150)
    cells = drawn.subplots(1, 3)
    over = (1 - opacity) * grey[..., None] + opacity * colours
    for axes, cell, caption in zip(cells, (picture, colours, over), ("photograph", "map", "overlay"), strict=True):
        axes.imshow(cell, interpolation="nearest")
        axes.set_title(caption, fontsize=8)
        axes.set_axis_off()
    drawn.colorbar(ScalarMappable(norm, "inferno"), ax=cells)
    drawn.suptitle(title, fontsize=10)
    return drawn


def main(weights, photo, out):
    with torch.device("meta"):
        model = vgg16()
    model.load_state_dict(torch.load(weights, mmap=True, weights_only=True), assign=True)
    model.eval().requires_grad_(False)

    picture = photograph(photo)
    x = torch.from_numpy(picture[..., ::-1].astype(np.float32) - np.float32(MEAN)).permute(2, 0, 1)[None]
    x.requires_grad_(True)
    with torch.inference_mode():
        probabilities = model(x).softmax(1)[0]
    target = int(probabilities.argmax())
    maps = LayerGradCam(model, model.relu5_3).attribute(x, target, relu_attributions=True)
    heat = LayerAttribution.interpolate(maps, (224, 224), "bilinear")[0, 0].detach().numpy()
    figure(picture, heat, f"Grad-CAM: class {target} (p = {probabilities[target]:.3g})").savefig(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
