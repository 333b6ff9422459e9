"""Measures of attributions against Quantus, on the draws that ours make.

Quantus gets the network in float64 but rounds images to float32 on their way in, which the tolerances allow for. Where
it takes attributions of pixels for those of channels, both get a grey image: Quantus its one channel, ours three alike.
"""

import copy
from itertools import count as counted
from unittest import mock

import numpy as np
import torch

import viz
from verification.agreement import FLOAT64, Check
from verification.references import reference
from viz.random import drawn, stream, streams
from viz.randomization import _draw_anew
from viz.road import imputed

ROUNDED = 2e-5  # what images in float32 leave of agreement
SAMPLES, SIGMA = 5, 0.1
SHARES = (0.25, 0.5, 0.75)  # of 64 x 64 pixels, so that no number of them is rounded


class Doubling(torch.nn.Module):
    """The network in float64 whatever comes, of grey images too."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, []

    def forward(self, x):
        scores = self.network(x.double().expand(-1, 3, -1, -1))
        self.seen.append(scores.detach().numpy())
        return scores


def checks(setting):
    yield sparseness(setting)
    yield from roads(setting)
    yield faithfulness(setting)
    yield other_class(setting)
    yield randomisation(setting)


def quantus(setting, metric, a_batch=None, grey=False, softmax=False, network=None, explain_func=None, **options):
    """What the metric of that name gives for the two images and classes."""
    plain = {"disable_warnings": True, "normalise": False, "return_aggregate": False}
    images = grey_images(setting)[:, :1] if grey else setting.small
    network = (network or Doubling(setting.pair.torch)).eval()
    given = {"x_batch": images.copy(), "y_batch": np.array(setting.classes), "a_batch": a_batch, "softmax": softmax}
    given |= {"channel_first": True, "explain_func": explain_func}
    return getattr(reference("quantus"), metric)(**plain, **options)(model=network, **given)


def grey_images(setting):
    return np.repeat(setting.small.mean(1, keepdims=True), 3, 1)


def double(setting):
    return setting.small.astype(np.float64)


def maps(setting):
    """(2,1,H,W): any map will do, with no two values alike."""
    return setting.rng("maps").standard_normal((2, 1, *setting.small.shape[2:]))


def magnitudes(model, inputs, targets, **_):
    """(N,1,H,W): for Quantus, the largest |gradient| of a pixel's channels, of torch's network."""
    x = torch.tensor(inputs, dtype=torch.float64, requires_grad=True)
    scores = model(x)[torch.arange(len(x)), torch.as_tensor(np.asarray(targets))]
    (gradient,) = torch.autograd.grad(scores.sum(), x)
    return gradient.abs().amax(1, keepdim=True).numpy()


def sparseness(setting):
    return Check(
        *("measures", "sparseness", "quantus", "maps of 64 x 64"),
        ours=lambda _: viz.sparseness(abs(maps(setting)[:, 0]) + 1e-7),
        theirs=lambda: np.array(quantus(setting, "Sparseness", maps(setting), abs=True)),
        precisions=(FLOAT64,),
        note="Quantus adds 1e-7 to every value, which ours are given",
    )


# ---- pixels that go --------------------------------------------------------------------------------------------------


def roads(setting):
    def removed():
        return setting.rng("removed").random(setting.small.shape[2:]) < 0.6

    def theirs():
        impute = reference("quantus").functions.perturb_func.noisy_linear_imputation
        return np.stack([impute(x, np.flatnonzero(removed()), noise=0.0) for x in double(setting)])

    def curves():
        network = Doubling(setting.pair.torch)
        reference("quantus")
        quantus(
            *(setting, "ROAD", maps(setting), True),
            network=network,
            percentages=[int(100 * share) for share in SHARES],
            noise=0.0,
        )
        scores = torch.from_numpy(np.stack(network.seen[-len(SHARES) :], 1)).softmax(2).numpy()
        return np.stack([one[:, k] for one, k in zip(scores, setting.classes, strict=True)])

    yield Check(
        *("measures", "the imputation of ROAD", "quantus", lambda: setting.small_shape),
        ours=lambda _: np.stack(
            [imputed(x, removed(), 0.0, setting.rng("")) for x in setting.small.astype(np.float64)]
        ),
        theirs=theirs,
        precisions=(FLOAT64,),
        note="without its noise",
    )
    yield Check(
        *("measures", "ROAD, the most relevant first", "quantus", lambda: f"{setting.small_shape}, grey"),
        ours=lambda p: (
            viz.road(
                setting.pair.ours[p.dtype],
                grey_images(setting),
                maps(setting)[:, 0],
                setting.classes,
                SHARES,
                noise=0.0,
            ).most
        ),
        theirs=curves,
        tolerance=ROUNDED,
        note="probabilities, of which Quantus gives the accuracy alone; of other shares it rounds pixels down",
    )


def faithfulness(setting):
    size, fraction = 400, 400 / 64**2

    def theirs():
        rngs = streams(setting.seed, "faithfulness_correlation", grey_images(setting))
        count = setting.small.shape[2] * setting.small.shape[3]
        draws = iter(
            [
                np.flatnonzero(chosen)
                for _ in range(SAMPLES)
                for chosen in drawn(rngs, lambda rng: rng.permutation(count) < size)
            ]
        )
        with mock.patch("numpy.random.choice", lambda *_, **__: next(draws)):
            found = quantus(
                *(setting, "FaithfulnessCorrelation", maps(setting), True),
                nr_runs=SAMPLES,
                subset_size=size,
                perturb_baseline=0.0,
            )
        return np.array(found)

    return Check(
        *("measures", "faithfulness correlation", "quantus", lambda: f"{setting.small_shape}, grey"),
        ours=lambda p: viz.faithfulness_correlation(
            setting.pair.ours[p.dtype],
            grey_images(setting).astype(p.dtype),
            maps(setting)[:, 0],
            setting.classes,
            fraction=fraction,
            samples=SAMPLES,
            seed=setting.seed,
        ),
        theirs=theirs,
        tolerance=ROUNDED,
        note="on the same pixels, made 0; Quantus' default is the image's least value, channel by channel",
    )


# ---- other networks and classes --------------------------------------------------------------------------------------


def other_class(setting):
    def theirs():
        classes, count = np.array(setting.classes), len(setting.pair.model.labels)
        steps = [rng.integers(1, count) for rng in streams(setting.seed, "random_logit", setting.small)]
        others = (classes + np.array(steps)) % count
        places = np.where(others > classes, others - 1, others)  # among the classes without the image's own
        with mock.patch("numpy.random.randint", lambda *_: places):
            found = quantus(
                *(setting, "RandomLogit", magnitudes(setting.pair.torch, setting.small, classes)),
                num_classes=count,
                similarity_func=reference("quantus").similarity_func.correlation_spearman,
                explain_func=magnitudes,
            )
        return np.array(found)

    return Check(
        *("measures", "random logit, rank correlation", "quantus", lambda: setting.small_shape),
        ours=lambda p: viz.random_logit(
            setting.pair.ours[p.dtype], setting.small, viz.saliency, setting.classes, seed=setting.seed
        )[0],
        theirs=theirs,
        tolerance=ROUNDED,
        note="with the same other class; by default Quantus takes SSIM with windows of 7 x 7 on maps as they are",
    )


def randomisation(setting):
    """Quantus' last sample has no noise: ours are mixed with the plain map in the same proportion."""

    def mixed(model, image, target):
        noisy = viz.smoothed(viz.saliency, SAMPLES, SIGMA, setting.seed)(model, image, target)
        return (SAMPLES * noisy + viz.saliency(model, image, target)) / (SAMPLES + 1)

    def ours(precision):
        return viz.model_randomization(
            setting.pair.ours[precision.dtype], setting.small, mixed, setting.classes, seed=setting.seed
        ).spearman[1:]

    def theirs():
        shape, fresh = setting.small.shape, new_weights(setting)
        rngs = streams(setting.seed, "smoothed", setting.small)
        noise = [drawn(rngs, lambda rng: rng.standard_normal(shape[1:])) for _ in range(SAMPLES)]
        turns = counted()

        def draw(module):
            for name, values in next(fresh).items():
                getattr(module, name).data = torch.from_numpy(values)

        network = Doubling(setting.pair.torch)
        with (
            mock.patch("numpy.random.randn", lambda *_: noise[next(turns) % SAMPLES]),
            mock.patch.object(reference("quantus"), "explain", magnitudes),
            mock.patch.object(torch.nn.Conv2d, "reset_parameters", draw),
            mock.patch.object(torch.nn.Linear, "reset_parameters", draw),
        ):
            found = quantus(
                *(setting, "SmoothMPRT"),
                network=network,
                explain_func=magnitudes,
                layer_order="top_down",
                nr_samples=SAMPLES + 1,
                noise_magnitude=SIGMA,
            )
        return np.array([found[name] for name in found if name != "original"])

    return Check(
        *("measures", "smooth randomisation of layers", "quantus", lambda: setting.small_shape),
        ours=ours,
        theirs=theirs,
        precisions=(FLOAT64,),
        tolerance=ROUNDED,
        note="rank correlations, with the same noise and weights; Quantus' last sample has no noise, and ours were "
        "given one such; whatever explain_func it is given, it takes its own explain(), which was replaced",
    )


def new_weights(setting):
    """The weights of each layer as `model_randomization` draws them, from the top, float64."""
    model, rng = copy.deepcopy(setting.pair.ours["float64"]), stream(setting.seed, "model_randomization")
    for name in [name for name in model.names() if hasattr(model[name], "weight")][::-1]:
        _draw_anew(model[name], rng)
        yield {key: tensor.numpy() for key, tensor in model[name].named_tensors()}
