"""viz: what a convolutional network sees, standing directly on minigrad.

Every technique is a function of a model (a `minigrad.nn.Sequential` of named layers) and images, and returns NumPy
arrays, one result for each image:

    viz.NAME(model, image, target=None, layer=None, unit=None, ...)

image: floats (N,3,H,W) in the model's input space, or one (3,H,W); or a picture, that is a PIL image or uint8 (H,W,3),
    or a list of pictures, which are brought to the model's input size (see `as_images`).

target: a class (index or name), a sequence with one for each image, or None for the top class of each image; for
    attributions also `viz.Contrast("cat", "dog")`, one class's score less another's; or an Objective or a function of
    the network's output, whatever that is (see objective.py).
layer, unit: a layer's name, with a channel or (channel, row, column), to explain in the target's place.
"""

# ruff: noqa: F401
import models as _models  # which says what is not installed

from .arithmetic import arithmetic, uses
from .attack_report import as_saved, distances, report_attack, round_within
from .attacks import fgsm, linear_attack, pgd, targeted_ascent
from .autoattack import apgd, auto_attack
from .bias import bias_table, central_box, mass_inside
from .cam import (
    default_layer,
    eigen_cam,
    grad_cam,
    grad_cam_plus_plus,
    guided_grad_cam,
    hires_cam,
    layer_cam,
    score_cam,
    xgrad_cam,
)
from .checks import (
    completeness,
    insertion_deletion,
    mosaics,
    per_pixel,
    pointing_game,
    positive_share,
    sensitivity,
    sparseness,
)
from .coarse_to_fine import style_coarse_to_fine
from .corruptions import corrupt
from .cue_conflict import cue_conflict, shape_decisions
from .defenses import BitDepth, GaussianBlur, GaussianNoise, Jpeg, defend
from .dream import deep_dream
from .embedding import features, pca, silhouette, tsne
from .fidelity import chance_infidelity, faithfulness_correlation, infidelity, relative_infidelity
from .grabcut import grabcut
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
from .gram import NORMALIZATIONS, content_loss, gram, style_loss
from .inside import activation_maps, strongest_channels, weight_images
from .intervals import Estimate, difference, estimate
from .intervention import channel_effects, switch_off, switched_off
from .inversion import invert
from .linear import linear_classifier, templates, train_linear
from .localization import box_iou, localize, segment
from .lrp import channel_relevance, lrp
from .many import open_store
from .maximize import maximize, maximize_as_blog
from .minimal_attacks import carlini_wagner, deepfool
from .natural_path import NaturalPath, natural_path
from .network import with_average_pooling, without_preprocessing
from .objective import Objective, channel, class_score, energy, log_probability, neuron
from .optimize import Optimized
from .patch_index import PatchIndex, index_patches, load_patches
from .patches import Patches, channel_maxima, live_channels, projections, top_patches
from .perturbation import occlusion, rise
from .randomization import model_randomization, random_logit, smoothed
from .regularize import (
    TV_KINDS,
    alpha_norm,
    clip_small_contribution,
    clip_small_norm,
    gaussian_blur,
    l2,
    total_variation,
)
from .road import road
from .robustness import accuracy, attack_table, defence_table, regroup, robustness_table, transfer_table
from .sparse_attacks import jsma, one_pixel
from .square import square_attack
from .style import default_layers, reconstruct_content, style_transfer, synthesize_texture
from .style_augmentation import stylize
from .target import Contrast, as_images
from .tiles import enlarge, outline_box, outline_mask, tile
from .transform import jitter, robust
from .trusted import Trust, centre_blob, trust
from .universal import apply_perturbation, universal_perturbation
