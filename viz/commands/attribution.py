"""The attributions as commands: what each says of itself, its options, and how its result is drawn.

They are alike: a function of viz takes the options by their names, and its result stands beside the photograph. What
they share is in attribution_command.py.
"""

from typing import Any

import numpy as np

import viz

from .attribution_command import COMMANDS, Attribution, call, extremes, heading, largest_and_mean, signed
from .job import Job
from .options import by_layer, channels

__all__ = ["COMMANDS", "call", "heading", "signed"]

# ---- gradients -------------------------------------------------------------------------------------------------------

Attribution(
    "saliency",
    """Saliency: how much each pixel changes the score of a class, a layer, a channel or a neuron.

M = max over channels of |dy/dx|, y the score before the softmax (Simonyan et al. 2013, arXiv:1312.6034, section 3).
""",
    lambda args: "length of dy/dx" if args.reduce == "l2" else "{reduce} over channels of |dy/dx|",
    numbers=largest_and_mean,
).options.add_argument(
    "--reduce",
    choices=("max", "sum", "l2"),
    default="max",
    help="how the three channels' |dy/dx| become one number (default %(default)s, as the paper)",
)

Attribution(
    "deconvnet",
    """Deconvnet: what in the photograph feeds the score of a class, a layer, a channel or a neuron.

The backward pass with R = g * [g > 0] at every ReLU, whatever its input was, and unpooling by the switches of the
forward pass (Zeiler and Fergus 2013, arXiv:1311.2901, section 2.1).
""",
    draw=None,
    numbers=extremes,
)

Attribution(
    "guided_backprop",
    """Guided backpropagation: the details of the photograph that speak for a class, a layer, a channel or a neuron.

The backward pass with R = g * [g > 0] * [x > 0] at every ReLU (Springenberg et al. 2014, arXiv:1412.6806, section
3.4). It is sharp whatever the network has learned: see sanity_check.
""",
    draw=None,
    numbers=extremes,
).options.add_argument(
    "--only-convolutional", action="store_true", help="leave the ReLUs between fully connected layers as they are"
)

Attribution(
    "input_x_gradient",
    """Input x gradient: what each pixel adds to the score, to first order.

x * dy/dx, y the score before the softmax (Shrikumar et al. 2016, arXiv:1605.01713). The map is its sum over channels.
""",
    "x * dy/dx, in units of the score",
    numbers=lambda job, found, heat: {"sum": found.sum(), **extremes(job, found, heat)},
)


def sum_and_residual(job: Job, found: np.ndarray, heat: np.ndarray) -> dict[str, Any]:
    """The sum of all attributions, and what it is off from the score's rise."""
    (residual,) = viz.completeness(job.model, job.image, found, **job.explained, baseline=job.args.baseline)
    return {"sum": found.sum(), "residual": float(residual)}


options = Attribution(
    "integrated_gradients",
    """Integrated gradients: the score's rise from a baseline to the photograph, shared out among the pixels.

(x - x') * integral over a from 0 to 1 of dy/dx at x' + a (x - x'), by the midpoint rule (Sundararajan et al. 2017,
arXiv:1703.01365). The map is its sum over channels. The line gives the residual: what the sum of all attributions is
off from y(x) - y(x').
""",
    "in units of the score",
    "--steps 100",
    numbers=sum_and_residual,
    tail=", sum {sum:.4g}, residual {residual:.2g}",
).options
options.number("--steps", 50, "gradients along the way")
options.number("--baseline", 0.0, "grey level x' of all pixels")

options = Attribution(
    "smooth_grad",
    """SmoothGrad: saliency without its noise, by adding noise.

The gradient dy/dx averaged over noisy copies of the photograph (Smilkov et al. 2017, arXiv:1706.03825). The map is the
largest |.| of the three channels, as for saliency.
""",
    "max over channels of |mean dy/dx|",
    "--samples 100",
    draw=lambda found: abs(found).max(1),
    numbers=largest_and_mean,
).options
options.number("--samples", 50, "noisy copies")
options.number("--sigma", 0.15, "the noise, as a fraction of the image's max - min")


# ---- relevance propagation -------------------------------------------------------------------------------------------


def relevance_and_score(job: Job, found: np.ndarray, heat: np.ndarray) -> dict[str, Any]:
    """The relevance at the pixels, the score, and in words how much of it arrives."""
    (lost,) = viz.completeness(job.model, job.image, found, **job.explained, baseline=None)
    score = found.sum() - float(lost)
    share = round(100 * found.sum() / score) if score else 100
    rest = "" if job.args.through or share == 100 else f", biases {'keep' if share < 100 else 'add'} the rest"
    return {"relevance": found.sum(), "score": score, "arrived": f"arrive ({share} %){rest}"}


class LRP(Attribution):
    """LRP, whose title says through which channels, and how much of the score arrives."""

    tail_in_title = True

    def title(self, job: Job) -> str:
        through = job.args.through
        only = f", through {through[0]}:{','.join(map(str, through[1]))} alone" if through else ""
        return super().title(job) + only


options = LRP(
    "lrp",
    """LRP, layer-wise relevance propagation: the score shared out backwards until it lies on the pixels.

Rules epsilon, gamma, zplus, alphabeta, flat, wsquare, the composite of them that Montavon et al. 2019 recommend, and
those that are called epsilon_plus, epsilon_alpha2_beta1 and so on (Bach et al. 2015, PLoS ONE 10(7); the equations are
in viz/lrp.py). The map is the sum over channels. The line gives how much of the score arrives at the pixels: biases
keep some of it. --through shows what single channels of a layer hand on (Achtibat et al. 2023, arXiv:2206.03208).
""",
    "relevance, in units of the score",
    "--rule zplus",
    title="LRP, {rule}",
    numbers=relevance_and_score,
    tail=": {relevance:.4g} of {score:.4g} {arrived}",
).options
choices = (*viz.lrp_shares.COMPOSITES, *viz.lrp_shares.RULES)
options.add_argument(
    "--rule",
    choices=choices,
    default="composite",
    metavar="NAME",
    help=f"how a layer shares relevance out: {', '.join(choices)} (default %(default)s)",
)
options.add_argument("--rules", type=by_layer, metavar="LAYER=RULE,...", help="other rules for single layers")
options.add_argument("--through", type=channels, metavar="LAYER:C,...", help="only what these channels hand on")
options.number("--epsilon", 1e-6, "added to every divisor", of="lrp")
options.number("--gamma", 0.25, "of the gamma rule", of="lrp")
options.number("--alpha", 2.0, "of alpha-beta; beta is alpha - 1", of="lrp")


# ---- class activation maps -------------------------------------------------------------------------------------------


class CAM(Attribution):
    """A map of a layer, for a class."""

    at_layer = True

    def explained(self, job: Job) -> dict[str, Any]:
        return job.explained_classes


class GradCAM(CAM):
    """Grad-CAM, whose one pass gives the top class and its probability too, and the map as small as the layer."""

    def title(self, job: Job) -> str:
        return f"{self.heading}, counterfactual" if job.args.counterfactual else self.heading

    def explain(self, job: Job) -> tuple[dict[str, str], dict[str, np.ndarray]]:
        target = None if job.args.target is None else self.explained(job)["target"]
        chosen = {"layer": job.args.layer, "signed": job.args.signed, "counterfactual": job.args.counterfactual}
        low, maps, job.scores, layer = viz.cam.grad_cam_and_more(job.model, job.image, target, **chosen)
        return {"layer": layer}, {"map": maps, "map_of_layer": low}


options = GradCAM(
    "grad_cam",
    """Grad-CAM: the places of a convolutional layer that speak for a class.

L = ReLU(sum_k a_k A_k), a_k = mean over positions of dy/dA_k, A the layer's activations and y the score before the
softmax (Selvaraju et al. 2017, arXiv:1610.02391).
""",
    "evidence, in units of the score",
    numbers=lambda job, found, heat: {"largest": heat.max(), "probability": job.probabilities[job.wanted.classes[0]]},
).options
options.add_argument("--signed", action="store_true", help="leave out the ReLU: what speaks against is negative")
options.add_argument("--counterfactual", action="store_true", help="show what speaks against the class")

CAM(
    "grad_cam_plus_plus",
    """Grad-CAM++: Grad-CAM with a weight for every place, so that several objects of the class all show.

w_k = sum_ij alpha_kij ReLU(g_kij), g = dy/dA, with alpha by equation 19 of Chattopadhay et al. 2018, arXiv:1710.11063;
L = ReLU(sum_k w_k A_k).
""",
    "evidence",
)

CAM(
    "layer_cam",
    """Layer-CAM: evidence for a class place by place, which also works in early layers.

L = ReLU(sum_k ReLU(dy/dA_k) * A_k) (Jiang et al. 2021, IEEE Transactions on Image Processing 30).
""",
    "evidence, in units of the score",
)

CAM(
    "hires_cam",
    """HiResCAM: what each place of a layer adds to the score of a class, to first order.

L = ReLU(sum_k dy/dA_k * A_k), Grad-CAM without its mean over positions (Draelos and Carin 2020, arXiv:2011.08891).
""",
    "evidence, in units of the score",
).options.add_argument("--signed", action="store_true", help="leave out the ReLU: what speaks against is negative")

CAM(
    "xgrad_cam",
    """XGrad-CAM: Grad-CAM with the mean of the gradient weighted by where a channel is active.

w_k = sum_ij A_kij g_kij / sum_ij A_kij, g = dy/dA; L = ReLU(sum_k w_k A_k) (Fu et al. 2020, arXiv:2008.02312).
""",
    "evidence, in units of the score",
)

CAM(
    "eigen_cam",
    """Eigen-CAM: where a layer is active in its main direction, whatever the class.

The activations projected on their first principal direction (Muhammad and Yeasin 2020, arXiv:2008.00299).
""",
    "activation along the first direction",
)

IMAGES = "masked images at a time"

CAM(
    "score_cam",
    """Score-CAM: a class activation map without gradients. Each channel of the layer masks the photograph once.

L = ReLU(sum_k a_k A_k), a = softmax over k of how much the photograph seen through channel k raises the score over a
black image (Wang et al. 2020, arXiv:1910.01279). Takes as many forward passes as the layer has channels.
""",
    "weighted activation",
).options.number("--batch-size", 32, IMAGES)

CAM(
    "guided_grad_cam",
    """Guided Grad-CAM: the details that speak for a class, where Grad-CAM finds it.

Guided backpropagation times the upsampled Grad-CAM map (Selvaraju et al. 2017, arXiv:1610.02391, section 3.2).
""",
    draw=None,
    numbers=extremes,
)


# ---- covering --------------------------------------------------------------------------------------------------------

options = Attribution(
    "occlusion",
    """Occlusion: how much the score falls when a grey square covers a part of the photograph.

Each pixel gets the mean fall over the squares that cover it (Zeiler and Fergus 2013, arXiv:1311.2901, section 4.2).
""",
    "fall of the {output}",
    "--patch 24",
    numbers=extremes,
).options
options.number("--patch", 16, "side of the square")
options.number("--stride", 8, "from one square to the next")
options.number("--fill", 0.5, "grey level of the square")
options.add_argument(
    "--output", choices=("logit", "probability"), default="logit", help="what falls (default %(default)s, the score)"
)
options.number("--batch-size", 32, "covered images at a time")

options = Attribution(
    "rise",
    """RISE: the mean of random masks, weighted by the probability of the class behind them.

S = 1 / (p n) * sum_i y(x * M_i) M_i over n random masks M_i that keep a share p (Petsiuk et al. 2018, arXiv:1806.07421,
equation 6). The network is only asked, never differentiated. The figure shows the map less its mean, which is that over
the masks, and would drown what differs.
""",
    "mean {output} where the pixel is kept, less its mean {mean:.3g}",
    "--samples 4000",
    draw=lambda found: found - found.mean(),
    numbers=extremes,
).options
options.number("--samples", 2000, "how many masks")
options.number("--cells", 7, "cells of a mask in each direction")
options.number("--keep", 0.5, "share of cells that stay")
options.add_argument(
    "--output", choices=("probability", "logit"), default="probability", help="a mask's weight (default %(default)s)"
)
options.number("--batch-size", 32, IMAGES)
