"""Score-CAM: a class activation map without gradients. Each channel of the layer masks the photograph once.

L = ReLU(sum_k a_k A_k), a = softmax over k of how much the photograph seen through channel k raises the score over a
black image (Wang et al. 2020, arXiv:1910.01279). Takes as many forward passes as the layer has channels.
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/score_cam.py photo.jpg --target cat")
options.add_argument("--layer", metavar="NAME", help="where to look (default: the last rectified convolution)")
options.add_argument("--batch-size", type=int, default=32, help="masked images at a time (default %(default)s)")


def run(job):
    layer = job.args.layer or viz.default_layer(job.model)
    how = {"batch_size": job.args.batch_size, "progress": job.progress}
    maps = viz.score_cam(job.model, job.image, job.target, layer, **how)
    title = f"{job.title('Score-CAM')}, at {layer}"
    job.write(
        figure=sheet.attribution(job.image, maps, title, "weighted activation"),
        arrays={"image": job.image, "map": maps},
        numbers={"layer": layer, "largest": maps.max()},
        line=title,
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
