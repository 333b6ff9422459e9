"""The losses of style transfer and their gradients against Gatys et al.'s formulas, written in torch below."""

import torch

import minigrad as mg
import viz
from verification.agreement import PRECISIONS, WITHOUT_CONVOLUTION, Check
from viz.gram import content_loss, mean_gram, style_loss
from viz.style import default_layers
from viz.target import as_image

# ---- in torch --------------------------------------------------------------------------------------------------------


def torch_gram(a):
    """G_ij = sum_k F_ik F_jk (Gatys et al. 2016, eq. 3)."""
    return torch.einsum("bihw,bjhw->bij", a, a)


def torch_style(a, s, normalization):
    """Equation 4, and the two other normalisations in use; of maps of equal size."""
    (_, n, h, w), m = a.shape, a.shape[2] * a.shape[3]
    difference = torch_gram(a) - torch_gram(s)
    if normalization == "gatys":
        return (difference**2).sum() / (4 * n**2 * m**2)
    return ((difference / (n * h * w if normalization == "chw" else m)) ** 2).mean()


def torch_variation(x, kind):
    dx, dy = x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]
    if kind == "l1":
        return dx.abs().sum() + dy.abs().sum()
    if kind == "l1_mean":
        return (dx.abs().mean() + dy.abs().mean()) * len(x)
    if kind == "l2":
        return (dx**2).sum() + (dy**2).sum()
    if kind == "jcjohnson":
        return ((dx[..., :-1, :] ** 2).sum() + (dy[..., :, :-1] ** 2).sum()) / 2
    right, below = torch.nn.functional.pad(dx, (0, 1)), torch.nn.functional.pad(dy, (0, 0, 0, 1))
    return ((right**2 + below**2 + 1e-300) ** 0.75).sum()


def torch_activations(setting, x, names):
    kept, hooks = {}, []
    for name in names:
        hooks.append(
            setting.pair.layer(name).register_forward_hook(lambda _m, _i, output, n=name: kept.update({n: output}))
        )
    setting.pair.torch(x)
    for hook in hooks:
        hook.remove()
    return kept


# ---- checks ----------------------------------------------------------------------------------------------------------


def checks(setting):
    """Each loss, with its gradient by the image."""
    for kind in viz.regularize.TV_KINDS:
        yield Check(
            *("style", f"total_variation, {kind}", "torch", lambda: f"{setting.image.shape}"),
            ours=lambda p, k=kind: _in_ours(setting, p, lambda x: viz.total_variation(x, k, beta=1.5)),
            theirs=lambda k=kind: _in_torch(setting, lambda x: torch_variation(x, k)),
            precisions=WITHOUT_CONVOLUTION,
        )
    yield Check(
        *("style", "gram of every style layer", "torch", lambda: setting.shape),
        ours=lambda p: _our_grams(setting, p),
        theirs=lambda: _their_grams(setting),
        precisions=PRECISIONS,
    )
    for term in ("content", "gatys", "chw", "hw"):
        yield Check(
            *("style", "content loss" if term == "content" else f"style loss, {term}", "torch", lambda: setting.shape),
            ours=lambda p, t=term: _our_loss(setting, p, t),
            theirs=lambda t=term: _their_loss(setting, t),
            gate="decisions",
        )


def _in_ours(setting, precision, loss):
    x = mg.Tensor(setting.image.astype(precision.dtype), requires_grad=True)
    y = loss(x)
    return [y.numpy(), mg.grad(y, x).numpy()]


def _in_torch(setting, loss):
    x = torch.tensor(setting.image, dtype=torch.float64, requires_grad=True)
    y = loss(x)
    return [y.detach().numpy(), torch.autograd.grad(y, x)[0].numpy()]


def _our_grams(setting, precision):
    model = setting.pair.ours[precision.dtype]
    with mg.no_grad():
        found = model.activations(as_image(model, setting.image), default_layers(model)[1])
        return [mean_gram(a).numpy() for a in found.values()]


def _their_grams(setting):
    x = torch.from_numpy(setting.image).double()
    found = torch_activations(setting, x, default_layers(setting.pair.model)[1])
    return [(torch_gram(a) / (a.shape[2] * a.shape[3])).numpy() for a in found.values()]


def _our_loss(setting, precision, term):
    """The first image is optimised, the second is the content or the style; layers weigh alike."""
    model = setting.pair.ours[precision.dtype]
    layers = default_layers(model)[0 if term == "content" else 1]
    with mg.no_grad():
        wanted = model.activations(as_image(model, setting.image[1:]), layers)
    x = as_image(model, setting.image[:1])
    found, total = model.activations(x, layers), 0.0
    for name in layers:
        if term == "content":
            total = total + content_loss(found[name], wanted[name])
        else:
            total = total + style_loss(found[name], mean_gram(wanted[name]), term)
    return [total.numpy(), mg.grad(total, x).numpy()]


def _their_loss(setting, term):
    layers = default_layers(setting.pair.model)[0 if term == "content" else 1]
    wanted = torch_activations(setting, torch.from_numpy(setting.image[1:]).double(), layers)
    x = torch.tensor(setting.image[:1], dtype=torch.float64, requires_grad=True)
    found, total = torch_activations(setting, x, layers), 0.0
    for name in layers:
        if term == "content":
            total = total + 0.5 * ((found[name] - wanted[name]) ** 2).sum()
        else:
            total = total + torch_style(found[name], wanted[name], term)
    return [total.detach().numpy(), torch.autograd.grad(total, x)[0].numpy()]
