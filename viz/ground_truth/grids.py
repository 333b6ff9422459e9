"""Grids of pictures of which only one cell can matter (Rao, Boehle and Schiele 2022, arXiv:2205.10435).

The grid pointing game (Boehle et al. 2021, arXiv:2104.00032) shows a network a grid of pictures of different classes
and asks where the attribution of one of them falls: `viz.mosaics`, `viz.positive_share`. Nothing forces the network to
look at the right cell, so a method may be blamed for what the network does. Here it cannot do otherwise:

    GridPG    the network as it is, whose head sees the whole grid
    DiFull    every cell goes through the network alone: of the score of a cell, no pixel outside is a part
    DiPart    the maps are those of the whole grid, but each head sees its cell's: what reaches over the border of a
              cell is at most a receptive field wide

A class of DiFull and DiPart is a class in a cell: K classes in n x n cells, cell after cell in rows, make n n K.

Letters: N images, n x n cells, K classes; (C,H,W) one cell, (C,nH,nW) the grid.
"""

from typing import Any

import numpy as np

from minigrad import Tensor, nn
from minigrad import functional as F
from minigrad.nn import Module

from ..head import default_layer
from ..typing import Classes


class Split(nn.Module):
    """(N,C,nH,nW) to (N n n,C,H,W): the cells of each grid, row by row, as images of their own."""

    def __init__(self, cells: int) -> None:
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        n, (count, c, height, width) = self.cells, x.shape
        rows = F.reshape(x, (count, c, n, height // n, n, width // n))
        return F.reshape(F.permute(rows, (0, 2, 4, 1, 3, 5)), (count * n * n, c, height // n, width // n))

    def describe(self) -> dict:
        return {"cells": self.cells}


class Join(Split):
    """The way back: (N n n,C,H,W) to (N,C,nH,nW)."""

    def forward(self, x: Tensor) -> Tensor:
        n, (count, c, h, w) = self.cells, x.shape
        cells = F.reshape(x, (count // (n * n), n, n, c, h, w))
        return F.reshape(F.permute(cells, (0, 3, 1, 4, 2, 5)), (count // (n * n), c, n * h, n * w))


class Heads(nn.Module):
    """(N,C,nH,nW) to (N,n n K): the scores (N,K) that `head` gives of each cell's maps, side by side."""

    def __init__(self, head: Module, cells: int) -> None:
        self.split, self.head = Split(cells), head

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.split(x))
        return F.reshape(y, (x.shape[0], self.split.cells**2 * y.shape[1]))


def difull(model: Module, cells: int = 2) -> Module:
    """`model`, a chain, as one of grids of which every cell is seen alone. Layers and weights are shared.

    Raises ValueError for a model that is no chain of maps and then a head.
    """
    maps, head = _halves("difull", model)
    # A ReLU of what is rectified already changes nothing; it is the layer at which the class activation maps look.
    joined = {"join": Join(cells), "rectified": nn.ReLU()}
    return _of_grids(model, {"split": Split(cells), **maps, **joined, "heads": Heads(head, cells)}, cells)


def dipart(model: Module, cells: int = 2) -> Module:
    """`model`, a chain, as one of grids of which every head sees one cell of the maps. As `difull` otherwise."""
    maps, head = _halves("dipart", model)
    return _of_grids(model, {**maps, "heads": Heads(head, cells)}, cells)


def cell_class(
    label: Classes | None, box: np.ndarray, cell_size: tuple[int, int], cells: int, classes: int
) -> np.ndarray:
    """(N,): the class of DiFull and DiPart that stands for `label` (N,) in the cell at `box` (N,4).

    box: top, left, bottom, right in pixels, as `viz.mosaics` gives them. cell_size: (H,W). classes: K.
    """
    rows, columns = box[:, 0] // cell_size[0], box[:, 1] // cell_size[1]
    return (rows * cells + columns) * classes + label


def _halves(name: str, model: Module) -> tuple:
    """({name: layer} up to the last maps, the head as a chain) of a chain."""
    if not isinstance(model, nn.Sequential):
        raise ValueError(f"{name}: needs a chain (nn.Sequential), got {type(model).__name__}")
    layers, last = dict(model.children()), default_layer(model)
    if last not in layers:
        raise ValueError(f"{name}: the last maps, {last!r}, are inside another layer: where the head begins is unclear")
    names = list(layers)
    end = names.index(last) + 1
    return {n: layers[n] for n in names[:end]}, nn.Sequential({n: layers[n] for n in names[end:]})


def _of_grids(model: Module, layers: Any, cells: int) -> nn.Sequential:
    network = nn.Sequential(layers)
    network.input_size, network.labels = tuple(cells * side for side in model.input_size), None
    return network
