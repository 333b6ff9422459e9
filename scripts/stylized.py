"""Copies of photographs in the style of pictures, made once and kept: what train.py --style-augment mixes in."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

import models
import viz
from minigrad.device import to_numpy
from minigrad.serialization import replacing
from models.augment import to_float
from models.catalogue import home
from models.dataset import SUFFIXES
from models.mistakes import UserError

FORMAT = 1  # of the file; a change of what is stored makes old ones unreachable
BATCH = 8  # copies made at once; a run that was stopped goes on at a whole batch


@dataclass(frozen=True)
class Copies:
    """images (K,S,S,3) uint8, memory-mapped; owners (K,), the photographs they are copies of; key, what made them.

    finished: False if the work was stopped before all were made.
    """

    images: np.ndarray
    owners: np.ndarray
    key: str
    finished: bool


def add_style_options(options):
    """--style-augment and what goes with it, for `stylized_copies`."""
    add = options.add_argument_group("stylised copies (Geirhos et al. 2019, arXiv:1811.12231)").add_argument
    add(
        "--style-augment",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the training photographs, drawn by --seed, that are also shown in the style of one of --styles "
        "(default 0; 1 doubles the epoch); made before training, half a second each at 128 px, and kept in --cache",
    )
    add("--styles", nargs="+", type=Path, default=[], metavar="PATH", help="pictures, or folders of pictures")
    add("--styled-by", metavar="MODEL", default="minivgg", help="whose layers are looked at (default %(default)s)")
    add("--style-steps", type=int, default=10, help="of style transfer (default %(default)s)")


def stylized_copies(job, photographs, members):
    """The Copies that the options ask for, of `photographs` at `members`; None if they ask for none.

    Made by viz.stylize and kept in the cache, batch by batch; after Ctrl-C the same command goes on from the last.
    """
    args = job.args
    styles = style_files(args)
    if not args.style_augment:
        return None
    count = max(1, round(args.style_augment * len(members)))
    rng = np.random.default_rng([args.seed, 1])
    owners = rng.permutation(members)[:count]
    choice = rng.integers(len(styles), size=count)
    model = models.load(args.styled_by, device=args.device).eval().requires_grad_(False)
    size = photographs.images.shape[1]
    facts = {
        "format": FORMAT,
        "size": size,
        "photographs": photographs.digests[owners].tolist(),
        "styles": [hashlib.sha256(path.read_bytes()).hexdigest() for path in styles],
        "choice": choice.tolist(),
        "network": digest_of(model),
        "steps": args.style_steps,
    }
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    stem = Path(args.cache or home() / "datasets") / f"styled-{size}px-{key}"

    def make(batch):
        content = to_float(photographs.images[owners[batch]])
        style = np.concatenate([models.load_image(styles[i], size) for i in choice[batch]])
        made = viz.stylize(model, content, style, steps=args.style_steps)
        return np.rint(made * 255).astype(np.uint8).transpose(0, 2, 3, 1)

    done = fill(stem, (count, size, size, 3), make, job)
    return Copies(np.load(stem.with_suffix(".npy"), mmap_mode="r"), owners, key, done == count)


def style_files(args):
    """The pictures that --styles names, those of a folder in alphabetical order."""
    if not 0 <= args.style_augment <= 1:
        raise UserError(f"--style-augment is a share from 0 to 1, got {args.style_augment}")
    if bool(args.styles) != (args.style_augment > 0):
        raise UserError("--style-augment SHARE and --styles PATH go together: give both or neither")
    if args.style_steps < 1:
        raise UserError(f"--style-steps must be at least 1, got {args.style_steps}")
    found = []
    for path in args.styles:
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside or not inside[0].is_file():
            raise UserError(f"--styles {path}: " + ("holds no pictures" if path.is_dir() else "does not exist"))
        found += inside
    return found


def fill(stem, shape, make, job):
    """Write make(slice), batch by batch, into STEM.npy, from where STEM.json says it was left; how many are done."""
    array, progress = stem.with_suffix(".npy"), stem.with_suffix(".json")
    done = json.loads(progress.read_text())["done"] if array.exists() and progress.exists() else 0
    if done == shape[0]:
        return done
    stem.parent.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(array, mode="r+" if done else "w+", dtype=np.uint8, shape=shape)
    with job.stoppable(), tqdm(total=shape[0], initial=done, unit="copy", disable=job.args.quiet) as bar:
        bar.set_description("styling")
        while done < shape[0] and not job.stopped:
            batch = slice(done, min(done + BATCH, shape[0]))
            images[batch] = make(batch)
            images.flush()
            bar.update(batch.stop - done)
            done = batch.stop
            with replacing(progress) as temporary:
                temporary.write_text(json.dumps({"done": done}))
    return done


def digest_of(model):
    """The SHA-256 of a network's weights."""
    digest = hashlib.sha256()
    for name, array in model.state_dict().items():
        digest.update(name.encode() + np.ascontiguousarray(to_numpy(array)).tobytes())
    return digest.hexdigest()
