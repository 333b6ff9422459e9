"""Where layers put photographs: their activations in two dimensions, by PCA or t-SNE, coloured by class.

The silhouette (Rousseeuw 1987), from -1 to 1, says how far the classes lie apart in the layer itself, before any
projection. t-SNE (van der Maaten and Hinton 2008) is scikit-learn's: pip install 'minigrad[embed]'.
"""

from functools import partial

import numpy as np

import viz
from minigrad.nn import Module
from models.mistakes import UserError
from viz import plot
from viz.target import logits_layer

from .job import Job
from .kept import add_store_option, add_worker_options, by_batches, kept
from .labelled import Labelled, add_data_options, labelled_images
from .options import names, once, parser

METHODS = {"pca": "PCA", "tsne": "t-SNE"}

options = parser(__doc__, "--data photos --layers relu3_1,fc7 --method tsne", False, False)
add_data_options(options, count=240, flat=True)
options.add_argument("--layers", metavar="A,B,...", help="layers by name (default: the scores)")
options.add_argument(
    "--method", choices=tuple(METHODS), default="pca", help="how they become two numbers (default %(default)s)"
)
options.number("--perplexity", 30.0, "of t-SNE: about how many neighbours of a point count")
options.renamed("--by", "--method")
add_store_option(options)
add_worker_options(options)


def run(job: Job) -> None:
    """Write a map of the photographs for each layer, and how far their classes lie apart."""
    args = job.args
    layers = once(names(args.layers), "layer") or [logits_layer(job.model)]
    data = labelled_images(args.data, job.model.input_size, args.count, args.seed, job.model, flat=True)
    if len(data.labels) < 5:
        raise UserError(f"an embedding needs at least 5 photographs, got {len(data.labels)}")
    if args.method != "tsne":
        options.refuse(args, ["perplexity"], "without --method tsne")
    elif args.perplexity > (len(data.labels) - 1) / 3:
        raise UserError(
            f"--perplexity must be at most a third of the other photographs, {(len(data.labels) - 1) / 3:.3g}, got "
            f"{args.perplexity:g}: give a smaller one, or a larger --count"
        )
    with kept(job, data.images) as keep:
        for layer in layers:
            compute = partial(features, layer)
            found = by_batches(keep, layer, compute, job.model, [data.images], progress=job.progress)
            write(job, data, layer, found["features"])


def features(layer: str, model: Module, images: np.ndarray) -> dict[str, np.ndarray]:
    return {"features": viz.features(model, images, layer)}


def write(job: Job, data: Labelled, layer: str, x: np.ndarray) -> None:
    """The result of a layer, whose activations are x (N,F)."""
    args = job.args
    one = len(data.names) == 1  # class, or photographs of none: nothing lies apart
    apart = None if one else viz.silhouette(x, data.labels)
    numbers = {"layer": layer, "features": x.shape[1], "images": len(x), "silhouette": apart}
    if args.method == "pca":
        points, _, shares = viz.pca(x)
        numbers |= {"explained": shares}
        axes = [f"component {i + 1}, {share:.0%} of the variance" for i, share in enumerate(shares)]
    else:
        points, axes = viz.tsne(x, args.perplexity, args.seed), ["", ""]
    numbers |= {"silhouette_in_two_dimensions": None if one else viz.silhouette(points, data.labels)}
    title = f"{METHODS[args.method]} of {layer} ({x.shape[1]} values), {len(x)} photographs"
    title += "" if one else f", silhouette {apart:.2f}"
    job.write(
        title,
        figure=plot.scatter(points, data.labels, ["photograph"] if data.flat else data.names, title, *axes),
        arrays={"points": points, "labels": data.labels},
        numbers=numbers | {"photographs": [f"{path.parent.name}/{path.name}" for path in data.paths]},
        part=layer,
    )
