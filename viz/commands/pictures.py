"""Options and pictures that optimised images share."""

import models

LEAST = 16  # pixels of a picture's long side


def add_course_options(options, steps, lr=None, optimizer=None, optimizers=("sgd", "momentum", "adam", "lbfgs")):
    """--steps, --lr, --optimizer and --gif, with these defaults; without --optimizer where that is None."""
    options.number("--steps", steps)
    if lr is not None:
        options.number("--lr", lr, "learning rate")
    if optimizer is not None:
        options.add_argument("--optimizer", choices=optimizers, default=optimizer, help="(default %(default)s)")
    options.number("--gif", 0, "write the course, every N-th step, as a GIF", low=0, metavar="N", shown="0: none")


def course(job):
    """The keyword arguments of viz's optimisers that --quiet, --seed and --gif decide."""
    return {"seed": job.args.seed, "progress": job.progress, "record": job.args.gif}


def fitted(job, path, side):
    """(1,3,H,W): the picture at `path` (None: the sample) with its long side reduced to `side` pixels, uncropped."""
    picture = job.photograph(path)
    height, width = picture.shape[2:]
    scale = min(1.0, side / max(height, width))
    return models.load_image(picture, (round(height * scale), round(width * scale)))


def history(result):
    """The arrays of a result: the image and each loss."""
    return {"image": result.image} | {f"loss_{name}": values for name, values in result.losses.items()}


def fall(values):
    """ "from 12.3 to 0.45 (-96.3 %)"."""
    change = f" ({100 * (values[-1] / values[0] - 1):+.1f} %)" if values[0] else ""
    return f"from {values[0]:.4g} to {values[-1]:.4g}{change}"
