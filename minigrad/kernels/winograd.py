"""Winograd's convolution F(m x m, 3x3), to read: the mathematics, the matrices, and the algorithm in three steps.

The definition takes 9 products for each output of a 3x3 convolution. F(4x4, 3x3) takes 36 for 16 outputs, 2.25 each:

Two polynomials h (3 coefficients) and a (m) have a product s of n = m + 2 coefficients, which its values at n points
determine: evaluate both, multiply point by point, interpolate. With E_k the n x k matrix that evaluates a polynomial of
k coefficients at the points (the last point is infinity, where the value is the leading coefficient),

    s = E_n^-1 [(E_3 h) * (E_m a)].

For fixed h this map from a to s is linear: s = H a with H[i + j, i] = h[j], a matrix of n rows and m columns, so that
H = E_n^-1 diag(E_3 h) E_m. Its transpose maps n numbers d to y[i] = sum_j h[j] d[i + j], which are the m outputs of
correlating d with h:

    y = E_m^T [(E_3 h) * (E_n^-T d)],        in Winograd's letters  y = A^T [(G h) * (B^T d)],

n products where correlation takes 3 m. Why 36, then? For m = 4 the product of the polynomials has 6 coefficients. It
takes 6 of its values to determine them, no fewer, and each value is one product. In two dimensions the matrices act on
the columns of a 6x6 tile and then on its rows, which gives 6 values along each axis, 6 * 6 = 36 in all:

    Y = A^T [(G h G^T) * (B^T d B)] A.

With channels, each of the n^2 products is a product of matrices, (tiles, C) by (C, O): the sum over channels is taken
among the transformed values, so that a tile is transformed once for all outputs, and back once for all inputs.

- Forward: n x n tiles, m apart, of the input.
- Input gradient: the same with C and O exchanged, the 3x3 weights turned by half a turn and padding 2, of which the p
  rows and columns at each edge that belong to x's own padding are left out.
- Weight gradient: y is bilinear in d and h, so with V = B^T d B and dY an m x m tile of the output's gradient,
  gh = G^T [sum over tiles of (A dY A^T) * V] G (not below; cpu/winograd.py has it).

F(4x4, 3x3) makes 36 products for 16 outputs (144 by the definition), of weights that take 4 times the memory, F(2x2,
3x3) 16 for 4, of 1.8 times the memory: better for few tiles, where reading the weights is what takes the time. F(6x6,
3x3) makes 64 for 36 (324), of 7 times the memory: better for many tiles and few channels.

The transforms are matrix products, so round numbers in them gain nothing and the points are free:
0, +-3/4, +-3/2 and infinity lose 3 times less accuracy in F(4x4) than the usual 0, +-1, +-2. For F(6x6) none were found
that lose less than the usual 0, +-1/2, +-1, +-2, which lose 4 to 6 times as much as those of F(4x4).

A NaN or an infinity spreads over the outputs of its tiles, where the direct convolution keeps it to its windows.

What runs is the same cut into blocks that stay in caches, cpu/winograd.py, and on a GPU cuda/winograd.py; both take
their matrices from here, and are tested against this.

Letters, beside plain.py's: TH TW the tiles down and across, T = N*TH*TW, V U M the transformed inputs, weights and
products. Reference: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016,
arXiv:1509.09308; S. Winograd, Arithmetic Complexity of Computations, 1980.
"""

import numpy as np


def matrices(m, points):
    """B^T (n, n), A^T (m, n) and G (n, 3) of F(m, 3), in float64; points: n - 1 finite ones, the last is infinity."""
    return np.linalg.inv(_evaluation(points, m + 2)).T, _evaluation(points, m).T, _evaluation(points, 3)


def _evaluation(points, coefficients):
    """E_k: the values at the points and at infinity of a polynomial with k coefficients, (len(points) + 1, k)."""
    finite = [[point**power for power in range(coefficients)] for point in points]
    return np.array([*finite, [0] * (coefficients - 1) + [1]], np.float64)


class Tiling:
    """F(m x m, 3x3): m x m outputs of an n x n tile of the input, n = m + 2, by n^2 products."""

    def __init__(self, m, points):
        self.m, self.n, self.points = m, m + 2, points
        self.BT, self.AT, self.G = matrices(m, points)

    def count(self, grid):
        """(TH, TW): how many tiles an output of `grid` (OH, OW) takes; the last ones may stick out."""
        return -(-grid[0] // self.m), -(-grid[1] // self.m)


F2 = Tiling(2, (0, 1, -1))
F4 = Tiling(4, (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2))
F6 = Tiling(6, (0, 1 / 2, -1 / 2, 1, -1, 2, -2))


def fits(kernel_hw, stride, dilation, groups, *arrays):
    """Whether the fast kernels do this convolution by Winograd: 3x3, stride 1, dilation 1, one group, float32."""
    geometry = tuple(kernel_hw), tuple(stride), tuple(dilation), groups
    return geometry == ((3, 3), (1, 1), (1, 1), 1) and all(a.dtype == np.float32 for a in arrays)


# ---- the algorithm, in three steps -----------------------------------------------------------------------------------


def transformed_tiles(x, padding, tiling):
    """V = B^T d B of every tile d of x (N,C,H,W): (n^2, T, C)."""
    (h, w), (ph, pw), m, n = x.shape[2:], padding, tiling.m, tiling.n
    th, tw = tiling.count((h + 2 * ph - 2, w + 2 * pw - 2))
    padded = np.pad(x, ((0, 0), (0, 0), (ph, m * th + 2 - h - ph), (pw, m * tw + 2 - w - pw)))  # as far as tiles reach
    tiles = np.lib.stride_tricks.sliding_window_view(padded, (n, n), (2, 3))[:, :, ::m, ::m]  # (N,C,TH,TW,n,n), a view
    BT = tiling.BT.astype(x.dtype)
    return (BT @ tiles @ BT.T).transpose(4, 5, 0, 2, 3, 1).reshape(n * n, -1, x.shape[1])


def transformed_weights(w, tiling):
    """U = G h G^T of every kernel h of w (O,C,3,3): (n^2, C, O)."""
    G = tiling.G.astype(w.dtype)
    return (G @ w @ G.T).transpose(2, 3, 1, 0).reshape(tiling.n**2, w.shape[1], len(w))


def to_pixels(products, shape, tiling):
    """Y = A^T M A of every tile's products M (n^2, T, O), put together to an output of `shape` (N,O,OH,OW)."""
    (n, o, oh, ow), AT = shape, tiling.AT.astype(products.dtype)
    th, tw = tiling.count((oh, ow))
    tiles = products.reshape(tiling.n, tiling.n, n, th, tw, o).transpose(2, 5, 3, 4, 0, 1)
    y = (AT @ tiles @ AT.T).transpose(0, 1, 2, 4, 3, 5)  # (N,O,TH,m,TW,m)
    return y.reshape(n, o, tiling.m * th, tiling.m * tw)[:, :, :oh, :ow]


def conv2d(x, w, bias, padding, tiling=F4):
    """y (N,O,OH,OW) of x (N,C,H,W), w (O,C,3,3) and bias (O,) or None; stride 1, and x at least 3x3 with padding."""
    shape = len(x), len(w), x.shape[2] + 2 * padding[0] - 2, x.shape[3] + 2 * padding[1] - 2
    products = transformed_tiles(x, padding, tiling) @ transformed_weights(w, tiling)  # n^2 times (T,C) by (C,O)
    y = to_pixels(products, shape, tiling)
    return y if bias is None else y + bias[:, None, None]


def conv2d_input_grad(g, w, input_hw, padding, tiling=F4):
    """gx (N,C,*input_hw) of g (N,O,OH,OW): the gradient of the padded input, without that of the padding."""
    (h, width), (ph, pw) = input_hw, padding
    turned = w[:, :, ::-1, ::-1].swapaxes(0, 1)
    return conv2d(g, turned, None, (2, 2), tiling)[:, :, ph : ph + h, pw : pw + width]
