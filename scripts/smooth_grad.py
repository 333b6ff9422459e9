"""SmoothGrad: saliency without its noise, by adding noise.

The gradient dy/dx averaged over noisy copies of the photograph (Smilkov et al. 2017, arXiv:1706.03825). The map is the
largest |.| of the three channels, as for saliency.
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/smooth_grad.py photo.jpg --target cat --samples 100", neuron=True)
options.add_argument("--samples", type=int, default=50, help="noisy copies (default %(default)s)")
options.add_argument(
    "--sigma", type=float, default=0.15, help="the noise, as a fraction of the image's max - min (default %(default)s)"
)


def run(job):
    how = {"samples": job.args.samples, "sigma": job.args.sigma, "seed": job.args.seed, "progress": job.progress}
    with job.stoppable():
        found = viz.smooth_grad(job.model, job.image, **job.explained, **how, callback=lambda _: job.stopped)
    maps = abs(found).max(1)
    job.write(
        figure=sheet.attribution(job.image, maps, job.title("SmoothGrad"), "max over channels of |mean dy/dx|"),
        arrays={"image": job.image, "attribution": found},
        numbers={"largest": maps.max(), "mean": maps.mean()},
        line=job.title("SmoothGrad"),
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
