"""The families of truth: what a method's maps are marked by, batch by batch, {measure: (N,) values}.

    mark, object, background     a network whose cue is that part explains scenes: where does the map fall, and does it
                                 rank the parts as changing them does?
    gridpg, difull, dipart       the network of objects explains one cell of four
    axioms                       networks set by hand: which axioms are kept, whatever the trained network

A method is anything of which `method(model, images, targets)` gives signed or unsigned maps (N,H,W). Scenes that the
network gets wrong are NaN, which `viz.estimate` leaves out.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from minigrad.nn import Module

from .. import checks
from . import grids, known, scores
from .networks import scored
from .scenes import KINDS, SIZE, scenes

CUES = ("mark", "object", "background")
GRIDS = {"gridpg": lambda model: model, "difull": grids.difull, "dipart": grids.dipart}
FAMILIES = (*CUES, *GRIDS, "axioms")
TILES = 60  # scenes that grids are put together from, if there are no more


class Cue:
    """Scenes numbered from `first`, and the network whose cue is `part`."""

    def __init__(self, part: Any, model: Module, count: Any, first: Any, seed: int = 0) -> None:
        self.part, self.model = part, model
        self.scenes = scenes(count, seed, first)
        self.target = self.scenes.kinds[part]
        self.right = named(model, self.scenes.images) == self.target

    @cached_property
    def effects(self) -> np.ndarray:
        """(N,4), for all methods: see `scores.part_effects`."""
        return scores.part_effects(self.model, self.scenes, self.target)

    def marks(self, method: Callable[..., Any]) -> dict:
        """gain, precision and null of the cue's mask; rank, missed and invented of the four parts."""
        maps, masks = method(self.model, self.scenes.images, self.target), self.scenes.masks
        excess = scores.part_excess(maps, masks)
        missed, invented = scores.missed_and_invented(excess, self.effects)
        found = {
            "gain": scores.gain(maps, masks[self.part]),
            "precision": scores.top_k_precision(maps, masks[self.part]),
            "null": scores.null_test(maps, masks[self.part]),
            "rank": scores.rank_correlation(excess, self.effects),
            "missed": missed,
            "invented": invented,
        }
        return {name: np.where(self.right, values, np.nan) for name, values in found.items()}


class Grid:
    """Grids of four scenes whose objects are of different kinds, and the network of objects, as `kind` has it."""

    def __init__(self, kind: Any, model: Module, count: Any, first: Any, seed: int = 0) -> None:
        drawn = scenes(max(count, TILES), seed, first)
        labels = drawn.kinds["object"]
        right = named(model, drawn.images) == labels
        pictures, label, self.boxes = checks.mosaics(drawn.images[right], labels[right], count, (seed, first))
        self.model, self.pictures, self.target = GRIDS[kind](model), pictures, label
        if kind != "gridpg":
            self.target = grids.cell_class(label, self.boxes, (SIZE, SIZE), 2, KINDS)

    def marks(self, method: Callable[..., Any]) -> dict:
        """gain of the cell, and how often the maximum lies in it."""
        maps = method(self.model, self.pictures, self.target)
        share = checks.positive_share(maps, self.boxes)
        return {"gain": (share - 0.25) / 0.75, "pointing": checks.pointing_game(maps, self.boxes, 0).astype(float)}


class Axioms:
    """Pictures for the networks that are set by hand."""

    def __init__(self, count: Any, first: Any, seed: int = 0) -> None:
        self.count, self.seed = count, (seed, first)

    def marks(self, method: Callable[..., Any]) -> dict:
        """For each axiom the share of the networks on which it is kept."""
        kept = known.axioms_kept(method, self.count, self.seed)
        return {axiom: np.mean(list(networks.values()), 0) for axiom, networks in kept.items()}


def family(name: str, networks: Mapping[str, Any], count: int, first: int, seed: int = 0) -> Any:
    """The batch of `count` pictures from number `first` of the family `name`. networks: {cue: its network}."""
    if name in CUES:
        return Cue(name, networks[name], count, first, seed)
    return Axioms(count, first, seed) if name == "axioms" else Grid(name, networks["object"], count, first, seed)


def named(model: Module, images: np.ndarray) -> np.ndarray:
    """(N,): the class that the network names in each."""
    return scored(model, images).argmax(1)
