"""Every technique in a line: what it shows, its command, the paper; family by family, as in the guide."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Technique:
    """name: of the function in `viz`, or of a command that is no function. what: one line. command: as typed after
    `python -m viz`, with its options, or None. paper: authors, year and where, or None. family, page: its family's name
    and page in docs/techniques, or None."""

    name: str
    what: str
    command: str | None
    paper: str | None
    family: str
    page: str | None


SIMONYAN = "Simonyan et al. 2013, arXiv:1312.6034"
ZEILER = "Zeiler and Fergus 2013, arXiv:1311.2901"
ADEBAYO = "Adebayo et al. 2018, arXiv:1810.03292"
PETSIUK = "Petsiuk et al. 2018, arXiv:1806.07421"
BOEHLE = "Boehle et al. 2021, arXiv:2104.00032"
YEH = "Yeh et al. 2019, arXiv:1901.09392"
SELVARAJU = "Selvaraju et al. 2017, arXiv:1610.02391"
GOODFELLOW = "Goodfellow, Shlens and Szegedy 2015, arXiv:1412.6572"
MAHENDRAN = "Mahendran and Vedaldi 2015, arXiv:1412.0035"
OLAH = "Olah et al. 2017, Distill"
ATHALYE = "Athalye, Carlini and Wagner 2018, arXiv:1802.00420"
HENDRYCKS = "Hendrycks and Dietterich 2019, arXiv:1903.12261"
GEIRHOS = "Geirhos et al. 2019, arXiv:1811.12231"
GATYS = "Gatys et al. 2016, CVPR"

# Each family: (name, page, ((name, what, command, paper), ...)).
FAMILIES = (
    (
        "to begin with",
        None,
        (
            ("classify", "the classes of highest probability", "classify", None),
            ("compare", "attributions side by side, for several classes", "compare", None),
            ("gallery", "one page with everything there is to see of a photograph", "gallery", None),
        ),
    ),
    (
        "attribution by gradients",
        "gradients.md",
        (
            ("saliency", "which pixels the score reacts to: the size of its gradient", "saliency", SIMONYAN),
            (
                "deconvnet",
                "what of the picture feeds a score, through ReLUs that pass positive evidence",
                "deconvnet",
                ZEILER,
            ),
            (
                "guided_backprop",
                "the details that speak for a score, through ReLUs that were open",
                "guided_backprop",
                "Springenberg et al. 2014, arXiv:1412.6806",
            ),
            (
                "input_x_gradient",
                "what each pixel adds to the score, to first order",
                "input_x_gradient",
                "Shrikumar et al. 2016, arXiv:1605.01713",
            ),
            (
                "integrated_gradients",
                "the score's rise from a baseline, shared out among the pixels",
                "integrated_gradients",
                "Sundararajan et al. 2017, arXiv:1703.01365",
            ),
            (
                "smooth_grad",
                "the gradient averaged over noisy copies of the picture",
                "smooth_grad",
                "Smilkov et al. 2017, arXiv:1706.03825",
            ),
        ),
    ),
    (
        "class activation maps",
        "cam.md",
        (
            ("grad_cam", "which places of a layer speak for the class", "grad_cam", SELVARAJU),
            ("guided_grad_cam", "guided backpropagation where Grad-CAM finds the class", "guided_grad_cam", SELVARAJU),
            (
                "grad_cam_plus_plus",
                "Grad-CAM weighted so that several objects of a class all count",
                "grad_cam_plus_plus",
                "Chattopadhay et al. 2018, arXiv:1710.11063",
            ),
            (
                "layer_cam",
                "Grad-CAM with a weight for every place, so that early layers can be mapped",
                "layer_cam",
                "Jiang et al. 2021, IEEE TIP",
            ),
            (
                "score_cam",
                "channels weighted by the score behind each as a mask, without gradients",
                "score_cam",
                "Wang et al. 2020, arXiv:1910.01279",
            ),
            (
                "eigen_cam",
                "what dominates a layer, whatever the class",
                "eigen_cam",
                "Muhammad and Yeasin 2020, arXiv:2008.00299",
            ),
        ),
    ),
    (
        "relevance propagation",
        "lrp.md",
        (
            (
                "lrp",
                "the score handed back layer by layer until it lies on the pixels",
                "lrp",
                "Bach et al. 2015, PLoS ONE 10(7); Montavon et al. 2019",
            ),
        ),
    ),
    (
        "perturbation",
        "perturbation.md",
        (
            ("occlusion", "how far the score falls when a square covers a place", "occlusion", ZEILER),
            ("rise", "the mean of random masks, weighted by what is scored behind them", "rise", PETSIUK),
        ),
    ),
    (
        "checks of attributions",
        "checks.md",
        (
            ("model_randomization", "does the map depend on what the network has learned?", "sanity_check", ADEBAYO),
            (
                "completeness",
                "do the attributions add up to the score that they explain?",
                "integrated_gradients",
                "Sundararajan et al. 2017, arXiv:1703.01365",
            ),
            (
                "insertion_deletion",
                "does the score follow when pixels come and go in the map's order?",
                "evaluate_attribution",
                PETSIUK,
            ),
            (
                "pointing_game",
                "does the map's maximum fall on the object?",
                "evaluate_attribution",
                "Zhang et al. 2016, arXiv:1608.00507",
            ),
            (
                "positive_share",
                "how much of the positive attribution falls on the object?",
                "evaluate_attribution",
                BOEHLE,
            ),
            (
                "infidelity",
                "does the attribution predict how the score changes under noise?",
                "evaluate_attribution",
                YEH,
            ),
            ("sensitivity", "does the map stay the same where the picture hardly changes?", None, YEH),
        ),
    ),
    (
        "looking inside",
        "inside.md",
        (
            ("weight_images", "a layer's weights as pictures", "weights", None),
            ("templates", "what a linear classifier looks for, a picture for each class", "templates", None),
            ("activation_maps", "what the channels of a layer say of a picture", "activations", None),
            ("pca", "where a layer puts pictures: its two main axes", "embedding", "Pearson 1901"),
            (
                "tsne",
                "where a layer puts pictures: which are neighbours",
                "embedding --by tsne",
                "van der Maaten and Hinton 2008, JMLR 9",
            ),
            ("silhouette", "how far the classes lie apart in a layer, as a number", "embedding", "Rousseeuw 1987"),
            ("top_patches", "the patches of photographs that a channel responds to most", "top_patches", ZEILER),
            ("projections", "what in these patches it responds to", "zeiler_fergus", ZEILER),
            ("localize", "a region and a box from an attribution map", "localize", SELVARAJU),
            ("segment", "an object's outline, by GrabCut from the seeds of a saliency map", "localize", SIMONYAN),
            ("bias_table", "does the network look at the object or at its surroundings?", "bias", None),
        ),
    ),
    (
        "optimised images",
        "optimised_images.md",
        (
            ("maximize", "the picture that a class, a channel or a neuron likes best", "maximize", SIMONYAN),
            (
                "maximize_as_blog",
                "the same without preprocessing, clipping and regularisers",
                "maximize --preset blog",
                None,
            ),
            ("total_variation", "the penalty against noise, in five conventions", "maximize --tv 0.001", MAHENDRAN),
            ("robust", "transforms that a picture must withstand: shifts, scales, turns", "maximize --robust", OLAH),
            (
                "deep_dream",
                "a photograph in which a layer sees more of what it sees",
                "dream",
                "Mordvintsev et al. 2015",
            ),
            ("invert", "what a layer still knows of a photograph", "invert", MAHENDRAN),
        ),
    ),
    (
        "attacks",
        "attacks.md",
        (
            ("fgsm", "one step along the sign of the gradient", "attack --method fgsm", GOODFELLOW),
            ("pgd", "many small steps within a budget", "attack --method pgd", "Madry et al. 2018, arXiv:1706.06083"),
            (
                "targeted_ascent",
                "up another class's score until the network is sure",
                "attack --method ascent",
                SIMONYAN,
            ),
            (
                "deepfool",
                "the shortest way over a border of the class",
                "attack --method deepfool",
                "Moosavi-Dezfooli, Fawzi and Frossard 2016, arXiv:1511.04599",
            ),
            (
                "carlini_wagner",
                "the smallest change that fools, by optimisation",
                "attack --method cw",
                "Carlini and Wagner 2017, arXiv:1608.04644",
            ),
            (
                "one_pixel",
                "a single pixel, found by evolution",
                "attack --method one_pixel",
                "Su, Vargas and Sakurai 2019, arXiv:1710.08864",
            ),
            (
                "jsma",
                "few values, each changed all the way",
                "attack --method jsma",
                "Papernot et al. 2016, arXiv:1511.07528",
            ),
            (
                "universal_perturbation",
                "one perturbation for all pictures",
                "universal",
                "Moosavi-Dezfooli et al. 2017, arXiv:1610.08401",
            ),
            ("linear_attack", "why many small changes add up: a linear classifier", "linear_demo", GOODFELLOW),
            ("report_attack", "what is left of an attack after it was saved as a picture", "attack", None),
        ),
    ),
    (
        "defences and robustness",
        "robustness.md",
        (
            ("defend", "a network with noise, blur, JPEG or fewer bits before it", "robustness", ATHALYE),
            ("attack_table", "how often attacks succeed, and how far they had to go", "robustness", None),
            ("defence_table", "what defences are worth against an attack that knows them", "robustness", ATHALYE),
            ("transfer_table", "whether what fools one network fools another", "robustness", None),
            (
                "robustness_table",
                "networks side by side under attacks, noises and corruptions",
                "robustness",
                HENDRYCKS,
            ),
            ("corrupt", "noise, blur, contrast and compression of five severities", "robustness", HENDRYCKS),
            ("cue_conflict", "photographs of one class in the texture of another", "cue_conflict", GEIRHOS),
            ("shape_decisions", "whether shape or texture decides", "cue_conflict", GEIRHOS),
        ),
    ),
    (
        "style",
        "style.md",
        (
            ("style_transfer", "the content of one picture in the style of another", "style_transfer", GATYS),
            (
                "reconstruct_content",
                "what of a picture a layer keeps: the content half alone",
                "reconstruct_content",
                GATYS,
            ),
            (
                "synthesize_texture",
                "a new picture with the texture of another: the style half alone",
                "texture",
                "Gatys et al. 2015, arXiv:1505.07376",
            ),
            ("stylize", "many photographs in styles of their own, to train with", None, GEIRHOS),
        ),
    ),
)

TECHNIQUES = {
    row[0]: Technique(*row, family, page)  # type: ignore[call-arg]  # mypy does not know that each row has four values
    for family, page, rows in FAMILIES
    for row in rows
}

# What may be typed after `python -m viz`, and the command with its options that it stands for.
COMMANDS = {technique.name: technique.command.split() for technique in TECHNIQUES.values() if technique.command}
COMMANDS |= {name: [name] for name, *_ in COMMANDS.values()}


def listing():
    """Every technique in a line, family by family, with its command where that has another name."""
    lines = []
    for family, page, rows in FAMILIES:
        lines += ["", family + (f" (docs/techniques/{page})" if page else "")]
        for technique in (TECHNIQUES[row[0]] for row in rows):
            how = technique.command or "in Python only"
            lines.append(f"  {technique.name:24}{technique.what}" + (f" [{how}]" if how != technique.name else ""))
    return "\n".join(lines[1:])


def reference(command):
    """What --help of a command says at its end: its functions in viz and its page of the guide, if it has some."""
    known = [TECHNIQUES[name] for name, words in COMMANDS.items() if words[0] == command and name in TECHNIQUES]
    known = [technique for technique in known if technique.page]
    if not known:
        return ""
    functions = ", ".join(f"viz.{technique.name}" for technique in known)
    return f"In Python: {functions}\nGuide: docs/techniques/{known[0].page}"
