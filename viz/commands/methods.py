"""The attribution methods by name, for techniques that measure many of them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import viz
from minigrad.nn import Module
from models.mistakes import UserError, users_mistake

from .options import chosen


@dataclass(frozen=True)
class Method:
    """An attribution method, and how its attributions become one number for each pixel (see viz.per_pixel)."""

    function: object
    how: str
    options: dict = field(default_factory=dict)

    def __call__(
        self, model: Module, image: np.ndarray, target: Any, callback: Callable[..., Any] | None = None
    ) -> np.ndarray:
        """callback: as of the functions that take many steps; the others have none."""
        takes = "callback" in inspect.signature(self.function).parameters
        return self.function(model, image, target, **self.options, **({"callback": callback} if takes else {}))

    def map(self, model: Module, image: np.ndarray, target: Any) -> np.ndarray:
        """(N,H,W): one number for each pixel."""
        return viz.per_pixel(self(model, image, target), self.how)


def random_map(model: Module, image: np.ndarray, target: Any) -> np.ndarray:
    """Uniform noise, the same for every image: the worst that a method can do honestly."""
    n, _, h, w = image.shape
    return np.broadcast_to(np.random.default_rng(0).random((1, h, w)), (n, h, w))


def centre_map(model: Module, image: np.ndarray, target: Any) -> np.ndarray:
    """A bump at the centre, whatever the image: photographers put their subject there."""
    n, _, h, w = image.shape
    return np.broadcast_to(viz.centre_blob(h, w), (n, h, w))


# Gradients say how much a pixel matters, their sign is that of its colour; the others are signed evidence.
METHODS = {
    "saliency": Method(viz.saliency, "magnitude"),
    "smooth_grad": Method(viz.smooth_grad, "magnitude", {"samples": 25}),
    "deconvnet": Method(viz.deconvnet, "magnitude"),
    "guided_backprop": Method(viz.guided_backprop, "magnitude"),
    "input_x_gradient": Method(viz.input_x_gradient, "signed"),
    "integrated_gradients": Method(viz.integrated_gradients, "signed", {"steps": 25}),
    "lrp": Method(viz.lrp, "signed"),
    "lrp_epsilon": Method(viz.lrp, "signed", {"rule": "epsilon"}),
    "lrp_zplus": Method(viz.lrp, "signed", {"rule": "zplus"}),
    "lrp_alphabeta": Method(viz.lrp, "signed", {"rule": "alphabeta"}),
    "grad_cam": Method(viz.grad_cam, "signed"),
    "grad_cam_plus_plus": Method(viz.grad_cam_plus_plus, "signed"),
    "layer_cam": Method(viz.layer_cam, "signed"),
    "hires_cam": Method(viz.hires_cam, "signed"),
    "xgrad_cam": Method(viz.xgrad_cam, "signed"),
    "eigen_cam": Method(viz.eigen_cam, "signed"),
    "guided_grad_cam": Method(viz.guided_grad_cam, "magnitude"),
    "score_cam": Method(viz.score_cam, "signed"),
    "occlusion": Method(viz.occlusion, "signed"),
    "rise": Method(viz.rise, "signed", {"samples": 100}),  # masks: the paper takes thousands
    "random": Method(random_map, "signed"),
    "centre": Method(centre_map, "signed"),
}
SLOW = ("score_cam", "occlusion", "rise")  # hundreds of forward passes for an image
CAMS = ("grad_cam", "grad_cam_plus_plus", "layer_cam", "hires_cam", "xgrad_cam", "score_cam", "eigen_cam")
COARSE = (*CAMS, "occlusion", "rise")  # maps that lie over the photograph


def or_refusal(call: Callable[[], Any]) -> Any:
    """What call() gives; or the sentence by which the method refuses this network, for a table or a figure to show."""
    try:
        return call()
    except (NotImplementedError, ValueError, RuntimeError) as error:
        sentence = users_mistake(error)
        if sentence is None:
            raise
        return sentence


def refusals(found: Mapping[str, Any]) -> dict[str, str]:
    """{method: sentence} of the methods of `found` that refused; UserError where all of them did."""
    refused = {name: one for name, one in found.items() if isinstance(one, str)}
    if refused and len(refused) == len(found):
        raise UserError(next(iter(refused.values())))
    return refused


def chosen_methods(text: str) -> dict[str, Method]:
    """{name: Method} of "a,b,c"."""
    return {name: METHODS[name] for name in chosen(text, METHODS)}
