"""LRP, layer-wise relevance propagation: the score shared out backwards, layer by layer, until it lies on the pixels.

Rules epsilon, gamma, zplus, alphabeta, or the composite of them that Montavon et al. 2019 recommend (Bach et al. 2015,
PLoS ONE 10(7); the equations are in viz/lrp.py). The map is the sum over channels. The line gives how much of the score
arrives at the pixels: biases keep some of it.
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/lrp.py photo.jpg --target cat --rule zplus", neuron=True)
options.add_argument(
    "--rule",
    choices=("composite", "epsilon", "gamma", "zplus", "alphabeta"),
    default="composite",
    help="how a layer shares relevance out (default %(default)s)",
)
options.add_argument("--epsilon", type=float, default=1e-6, help="added to every divisor (default %(default)s)")
options.add_argument("--gamma", type=float, default=0.25, help="of the gamma rule (default %(default)s)")
options.add_argument("--alpha", type=float, default=2.0, help="of alpha-beta; beta is alpha - 1 (default %(default)s)")


def run(job):
    how = {name: getattr(job.args, name) for name in ("rule", "epsilon", "gamma", "alpha")}
    found = viz.lrp(job.model, job.image, **job.explained, **how)
    lost = -float(viz.completeness(job.model, job.image, found, **job.explained, baseline=None)[0])
    maps = viz.per_pixel(found, "signed")
    title = job.title(f"LRP, {job.args.rule}")
    job.write(
        figure=sheet.attribution(job.image, maps, title, "relevance, in units of the score"),
        arrays={"image": job.image, "attribution": found},
        numbers={"relevance": found.sum(), "score": found.sum() + lost},
        line=f"{title}: {found.sum():.4g} of {found.sum() + lost:.4g}",
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
