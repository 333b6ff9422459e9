"""Eigen-CAM: where a layer is active in its main direction, whatever the class.

The activations projected on their first principal direction (Muhammad and Yeasin 2020, arXiv:2008.00299).
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/eigen_cam.py photo.jpg --target cat")
options.add_argument("--layer", metavar="NAME", help="where to look (default: the last rectified convolution)")


def run(job):
    layer = job.args.layer or viz.default_layer(job.model)
    maps = viz.eigen_cam(job.model, job.image, job.target, layer)
    title = f"{job.title('Eigen-CAM')}, at {layer}"
    job.write(
        figure=sheet.attribution(job.image, maps, title, "activation along the first direction"),
        arrays={"image": job.image, "map": maps},
        numbers={"layer": layer, "largest": maps.max()},
        line=title,
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
