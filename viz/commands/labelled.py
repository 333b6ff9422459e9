"""Photographs with known classes, for techniques that measure over many, and a network that has those classes."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

import models
import viz
from minigrad.nn import Module
from models import class_list
from models.images import ImageError
from models.mistakes import UserError
from models.model import Model
from viz.many.photographs import Source, in_channels

from .options import Parser
from .tables import counted


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
    def flat(self) -> bool:
        """Whether they lie in no class folders."""
        return self.folders == ("",)


WHERE = "DIR/val/<class>/*.jpg or DIR/<class>/*.jpg, perhaps with DIR/classes.txt, as a folder, a tar archive, or a "
WHERE += "text with a path on each line"


def add_data_options(options: Parser, count: int, flat: bool = False) -> None:
    """--data and --count, for `labelled_images`."""
    also = "; or pictures of no known class" if flat else ""
    what = f"photographs with known classes: {WHERE}{also}"
    options.add_argument("--data", required=True, type=Path, metavar="DIR", help=what)
    options.number("--count", count, "how many photographs of --data", low=1)


def labelled_images(
    data: Path, size: int | tuple[int, int], count: int, seed: int, model: Module | None = None, flat: bool = False
) -> Labelled:
    """`count` photographs, as evenly from the classes as there are pictures, drawn by `seed`, at `size` pixels.

    data: as many.photographs.Source takes it. model: the network that sees them, if it may see grey. flat: whether
    pictures without class folders will do, or of one folder that is no class of the model: all of one class then, whose
    name is "". What cannot be read is left out, with a warning.
    """
    source = Source(data)
    classes, places = _by_class(source, data, flat, model)
    rng = np.random.default_rng(seed)
    found = {label: rng.permutation(places[row[0]]) for label, row in enumerate(classes)}
    chosen = [(place, label, n) for label, its in found.items() for n, place in enumerate(its)]
    chosen = sorted(sorted(chosen, key=lambda c: c[2])[:count], key=lambda c: (c[1], c[2]))
    read = _read(source, sorted(place for place, *_ in chosen), size)
    chosen = [one for one in chosen if one[0] in read]
    if not chosen:
        raise UserError(f"--data {data}: no photograph of it can be read")
    images = np.concatenate([read[place] for place, *_ in chosen])
    images = images if model is None else in_channels(model, images)
    labels = np.array([label for _, label, _ in chosen])
    folders, names, imagenet = zip(*classes, strict=True)
    return Labelled(images, labels, tuple(source.where(place) for place, *_ in chosen), names, folders, imagenet)


def _by_class(source: Source, data: Path, flat: bool, model: Module | None) -> tuple[list[tuple], dict[str, list[int]]]:
    """([(folder, name, ImageNet indices)] of each class, in the order of classes.txt or of the folders' names;
    {folder: places}): of those below a folder "val", if there are such."""
    paths = [PurePosixPath(name) for name in source.names]
    validation = [place for place, path in enumerate(paths) if path.parent.parent.name == "val"]
    places = {}
    for place in validation or range(len(paths)):
        places.setdefault(paths[place].parent.name, []).append(place)
    rows = source.class_rows()
    if rows is None:
        rows = {name: (name, ()) for name in sorted(places) if name}
        known = isinstance(model, Model) and any(own_classes(model, name, name) for name in rows)
        if flat and len(places) == 1 and not known:
            return [("", "", ())], {"": next(iter(places.values()))}
        if not rows:
            raise UserError(f"--data {data} holds no class folders")
    missing = [name for name in rows if name not in places]
    if missing or not rows:
        lists = f"the folder {missing[0]}, which is not in it, or has no pictures" if missing else "no class"
        raise UserError(f"--data {data}: its {class_list.NAME} lists {lists}")
    return [(folder, name, tuple(indices)) for folder, (name, indices) in rows.items()], places


def _read(source: Source, places: Sequence[int], size: int | tuple[int, int]) -> dict[int, np.ndarray]:
    """{place: (1,3,H,W) on the 256 levels of a picture file} of those that can be read."""
    found, errors = {}, []
    for place, file in source.files(places):
        try:
            if isinstance(file, str):
                raise ImageError(file)
            found[place] = viz.as_saved(models.load_image(file, size))
        except ImageError as error:
            errors.append(f"{source.where(place)}: {error}")
    if errors:
        warnings.warn(
            f"left out {len(errors)} of {counted(len(places), 'photograph')}, the first: {errors[0]}", stacklevel=2
        )
    return found


def model_for(model: Model, data: Labelled) -> Module:
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


def own_classes(model: Model, folder: str, name: str, imagenet: Sequence[int] = ()) -> list[int]:
    """The indices of the model's classes that a folder of photographs stands for: by WordNet id, by the class's name,
    or, of a network of ImageNet's, those given."""
    labels, plain = model.labels or (), name.replace("_", " ").casefold()
    ids = [getattr(label, "synset", "") for label in labels]
    own = [i for i, label in enumerate(labels) if folder and ids[i] == folder or plain == label.casefold()]
    return own or (list(imagenet) if len(labels) == 1000 else [])


def classes_of_folders(model: Model, source: Source) -> dict[str, list[int]]:
    """{folder: indices of the classes it stands for} of a many.photographs.Source, for folders that stand for some."""
    rows = source.class_rows() or {}
    found = {name: own_classes(model, name, *rows.get(name, (name, ()))) for name in sorted(source.folders)}
    return {name: classes for name, classes in found.items() if classes}
