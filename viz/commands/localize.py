"""Where the object is, from an attribution map alone: the largest bright region, its box, and a segmentation.

The box is that of the largest connected region above --fraction of the map's maximum (Selvaraju et al. 2017, section
4.1). The segmentation is GrabCut (Rother et al. 2004), from seeds above and below quantiles of the map, as Simonyan et
al. 2013 (arXiv:1312.6034, section 3.2) do with saliency: what the map leaves dark is taken for background, and where it
has the colours of the object, as in a face that fills the picture, there is no outline to find, and none is drawn.
"""

import numpy as np

import viz
from viz import plot
from viz.grabcut import told_apart
from viz.localization import seeds

from .attribution import heading
from .job import Job
from .methods import METHODS
from .options import parser

TOLD_APART = 0.9  # of the seeds by colour: below, outlines were poor on most photographs looked at

options = parser(__doc__, "photo.jpg --target cat")
add, number = options.add_argument, options.number
add(
    "--method",
    choices=METHODS,
    default="grad_cam",
    metavar="NAME",
    help=f"of the map: {', '.join(METHODS)} (default %(default)s)",
)
number("--fraction", 0.5, "of the maximum, for the box (Selvaraju et al.: 0.15)")
number(
    "--quantiles",
    (0.3, 0.95),
    "of the map: what is below the first is background, above the second object",
    low=0,
    high=1,
    nargs=2,
    metavar=("LOW", "HIGH"),
)
number("--smooth", 0.0, "blur the map first; saliency needs about 4", low=0, high=1000, unit="pixels", metavar="PIXELS")


def run(job: Job) -> None:
    """Write the box of the map's largest region, and the outline where GrabCut finds one."""
    from scipy.ndimage import gaussian_filter

    args = job.args
    (heat,) = METHODS[args.method].map(job.model, job.image, job.target)
    if args.smooth:
        heat = gaussian_filter(heat, args.smooth)
    (mask,), (box,) = viz.localize(heat[None], args.fraction)
    low, high = args.quantiles
    segment = viz.segment(job.image[0], heat, high, low, seed=args.seed)
    apart = told_apart(job.image[0], *seeds(heat, high, low), seed=args.seed)
    image = job.image[0] if len(job.image[0]) == 3 else job.image[0].repeat(3, 0)  # outlines are in colour
    pictures = [image, plot.overlay(image, heat).transpose(2, 0, 1), viz.outline_box(image, box)]
    labels = ["photograph", heading(args.method), f"box above {args.fraction:g} of the maximum"]
    title = job.title("Localisation")
    if apart < TOLD_APART:
        share = f"no outline: only {apart:.0%} of the seeds are told apart by colour"
        title += f"; {share}"
    else:
        share = f"object {segment.mean():.0%} of the image"
        pictures += [viz.outline_mask(image, segment)]
        labels += [f"GrabCut: {share}"]
    job.write(
        f"{job.title('localize')}: box top {box[0]}, left {box[1]}, bottom {box[2]}, right {box[3]}; {share}",
        figure=plot.pictures(pictures, labels, title, columns=len(pictures)),
        arrays={"image": job.image, "map": heat[None], "region": mask, "segment": segment, "box": np.array(box)},
        numbers={"box": box, "segment_share": segment.mean(), "seeds_told_apart": apart, "region_share": mask.mean()},
    )
