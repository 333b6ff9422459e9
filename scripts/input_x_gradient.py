"""Input x gradient: what each pixel adds to the score, to first order.

x * dy/dx, y the score before the softmax (Shrikumar et al. 2016, arXiv:1605.01713). The map is its sum over channels.
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/input_x_gradient.py photo.jpg --target cat", neuron=True)


def run(job):
    found = viz.input_x_gradient(job.model, job.image, **job.explained)
    maps = viz.per_pixel(found, "signed")
    job.write(
        figure=sheet.attribution(job.image, maps, job.title("Input x gradient"), "x * dy/dx, in units of the score"),
        arrays={"image": job.image, "attribution": found},
        numbers={"sum": found.sum(), "largest": found.max(), "smallest": found.min()},
        line=job.title("input x gradient"),
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
