"""Grad-CAM: the places of a convolutional layer that speak for a class.

L = ReLU(sum_k a_k A_k), a_k = mean over positions of dy/dA_k, A the layer's activations and y the score before the
softmax (Selvaraju et al. 2017, arXiv:1610.02391).
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/grad_cam.py photo.jpg --target cat")
options.add_argument("--layer", metavar="NAME", help="where to look (default: the last rectified convolution)")
options.add_argument("--signed", action="store_true", help="leave out the ReLU: what speaks against is negative")
options.add_argument("--counterfactual", action="store_true", help="show what speaks against the class")


def run(job):
    layer = job.args.layer or viz.default_layer(job.model)
    chosen = {"layer": layer, "signed": job.args.signed, "counterfactual": job.args.counterfactual}
    target = None if job.args.target is None else job.target  # the top class comes out of the same pass
    low, maps, job.scores = viz.cam.grad_cam_and_scores(job.model, job.image, target, **chosen)
    name = "Grad-CAM, counterfactual" if job.args.counterfactual else "Grad-CAM"
    job.write(
        figure=sheet.attribution(job.image, maps, f"{job.title(name)}, at {layer}", "evidence, in units of the score"),
        arrays={"image": job.image, "map": maps, "map_of_layer": low},
        numbers={"layer": layer, "largest": maps.max(), "probability": job.probabilities[job.target]},
        line=f"{job.title(name)}, at {layer}",
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
