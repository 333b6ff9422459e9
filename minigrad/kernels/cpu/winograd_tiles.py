"""Winograd's transforms of blocks of tiles: from pixels to the n^2 values of each tile, from products back to pixels.

A block is (images, rows), slices of the images and of the rows of tiles. Every transform is two products of a small
matrix, the rows of all tiles at once and then the columns of each tile, straight from and to the image. Values and
products lie value by value, (n^2, T, channels), so that each of the n^2 products reads and writes runs of memory.
"""

import numpy as np

from minigrad.kernels import winograd
from minigrad.kernels.cpu import tuning
from minigrad.kernels.cpu.blocking import grid_blocks
from minigrad.kernels.cpu.memory import Workspace
from minigrad.kernels.cpu.threads import blocks, parallel, runs

workspace = Workspace()


class Tiling(winograd.Tiling):
    """A tiling with its matrices in float32, in the forms in which blocks are multiplied by them."""

    def __init__(self, m, points):
        super().__init__(m, points)
        self.weight = np.kron(self.G, self.G).astype(np.float32)  # (n^2, 9): of rows and columns at once
        self.BT, self.AT = self.BT.astype(np.float32), self.AT.astype(np.float32)
        self.A = np.ascontiguousarray(self.AT.T)
        self.turned = np.ascontiguousarray(self.weight[:, ::-1])  # the same for weights turned by half a turn
        self.sums = {parts: np.hstack([self.AT] * parts) for parts in tuning.PARTS}  # A^T of a sum of products
        self.with_bias = np.hstack([self.AT, np.ones((m, 1), np.float32)])  # the bias rides as one more column

    def of_weights(self, turned):
        """The matrix (n^2, 9) for weights, or for their `turned` selves."""
        return self.turned if turned else self.weight


F2, F4, F6 = (Tiling(tiling.m, tiling.points) for tiling in (winograd.F2, winograd.F4, winograd.F6))


class Tiles:
    """The tiles of x (N,H,W,C), contiguous, that an output of `grid` (N,OH,OW) takes, with `matrix` (n, k) applied to
    their rows and columns. They are k x k, m apart, from row and column `origin` of x, which is 0 outside itself.

    name: that of the scratch memory which the values of a block are in, until the same thread takes the next block.
    """

    def __init__(self, name, x, matrix, tiling, origin, grid):
        self.name, self.x, self.matrix, self.m, self.origin = name, x, matrix, tiling.m, origin
        self.grid = grid[0], *tiling.count(grid[1:])  # (N, TH, TW)

    def blocks(self, tiles, cut=blocks):
        """Blocks of about so many tiles; cut: see grid_blocks."""
        return grid_blocks(*self.grid, tiles, cut)

    def shape(self, block):
        """(N, TH, TW) of a block."""
        images, rows = block
        return images.stop - images.start, rows.stop - rows.start, self.grid[2]

    def values(self, block):
        """The values (n^2, T, C) of the tiles of a block, by this thread."""
        values, by_tile = self._empty(block)
        self._fill(block, by_tile)
        return values

    def values_by_all(self, block):
        """The same for a block too large for one core's cache, by all threads."""
        values, by_tile = self._empty(block)
        tiles = tuning.BLOCK_BYTES // (4 * len(values) * values.shape[2])
        parallel(
            lambda inner: self._fill(within(block, inner), by_tile[inner]),
            grid_blocks(*self.shape(block), max(1, tiles)),
        )
        return values

    def _empty(self, block):
        """Room for the values of a block: (n^2, T, C), and the same seen as (N, TH, TW, n, n, C)."""
        n, c = len(self.matrix), self.x.shape[3]
        values = workspace.empty(self.name, (n, n, *self.shape(block), c), np.float32)
        return values.reshape(n * n, -1, c), values.transpose(2, 3, 4, 0, 1, 5)

    def _fill(self, block, by_tile):
        """First all rows of x under a row of tiles at once, then the columns of each tile. Where rows are outside x,
        and so 0, the columns of the matrix that would meet them are left out."""
        (images, rows), (side, k), m = block, self.matrix.shape, self.m
        (h, w, c), (n, th, tw), (_, start) = self.x.shape[1:], by_tile.shape[:3], self.origin
        width = m * (tw - 1) + k
        left, right = min(max(0, -start), width), min(max(0, w - start), width)

        half = workspace.empty("half", (n, th, side, width * c), np.float32)
        half[..., : left * c] = 0
        half[..., right * c :] = 0
        for first, last, top in self._rows(rows, k):
            low, high = max(0, -top), min(k, h - top)
            if low >= high or left >= right:
                half[:, first:last] = 0
                continue
            corner = ((images.start * h + top + low) * w + left + start) * c
            shape = (n, last - first, high - low, (right - left) * c)
            source = _view(self.x, corner, shape, (h * w * c, m * w * c, w * c, 1))
            inside = half[:, first:last, :, left * c : right * c]
            for run in runs(source.shape[3], tuning.TRANSFORM_COLUMNS):
                np.matmul(self.matrix[:, low:high], source[..., run], out=inside[..., run])

        line = width * c
        tiles = _view(half, 0, (n, th, tw, side, k, c), (th * side * line, side * line, m * c, line, c, 1))
        np.matmul(self.matrix, tiles, out=by_tile)

    def _rows(self, rows, k):
        """[(first, last, top)]: runs of rows of tiles, counted within the block, and the row of x where each begins.

        Rows of tiles that lie within x are one run; any other is a run of its own.
        """
        tops = [self.m * row + self.origin[0] for row in range(rows.start, rows.stop)]
        inside = [i for i, top in enumerate(tops) if top >= 0 and top + k <= self.x.shape[1]]
        at_edges = [(i, i + 1, top) for i, top in enumerate(tops) if top < 0 or top + k > self.x.shape[1]]
        return at_edges + ([(inside[0], inside[-1] + 1, tops[inside[0]])] if inside else [])


def within(block, inner):
    """A part of a block, counted from the block's start, as a block of its own."""
    return tuple(slice(run.start + by.start, run.stop + by.start) for run, by in zip(inner, block, strict=True))


def to_pixels(tiling, products, bias, out):
    """A^T M A + bias: the sums over parts of the products M (parts, n^2, N, TH, TW, O) into their m x m outputs, as far
    as these lie in out (N,h,w,O), of any strides."""
    (h, w, o), (parts, _, n, th, tw) = out.shape[1:], products.shape[:5]
    m, side = tiling.m, tiling.n
    columns, matrix = (side, tiling.AT) if bias is None else (side + 1, tiling.with_bias)

    half = workspace.empty("half", (m, columns, n, th, tw, o), np.float32)
    source = products.reshape(parts * side, side, n, -1).transpose(1, 2, 0, 3)
    target = half.reshape(m, columns, n, -1)[:, :side].transpose(1, 2, 0, 3)
    for run in runs(source.shape[3], tuning.TRANSFORM_COLUMNS // parts):  # the matrix is `parts` times as wide
        np.matmul(tiling.sums[parts], source[..., run], out=target[..., run])
    if bias is not None:
        half[:, side] = bias
    half = half.transpose(2, 3, 0, 4, 1, 5)  # (N, TH, m, TW, columns, O)
    for tile_rows, height in ((slice(0, h // m), m), (slice(h // m, th), h % m)):
        for tile_columns, width in ((slice(0, w // m), m), (slice(w // m, tw), w % m)):
            source = half[:, tile_rows, :height, tile_columns]
            if source.size and width:
                rows, across = source.shape[1] * height, source.shape[3] * width
                pixels = out[:, m * tile_rows.start :, m * tile_columns.start :][:, :rows, :across]
                np.matmul(matrix[:width], source, out=pixels.reshape(*source.shape[:4], width, o))


def _view(array, start, shape, strides):
    """A view of a contiguous array: from its element `start`, by strides counted in elements."""
    size = array.itemsize
    return np.ndarray(shape, array.dtype, array, start * size, tuple(size * stride for stride in strides))
