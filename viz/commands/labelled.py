"""Photographs with known classes, for techniques that measure over many, and a network that has those classes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import models
import viz
from models import class_list
from models.class_list import read_class_list
from models.dataset import SUFFIXES
from models.mistakes import UserError

from .pictures import in_channels


@dataclass(frozen=True)
class Labelled:
    """images (N,3,H,W) in [0,1] on the 256 levels of a picture file, labels (N,), and what is known of the classes."""

    images: np.ndarray
    labels: np.ndarray
    paths: tuple
    names: tuple
    folders: tuple
    imagenet: tuple  # for each class its ImageNet indices, () where unknown

    @property
    def flat(self):
        """Whether they lie in no class folders."""
        return self.folders == ("",)


def add_data_options(options, count, flat=False):
    """--data and --count, for `labelled_images`."""
    also = "; or DIR/*.jpg, of no known class" if flat else ""
    options.add_argument(
        "--data",
        required=True,
        type=Path,
        metavar="DIR",
        help="photographs with known classes: DIR/val/<class>/*.jpg or DIR/<class>/*.jpg, perhaps with DIR/classes.txt"
        + also,
    )
    options.number("--count", count, "how many photographs of --data", low=1)


def labelled_images(folder, size, count, seed, model=None, flat=False):
    """`count` photographs, as evenly from the classes as there are pictures, drawn by `seed`, at `size` pixels.

    model: the network that sees them, if it may see grey. flat: whether pictures without class folders will do, all of
    one class then, whose name is "".
    """
    root = folder / "val" if (folder / "val").is_dir() else folder
    if not root.is_dir():
        raise UserError(f"--data {folder} is not a folder")
    rows = [("", "", ())] if flat and _is_flat(root) else _classes(folder, root)
    rng = np.random.default_rng(seed)
    found = {
        place: rng.permutation(sorted(p for p in (root / row[0]).iterdir() if p.suffix.lower() in SUFFIXES))
        for place, row in enumerate(rows)
    }
    chosen = [(path, place, n) for place, paths in found.items() for n, path in enumerate(paths)]
    chosen = sorted(sorted(chosen, key=lambda c: c[2])[:count], key=lambda c: (c[1], c[2]))
    if not chosen:
        raise UserError(f"--data {folder}: there are no pictures in its class folders")
    images = np.concatenate([viz.as_saved(models.load_image(path, size)) for path, _, _ in chosen])
    images = images if model is None else in_channels(model, images)
    labels = np.array([place for _, place, _ in chosen])
    folders, names, imagenet = zip(*rows, strict=True)
    return Labelled(images, labels, tuple(path for path, _, _ in chosen), names, folders, imagenet)


def _is_flat(root):
    """Whether there are pictures, and no folders."""
    found = [path for path in root.iterdir() if not path.name.startswith(".")]
    return not any(path.is_dir() for path in found) and any(path.suffix.lower() in SUFFIXES for path in found)


def _classes(folder, root):
    """(folder, name, ImageNet indices) of each class, in the order of classes.txt, or of the folders' names."""
    listing = folder / class_list.NAME
    if not listing.is_file():
        found = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        if not found:
            raise UserError(f"--data {folder} holds no class folders")
        return [(name, name, ()) for name in found]
    rows = read_class_list(listing.read_bytes(), folder)
    missing = [row.folder for row in rows if not (root / row.folder).is_dir()]
    if missing or not rows:
        lists = f"the folder {missing[0]}, which is not in {root}" if missing else "no class"
        raise UserError(f"--data {folder}: its {class_list.NAME} lists {lists}")
    return [(row.folder, row.name, row.imagenet) for row in rows]


def model_for(model, data):
    """`model` with the classes of the photographs, in their order: its own, or the best of the ImageNet classes."""
    labels, groups = model.labels or (), []
    for folder, name, imagenet in zip(data.folders, data.names, data.imagenet, strict=True):
        own = own_classes(model, folder, name, imagenet)
        if not own:
            raise UserError(f"the model has no class for the photographs of {name!r} ({folder})")
        groups.append(own)
    if groups == [[i] for i in range(len(labels))]:
        return model
    return viz.regroup(model, groups, data.names)


def own_classes(model, folder, name, imagenet=()):
    """The indices of the model's classes that a folder of photographs stands for: by WordNet id, by the class's name,
    or, of a network of ImageNet's, those given."""
    labels, plain = model.labels or (), name.replace("_", " ").casefold()
    ids = [getattr(label, "synset", "") for label in labels]
    own = [i for i, label in enumerate(labels) if folder and ids[i] == folder or plain == label.casefold()]
    return own or (list(imagenet) if len(labels) == 1000 else [])


def classes_of_folders(model, source):
    """{folder: indices of the classes it stands for} of a many.photographs.Source, for folders that stand for some."""
    rows = source.class_rows()
    found = {name: own_classes(model, name, *rows.get(name, (name, ()))) for name in sorted(source.folders)}
    return {name: classes for name, classes in found.items() if classes}
