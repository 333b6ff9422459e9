"""Make the pictures of the pages in docs/techniques: `python docs/pictures.py`, or some of them by name.

What they show is in docs/subjects.py. Each picture is written to docs/images with 256 colours. All of them take some
minutes on two cores.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from subjects import KINDS, cat, network, painting, patterns, photographs, probability  # noqa: E402

import models  # noqa: E402  (found in ROOT)
import viz  # noqa: E402
from minigrad import functional as F  # noqa: E402
from viz import plot  # noqa: E402
from viz.commands.ground_truth import fitted  # noqa: E402
from viz.commands.methods import METHODS  # noqa: E402
from viz.ground_truth.families import CUES, family  # noqa: E402
from viz.ground_truth.networks import trained  # noqa: E402
from viz.ground_truth.scenes import scenes  # noqa: E402

WIDTH = 1100
CLASSES = ("cat", "zebra")
STYLED = {"layer_weights": "balanced", "average_pooling": None, "steps": 60}  # as style_transfer.py does

# ---- attributions ----------------------------------------------------------------------------------------------------


def grid(columns, title, over=()):
    """Methods {label: function(model, image, class)} side by side, for both classes."""
    model = network()
    image = cat(model)
    rows = [f"{name} (p = {probability(model, image, name):.2f})" for name in CLASSES]
    maps = [[viz.per_pixel(f(model, image, c), how)[0] for how, f in columns.values()] for c in CLASSES]
    return plot.attribution_grid(image[0], maps, rows, list(columns), title, over=over)


def gradients():
    columns = {
        "saliency": ("magnitude", viz.saliency),
        "deconvnet": ("magnitude", viz.deconvnet),
        "guided backprop": ("magnitude", viz.guided_backprop),
        "input x gradient": ("signed", viz.input_x_gradient),
        "integrated gradients": ("signed", viz.integrated_gradients),
        "SmoothGrad": ("magnitude", viz.smooth_grad),
    }
    return grid(columns, "Attribution by gradients")


def cam():
    names = ("grad_cam", "guided_grad_cam", "grad_cam_plus_plus", "layer_cam", "score_cam", "eigen_cam")
    labels = ("Grad-CAM", "guided Grad-CAM", "Grad-CAM++", "Layer-CAM", "Score-CAM", "Eigen-CAM")
    columns = {
        label: ("magnitude" if name == "guided_grad_cam" else "signed", getattr(viz, name))
        for label, name in zip(labels, names, strict=True)
    }
    return grid(columns, "Class activation maps of relu5_2", over=[x for x in labels if x != "guided Grad-CAM"])


def lrp():
    rules = ("epsilon", "gamma", "zplus", "alphabeta", "composite")
    columns = {r: ("signed", lambda m, x, c, r=r: viz.lrp(m, x, c, rule=r)) for r in rules}
    return grid(columns, "Layer-wise relevance propagation, by its rule")


def perturbation():
    def rise(samples):
        """Its level is the same everywhere and means nothing: shown is what is above or below the mean."""

        def centred(model, image, target):
            found = viz.rise(model, image, target, samples=samples)
            return found - found.mean()

        return centred

    columns = {
        "occlusion, 16 pixels": ("signed", viz.occlusion),
        "occlusion, 32 pixels": ("signed", lambda m, x, c: viz.occlusion(m, x, c, patch=32)),
        "RISE, 300 masks": ("signed", rise(300)),
        "RISE, 1500 masks": ("signed", rise(1500)),
    }
    return grid(columns, "Covering parts of the photograph", over=list(columns))


def checks():
    model = network()
    image, maps, kept = cat(model), [], (0, 1, 2, 5, 10)
    for method in (viz.saliency, viz.guided_backprop, viz.grad_cam):
        found = viz.model_randomization(model, image, method, "cat")
        maps.append([found.maps[k, 0] for k in kept])
    names = ("trained", *found.layers)
    columns = ["trained", *(f"random from {names[k]}" for k in kept[1:])]
    rows = ["saliency", "guided backprop", "Grad-CAM"]
    return plot.attribution_grid(image[0], maps, rows, columns, "What is left of a map without training", over=())


def ground_truth():
    """One scene, and networks trained on one of its parts each: half a minute to two of training, kept in out."""
    methods = ("saliency", "guided_backprop", "lrp", "grad_cam", "layer_cam", "occlusion")
    scene, maps = scenes(1, first=4), []
    for cue in CUES:
        model = trained("residual", cue, ROOT / "out" / "ground_truth")
        maps.append([fitted(m, METHODS[m], cue).map(model, scene.images, scene.kinds[cue])[0] for m in methods])
    rows = [f"the {cue} decides" for cue in CUES]
    return plot.attribution_grid(scene.images[0], maps, rows, methods, "Where is what decides?", over=())


def grid_pointing():
    """Four pictures at once and the map of one of them: where the others matter a little, and where they cannot."""
    methods = ("grad_cam", "hires_cam", "saliency", "guided_backprop", "deconvnet", "eigen_cam")
    model = network()
    four = viz.as_images(model, [data.astronaut(), data.coffee(), data.rocket(), data.cat()])
    pictures = [np.concatenate([np.concatenate([*four[:2]], 2), np.concatenate([*four[2:]], 2)], 1)]
    maps = [[METHODS[name].map(model, pictures[0][None], "cat")[0] for name in methods]]
    of_objects = {"object": trained("plain", "object", ROOT / "out" / "ground_truth")}
    for kind in ("gridpg", "difull"):
        one = family(kind, of_objects, count=1, first=0)
        pictures.append(one.pictures[0])
        maps.append([METHODS[name].map(one.model, one.pictures, one.target)[0] for name in methods])
    rows = ["the cat, of photographs", "the upper left, of scenes seen together", "the same, of scenes seen apart"]
    return plot.attribution_grid(pictures, maps, rows, methods, "Which of the four?", over=())


def curves():
    model = network()
    image = cat(model)
    rng = np.random.default_rng(0)
    series = {}
    for name, heat in (
        ("Grad-CAM", viz.grad_cam(model, image, "cat")),
        ("LRP", viz.per_pixel(viz.lrp(model, image, "cat"), "signed")),
        ("random", rng.random((1, *image.shape[2:]))),
    ):
        found = viz.insertion_deletion(model, image, heat, "cat")
        series[f"{name}, insertion"] = (found.fraction, found.insertion[0])
        series[f"{name}, deletion"] = (found.fraction, found.deletion[0])
    return plot.curves(series, "share of the pixels changed", "p(cat)", "Insertion and deletion")


def alike():
    """Four methods on the angle between two photographs' activations: docs/any_output.md."""
    model = network()
    other = viz.as_images(model, data.cat()[:, ::-1].copy())
    other[..., 60:] = np.arange(52) // 6 % 2

    def direction(e):
        return e / F.sqrt(F.square(e).sum(1, keepdims=True))

    wanted = direction(model.activations(cat(model), "flatten")["flatten"]).detach()
    target = viz.Objective("alike", ["flatten"], lambda _, found: (direction(found["flatten"]) * wanted).sum(1))
    maps = {
        "occlusion": viz.occlusion(model, other, target, patch=16, stride=4),
        "Grad-CAM": viz.grad_cam(model, other, target, layer="relu5_2"),
        "LRP": viz.lrp(model, other, target).sum(1),
        "saliency": viz.saliency(model, other, target),
    }
    score = viz.objective.score(model, viz.target.as_image(model, other), target).item()
    title = f"Why this is like the cat (cosine {score:.2f})"
    return plot.attribution_grid(other[0], [[m[0] for m in maps.values()]], [""], list(maps), title, over=())


# ---- looking inside --------------------------------------------------------------------------------------------------


def weights():
    model = network()
    kernels = viz.weight_images(model, "conv1_1")
    return plot.pictures([viz.tile(viz.enlarge(kernels, 24), 16)], ["each scaled by itself"], "Kernels of conv1_1")


def activations():
    model = network()
    maps, labels = [], []
    for layer in ("relu1_1", "relu2_2", "relu3_2", "relu4_2", "relu5_2"):
        a = viz.activation_maps(model, cat(model), layer)
        for channel in viz.strongest_channels(a, 4):
            maps.append(a[0, channel])
            labels.append(f"{layer}, channel {channel}")
    return plot.maps(maps, labels, "The strongest channels of five layers", "activation", columns=8, shared=False)


def patches():
    model, images = network(), photographs()
    pictures, labels = [], []
    layers = ("relu1_1", "relu2_2", "relu3_2", "relu4_2")
    maxima = viz.channel_maxima(model, images, layers)
    for layer in layers:
        channel = int(viz.live_channels(maxima[layer], 1, 9, np.random.default_rng(3))[0])
        found = viz.top_patches(model, images, layer, channel, 9, maxima[layer])
        back = np.stack([plot.centred(p) for p in viz.projections(model, images, found, "deconvnet")])
        pictures += [viz.tile(viz.enlarge(p.astype(np.float32), 60), gap=3) for p in (found.pixels, back)]
        labels += [f"{layer}, channel {channel}", "deconvnet"]
    return plot.pictures(
        pictures, labels, "Patches that a channel responds to most, and what it sees in them", columns=4
    )


def embedding():
    model = network()
    images, label = patterns()
    points, _, shares = viz.pca(viz.features(model, images, "relu6"))
    title = (
        f"Five kinds of pattern in relu6: silhouette {viz.silhouette(viz.features(model, images, 'relu6'), label):.2f}"
    )
    return plot.scatter(points, label, KINDS, title, f"first axis, {shares[0]:.0%}", f"second axis, {shares[1]:.0%}")


def localization():
    from scipy.ndimage import gaussian_filter

    model = network()
    image = cat(model)
    heat = viz.grad_cam(model, image, "cat")
    _, boxes = viz.localize(heat, 0.5)
    robust = models.load("minivgg_robust")
    smooth = gaussian_filter(viz.saliency(robust, image, "cat")[0], 4)
    outlines = [viz.outline_mask(image[0], viz.segment(image[0], m)) for m in (heat[0], smooth)]
    pictures = [image[0], viz.outline_box(image[0], boxes[0], width=2), *outlines]
    labels = ["photograph", "box of Grad-CAM", "GrabCut from Grad-CAM", "from minivgg_robust's saliency"]
    return plot.pictures(pictures, labels, "From a map to a place", columns=4)


# ---- optimised images ------------------------------------------------------------------------------------------------


def optimised():
    model = network()
    smooth = {"tv": lambda x: viz.total_variation(x, "l1", 0.002)}
    blur = [(2, lambda x, g: viz.gaussian_blur(x, 0.5))]
    jitter = [viz.transform.jitter(8)]
    makers = {
        "nothing": lambda c: viz.maximize(model, c, steps=200, transforms=[]),
        "jitter": lambda c: viz.maximize(model, c, steps=200, transforms=jitter),
        "jitter, TV": lambda c: viz.maximize(model, c, steps=200, transforms=jitter, penalties=smooth),
        "jitter, blur": lambda c: viz.maximize(model, c, steps=200, lr=0.03, transforms=jitter, after_step=blur),
        "Fourier, robust": lambda c: viz.maximize(
            model, c, parameterization="fourier", transforms=viz.robust(), steps=200
        ),
    }
    pictures, labels = [], []
    for c in CLASSES:
        for name, make in makers.items():
            pictures.append(make(c).image[0])
            labels.append(f"{c}: {name}")
    return plot.pictures(pictures, labels, "What the network likes best, by what holds it back", columns=len(makers))


def dream():
    photograph = models.load_image(data.cat(), (240, 360))
    pictures, labels = [photograph[0]], ["photograph"]
    for name in ("minivgg", "minivgg_robust"):
        pictures.append(viz.deep_dream(models.load(name), photograph, "relu4_1", octaves=3, steps=10).image[0])
        labels.append(f"{name}, relu4_1")
    return plot.pictures(pictures, labels, "DeepDream by two networks", columns=3)


def inversion():
    model = network()
    image, pictures, labels = cat(model), [cat(model)[0]], ["photograph"]
    for layer in ("relu1_1", "relu2_2", "relu3_2", "relu4_2", "relu5_2"):
        result = viz.invert(model, image, layer, steps=200)
        pictures.append(result.image[0])
        labels.append(f"{layer} (off by {result.losses['features'][-1]:.2g})")
    return plot.pictures(pictures, labels, "What each layer still knows", columns=6)


# ---- attacks, robustness, style --------------------------------------------------------------------------------------


def attacks():
    model = network()
    image = viz.as_saved(cat(model))
    found = {
        "FGSM, 8/255": viz.fgsm(model, image, target="zebra"),
        "PGD, 4/255": viz.round_within(
            viz.pgd(model, image, target="zebra", epsilon=4 / 255, steps=40), image, 4 / 255
        ),
        "Carlini-Wagner": viz.carlini_wagner(model, image, target="zebra", steps=100, searches=4),
        "JSMA": viz.jsma(model, image, target="zebra", gamma=0.02),
    }
    pictures = [image[0]] + [viz.as_saved(x)[0] for x in found.values()] + [np.full_like(image[0], 0.5)]
    labels = [f"photograph: zebra {probability(model, image, 'zebra'):.2g}"]
    for name, x in found.items():
        saved = viz.as_saved(x)
        moved = viz.distances(image, saved)
        labels.append(f"{name}: zebra {probability(model, saved, 'zebra'):.2f}, L2 {moved['l2'][0]:.2f}")
        pictures.append(plot.centred(viz.as_saved(x)[0] - image[0]).astype(np.float32))
    labels += ["no difference", *(f"difference / {abs(viz.as_saved(x) - image).max():.3f}" for x in found.values())]
    return plot.pictures(
        pictures, labels, "Four attacks towards zebra, scored after saving as 8-bit PNG", columns=len(found) + 1
    )


def corruptions():
    model = network()
    image = cat(model)
    pictures, labels = [image[0]], [f"clean: {probability(model, image, 'cat'):.2f}"]
    for kind in viz.corruptions.SEVERITIES:
        changed = viz.corrupt(image, kind, 3)
        pictures.append(changed[0])
        labels.append(f"{kind.replace('_', ' ')}: {probability(model, changed, 'cat'):.2f}")
    return plot.pictures(pictures, labels, "Corruptions of severity 3, and p(cat)", columns=9)


def robust_gradients():
    classes = ["cat", "zebra", "church", "English springer"]
    pictures, labels = [], []
    for name in ("minivgg", "minivgg_robust"):
        model = models.load(name).eval().requires_grad_(False)
        image = models.load_image(data.cat(), (112, 112))
        heat = viz.saliency(model, image, "cat")
        brightness = np.clip(heat / np.quantile(heat, 0.99), 0, 1)
        made = viz.maximize(model, classes, parameterization="fourier", size=112, transforms=viz.robust(), steps=200)
        pictures += [image[0], np.repeat(brightness, 3, 0), *made.image]
        labels += [name, "saliency of cat", *(f"ideal: {c}" for c in classes)]
    return plot.pictures(pictures, labels, "The same questions to a network trained against attacks", columns=6)


def style():
    model = network()
    photograph, brush = models.load_image(data.cat(), (160, 240)), painting()
    styled = viz.style_coarse_to_fine(model, photograph, brush, **STYLED)
    kept = viz.style_coarse_to_fine(model, photograph, brush, **STYLED, original_colors=True)
    texture = viz.synthesize_texture(models.load("minivgg_robust"), brush, size=(160, 160), steps=60)  # as texture.py
    content = viz.reconstruct_content(model, photograph, "relu3_1", steps=60)
    pictures = [photograph[0], brush[0], styled.image[0], kept.image[0], content.image[0], texture.image[0]]
    labels = ["content", "style (rendered)", "style transfer", "colours kept", "content alone (relu3_1)"]
    labels += ["style alone, minivgg_robust"]
    return plot.pictures(pictures, labels, "Style transfer and its two halves", columns=3)


def textures():
    pictures, labels = [], []
    for name in ("brick", "gravel", "grass", "immunohistochemistry"):
        picture = models.load_image(getattr(data, name)()[:224, :224], (128, 128))
        pictures.append(picture[0])
        labels.append(name)
        for by in ("minivgg", "minivgg_robust"):
            made = viz.synthesize_texture(models.load(by), picture, size=(128, 128), steps=60)
            pictures.append(made.image[0])
            labels.append(by)
    return plot.pictures(pictures, labels, "Textures from noise, by two networks", columns=6)


def trust():
    import warnings

    from viz.trust_figure import figure

    model = network()
    pictures = [data.astronaut(), data.coffee(), data.rocket(), data.hubble_deep_field(), data.immunohistochemistry()]
    others = viz.as_images(model, [*pictures, data.colorwheel()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of maps that are zero on networks drawn anew
        found = viz.trust(model, cat(model), viz.grad_cam, "cat", others=others, how="signed")
    return figure(cat(model)[0], found, "Grad-CAM of the cat on trial")


def switch_off():
    model, layer = network(), "relu5_2"
    image, rng = cat(model), np.random.default_rng(0)
    claimed = viz.channel_relevance(model, image, "cat", layer, rule="epsilon")[0]
    score = viz.attacks.scores(model, image)[0, 2]
    counts = np.array([0, 1, 3, 6, 10, 20, 40, 80, 160, 384])

    def course(order):
        return [score - (viz.switch_off(model, image, layer, order[:n], "cat")[0] if n else 0) for n in counts]

    lines = {"most relevant first": course(np.argsort(-claimed)), "least relevant first": course(np.argsort(claimed))}
    lines["at random"] = np.mean([course(rng.permutation(len(claimed))) for _ in range(10)], 0)
    lines = {name: (counts, values) for name, values in lines.items()}
    return plot.curves(lines, f"channels of {layer} switched off, of {len(claimed)}", "score of cat")


PICTURES = {
    f.__name__: f
    for f in (gradients, cam, lrp, perturbation, checks, curves, weights, activations, patches, embedding)
    + (localization, optimised, dream, inversion, attacks, corruptions, robust_gradients, style, textures)
    + (switch_off, trust, alike, ground_truth, grid_pointing)
}


def save(figure, path):
    """Write a Figure as PNG, WIDTH pixels wide at most, with 256 colours."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    picture = Image.open(file).convert("RGB")
    if picture.width > WIDTH:
        size = (WIDTH, round(picture.height * WIDTH / picture.width))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1).save(path, optimize=True)


def main(names):
    unknown = [name for name in names if name not in PICTURES]
    if unknown:
        print(f"there is no picture {unknown[0]!r}; choose from {', '.join(PICTURES)}", file=sys.stderr)
        return 2
    for name in names or PICTURES:
        path = ROOT / "docs" / "images" / f"{name}.png"
        save(PICTURES[name](), path)
        print(f"{path.relative_to(ROOT)} {path.stat().st_size // 1000} KB", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
