"""A network and photographs so small that every command can be run many times."""

import numpy as np

import models
from minigrad import nn
from models.layers import Preprocess

CLASSES = ("cat", "dog", "tiger", "zebra")


def network(channels=3, seed=0):
    """A network of VGG's layer names, for 16 pixels and images of so many channels; four classes."""
    rng = np.random.default_rng(seed)
    layers = {"preprocess": Preprocess(mean=(0.5,) * channels, std=(0.25,) * channels)}
    before = channels
    for block in range(1, 6):
        layers[f"conv{block}_1"] = nn.Conv2d(before, 8, 3, padding=1, rng=rng)
        layers[f"relu{block}_1"] = nn.ReLU()
        before = 8
        if block in (1, 2):
            layers[f"pool{block}"] = nn.MaxPool2d(2)
    layers |= {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(8, len(CLASSES), rng=rng)}
    return balanced(models.Model(layers, "tiny", (16, 16), CLASSES).eval(), channels)


def balanced(model, channels=3):
    """The model, whose last layer "fc" is changed so that all classes are named, as often."""
    y = model(_drawn(np.random.default_rng(1), 100, channels).repeat(4, 2).repeat(4, 3)).numpy()
    model["fc"].weight.data = model["fc"].weight.data / y.std(0)[:, None]
    model["fc"].bias.data = (model["fc"].bias.data - y.mean(0)) / y.std(0)
    return model


def _drawn(rng, count, channels):
    """(N,C,4,4) pictures of sixteen colours."""
    return rng.random((count, channels, 4, 4), np.float32)


def write(folder, channels=3):
    """The path of its weights file in `folder`."""
    path = folder / f"tiny{channels}.h5"
    models.save_weights(network(channels), path)
    return path


def photographs(folder, channels=3, each=3, model=None):
    """A folder of class folders with `each` pictures that the model, by default `network`, puts there, and the path of
    one of them."""
    drawn = _drawn(np.random.default_rng(0), 200, channels).repeat(4, 2).repeat(4, 3)
    named = (model or network(channels))(drawn).numpy().argmax(1)
    for index, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for n, picture in enumerate(drawn[named == index][:each]):
            models.save_image(picture, folder / name / f"{n}.png")
    return folder, folder / "cat" / "0.png"


# What lets a command run, and ends soon: {DATA} and {IMAGE} are put in.
SHORT = {
    "attack": "--steps 2",
    "bias": "--data {DATA} --count 8",
    "cue_conflict": "--data {DATA} --count 2 --steps 1",
    "dream": "--steps 1 --octaves 1 --size 24",
    "embedding": "--data {DATA} --count 8",
    "evaluate_attribution": "--data {DATA} --count 12 --methods saliency,grad_cam --steps 2 --noises 3 --tiles half",
    "ground_truth": "--scenes 2 --families axioms --methods saliency,random",
    "integrated_gradients": "--steps 2",
    "invert": "--steps 1 --size 16 --layers relu2_1",
    "linear_demo": "--data {DATA} --count 8 --sizes 4 8 --epochs 1",
    "maximize": "--target cat --steps 1",
    "over": "{DATA} --count 4 --do saliency",
    "patch_index": "--data {DATA} --count 8 --patches 2",
    "reconstruct_content": "--steps 1 --size 16 --layers relu2_1",
    "rise": "--samples 4 --cells 2",
    "robustness": "--data {DATA} --count 4 --steps 1 --samples 1 --tables attacks",
    "sanity_check": "--methods saliency,grad_cam",
    "score_cam": "",
    "smooth_grad": "--samples 2",
    "style_transfer": "--style {IMAGE} --steps 1 --size 16",
    "templates": "--data {DATA} --count 8 --size 4 --epochs 1",
    "texture": "--steps 1 --size 16",
    "top_patches": "--data {DATA} --count 12 --layer relu2_1",
    "universal": "--data {DATA} --count 8 --epochs 1",
    "weights": "--filters 2",
    "zeiler_fergus": "--data {DATA} --count 12 --layers relu2_1 --per-layer 1",
}
NO_IMAGE = {"ground_truth", "linear_demo", "maximize", "templates", "weights"} | {
    k for k, v in SHORT.items() if "{DATA}" in v
}
NO_IMAGE -= {"sanity_check"}


def arguments(name, data, image):
    """The words behind the name of a command that let it run."""
    words = SHORT.get(name, "").format(DATA=data, IMAGE=image).split()
    return words if name in NO_IMAGE else [str(image), *words]
