"""Integrated gradients: the score's rise from a baseline to the photograph, shared out among the pixels.

(x - x') * integral over a from 0 to 1 of dy/dx at x' + a (x - x'), by the midpoint rule (Sundararajan et al. 2017,
arXiv:1703.01365). The map is its sum over channels. The line gives the residual: what the sum of all attributions is
off from y(x) - y(x').
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/integrated_gradients.py photo.jpg --target cat --steps 100", neuron=True)
options.add_argument("--steps", type=int, default=50, help="gradients along the way (default %(default)s)")
options.add_argument("--baseline", type=float, default=0.0, help="grey level x' of all pixels (default %(default)s)")


def run(job):
    baseline = job.args.baseline
    found = viz.integrated_gradients(
        job.model, job.image, **job.explained, baseline=baseline, steps=job.args.steps, progress=job.progress
    )
    residual = float(viz.completeness(job.model, job.image, found, **job.explained, baseline=baseline)[0])
    maps = viz.per_pixel(found, "signed")
    job.write(
        figure=sheet.attribution(job.image, maps, job.title("Integrated gradients"), "in units of the score"),
        arrays={"image": job.image, "attribution": found},
        numbers={"sum": found.sum(), "residual": residual},
        line=f"{job.title('integrated gradients')}, sum {found.sum():.4g}, residual {residual:.2g}",
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
