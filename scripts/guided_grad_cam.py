"""Guided Grad-CAM: the details that speak for a class, where Grad-CAM finds it.

Guided backpropagation times the upsampled Grad-CAM map (Selvaraju et al. 2017, arXiv:1610.02391, section 3.2).
"""

from command import main, parser

import viz
from viz import plot

options = parser(__doc__, "python scripts/guided_grad_cam.py photo.jpg --target cat")
options.add_argument("--layer", metavar="NAME", help="of the Grad-CAM map (default: the last rectified convolution)")


def run(job):
    layer = job.args.layer or viz.default_layer(job.model)
    found = viz.guided_grad_cam(job.model, job.image, job.target, layer)
    title = f"{job.title('Guided Grad-CAM')}, at {layer}"
    labels = ["photograph", f"grey is 0, full colour ±{plot.Scale.of(found).high:.2g}"]
    job.write(
        figure=plot.pictures([job.image, plot.centred(found)], labels, title),
        arrays={"image": job.image, "attribution": found},
        numbers={"layer": layer, "largest": found.max(), "smallest": found.min()},
        line=title,
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
