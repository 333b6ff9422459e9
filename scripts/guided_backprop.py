"""Guided backpropagation: the details of the photograph that speak for a class, a layer, a channel or a neuron.

The backward pass with R = g * [g > 0] * [x > 0] at every ReLU (Springenberg et al. 2014, arXiv:1412.6806, section
3.4). It is sharp whatever the network has learned: see sanity_check.py.
"""

from command import main, parser

import viz
from viz import plot

options = parser(__doc__, "python scripts/guided_backprop.py photo.jpg --target cat", neuron=True)
options.add_argument(
    "--only-convolutional", action="store_true", help="leave the ReLUs between fully connected layers as they are"
)


def run(job):
    found = viz.guided_backprop(job.model, job.image, **job.explained, only_convolutional=job.args.only_convolutional)
    labels = ["photograph", f"grey is 0, full colour ±{plot.Scale.of(found).high:.2g}"]
    job.write(
        figure=plot.pictures([job.image, plot.centred(found)], labels, job.title("Guided backpropagation")),
        arrays={"image": job.image, "attribution": found},
        numbers={"largest": found.max(), "smallest": found.min()},
        line=job.title("guided backpropagation"),
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
