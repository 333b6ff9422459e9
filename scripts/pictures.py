"""Options and pictures that the scripts of optimised images share."""

from command import UserError

import models


def add_course_options(options, steps, lr=None, optimizer=None, optimizers=("sgd", "momentum", "adam", "lbfgs")):
    """--steps, --lr, --optimizer and --gif, with these defaults; without --optimizer where that is None."""
    options.add_argument("--steps", type=int, default=steps, help="(default %(default)s)")
    if lr is not None:
        options.add_argument("--lr", type=float, default=lr, help="learning rate (default %(default)s)")
    if optimizer is not None:
        options.add_argument("--optimizer", choices=optimizers, default=optimizer, help="(default %(default)s)")
    options.add_argument("--gif", type=int, default=0, metavar="N", help="write the course, every N-th step, as a GIF")


def course(job):
    """The keyword arguments of viz's optimisers that --quiet, --seed and --gif decide."""
    if job.args.gif < 0:
        raise UserError(f"--gif must not be negative, got {job.args.gif}")
    return {"seed": job.args.seed, "progress": job.progress, "record": job.args.gif}


def fitted(job, path, side):
    """(1,3,H,W): the picture at `path` (None: the sample) with its long side reduced to `side` pixels, uncropped."""
    picture = job.photograph(path)
    if side < 16:
        raise UserError(f"a side of {side} pixels is too short: 16 at least")
    height, width = picture.shape[2:]
    scale = min(1.0, side / max(height, width))
    return models.load_image(picture, (round(height * scale), round(width * scale)))


def names(text):
    """ "relu1_1,relu2_1" as a list; None stays None."""
    return None if text is None else [name.strip() for name in text.split(",")]


def history(result):
    """The arrays of a result: the image and each loss."""
    return {"image": result.image} | {f"loss_{name}": values for name, values in result.losses.items()}


def fall(values):
    """ "from 12.3 to 0.45 (-96.3 %)"."""
    change = f" ({100 * (values[-1] / values[0] - 1):+.1f} %)" if values[0] else ""
    return f"from {values[0]:.4g} to {values[-1]:.4g}{change}"
