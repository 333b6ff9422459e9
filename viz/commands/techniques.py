"""Every technique in a line: what it shows, and its command; family by family, as in the guide."""

from dataclasses import dataclass
from pathlib import Path

import viz

PAGES = Path(__file__).parents[2] / "docs" / "techniques"  # of the guide, where this is a clone


@dataclass(frozen=True)
class Technique:
    """name: of the function in `viz`, or of a command that is no function. what: one line. command: as typed after
    `python -m viz`, with its options, or None. page: its family's, in docs/techniques, or None."""

    name: str
    what: str
    command: str | None
    page: str | None


# (family, page): ((name, what, command unless it is the name), ...)
FAMILIES: dict[tuple, tuple] = {
    ("to begin with", None): (
        ("classify", "the classes of highest probability"),
        ("compare", "attributions side by side, for several classes"),
        ("gallery", "one page with everything there is to see of a photograph"),
        ("over", "any of them over thousands of photographs, into a store that goes on after a kill"),
        ("explore", "a page that answers: any photograph, method, layer, channel and place"),
    ),
    ("attribution by gradients", "gradients.md"): (
        ("saliency", "which pixels the score reacts to: the size of its gradient"),
        ("deconvnet", "what of the picture feeds a score, through ReLUs that pass positive evidence"),
        ("guided_backprop", "the details that speak for a score, through ReLUs that were open"),
        ("input_x_gradient", "what each pixel adds to the score, to first order"),
        ("integrated_gradients", "the score's rise from a baseline, shared out among the pixels"),
        ("smooth_grad", "the gradient averaged over noisy copies of the picture"),
    ),
    ("class activation maps", "cam.md"): (
        ("grad_cam", "which places of a layer speak for the class"),
        ("guided_grad_cam", "guided backpropagation where Grad-CAM finds the class"),
        ("grad_cam_plus_plus", "Grad-CAM weighted so that several objects of a class all count"),
        ("layer_cam", "Grad-CAM with a weight for every place, so that early layers can be mapped"),
        ("hires_cam", "Grad-CAM without its mean: what each place adds to the score"),
        ("xgrad_cam", "Grad-CAM with gradients weighted by where a channel is active"),
        ("score_cam", "channels weighted by the score behind each as a mask, without gradients"),
        ("eigen_cam", "what dominates a layer, whatever the class"),
    ),
    ("relevance propagation", "lrp.md"): (
        ("lrp", "the score handed back layer by layer until it lies on the pixels"),
        ("channel_relevance", "how much of the score's relevance each channel of a layer holds", "switch_off"),
    ),
    ("perturbation", "perturbation.md"): (
        ("occlusion", "how far the score falls when a square covers a place"),
        ("rise", "the mean of random masks, weighted by what is scored behind them"),
    ),
    ("checks of attributions", "checks.md"): (
        ("model_randomization", "does the map depend on what the network has learned?", "sanity_check"),
        ("trust", "what can be said against this one map of this photograph?"),
        ("completeness", "do the attributions add up to the score that they explain?", "integrated_gradients"),
        (
            "insertion_deletion",
            "does the score follow when pixels come and go in the map's order?",
            "evaluate_attribution",
        ),
        ("pointing_game", "does the map's maximum fall on the object?", "evaluate_attribution"),
        ("positive_share", "how much of the positive attribution falls on the object?", "evaluate_attribution"),
        ("infidelity", "does the attribution predict how the score changes under noise?", "evaluate_attribution"),
        ("sensitivity", "does the map stay the same where the picture hardly changes?", None),
        ("road", "does the score follow where pixels become what their neighbours say?", None),
        ("faithfulness_correlation", "do sums of the map predict what the loss of sets of pixels does?", None),
        ("random_logit", "does the map depend on the class?", None),
        ("smoothed", "a method averaged over noise, for the smooth randomisation test", None),
        ("sparseness", "does the map lie on few pixels?", None),
    ),
    ("ground truth", "ground_truth.md"): (
        ("ground_truth", "methods beside what is known to matter: what each can be trusted for"),
    ),
    ("looking inside", "inside.md"): (
        ("weight_images", "a layer's weights as pictures", "weights"),
        ("templates", "what a linear classifier looks for, a picture for each class"),
        ("activation_maps", "what the channels of a layer say of a picture", "activations"),
        ("pca", "where a layer puts pictures: its two main axes", "embedding"),
        ("tsne", "where a layer puts pictures: which are neighbours", "embedding --method tsne"),
        ("silhouette", "how far the classes lie apart in a layer, as a number", "embedding"),
        ("switch_off", "what a channel is worth: the score without it"),
        ("switched_off", "the network without some channels, for everything else here", "switch_off"),
        ("channel_effects", "the score without each channel of a layer in turn", "switch_off"),
        ("index_patches", "the same for every channel of a network, kept in a file for explore", "patch_index"),
        ("top_patches", "the patches of photographs that a channel responds to most"),
        ("projections", "what in these patches it responds to", "zeiler_fergus"),
        ("localize", "a region and a box from an attribution map"),
        ("segment", "an object's outline, by GrabCut from the seeds of a saliency map", "localize"),
        ("bias_table", "does the network look at the object or at its surroundings?", "bias"),
    ),
    ("optimised images", "optimised_images.md"): (
        ("maximize", "the picture that a class, a channel or a neuron likes best"),
        ("maximize_as_blog", "the same without preprocessing, clipping and regularisers", "maximize --preset blog"),
        ("total_variation", "the penalty against noise, in five conventions", "maximize --tv-weight 0.001"),
        ("robust", "transforms that a picture must withstand: shifts, scales, turns", "maximize --robust"),
        ("natural_path", "does it drive the network as photographs do, layer by layer?", None),
        ("deep_dream", "a photograph in which a layer sees more of what it sees", "dream"),
        ("invert", "what a layer still knows of a photograph"),
    ),
    ("attacks", "attacks.md"): (
        ("fgsm", "one step along the sign of the gradient", "attack --method fgsm"),
        ("pgd", "many small steps within a budget", "attack --method pgd"),
        ("apgd", "the same with momentum and steps that halve by themselves", "attack --method apgd"),
        ("square_attack", "random squares, without a gradient", "attack --method square"),
        ("auto_attack", "APGD on two losses and Square, one after the other", "attack --method auto"),
        ("targeted_ascent", "up another class's score until the network is sure", "attack --method ascent"),
        ("deepfool", "the shortest way over a border of the class", "attack --method deepfool"),
        ("carlini_wagner", "the smallest change that fools, by optimisation", "attack --method cw"),
        ("one_pixel", "a single pixel, found by evolution", "attack --method one_pixel"),
        ("jsma", "few values, each changed all the way", "attack --method jsma"),
        ("universal_perturbation", "one perturbation for all pictures", "universal"),
        ("linear_attack", "why many small changes add up: a linear classifier", "linear_demo"),
        ("report_attack", "what is left of an attack after it was saved as a picture", "attack"),
    ),
    ("defences and robustness", "robustness.md"): (
        ("defend", "a network with noise, blur, JPEG or fewer bits before it", "robustness"),
        ("attack_table", "how often attacks succeed, and how far they had to go", "robustness"),
        ("defence_table", "what defences are worth against an attack that knows them", "robustness"),
        ("transfer_table", "whether what fools one network fools another", "robustness"),
        ("robustness_table", "networks side by side under attacks, noises and corruptions", "robustness"),
        ("corrupt", "noise, blur, contrast and compression of five severities", "robustness"),
        ("cue_conflict", "photographs of one class in the texture of another"),
        ("shape_decisions", "whether shape or texture decides", "cue_conflict"),
    ),
    ("style", "style.md"): (
        ("style_transfer", "the content of one picture in the style of another"),
        ("reconstruct_content", "what of a picture a layer keeps: the content half alone"),
        ("synthesize_texture", "a new picture with the texture of another: the style half alone", "texture"),
        ("stylize", "many photographs in styles of their own, to train with", None),
    ),
}

OWN_PAGE = {"trust": "trust.md"}  # where it is not the family's

TECHNIQUES = {
    name: Technique(name, what, command[0] if command else name, OWN_PAGE.get(name, page))
    for (_, page), rows in FAMILIES.items()
    for name, what, *command in rows
}

# What may be typed after `python -m viz`, and the command with its options that it stands for.
COMMANDS = {technique.name: technique.command.split() for technique in TECHNIQUES.values() if technique.command}
COMMANDS |= {name: [name] for name, *_ in COMMANDS.values()}


def listing() -> str:
    """Every technique in a line, family by family, with its command where that has another name."""
    lines = []
    for (family, page), rows in FAMILIES.items():
        lines += ["", family + (f" (docs/techniques/{page})" if page and (PAGES / page).is_file() else "")]
        for technique in (TECHNIQUES[row[0]] for row in rows):
            how = technique.command or "in Python only"
            lines.append(f"  {technique.name:25}{technique.what}" + (f" [{how}]" if how != technique.name else ""))
    return "\n".join(lines[1:])


def reference(command: str) -> str:
    """What --help of a command says at its end: its functions in viz and its page of the guide, if it has some."""
    known = [TECHNIQUES[name] for name, words in COMMANDS.items() if words[0] == command and name in TECHNIQUES]
    known = [technique for technique in known if technique.page]
    if not known:
        return ""
    functions = ", ".join(f"viz.{one.name}" for one in known if callable(getattr(viz, one.name, None)))
    lines = [f"In Python: {functions}"] if functions else []
    lines += [f"Guide: docs/techniques/{known[0].page}"] if (PAGES / known[0].page).is_file() else []
    return "\n".join(lines)
