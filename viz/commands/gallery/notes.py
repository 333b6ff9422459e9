"""The texts beside the pictures: how to read a result, its equation in LaTeX, where it was published, and its code.

`note(name, study, command)` is one of them for a page; the equation comes as MathML, which browsers draw by themselves.
"""

import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import viz
from minigrad import functional as F
from viz.adversarial_training import AdversarialTrainer

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Note:
    """reading: two sentences. equation: LaTeX. paper: (text, address). function: the code that computes it."""

    title: str
    reading: str
    equation: str
    paper: tuple
    function: object
    caveat: str = ""


def place(function: Any) -> tuple[str, int, str]:
    """(path from the folder of the packages, line, text) of a function's or class's code."""
    function = inspect.unwrap(function)
    path = Path(inspect.getsourcefile(function)).resolve()
    lines, first = inspect.getsourcelines(function)
    return path.relative_to(ROOT).as_posix(), first, textwrap.dedent("".join(lines))


def arxiv(text: str, number: str) -> tuple[str, str]:
    return text, f"https://arxiv.org/abs/{number}"


SIMONYAN = arxiv("Simonyan, Vedaldi, Zisserman 2013", "1312.6034")
ZEILER = arxiv("Zeiler, Fergus 2013", "1311.2901")
SELVARAJU = arxiv("Selvaraju et al. 2017", "1610.02391")
ADEBAYO = arxiv("Adebayo et al. 2018", "1810.03292")
BACH = ("Bach et al. 2015", "https://doi.org/10.1371/journal.pone.0130140")
MONTAVON = ("Montavon et al. 2019", "https://doi.org/10.1007/978-3-030-28954-6_10")
OLAH = ("Olah, Mordvintsev, Schubert 2017", "https://distill.pub/2017/feature-visualization/")

UNMOVED = "Its maps hardly change when the upper layers are made random; the sanity check below shows it."

# ---- attributions, by the names of methods.py ------------------------------------------------------------------------

ATTRIBUTIONS = {
    "saliency": Note(
        "Saliency",
        "Bright pixels are those whose change would change the score most, in either direction. "
        "The dots are no fault of the drawing: the gradient really is that rough from pixel to pixel.",
        r"M_{ij} = \max_{k} \left| \frac{\partial y_c}{\partial x_{kij}} \right|",
        SIMONYAN,
        viz.saliency,
    ),
    "smooth_grad": Note(
        "SmoothGrad",
        "The gradient averaged over noisy copies of the photograph: what is bright here matters to the score also when "
        "pixels tremble. More copies make it smoother, not truer.",
        r"\hat M = \frac{1}{n} \sum_{k=1}^{n} \frac{\partial y_c}{\partial x}\left(x + \mathcal{N}(0, \sigma^2)\right)",
        arxiv("Smilkov et al. 2017", "1706.03825"),
        viz.smooth_grad,
    ),
    "input_x_gradient": Note(
        "Input × gradient",
        "Red pixels add to the score in a straight-line reading of the network, blue ones take from it. "
        "A black pixel gets nothing whatever its gradient, so dark subjects are short-changed.",
        r"a_i = x_i \, \frac{\partial y_c}{\partial x_i}",
        arxiv("Shrikumar et al. 2016", "1605.01713"),
        viz.input_x_gradient,
    ),
    "integrated_gradients": Note(
        "Integrated gradients",
        "All values together are the difference between the score of the photograph and that of a black picture. "
        "Red pixels raised the score on the way from black, blue ones lowered it; another baseline gives another map.",
        r"a_i = (x_i - x'_i) \int_0^1 \frac{\partial y_c}{\partial x_i}\left(x' + \alpha (x - x')\right) d\alpha",
        arxiv("Sundararajan et al. 2017", "1703.01365"),
        viz.integrated_gradients,
    ),
    "deconvnet": Note(
        "Deconvnet",
        "The score sent back through the network with only what is positive, whether or not a unit was on. "
        "Sharp outlines come from the pooling switches, and say more about the photograph than about the class.",
        r"R^{l} = R^{l+1} \cdot [R^{l+1} > 0]",
        ZEILER,
        viz.deconvnet,
    ),
    "guided_backprop": Note(
        "Guided backpropagation",
        "As the gradient, but each unit passes back only positive evidence and only if it was on itself. "
        "The picture is crisp because it comes close to restoring the image; take it for edges, not for reasons.",
        r"R^{l} = R^{l+1} \cdot [R^{l+1} > 0] \cdot [x^{l} > 0]",
        arxiv("Springenberg et al. 2014", "1412.6806"),
        viz.guided_backprop,
        UNMOVED,
    ),
    "lrp": Note(
        "LRP, composite",
        "The score shared out backwards until it lies on the pixels: red for the class, blue against it. "
        "Early layers use rules that favour positive parts, which makes the map calmer than a gradient.",
        r"R_i = \sum_j \frac{x_i (w_{ij} + \gamma w_{ij}^{+})}{\sum_{i'} x_{i'} (w_{i'j} + \gamma w_{i'j}^{+})} R_j",
        MONTAVON,
        viz.lrp,
        "Biases keep their share of the score. Where little of it reaches the pixels, its sign says little.",
    ),
    "lrp_epsilon": Note(
        "LRP, ε",
        "Each unit hands its relevance down in proportion to what its inputs contributed. "
        "For networks of ReLUs it nearly equals input × gradient, noise included.",
        r"R_i = \sum_j \frac{x_i w_{ij}}{z_j + \varepsilon \, \text{sign}(z_j)} R_j",
        BACH,
        viz.lrp,
    ),
    "lrp_zplus": Note(
        "LRP, z⁺",
        "Only positive contributions count, so everything shown speaks for the class. "
        "What speaks against it cannot appear, and after a few layers the class hardly matters any more.",
        r"R_i = \sum_j \frac{x_i w_{ij}^{+}}{\sum_{i'} x_{i'} w_{i'j}^{+}} R_j",
        BACH,
        viz.lrp,
        UNMOVED,
    ),
    "lrp_alphabeta": Note(
        "LRP, αβ",
        "Positive contributions count twice, negative ones once with their sign: red for, blue against. "
        "The split exaggerates both sides; compare places rather than amounts.",
        r"R_i = \sum_j \left( \alpha \frac{c_{ij}^{+}}{\sum_{i'} c_{i'j}^{+}} - \beta \frac{c_{ij}^{-}}"
        r"{\sum_{i'} c_{i'j}^{-}} \right) R_j, \quad \alpha - \beta = 1",
        BACH,
        viz.lrp,
    ),
    "grad_cam": Note(
        "Grad-CAM",
        "Warm places hold the features, in the last convolution, that raise the score of this class. "
        "The layer has only a few cells, so read it as a region and not as an outline.",
        r"L = \text{ReLU}\left(\sum_k a_k A_k\right), \quad "
        r"a_k = \frac{1}{hw} \sum_{ij} \frac{\partial y_c}{\partial A_{kij}}",
        SELVARAJU,
        viz.grad_cam,
    ),
    "grad_cam_plus_plus": Note(
        "Grad-CAM++",
        "As Grad-CAM, with weights that let several small instances of a class count as much as one large one. "
        "Where there is one subject, the two should look alike.",
        r"w_k = \sum_{ij} \alpha_{kij} \, \text{ReLU}(g_{kij}), \quad "
        r"\alpha_{kij} = \frac{g_{kij}^2}{2 g_{kij}^2 + g_{kij}^3 \sum_{ab} A_{kab}}",
        arxiv("Chattopadhay et al. 2018", "1710.11063"),
        viz.grad_cam_plus_plus,
    ),
    "layer_cam": Note(
        "Layer-CAM",
        "Every place of the layer has a weight of its own, where Grad-CAM has one for each channel. "
        "It is the one of this family that stays meaningful in early, finer layers.",
        r"L = \text{ReLU}\left(\sum_k \text{ReLU}(g_k) \cdot A_k\right)",
        ("Jiang et al. 2021", "https://doi.org/10.1109/TIP.2021.3089943"),
        viz.layer_cam,
    ),
    "hires_cam": Note(
        "HiResCAM",
        "What each place adds to the score, to first order: Grad-CAM without its mean over the layer. "
        "Behind a layer that is only averaged, as in most networks here, the two are the same map.",
        r"L = \text{ReLU}\left(\sum_k \frac{\partial y_c}{\partial A_k} \cdot A_k\right)",
        arxiv("Draelos, Carin 2020", "2011.08891"),
        viz.hires_cam,
    ),
    "xgrad_cam": Note(
        "XGrad-CAM",
        "Grad-CAM with the gradients of a channel weighted by where that channel is active. "
        "Behind a layer that is only averaged the weights are Grad-CAM's.",
        r"L = \text{ReLU}\left(\sum_k w_k A_k\right), \quad "
        r"w_k = \frac{\sum_{ij} A_{kij} \, g_{kij}}{\sum_{ij} A_{kij}}",
        arxiv("Fu et al. 2020", "2008.02312"),
        viz.xgrad_cam,
    ),
    "eigen_cam": Note(
        "Eigen-CAM",
        "Where the layer is active along its main direction. "
        "No class enters the equation: the two maps are the same, and show what stands out, not what was decided.",
        r"A = U \Sigma V^{\top}, \quad L = A V_1",
        arxiv("Muhammad, Yeasin 2020", "2008.00299"),
        viz.eigen_cam,
    ),
    "guided_grad_cam": Note(
        "Guided Grad-CAM",
        "Guided backpropagation where Grad-CAM is warm: fine detail inside the region that counts. "
        "The place depends on the class, the detail hardly does.",
        r"M = R_{\text{guided}} \cdot \text{upsample}(L)",
        SELVARAJU,
        viz.guided_grad_cam,
    ),
    "score_cam": Note(
        "Score-CAM",
        "Each channel of the layer veils the photograph once, and is weighted by how much of the score survives. "
        "It needs no gradient, only as many looks at the photograph as there are channels.",
        r"L = \text{ReLU}\left(\sum_k a_k A_k\right), \quad a = \text{softmax}_k \, y_c(x \cdot H_k)",
        arxiv("Wang et al. 2020", "1910.01279"),
        viz.score_cam,
    ),
    "occlusion": Note(
        "Occlusion",
        "A grey square slides over the photograph: where covering lowers the score, the map is red, where it helps, "
        "blue. The square is itself something the network has never seen, and its size sets how fine the map can be.",
        r"a_{ij} = \text{mean}_{P \ni (i,j)} \left( y_c(x) - y_c(x_{\setminus P}) \right)",
        ZEILER,
        viz.occlusion,
    ),
    "rise": Note(
        "RISE",
        "The mean of random masks, each weighted by the probability of the class behind it, less the mean of the map: "
        "red places were visible more often than others when the network was sure. Grain and blobs are what chance "
        "leaves with a limited number of masks.",
        r"M = S - \bar{S}, \quad S = \frac{1}{p \, n} \sum_{i=1}^{n} p_c(x \cdot M_i) \, M_i",
        arxiv("Petsiuk et al. 2018", "1806.07421"),
        viz.rise,
    ),
}

# ---- sections --------------------------------------------------------------------------------------------------------

SECTIONS = {
    "seen": Note(
        "What the network sees",
        "Each bar is the probability that the network gives a class; together, all classes add up to 1. "
        "It can only answer with a class it knows, however sure it looks.",
        r"p_c = \frac{e^{y_c}}{\sum_k e^{y_k}}",
        ("Bridle 1990, who named the softmax", "https://doi.org/10.1007/978-3-642-76153-9_28"),
        F.softmax,
    ),
    "attributions": Note(
        "Where it looked",
        "Every method answers the same question, which pixels made the score of a class what it is, and each means "
        "something else by it. Choose a class, move the slider from the photograph to the bare map, and point at a "
        "map: all maps say what they are worth there, to a 256th of their scale. Fine maps are never an overlay, for "
        "the photograph would hide them.",
        r"y_c : \mathbb{R}^{3 \times h \times w} \to \mathbb{R}, \quad \text{the score before the softmax}",
        arxiv("Samek et al. 2021, a review", "2003.07631"),
        viz.gradient,
        "Maps of different methods are on different scales and may contradict one another. None is the reason.",
    ),
    "sanity": Note(
        "Do the maps depend on what was learned?",
        "From left to right more layers, from the top, have their weights drawn anew, until nothing learned is left. "
        "The number is the rank correlation with the map of the trained network: it should fall towards 0, and a "
        "method whose maps stay the same would show you the same for a network that knows nothing.",
        r"\rho = \text{corr}\left(\text{rank} \, M_{\text{trained}}, \; \text{rank} \, M_{\text{random}}\right)",
        ADEBAYO,
        viz.model_randomization,
    ),
    "activations": Note(
        "Layer by layer",
        "Each row is a layer, each map one of its strongest channels, all of a row on one scale. "
        "Early layers keep the photograph's outlines; later ones keep only where something was found.",
        r"A^{l} = \text{ReLU}\left(W^{l} * A^{l-1} + b^{l}\right)",
        ZEILER,
        viz.activation_maps,
    ),
    "patches": Note(
        "What excites a channel",
        "The upper row holds the strongest patches for a channel, each as large as the pixels that one unit sees; the "
        "lower row what of each patch the unit responds to. Look for what the patches share, and for the one that "
        "does not fit.",
        r"(n, i, j)_1, (n, i, j)_2, \ldots \; \text{with} \; A^{l}_{k}(x_n)_{ij} \; \text{largest}",
        ZEILER,
        viz.top_patches,
        "Channels rarely stand for one thing: their strongest patches are the tip of everything they answer to.",
    ),
    "optimised": Note(
        "What it would rather see",
        "Pictures that started as grey noise and were changed step by step until the score of a class, or the mean of "
        "a channel, was as large as it gets. They show what the network looks for when nothing holds it to the world.",
        r"x^{*} = \text{arg max}_x \; \mathbb{E}_{t} \left[ y_c(t(x)) \right], \quad "
        r"x = \sigma\left(C \, \mathcal{F}^{-1}(\hat{x} / f)\right)",
        OLAH,
        viz.maximize,
        "The regulariser (here colour-decorrelated Fourier coefficients and small movements) shapes these pictures as "
        "much as the network does.",
    ),
    "adversarial": Note(
        "An adversarial pair",
        "Two photographs that look the same to people, and what the network reads in each. "
        "The difference between them is amplified until it can be seen; it is no noise but a direction.",
        r"x' = \Pi_{\varepsilon}\left(x' - \alpha \, \text{sign} \, \nabla_{x'} d_t(x')\right), "
        r"\quad \left\| x' - x \right\|_{\infty} \le \varepsilon",
        arxiv("Madry et al. 2018", "1706.06083"),
        viz.pgd,
    ),
    "robust": Note(
        "The same question to a network that was trained against attacks",
        "Both networks have the same layers and learned from the same photographs; one of them was shown each as an "
        "attacker, within 4 of 255 levels, had made it worst. What moves its scores are edges and parts that people "
        "see as well (Tsipras et al. 2019): the method is the same, and the picture another.",
        r"\min_\theta \; \mathbb{E}_{x, c} \left[ \max_{\left\| \delta \right\|_\infty \le \varepsilon} "
        r"L_\theta(x + \delta, c) \right]",
        arxiv("Madry et al. 2018, equation 2.1", "1706.06083"),
        AdversarialTrainer,
        "It pays for that: it is less sure of itself, and more often wrong about photographs that nobody attacked.",
    ),
    "style": Note(
        "In another style",
        "The content is held by the activations of one deep layer, the style by how channels go together in five. "
        "What survives of the photograph is what the deep layer keeps of it.",
        r"\frac{1}{2} \sum (F - P)^2 + \beta \sum_l \frac{w_l}{4 N_l^2 M_l^2} \sum (G^{l} - A^{l})^2, "
        r"\quad G_{ij} = \sum_k F_{ik} F_{jk}",
        ("Gatys, Ecker, Bethge 2016", "https://doi.org/10.1109/CVPR.2016.265"),
        viz.style_transfer,
    ),
    "map": Note(
        "A map of what it saw",
        "Pictures that lie close together have similar scores; the frame's colour is the class the network names. "
        "PCA, whose equation this is, keeps large distances; t-SNE, whose paper this is, keeps neighbours, and its "
        "gaps and sizes mean nothing.",
        r"X - \bar{X} = U \Sigma V^{\top}, \quad (U \Sigma)_{:, 1:2}",
        ("van der Maaten, Hinton 2008", "https://www.jmlr.org/papers/v9/vandermaaten08a.html"),
        viz.pca,
    ),
}
