"""Grad-CAM++: Grad-CAM with a weight for every place, so that several objects of the class all show.

w_k = sum_ij alpha_kij ReLU(g_kij), g = dy/dA, with alpha by equation 19 of Chattopadhay et al. 2018, arXiv:1710.11063;
L = ReLU(sum_k w_k A_k).
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/grad_cam_plus_plus.py photo.jpg --target cat")
options.add_argument("--layer", metavar="NAME", help="where to look (default: the last rectified convolution)")


def run(job):
    layer = job.args.layer or viz.default_layer(job.model)
    maps = viz.grad_cam_plus_plus(job.model, job.image, job.target, layer)
    title = f"{job.title('Grad-CAM++')}, at {layer}"
    job.write(
        figure=sheet.attribution(job.image, maps, title, "evidence"),
        arrays={"image": job.image, "map": maps},
        numbers={"layer": layer, "largest": maps.max()},
        line=title,
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
