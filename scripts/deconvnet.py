"""Deconvnet: what in the photograph feeds the score of a class, a layer, a channel or a neuron.

The backward pass with R = g * [g > 0] at every ReLU, whatever its input was, and unpooling by the switches of the
forward pass (Zeiler and Fergus 2013, arXiv:1311.2901, section 2.1).
"""

from command import main, parser

import viz
from viz import plot

options = parser(__doc__, "python scripts/deconvnet.py photo.jpg --target cat", neuron=True)


def run(job):
    found = viz.deconvnet(job.model, job.image, **job.explained)
    labels = ["photograph", f"grey is 0, full colour ±{plot.Scale.of(found).high:.2g}"]
    job.write(
        figure=plot.pictures([job.image, plot.centred(found)], labels, job.title("Deconvnet")),
        arrays={"image": job.image, "attribution": found},
        numbers={"largest": found.max(), "smallest": found.min()},
        line=job.title("deconvnet"),
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
