"""viz: what a convolutional network sees, standing directly on minigrad.

Every technique is a function of a model (a `minigrad.nn.Sequential` of named layers) and images (N,3,H,W) in the
model's input space, and returns NumPy arrays, one result for each image:

    viz.NAME(model, image, target=None, layer=None, unit=None, ...)

target: a class (index or name), a sequence with one for each image, or None for the top class of each image.
layer, unit: a layer's name, with a channel or (channel, row, column), to explain in the class's place.
"""

# ruff: noqa: F401
from .cam import default_layer, eigen_cam, grad_cam, grad_cam_plus_plus, guided_grad_cam, layer_cam, score_cam
from .gradients import (
    deconvnet,
    gradient,
    guided_backprop,
    input_x_gradient,
    integrated_gradients,
    loss_gradient,
    saliency,
    smooth_grad,
)
from .lrp import lrp
from .perturbation import occlusion, rise
