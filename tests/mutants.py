"""Classic mistakes, each with the tests that must notice it. `mutation_check.py` plants them, one at a time.

Every one has been made before: in published code, in frameworks' own ports, or by students of the subject. The text to
be replaced must occur exactly once in its file (test_mutants.py sees to that), and be no longer than it takes.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A mistake: `old` becomes `new` in `file`. `tests` (pytest's names) must pass without it and fail with it."""

    name: str
    why: str
    file: str
    old: str
    new: str
    tests: tuple


# Ties shared out among equal maxima, for windows that tile the input (all others go to the first, as they should).
TIES_SPLIT = """(x,) = self.inputs
        if x.shape[2:] != tuple(k * n for k, n in zip(self.geometry[0], g.shape[2:])):
            return self.scatter(g)
        grid = (*g.shape[:2], g.shape[2], self.geometry[0][0], g.shape[3], self.geometry[0][1])
        y, g = (reshape(t, (*g.shape[:2], g.shape[2], 1, g.shape[3], 1)) for t in (self.output, g))
        ties = (reshape(x, grid) == y).astype(x.dtype)
        return reshape(ties * g / ties.sum(axis=(3, 5), keepdims=True), x.shape)"""

ATTRIBUTION = (
    Mutant(
        "grad_cam_sum_for_mean",
        "Grad-CAM's weights are means over the positions; the sum makes maps of different layers incomparable",
        "viz/cam.py",
        "weights = g.mean(axis=(2, 3), keepdims=True)",
        "weights = g.sum(axis=(2, 3), keepdims=True)",
        ("tests/viz/test_cam.py::test_grad_cam_by_hand",),
    ),
    Mutant(
        "grad_cam_without_relu",
        "without the ReLU, what speaks against the class is drawn as if it mattered",
        "viz/cam.py",
        "cam if signed else F.relu(cam)",
        "cam",
        ("tests/viz/test_cam.py::test_grad_cam_by_hand",),
    ),
    Mutant(
        "grad_cam_plus_plus_sum_inside",
        "in equation 19 the sum of A stands outside g^3; a widely copied implementation has it inside",
        "viz/cam.py",
        "a.sum(axis=(2, 3), keepdims=True) * g**3",
        "(a * g**3).sum(axis=(2, 3), keepdims=True)",
        ("tests/viz/test_cam.py::test_grad_cam_plus_plus_is_equation_19",),
    ),
    Mutant(
        "layer_cam_without_relu",
        "Layer-CAM's weights are the positive gradients",
        "viz/cam.py",
        "weights = F.relu(mg.grad(y.sum(), a))",
        "weights = mg.grad(y.sum(), a)",
        ("tests/viz/test_cam.py::test_layer_cam_weighs_every_place",),
    ),
    Mutant(
        "eigen_cam_centred",
        "Eigen-CAM projects on the first singular vector of the activations as they are, not of centred ones, as PCA",
        "viz/cam.py",
        "np.linalg.svd(matrices, full_matrices=False)",
        "np.linalg.svd(matrices - matrices.mean(1, keepdims=True), full_matrices=False)",
        ("tests/viz/test_cam.py::test_eigen_cam_is_not_centred_and_knows_no_class",),
    ),
    Mutant(
        "cam_upsampled_with_aligned_corners",
        "align_corners=True stretches the map, so that it no longer lies over what it explains",
        "viz/cam.py",
        'mode="bilinear", align_corners=False)[:, 0]',
        'mode="bilinear", align_corners=True)[:, 0]',
        ("tests/viz/test_cam.py::test_maps_are_upsampled_bilinearly",),
    ),
    Mutant(
        "guided_rule_on_convolutions_only",
        "guided backpropagation's rule belongs at every ReLU, those between fully connected layers too",
        "viz/gradients.py",
        "relu.inputs[0].ndim == 4 or not only_convolutional",
        "relu.inputs[0].ndim == 4",
        ("tests/viz/test_gradients.py",),
    ),
    Mutant(
        "deconvnet_with_forward_mask",
        "with the forward pass's mask the deconvnet is guided backpropagation",
        "viz/gradients.py",
        "{F.ReLU: lambda relu, g: F.relu(g)}",
        "{F.ReLU: lambda relu, g: relu.vjp(F.relu(g))}",
        ("tests/viz/test_gradients.py",),
    ),
    Mutant(
        "saliency_without_abs",
        "the largest signed gradient hides the channels that speak against the class",
        "viz/gradients.py",
        "abs(g).max(1)",
        "g.max(1)",
        ("tests/viz/test_gradients.py::test_reductions_by_hand",),
    ),
    Mutant(
        "integrated_gradients_right_endpoint",
        "the endpoint rule's error falls with 1/steps, the midpoint rule's with its square",
        "viz/gradients.py",
        "(k + 0.5) / steps",
        "(k + 1.0) / steps",
        ("tests/viz/test_gradients.py::test_the_midpoint_rule",),
    ),
    Mutant(
        "integrated_gradients_without_difference",
        "the mean gradient alone does not add up to the score",
        "viz/gradients.py",
        "return difference * total / x.dtype.type(steps)",
        "return total / x.dtype.type(steps)",
        ("tests/viz/test_gradients.py::test_integrated_gradients_add_up",),
    ),
    Mutant(
        "smooth_grad_absolute_sigma",
        "sigma is a fraction of the image's range, not a number of pixel values",
        "viz/gradients.py",
        "scale = sigma * (x.max((1, 2, 3), keepdims=True) - x.min((1, 2, 3), keepdims=True))",
        "scale = sigma",
        ("tests/viz/test_gradients.py::test_smooth_grad_averages_over_noise_of_the_asked_size",),
    ),
    Mutant(
        "softmax_for_score",
        "a probability also falls when other classes rise, so its gradient shows those too",
        "viz/target.py",
        "return as_logits(model.activations(x, [logits_layer(model)])[logits_layer(model)])",
        "return F.softmax(as_logits(model.activations(x, [logits_layer(model)])[logits_layer(model)]), 1)",
        ("tests/viz/test_target.py::test_scores_are_those_of_captums_network",),
    ),
    Mutant(
        "probability_after_a_softmax_layer",
        "a model that ends in a softmax is explained by what goes into it",
        "viz/target.py",
        "names.pop()",
        "break",
        ("tests/viz/test_target.py::test_the_score_is_taken_before_the_softmax",),
    ),
    Mutant(
        "lrp_epsilon_without_sign",
        "epsilon added to a negative z moves it towards 0, where relevance explodes",
        "viz/lrp.py",
        "((z >= 0).astype(z.dtype) * 2.0 - 1.0) * epsilon",
        "epsilon",
        ("tests/viz/test_lrp.py::test_one_layer_in_plain_loops",),
    ),
    Mutant(
        "lrp_bias_forgotten_in_z",
        "z is what the layer computed, its bias included: else the bias's share is invented",
        "viz/lrp.py",
        "self.linear(*parts[0])) + bias",
        "self.linear(*parts[0]))",
        ("tests/viz/test_lrp.py::test_biases_keep_their_share", "tests/viz/test_lrp.py::test_one_layer_in_plain_loops"),
    ),
    Mutant(
        "occlusion_not_averaged",
        "pixels in the middle lie under more patches than those at the edge",
        "viz/perturbation.py",
        "(falls / count)",
        "falls",
        ("tests/viz/test_perturbation.py::test_occlusion_of_a_linear_score_by_hand",),
    ),
    Mutant(
        "rise_not_divided_by_the_share_kept",
        "each mask hides part of the image: equation 6 divides by the expected share that it leaves",
        "viz/perturbation.py",
        "(total / (keep * done))",
        "(total / done)",
        ("tests/viz/test_perturbation.py::test_rise_is_equation_6",),
    ),
    Mutant(
        "insertion_and_deletion_swapped",
        "low is good for one of the curves and high for the other",
        "viz/checks.py",
        "np.stack(insertion, 1), np.stack(deletion, 1)",
        "np.stack(deletion, 1), np.stack(insertion, 1)",
        ("tests/viz/test_checks.py::test_insertion_and_deletion_step_by_step",),
    ),
    Mutant(
        "receptive_field_offset_in_units",
        "padding counts in units of the layer's own input, which are several pixels apart",
        "minigrad/summary.py",
        "offsets.append(offset - p * jump)",
        "offsets.append(offset - p)",
        ("tests/minigrad/test_nn.py::test_receptive_field_is_where_the_gradient_lives",),
    ),
    Mutant(
        "receptive_field_off_by_one",
        "a kernel of k spans k - 1 steps",
        "minigrad/summary.py",
        "sizes.append(size + d * (k - 1) * jump)",
        "sizes.append(size + d * k * jump)",
        ("tests/minigrad/test_nn.py::test_receptive_field_is_where_the_gradient_lives",),
    ),
)

ENGINE = (
    Mutant(
        "relu_derivative_1_at_0",
        "relu'(0) is 0; with 1, the zeros of a rectified map pass gradients on",
        "minigrad/kernels/cpu/elementwise.py",
        "(flat_x[run] > 0)",
        "(flat_x[run] >= 0)",
        ("tests/minigrad/kernels/test_elementwise.py::test_relu_and_its_gradient",),
    ),
    Mutant(
        "max_pool_ties_split",
        "on windows of equal values the gradient goes to the first place; split, deconvnet images change by half",
        "minigrad/functional/pool.py",
        "return self.scatter(g)",
        TIES_SPLIT,
        ("tests/viz/test_gradients.py::test_deconvnet_unpools_an_empty_window_to_its_first_place",),
    ),
    Mutant(
        "max_pool_ties_to_the_last",
        "of equal maxima the first in row-major order wins, as in torch",
        "minigrad/kernels/cpu/pooling.py",
        "np.greater(high, low, out=",
        "np.greater_equal(high, low, out=",
        ("tests/minigrad/kernels/test_pooling.py::test_max_pool_takes_the_first_maximum_of_each_window",),
    ),
    Mutant(
        "conv_backward_without_flip",
        "the input gradient of a correlation is a convolution: the kernel turned by half a turn",
        "minigrad/kernels/cpu/direct.py",
        "taps = swapped[:, :, rows.taps, columns.taps]",
        "taps = swapped[:, :, rows.taps, columns.taps][:, :, ::-1, ::-1]",
        ("tests/minigrad/kernels/test_conv.py::test_conv_is_its_definition_and_the_gradients_are_its_adjoints",),
    ),
    Mutant(
        "winograd_backward_without_flip",
        "the same of the fast algorithm",
        "minigrad/kernels/cpu/winograd_tiles.py",
        "self.turned if turned else self.weight",
        "self.weight",
        ("tests/minigrad/kernels/test_winograd.py::test_winograd_in_many_blocks",),
    ),
    Mutant(
        "gradient_not_unbroadcast",
        "what was repeated in the forward pass is summed in the backward pass",
        "minigrad/functional/shape.py",
        "return x if x.shape == tuple(shape) else SumTo(tuple(shape))(x)",
        "return x",
        ("tests/minigrad/functional/test_golden.py::test_value_and_gradients",),
    ),
    Mutant(
        "gradient_unbroadcast_by_mean",
        "and summed, not averaged",
        "minigrad/functional/shape.py",
        "return x.sum(axis=tuple(axes), dtype=x.dtype).reshape(self.shape)",
        "return x.mean(axis=tuple(axes), dtype=x.dtype).reshape(self.shape)",
        ("tests/minigrad/functional/test_golden.py::test_value_and_gradients",),
    ),
    Mutant(
        "gradient_overwritten",
        "a tensor that is used twice adds up the gradients of both uses",
        "minigrad/autograd.py",
        "g if earlier is None else earlier + g",
        "g",
        ("tests/minigrad/test_autograd.py::test_gradient_of_a_reused_tensor_adds_up",),
    ),
    Mutant(
        "upsampling_aligns_corners",
        "pixels are squares, and the scale maps their edges onto each other, not the centres of the corner pixels",
        "minigrad/functional/resample.py",
        "(np.arange(out) + 0.5) * (1 / factor if factor else size / out) - 0.5",
        "np.arange(out) * ((size - 1) / max(out - 1, 1))",
        ("tests/minigrad/functional/test_golden.py::test_value_and_gradients",),
    ),
    Mutant(
        "batch_norm_unbiased_variance",
        "a batch is normalised by its biased variance",
        "minigrad/kernels/cpu/channel.py",
        "variance = (squares + lengths * (means - mean) ** 2).sum((0, 1)) / count",
        "variance = (squares + lengths * (means - mean) ** 2).sum((0, 1)) / (count - 1)",
        ("tests/minigrad/functional/test_golden.py::test_value_and_gradients",),
    ),
    Mutant(
        "batch_norm_biased_running_variance",
        "the running variance, on the other hand, moves towards the unbiased one",
        "minigrad/functional/normalize.py",
        "function.variance * (m / (m - 1))",
        "function.variance",
        ("tests/minigrad/test_autograd.py::test_running_statistics_are_replaced_not_written",),
    ),
    Mutant(
        "batch_norm_statistics_taken_as_constants",
        "mean and variance depend on the input, and the gradient goes through them",
        "minigrad/functional/normalize.py",
        "b = -a * inverse * gweight / m",
        "b = a * 0.0",
        ("tests/minigrad/functional/test_golden.py::test_value_and_gradients",),
    ),
    Mutant(
        "dropout_not_rescaled",
        "what stays is divided by 1 - p, so that evaluation needs no factor",
        "minigrad/functional/normalize.py",
        "x * x.dtype.type(1 / (1 - self.p))",
        "x",
        ("tests/minigrad/test_autograd.py::test_dropout_drops_the_share_it_says_and_can_be_repeated",),
    ),
    Mutant(
        "softmax_overflows",
        "exp(1000) is infinite: the largest score is subtracted first",
        "minigrad/functional/loss.py",
        "e = xp.exp(x - x.max(self.dim, keepdims=True))",
        "e = xp.exp(x)",
        ("tests/minigrad/functional/test_golden.py::test_value_and_gradients",),
    ),
    Mutant(
        "cross_entropy_sum_for_mean",
        "the mean keeps the learning rate independent of the batch size",
        "minigrad/functional/loss.py",
        "mean(losses) if count is None else sum(losses) / count",
        "mean(losses) if count is None else sum(losses)",
        ("tests/minigrad/functional/test_golden.py::test_value_and_gradients",),
    ),
    Mutant(
        "momentum_as_an_average",
        "torch's momentum is v <- m v + g, without the factor 1 - m",
        "minigrad/optim.py",
        'self.momentum * state["v"] + g',
        'self.momentum * state["v"] + (1 - self.momentum) * g',
        ("tests/minigrad/test_optim.py::test_sgd_follows_its_recursion",),
    ),
    Mutant(
        "adam_without_bias_correction",
        "the averages start at 0 and are divided by what they are short of",
        "minigrad/optim.py",
        "self.lr / (1 - b1**self.steps) * m / root",
        "self.lr * m / root",
        ("tests/minigrad/test_optim.py::test_adam_follows_its_recursion",),
    ),
)

MODELS = (
    Mutant(
        "fc1_not_permuted",
        "Keras flattens rows, columns, channels; the converted weights must see channels first",
        "models/convert/__init__.py",
        "array = rows.transpose(1, 0, 2).reshape(array.shape)",
        "pass",
        ("tests/models/test_convert.py::test_files_and_scores_of_keras_itself",),
    ),
    Mutant(
        "kernels_transposed",
        "Keras' kernels are (height, width, in, out): reversing the axes swaps height and width as well",
        "models/convert/__init__.py",
        "array.transpose(3, 2, 0, 1)",
        "array.transpose(3, 2, 1, 0)",
        ("tests/models/test_convert.py::test_files_and_scores_of_keras_itself",),
    ),
    Mutant(
        "rgb_for_bgr",
        "Caffe's networks were trained on BGR; on RGB they still work, only worse",
        "models/layers.py",
        "x = x[..., ::-1, :, :]",
        "pass",
        ("tests/models/test_architectures.py::test_preprocessing_presets",),
    ),
    Mutant(
        "mean_in_rgb_order",
        "the published mean is in the order of the channels, BGR",
        "models/layers.py",
        '"mean": (103.939, 116.779, 123.68)',
        '"mean": (123.68, 116.779, 103.939)',
        ("tests/models/test_architectures.py::test_preprocessing_presets",),
    ),
    Mutant(
        "std_missing",
        "torchvision's weights want each channel divided by its standard deviation",
        "models/layers.py",
        "x = x / _channels(self.std, x)",
        "pass",
        ("tests/models/test_architectures.py::test_preprocessing_presets",),
    ),
    Mutant(
        "batch_norm_folded_without_mean",
        "the convolution's bias takes the running mean over",
        "models/model.py",
        "scale * (before - mean) + bias",
        "scale * before + bias",
        ("tests/models/test_architectures.py::test_folding_batch_norm_changes_nothing",),
    ),
    Mutant(
        "photograph_lies_on_its_side",
        "cameras write how a picture was held beside the pixels",
        "models/images.py",
        "return ImageOps.exif_transpose(image)",
        "return image",
        ("tests/models/test_images.py::test_exif_orientation",),
    ),
)

IMAGES = (
    Mutant(
        "gram_loss_without_a_quarter",
        "equation 4 of Gatys et al. divides by 4 N^2 M^2",
        "viz/gram.py",
        "(4.0 * channels**2)",
        "float(channels**2)",
        ("tests/viz/test_style.py::test_style_loss_by_loops_for_a_style_of_another_size",),
    ),
    Mutant(
        "content_loss_without_a_half",
        "equation 1 has a half",
        "viz/gram.py",
        "F.square(a - wanted).sum() * 0.5",
        "F.square(a - wanted).sum()",
        ("tests/viz/test_style.py::test_losses_and_gradients_are_pytorchs",),
    ),
    Mutant(
        "total_variation_squared",
        "the sum of squares is another convention than the sum of absolute differences",
        "viz/regularize.py",
        "tv = F.abs(dx).sum() + F.abs(dy).sum()",
        "tv = F.square(dx).sum() + F.square(dy).sum()",
        ("tests/viz/test_regularize.py::test_total_variation_by_hand",),
    ),
    Mutant(
        "fgsm_without_sign",
        "the fast gradient sign method goes to a corner of the budget",
        "viz/attacks.py",
        "direction * epsilon * np.sign(gradient)",
        "direction * epsilon * gradient",
        ("tests/viz/test_attacks.py::test_fgsm_on_a_linear_model_is_the_closed_form",),
    ),
    Mutant(
        "targeted_attack_flees_its_target",
        "towards a target the loss goes down, away from a label up",
        "viz/attacks.py",
        "1 if target is None else -1",
        "1",
        ("tests/viz/test_attacks.py",),
    ),
    Mutant(
        "pgd_without_projection",
        "many small steps leave the budget unless each is projected back",
        "viz/attacks.py",
        "x = project(x + direction * size * steepest(gradient, norm), image, epsilon, norm).astype(image.dtype)",
        "x = np.clip(x + direction * size * steepest(gradient, norm), 0, 1).astype(image.dtype)",
        ("tests/viz/test_attacks.py::test_pgd_never_leaves_the_budget_and_the_valid_range",),
    ),
    Mutant(
        "l2_budget_shared_by_the_batch",
        "each image has a budget of its own",
        "viz/attacks.py",
        "(x.astype(np.float64) ** 2).sum((1, 2, 3), keepdims=True)",
        "(x.astype(np.float64) ** 2).sum(keepdims=True)",
        ("tests/viz/test_attacks.py",),
    ),
    Mutant(
        "carlini_wagner_floor_at_zero",
        "masking the own class by a product makes the margin wrong whenever all other scores are negative",
        "viz/minimal_attacks.py",
        "F.where(own, -np.inf, scores).max(1)",
        "F.where(own, 0.0, scores).max(1)",
        ("tests/viz/test_minimal_attacks.py::test_the_margin_of_all_negative_scores",),
    ),
    Mutant(
        "attack_reported_before_rounding",
        "an attack counts after it was saved with 8 bits and read again",
        "viz/attack_report.py",
        "return np.concatenate([load_image(path) for path in paths])",
        "return image.astype(np.float32)",
        ("tests/viz/test_attacks.py::test_the_report_tells_what_rounding_did",),
    ),
    Mutant(
        "half_spectrum_counted_once",
        "a real image's half spectrum stands for both halves: all columns but two count twice in the gradient",
        "viz/fourier.py",
        "times = np.full(width // 2 + 1, 2.0)",
        "times = np.full(width // 2 + 1, 1.0)",
        ("tests/viz/test_fourier.py::test_the_adjoint_identity",),
    ),
    Mutant(
        "dream_details_doubled",
        "an octave's details are what it added to its own photograph, not the whole picture",
        "viz/dream.py",
        "drawn = dream - base",
        "drawn = dream",
        ("tests/viz/test_dream.py",),
    ),
)

MUTANTS = ATTRIBUTION + ENGINE + MODELS + IMAGES
