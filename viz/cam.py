"""Class activation maps: which places of a convolutional layer speak for the class.

With A (N,C,h,w) the activations of `layer`, y the class score and g = dy/dA, all are weighted sums of the C maps.
`layer` is where the map is drawn; None takes `default_layer`. Maps are in units of score, not normalised.
"""

import warnings

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn

from .gradients import guided_backprop
from .target import as_image, as_logits, classes, logits_layer, pick


def grad_cam(model, image, target=None, layer=None, unit=None, signed=False, counterfactual=False, upsample=True):
    """(N,H,W): Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391).

        a_k = mean over positions of dy_c/dA_k        L = ReLU(sum_k a_k A_k)

    signed: leave out the ReLU; what speaks against the class is negative.
    counterfactual: explain -y_c, so that what speaks against the class is shown.
    upsample: to the size of the image, bilinearly; False returns the layer's own (N,h,w).

    A map that is zero all over comes back as zeros, with a warning.
    """
    y, a = score_and_maps("grad_cam", model, image, target, layer, unit)
    g = mg.grad(-y.sum() if counterfactual else y.sum(), a)
    weights = g.mean(axis=(2, 3), keepdims=True)
    cam = (weights * a.detach()).sum(axis=1)
    return finished("grad_cam", cam if signed else F.relu(cam), image, upsample)


def guided_grad_cam(model, image, target=None, layer=None, unit=None):
    """(N,3,H,W), signed: guided backpropagation times the upsampled Grad-CAM map (Selvaraju et al., section 3.2)."""
    cam = grad_cam(model, image, target, layer, unit)
    return guided_backprop(model, image, target) * cam[:, None]


# ---- the layer, its maps, and the score ------------------------------------------------------------------------------


def score_and_maps(method, model, image, target, layer, unit):
    """y (N,) and A (N,C,h,w), Tensors of one forward pass: the class scores, and the activations of `layer`."""
    if unit is not None:
        raise ValueError(f"{method}: explains a class, so it takes no unit; its layer is where the map is drawn")
    layer, last = layer or default_layer(model), logits_layer(model)
    found = model.activations(as_image(model, image), [layer, last])
    a, y = found[layer], as_logits(found[last])
    if a.ndim != 4:
        raise ValueError(f"{method}: layer {layer!r} has no positions to map, its output is {a.shape[1:]}")
    return pick(y, classes(model, y, target)), a


def default_layer(model):
    """The last rectified convolution before the head: relu5_3 of VGG16 (14x14, not pool5), fire9 of SqueezeNet.

    The head starts at the first flattening or adaptive pooling, or at the last layer with weights if that comes earlier
    (SqueezeNet's 1x1 convolution to the classes).
    """
    layers = _in_order(model, "")
    pooled = next((i for i, (_, x) in enumerate(layers) if isinstance(x, _HEAD)), len(layers))
    weighted = [i for i, (_, x) in enumerate(layers) if any(t.ndim > 1 for _, t in x.named_tensors())]
    for end in (min([pooled, *weighted[-1:]]), pooled):
        rectified = [name for name, x in layers[:end] if _is_rectified(x)]
        if rectified:
            return rectified[-1]
    raise ValueError("this model has no rectified convolution to map: name a layer")


_HEAD = nn.Flatten | nn.AdaptiveAvgPool2d | nn.Linear


def _in_order(module, prefix):
    """(name, layer) in the order of execution, inside Sequentials but not inside branches."""
    found = []
    for name, layer in module.children():
        inside = isinstance(layer, nn.Sequential) and not isinstance(layer, nn.Parallel)
        found += _in_order(layer, f"{prefix}{name}.") if inside else [(prefix + name, layer)]
    return found


def _is_rectified(layer):
    if isinstance(layer, nn.Parallel):
        return all(_is_rectified(branch) for _, branch in layer.children())
    if isinstance(layer, nn.Sequential):
        return _is_rectified(layer.children()[-1][1])
    return isinstance(layer, nn.ReLU | nn.LeakyReLU)


def finished(method, cam, image, upsample):
    """The maps (N,h,w) as an array, at the size of the image if `upsample`; warns of those that are zero all over."""
    for i in np.flatnonzero(~cam.numpy().any(axis=(1, 2))):
        warnings.warn(f"{method}: the map of image {i} is zero everywhere", stacklevel=3)
    if upsample:
        cam = F.interpolate(cam[:, None], size=image.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return cam.numpy()
