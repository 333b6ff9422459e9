"""The textbook: what each kernel computes, as the definition says it. Any array module, any dtype, every argument.

This is what `with mg.use_kernels("plain"):` runs, what the fast kernels are tested against, and what they leave to it.
A window is walked tap by tap, in row-major order: for one tap (a, b), the numbers that all windows have there are one
strided view of the padded input,

    x[n, c, i*SH + a*DH - PH, j*SW + b*DW - PW]  for all i, j,

so convolution and pooling are a handful of passes over such views, and their ways back add to the same views.

Letters: N images, C channels in, O channels out, G groups, H W height and width in, OH OW out, KH KW of the window.
kernel, stride, padding and dilation are pairs (rows, columns). Arguments are taken as checked by the caller.
"""

import math

import numpy as np

from minigrad.device import array_module

# ---- windows ---------------------------------------------------------------------------------------------------------


def output_hw(hw, kernel, stride, padding, dilation=(1, 1), ceil_mode=False):
    """(OH, OW): how many windows fit, which may be 0 or less. With ceil_mode a last window may stick out, but must
    start inside the input or its padding before the first row or column, as in torch."""
    sizes = []
    for size, k, s, p, d in zip(hw, kernel, stride, padding, dilation, strict=True):
        out = (size + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (out - 1) * s >= size + p:
            out -= 1
        sizes.append(out)
    return tuple(sizes)


def _windows(x, out_hw, kernel, stride, padding, dilation=(1, 1), value=0):
    """(middle, taps): views of a copy of x (N,C,H,W) with `value` around it: `padding` rows and columns, and more below
    and at the right where the last windows stick out. middle is where x lies, taps the view (N,C,OH,OW) of each tap, in
    row-major order."""
    (h, w), (oh, ow), (kh, kw), (sh, sw), (ph, pw), (dh, dw) = x.shape[2:], out_hw, kernel, stride, padding, dilation
    below, right = (oh - 1) * sh + dh * (kh - 1) + 1 - h - ph, (ow - 1) * sw + dw * (kw - 1) + 1 - w - pw
    widths = [(0, 0), (0, 0), (ph, max(ph, below)), (pw, max(pw, right))]
    padded = array_module(x).pad(x, widths, constant_values=value)
    rows = [slice(a * dh, a * dh + (oh - 1) * sh + 1, sh) for a in range(kh)]
    columns = [slice(b * dw, b * dw + (ow - 1) * sw + 1, sw) for b in range(kw)]
    return padded[:, :, ph : ph + h, pw : pw + w], [padded[:, :, i, j] for i in rows for j in columns]


def _added_up(values, hw, kernel, stride, padding, dilation=(1, 1)):
    """(N,C,*hw): each tap's values (N,C,OH,OW) added to the pixels that the windows have there; adjoint of _windows."""
    n, c, *out_hw = values[0].shape
    zeros = array_module(values[0]).zeros((n, c, *hw), values[0].dtype)
    gx, taps = _windows(zeros, out_hw, kernel, stride, padding, dilation)
    for pixels, value in zip(taps, values, strict=True):
        pixels += value
    return gx


def flat_indices(winner, input_hw, kernel, stride, padding, dilation):
    """int64 (N,C,OH,OW): h*W + w of each winner in the input, as torch's return_indices gives it."""
    xp, (oh, ow) = array_module(winner), winner.shape[2:]
    winner = winner.astype(np.int64)
    row = winner // kernel[1] * dilation[0] + (xp.arange(oh) * stride[0] - padding[0])[:, None]
    column = winner % kernel[1] * dilation[1] + (xp.arange(ow) * stride[1] - padding[1])
    return row * input_hw[1] + column


# ---- convolution -----------------------------------------------------------------------------------------------------


def conv2d(x, w, bias, stride, padding, dilation, groups):
    """y (N,O,OH,OW) of x (N,C,H,W), w (O,C/G,KH,KW) and bias (O,) or None.

    y[n,o,i,j] = bias[o] + sum over c, a, b of w[o,c,a,b] x[n, c, i*SH + a*DH - PH, j*SW + b*DW - PW], x being 0 outside
    itself and c the channels of o's group: a product of matrices, of the weights with the windows as columns (im2col).
    """
    out_hw = output_hw(x.shape[2:], w.shape[2:], stride, padding, dilation)
    columns = _columns(x, out_hw, w.shape[2:], stride, padding, dilation, groups)
    y = array_module(x, w).matmul(_by_group(w, groups), columns).reshape(len(x), len(w), *out_hw)
    return y if bias is None else y + bias[:, None, None]


def conv2d_input_grad(g, w, input_hw, stride, padding, dilation, groups):
    """gx (N,C,*input_hw) of g (N,O,OH,OW): what conv2d's input receives, which is the transposed convolution of g.

    Each window's column receives the weights times its g, and each pixel adds up what all windows over it received.
    input_hw may be larger than the windows reach: rows and columns that no window covers are 0.
    """
    (n, o, *out_hw), (c, *kernel) = g.shape, w.shape[1:]
    g = g.reshape(n, groups, o // groups, math.prod(out_hw))
    columns = array_module(g, w).matmul(_by_group(w, groups).swapaxes(1, 2), g)
    values = columns.reshape(n, c * groups, math.prod(kernel), *out_hw).transpose(2, 0, 1, 3, 4)
    return _added_up(values, input_hw, kernel, stride, padding, dilation)


def conv2d_weight_grad(x, g, kernel_hw, stride, padding, dilation, groups):
    """gw (O,C/G,KH,KW) of x (N,C,H,W) and g (N,O,OH,OW): each weight receives its tap of every window times its g."""
    n, o, *out_hw = g.shape
    columns = _columns(x, out_hw, kernel_hw, stride, padding, dilation, groups)
    g = g.reshape(n, groups, o // groups, math.prod(out_hw))
    return array_module(x, g).matmul(g, columns.swapaxes(2, 3)).sum(0).reshape(o, x.shape[1] // groups, *kernel_hw)


def _by_group(w, groups):
    """w (O,C/G,KH,KW) as a matrix for each group, (G, O/G, C/G*KH*KW)."""
    return w.reshape(groups, len(w) // groups, math.prod(w.shape[1:]))


def _columns(x, out_hw, kernel, stride, padding, dilation, groups):
    """(N, G, C/G*KH*KW, OH*OW): the windows of x as the columns of a matrix for each image and group."""
    _, taps = _windows(x, out_hw, kernel, stride, padding, dilation)
    n, c = x.shape[:2]
    return array_module(x).stack(taps, 2).reshape(n, groups, c // groups * len(taps), math.prod(out_hw))


# ---- pooling ---------------------------------------------------------------------------------------------------------


def max_pool(x, kernel, stride, padding, dilation, ceil_mode, with_winner=True):
    """(y, winner), each (N,C,OH,OW): the largest value of every window of x (N,C,H,W), and its place in the window,
    a*KW + b, in the smallest unsigned dtype that holds KH*KW - 1; None instead where with_winner is False.

    Padding counts as minus infinity. Ties go to the first in row-major order; a NaN wins over numbers and a later NaN
    over an earlier one, as in torch.
    """
    xp, out_hw = array_module(x), output_hw(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    geometry = out_hw, kernel, stride, padding, dilation
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    _, taps = _windows(x, *geometry, least)
    _, inside = _windows(xp.ones((1, 1, *x.shape[2:]), bool), *geometry)
    y = xp.full((*x.shape[:2], *out_hw), least, x.dtype)
    winner = xp.full(y.shape, -1, np.int64)
    for place, values in enumerate(taps):
        better = inside[place] & ((values > y) | (values != values) | (winner < 0))
        y, winner = xp.where(better, values, y), xp.where(better, place, winner)
    return y, winner.astype(np.min_scalar_type(len(taps) - 1)) if with_winner else None


def window_scatter(g, winner, input_hw, kernel, stride, padding, dilation):
    """gx (N,C,*input_hw): every g (N,C,OH,OW) added where `winner` says its window's value came from."""
    xp, zero = array_module(g, winner), g.dtype.type(0)
    values = [xp.where(winner == place, g, zero) for place in range(kernel[0] * kernel[1])]
    return _added_up(values, input_hw, kernel, stride, padding, dilation)


def window_gather(x, winner, kernel, stride, padding, dilation):
    """y (N,C,OH,OW): the value of x (N,C,H,W) that each window's `winner` names; the adjoint of window_scatter."""
    xp, y = array_module(x, winner), array_module(x).zeros(winner.shape, x.dtype)
    for place, values in enumerate(_windows(x, winner.shape[2:], kernel, stride, padding, dilation)[1]):
        y = xp.where(winner == place, values, y)
    return y


def window_sum(x, kernel, stride, padding, ceil_mode=False):
    """y (N,C,OH,OW): the sum of every window of x (N,C,H,W), which is 0 outside itself."""
    out_hw = output_hw(x.shape[2:], kernel, stride, padding, ceil_mode=ceil_mode)
    return sum(_windows(x, out_hw, kernel, stride, padding)[1])


def window_spread(g, input_hw, kernel, stride, padding):
    """gx (N,C,*input_hw): every g (N,C,OH,OW) added all over its window; the adjoint of window_sum."""
    return _added_up([g] * (kernel[0] * kernel[1]), input_hw, kernel, stride, padding)


# ---- sums ------------------------------------------------------------------------------------------------------------


def axis_sum(x, axes):
    """x (floating point) summed over the axes, which stay as length 1; in x's dtype.

    Along the axis that is innermost in memory NumPy adds pairwise, so that the error does not grow with the length;
    along others it adds row to row. So the axes are moved there first.
    """
    xp, kept = array_module(x), [axis for axis in range(x.ndim) if axis not in axes]
    lengths = (math.prod(x.shape[axis] for axis in some) for some in (kept, axes))
    rows = x.transpose(*kept, *axes).reshape(*lengths)
    total = xp.ascontiguousarray(rows).sum(axis=1, dtype=x.dtype)
    return total.reshape([1 if axis in axes else n for axis, n in enumerate(x.shape)])


# ---- channels: x is (N,C,...), a vector (C,) has one number for each channel -----------------------------------------


def channel_sum(x):
    """(C,) in x's dtype: the sum of x over every axis but 1."""
    return axis_sum(x, (0, *range(2, x.ndim))).reshape(-1)


def channel_sum_product(x, y):
    """(C,) in x's dtype: the sum of x*y over every axis but 1."""
    return channel_sum(x * y)


def channel_sums(x, y):
    """(2,C) in x's dtype: channel_sum(x) and channel_sum_product(x, y)."""
    return array_module(x, y).stack([channel_sum(x), channel_sum_product(x, y)])


def channel_moments(x):
    """Mean and variance (biased) of x over every axis but 1, each (C,) in x's dtype."""
    count = x.size // x.shape[1]
    mean = channel_sum(x) / count
    distance = x - _column(mean, x)
    return mean, channel_sum(distance * distance) / count


def channel_affine(x, scale, shift):
    """x * scale + shift, with scale and shift (C,)."""
    return x * _column(scale, x) + _column(shift, x)


def channel_affine2(x, a, y, b, c):
    """x * a + y * b + c, with a, b and c (C,): batch normalisation's input gradient from g and x."""
    return x * _column(a, x) + y * _column(b, x) + _column(c, x)


def _column(vector, x):
    """(C,) in the shape in which it broadcasts against x (N,C,...)."""
    return vector.reshape(-1, *(1,) * (x.ndim - 2))


# ---- elements, products, joining -------------------------------------------------------------------------------------


def add(a, b):
    """a + b."""
    return a + b


def relu(x):
    """max(x, 0); a NaN stays."""
    return array_module(x).maximum(x, x.dtype.type(0))


def relu_grad(g, x):
    """g where x > 0, else 0, also where g is infinite."""
    return array_module(g, x).where(x > 0, g, g.dtype.type(0))


def relu6_grad(g, x):
    """g where 0 < x < 6, else 0, also where g is infinite."""
    return array_module(g, x).where((x > 0) & (x < 6), g, g.dtype.type(0))


def where(condition, a, b):
    """a where condition, else b; all three broadcast."""
    return array_module(condition, a, b).where(condition, a, b)


def matmul(a, b):
    """a @ b of stacks of matrices, (..., M, K) by (..., K, N)."""
    return array_module(a, b).matmul(a, b)


def concatenate(xs, axis):
    """Arrays one after the other along an axis."""
    return array_module(*xs).concatenate(xs, axis)


# ---- several at once, where no graph is recorded ---------------------------------------------------------------------


def conv2d_relu(x, *convolutions, top=None):
    """relu(conv2d(x, ...)), and at most `top`, where one is given; of several convolutions, each given as its arguments
    after x, joined over channels."""
    y = relu(concatenate([conv2d(x, *arguments) for arguments in convolutions], 1))
    return y if top is None else array_module(y).minimum(y, top)


def conv2d_relu_max_pool(x, convolution):
    """The largest of each 2x2 of conv2d_relu(...), (N,O,OH//2,OW//2)."""
    return max_pool(conv2d_relu(x, convolution), (2, 2), (2, 2), (0, 0), (1, 1), ceil_mode=False, with_winner=False)[0]
