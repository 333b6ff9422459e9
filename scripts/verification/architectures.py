"""Whole networks against torch's: scores, gradients by the image, and by the weights. VGG16 in its full size."""

from functools import cache

import numpy as np
import torch

import minigrad as mg
from minigrad import functional as F
from verification import references
from verification.agreement import Check
from verification.networks import Pair


def checks(setting):
    """The network of --model; beside the embedded one SqueezeNet 1.1 at 227 px, and the full VGG16 at 224 px.

    These two do not depend on --model, and VGG16 takes longer than all else: another --model has its own rows only.
    """
    yield from compared("networks", lambda: setting.pair, setting)
    if setting.name == "vgg16":
        yield from notebook(lambda: setting.pair, setting)
    if setting.name != "minivgg":
        return
    yield from compared("squeezenet at 227 px", cache(lambda: Pair.named("squeezenet1_1", setting.seed)), setting)
    vgg = cache(lambda: Pair.named("vgg16", setting.seed))
    yield from compared("vgg16 at 224 px", vgg, setting, weights=False)
    yield from notebook(vgg, setting)


def compared(family, pair, setting, weights=True):
    """Scores, softmax, and the gradients of the loss; pair: a function, called when the check runs."""

    def image():
        return setting.images(family, (1, 3, *pair().model.input_size))

    def in_torch(of_weights):
        network, x = pair().torch, torch.tensor(image(), dtype=torch.float64, requires_grad=not of_weights)
        leaves = [p for _, p in network.named_parameters()] if of_weights else [x]
        network.requires_grad_(of_weights)
        loss = torch.nn.functional.cross_entropy(network(x), torch.tensor([1]))
        found = [g.numpy() for g in torch.autograd.grad(loss, leaves)]
        network.requires_grad_(False)
        return found

    def in_ours(precision, of_weights):
        model, x = (
            pair().ours[precision.dtype],
            mg.Tensor(image().astype(precision.dtype), requires_grad=not of_weights),
        )
        model.requires_grad_(of_weights)
        loss = F.cross_entropy(model(x), mg.as_tensor(np.array([1])))
        found = mg.grad(loss, model.parameters() if of_weights else [x])
        model.requires_grad_(False)
        return [g.numpy() for g in found]

    def scores(precision):
        with mg.no_grad():
            return pair().ours[precision.dtype](mg.Tensor(image().astype(precision.dtype))).numpy()

    def their_scores():
        return pair().torch(torch.from_numpy(image()).double()).numpy()

    def size():
        return f"{pair().title} {image().shape}"

    yield Check(family, "scores", "torch", size, scores, their_scores)
    for name, of_weights in (("by the image", False), *((("by all weights", True),) if weights else ())):
        yield Check(
            *(family, f"gradient of the loss {name}", "torch", size),
            ours=lambda p, w=of_weights: in_ours(p, w),
            theirs=lambda w=of_weights: in_torch(w),
            gate="decisions",
        )


def notebook(pair, setting):
    """What the course's notebooks draw with VGG16, by captum, at 224 px."""
    import viz

    def image():
        return setting.images("notebook", (1, 3, 224, 224))

    def captum(method, *layer, **options):
        attr, names = references.reference("captum"), [pair().layer(name) for name in layer]
        x = torch.tensor(image(), dtype=torch.float64, requires_grad=True)
        found = getattr(attr, method)(pair().torch, *names).attribute(x, 1, **options)
        return found.detach().numpy()

    def ours(function, **options):
        return lambda p: function(pair().ours[p.dtype], image(), 1, **options)

    rows = (
        ("saliency", ours(viz.saliency, reduce="none"), lambda: captum("Saliency", abs=False)),
        ("deconvnet", ours(viz.deconvnet), lambda: captum("Deconvolution")),
        ("guided_backprop", ours(viz.guided_backprop), lambda: captum("GuidedBackprop")),
        (
            "grad_cam of relu5_3, signed",
            ours(viz.grad_cam, layer="relu5_3", signed=True, upsample=False),
            lambda: captum("LayerGradCam", "relu5_3")[:, 0],
        ),
    )

    def size():
        return f"{pair().title} {image().shape}"

    for name, found, theirs in rows:
        yield Check("vgg16 at 224 px", name, "captum", size, found, theirs, gate="decisions")
