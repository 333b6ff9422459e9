"""Class activation maps against pytorch-grad-cam, taken before it rescales them to [0,1] in float32."""

from unittest import mock

import numpy as np
import torch

import viz
from verification.agreement import PRECISIONS, Check
from verification.references import reference

FEW_CHANNELS = ("relu3_1", "fire2.relu_expand")  # 128 of them each: Score-CAM takes a pass for every channel


def checks(setting):
    def layer():
        return viz.default_layer(setting.pair.model)

    rows = (("grad_cam", "GradCAM"), ("layer_cam", "LayerCAM"), ("hires_cam", "HiResCAM"))
    for name, kind in rows:
        yield Check(
            *("cam", name, "grad-cam", lambda: setting.shape),
            ours=lambda p, name=name: _ours(setting, getattr(viz, name), p),
            theirs=lambda k=kind: raw(setting, k, layer(), setting.image),
            gate="decisions",
        )
    yield plus_plus(setting, layer)
    yield xgrad(setting, layer)
    yield score_cam(setting)
    yield eigen_cam(setting, layer)


def _ours(setting, function, precision, image=None, **options):
    image = setting.image if image is None else image
    return function(setting.pair.ours[precision.dtype], image, setting.classes, upsample=False, **options)


def raw(setting, kind, layer, image, prepare=lambda cam: None):
    """The maps (N,h,w) of a class of pytorch-grad-cam before rescaling, rectified as it does next."""
    package = reference("grad-cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class Kept(getattr(package, kind)):
        def get_cam_image(self, *arguments):
            self.kept = super().get_cam_image(*arguments)
            return self.kept

    network = setting.pair.torch
    with Kept(network, [setting.pair.layer(layer)]) as cam:
        prepare(cam)
        x = torch.tensor(image, dtype=torch.float64, requires_grad=True)
        cam(x, [ClassifierOutputTarget(c) for c in setting.classes])
        return np.maximum(cam.kept, 0)


def maps_and_gradients(setting, layer, image):
    """(A, dy/dA) by torch, for the formulas written out below."""
    kept = []
    hook = setting.pair.layer(layer).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    x = torch.tensor(image, dtype=torch.float64, requires_grad=True)
    y = setting.pair.torch(x)[range(len(image)), setting.classes].sum()
    hook.remove()
    return kept[0].detach().numpy(), torch.autograd.grad(y, kept[0])[0].numpy()


def plus_plus(setting, layer):
    def formula(epsilon):
        a, g = maps_and_gradients(setting, layer(), setting.image)
        divisor = 2 * g**2 + a.sum((2, 3), keepdims=True) * g**3 + epsilon
        alpha = np.divide(g**2, divisor, out=np.zeros_like(g), where=(divisor != 0) & (g != 0))
        weights = (alpha * np.maximum(g, 0)).sum((2, 3), keepdims=True)
        return np.maximum((weights * a).sum(1), 0)

    return Check(
        *("cam", "grad_cam_plus_plus", "grad-cam", lambda: setting.shape),
        ours=lambda p: _ours(setting, viz.grad_cam_plus_plus, p),
        theirs=lambda: raw(setting, "GradCAMPlusPlus", layer(), setting.image),
        gate="decisions",
        wrong="adds 1e-6 to the denominator of equation 19, which is as large as 2 g^2 for gradients of 7e-4",
        definition=lambda: formula(0.0),
        deviation=lambda: formula(1e-6),
    )


def xgrad(setting, layer):
    def formula(epsilon):
        a, g = maps_and_gradients(setting, layer(), setting.image)
        total = a.sum((2, 3), keepdims=True) + epsilon
        weights = np.divide((a * g).sum((2, 3), keepdims=True), total, out=np.zeros_like(total), where=total != 0)
        return np.maximum((weights * a).sum(1), 0)

    return Check(
        *("cam", "xgrad_cam", "grad-cam", lambda: setting.shape),
        ours=lambda p: _ours(setting, viz.xgrad_cam, p),
        theirs=lambda: raw(setting, "XGradCAM", layer(), setting.image),
        gate="decisions",
        wrong="adds 1e-7 to the sum of a channel's activations",
        definition=lambda: formula(0.0),
        deviation=lambda: formula(1e-7),
    )


def score_cam(setting):
    def layer():
        return next(name for name in FEW_CHANNELS if name in setting.pair.model)

    def formula(align_corners):
        a = torch.from_numpy(maps_and_gradients(setting, layer(), setting.tiny)[0])
        x, found = torch.from_numpy(setting.tiny).double(), []
        masks = torch.nn.functional.interpolate(a, x.shape[2:], mode="bilinear", align_corners=align_corners)
        low, high = masks.amin((2, 3), True), masks.amax((2, 3), True)
        masks = (masks - low) / torch.where(high > low, high - low, 1.0)
        for image, mask, maps, c in zip(x, masks, a, setting.classes, strict=True):
            weights = torch.softmax(setting.pair.torch(image[None] * mask[:, None])[:, c], 0)
            found.append(torch.relu((weights[:, None, None] * maps).sum(0)))
        return torch.stack(found).numpy()

    def largest_score():
        """A softmax makes of a score's absolute error a weight's relative one: 1e-5 of 50 is 5e-4 of every weight."""
        y = setting.pair.torch(torch.from_numpy(setting.tiny).double())
        return float(abs(y[range(len(y)), setting.classes]).max())

    def theirs():
        import tqdm

        with mock.patch.object(tqdm, "tqdm", lambda steps: steps):
            return raw(setting, "ScoreCAM", layer(), setting.tiny)

    return Check(
        *("cam", "score_cam", "grad-cam", lambda: f"{setting.pair.title} {setting.tiny.shape}"),
        ours=lambda p: _ours(setting, viz.score_cam, p, setting.tiny, layer=layer()),
        theirs=theirs,
        wrong="upsamples the masks with their corners on the image's corners, half a cell off (METHODS.md, 1)",
        definition=lambda: formula(False),
        deviation=lambda: formula(True),
        enlarged=largest_score,
    )


def eigen_cam(setting, layer):
    def formula(centred):
        found = []
        for a in maps_and_gradients(setting, layer(), setting.image)[0]:
            matrix = a.reshape(len(a), -1).T
            matrix = matrix - matrix.mean(0) if centred else matrix
            projected = matrix @ np.linalg.svd(matrix, full_matrices=False)[2][0]
            found.append((-projected if projected.sum() < 0 and not centred else projected).reshape(a.shape[1:]))
        return np.maximum(found, 0)

    def deviation():
        """The sign of a singular vector is LAPACK's to choose, and the reference leaves it so."""
        return formula(True)

    return Check(
        *("cam", "eigen_cam", "grad-cam", lambda: setting.shape),
        ours=lambda p: np.maximum(_ours(setting, viz.eigen_cam, p), 0),
        theirs=lambda: raw(setting, "EigenCAM", layer(), setting.image),
        precisions=PRECISIONS,
        wrong="centres the activations over positions, which the paper does not, and leaves the sign to chance",
        definition=lambda: formula(False),
        deviation=deviation,
    )
