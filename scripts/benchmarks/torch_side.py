"""The cases as PyTorch does them, by the straightforward code for each, in each of its memory formats and compiled."""

import json
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

import models
from benchmarks import cases, minigrad_side, torch_sweeps

EAGER = ("contiguous", "channels_last")
VARIANTS = (*EAGER, "compiled")


# ---- the network -----------------------------------------------------------------------------------------------------


class Preprocess(nn.Module):
    """(scale * x - mean) / std, after putting the channels in `channel_order`."""

    def __init__(self, scale, mean, std, channel_order):
        super().__init__()
        self.scale, self.turned = scale, channel_order == "BGR"
        self.register_buffer("mean", torch.tensor(mean, device="cpu").reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, device="cpu").reshape(3, 1, 1), persistent=False)

    def forward(self, x):
        x = x.flip(1) if self.turned else x
        return (x * self.scale - self.mean) / self.std


class Parallel(nn.ModuleDict):
    """The same input through every branch, the outputs joined over channels."""

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.values()], 1)


KINDS = {
    "ReLU": lambda: nn.ReLU(inplace=True),
    "Preprocess": Preprocess,
    "Parallel": lambda layers: Parallel(network(layers)),
    "Sequential": lambda layers: nn.Sequential(network(layers)),
}


def network(description):
    """{name: torch module} of `models.description.describe`'s list."""
    layers = OrderedDict()
    for entry in description:
        kind, name = entry.pop("kind"), entry.pop("name")
        layers[name] = KINDS.get(kind, getattr(nn, kind, None))(**entry)
    return layers


def load(folder, name):
    """The network with its weights mapped from the file; one that is no chain as `models.to_torch` makes it."""
    if name in (*cases.FOLDED, "resnet18_bn"):
        return models.to_torch(models.load(Path(folder) / f"{name}.h5"))
    description = json.loads((Path(folder) / f"{name}.json").read_text())
    with torch.device("meta"):
        layers = network(description)
    model = nn.Sequential(layers)
    state = torch.load(Path(folder) / f"{name}.pth", mmap=True, weights_only=True)
    trained = {key: tensor for key, tensor in model.named_buffers() if key.endswith("num_batches_tracked")}
    state |= {key: torch.zeros_like(tensor, device="cpu") for key, tensor in trained.items()}
    model.load_state_dict(state, assign=True)
    return model


# ---- steps -----------------------------------------------------------------------------------------------------------


def steps(case, folder, variants=VARIANTS, device="cpu"):
    """{"torch contiguous": step, ...}; a variant that does not work here is left out, with the reason printed."""
    found = {}
    for variant in variants:
        if variant == "compiled" and case.kind in cases.SWEEPS:  # which call a network that is eager
            continue
        layout = torch.contiguous_format if variant == "contiguous" else torch.channels_last
        model = load(folder, case.network).eval().to(device)
        if variant != "contiguous":
            model = model.to(memory_format=layout)
        try:
            step = made(case, model, layout, variant == "compiled", device)
            step()
        except Exception as error:  # torch.compile needs a compiler of C++, and fails in many ways without
            if variant != "compiled":
                raise
            print(f"torch.compile does not work here: {str(error).splitlines()[0]}")
            continue
        found[f"torch {variant}"] = step
    return found


def made(case, model, layout, compile, device):
    """The step of one variant."""
    if case.kind == "fed":
        batches = minigrad_side.fed(case, device)
        return training(model, lambda: moved(*next(batches), layout, device), compile)
    x = torch.from_numpy(minigrad_side.inputs(case)).to(device, memory_format=layout)
    if case.kind == "training":
        labels = torch.arange(len(x), device=device) % minigrad_side.CLASSES
        return training(model, lambda: (x, labels), compile)
    if case.kind in cases.SWEEPS:
        return getattr(torch_sweeps, case.kind)(case, model.requires_grad_(False), x)
    return {"forward": forward, "gradient": gradient, "style": style}[case.kind](model, x, compile)


def moved(views, labels, layout, device):
    """A batch of the feed on the device, as float32 in [0,1]."""
    views = torch.from_numpy(views).pin_memory().to(device, non_blocking=True)
    images = (views.permute(0, 3, 1, 2) * (1 / 255)).contiguous(memory_format=layout)
    return images, torch.from_numpy(labels).pin_memory().to(device, non_blocking=True)


def compiled(function, wanted, **options):
    return torch.compile(function, dynamic=False, options=options) if wanted else function


def forward(model, x, compile):
    model.requires_grad_(False)
    model = compiled(model, compile, freezing=True)  # weights are constants, laid out once for the kernels
    mode = torch.no_grad if compile else torch.inference_mode

    def step():
        with mode():
            return model(x)

    return step


def gradient(model, x, compile):
    model.requires_grad_(False)
    model = compiled(model, compile)

    def step():
        image = x.detach().requires_grad_(True)
        return torch.autograd.grad(model(image)[:, 0].sum(), image)[0]

    return step


def style(model, x, compile):
    model.requires_grad_(False)
    wanted = {cases.CONTENT_LAYER, *cases.STYLE_LAYERS}

    def features(image):
        found, y = {}, image
        for name, layer in model.named_children():
            y = layer(y)
            if name in wanted:
                found[name] = y
            if len(found) == len(wanted):
                return found

    def gram(a):
        flat = a.flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[2]

    with torch.no_grad():
        content = features(x)[cases.CONTENT_LAYER] * 0.5
        grams = {layer: gram(a) * 0.5 for layer, a in features(x.flip(2)).items() if layer in cases.STYLE_LAYERS}

    def loss(image):
        found = features(image)
        total = 0.5 * (found[cases.CONTENT_LAYER] - content).square().sum()
        for layer, wanted in grams.items():
            off = (gram(found[layer]) - wanted).square().sum()
            total = total + cases.STYLE_WEIGHT * off / (4 * found[layer].shape[1] ** 2)
        return total

    loss = compiled(loss, compile)

    def step():
        image = x.detach().requires_grad_(True)
        return torch.autograd.grad(loss(image), image)[0]

    return step


def training(model, batch, compile):
    model = model.train()
    for parameter in model.parameters():  # out of the file's mapping, into memory of their own
        parameter.data = parameter.data.clone(memory_format=torch.preserve_format)
    optimizer = torch.optim.SGD(model.parameters(), cases.LEARNING_RATE, momentum=cases.MOMENTUM)
    forward = compiled(model, compile)

    def step():
        x, labels = batch()
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(forward(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
