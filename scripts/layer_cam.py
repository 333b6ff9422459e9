"""Layer-CAM: evidence for a class place by place, which also works in early layers.

L = ReLU(sum_k ReLU(dy/dA_k) * A_k) (Jiang et al. 2021, IEEE Transactions on Image Processing 30).
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/layer_cam.py photo.jpg --target cat")
options.add_argument("--layer", metavar="NAME", help="where to look (default: the last rectified convolution)")


def run(job):
    layer = job.args.layer or viz.default_layer(job.model)
    maps = viz.layer_cam(job.model, job.image, job.target, layer)
    title = f"{job.title('Layer-CAM')}, at {layer}"
    job.write(
        figure=sheet.attribution(job.image, maps, title, "evidence, in units of the score"),
        arrays={"image": job.image, "map": maps},
        numbers={"layer": layer, "largest": maps.max()},
        line=title,
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
