"""The same call in minigrad and in PyTorch, with shapes and arguments drawn by hypothesis.

Either both refuse, or both give the same value, shape and dtype, and the same gradients. float64.
"""

import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

import minigrad as mg
from minigrad import functional as F

torch = pytest.importorskip("torch", reason="PyTorch is not installed (make verify installs it)")
from tests.minigrad.functional.torch_names import TORCH  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]
REFUSALS = (ValueError, TypeError, IndexError, NotImplementedError, RuntimeError)
checked = settings(max_examples=60)


def array(seed, *shape, kind="normal"):
    rng = np.random.default_rng(seed)
    if kind == "steps":  # many equal values
        return rng.integers(-1, 2, shape).astype(np.float64)
    return rng.normal(size=shape) if kind == "normal" else rng.uniform(0.2, 2.0, shape)


def outcome(call, module, tensors):
    """What the call gives, or the exception."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call(module, *tensors)
    except REFUSALS as error:
        return error


def same(call, *arrays, rtol=1e-9, atol=1e-10):
    """Assert that call(F, *tensors) does what call(TORCH, *tensors) does."""
    floating = [a.dtype.kind == "f" for a in arrays]
    ours = [mg.Tensor(a, requires_grad=f) for a, f in zip(arrays, floating, strict=True)]
    theirs = [torch.tensor(a, requires_grad=f) for a, f in zip(arrays, floating, strict=True)]
    y, z = outcome(call, F, ours), outcome(call, TORCH, theirs)
    if isinstance(z, Exception) or isinstance(y, Exception):
        assert isinstance(z, Exception) and isinstance(y, Exception), f"minigrad: {y!r}, PyTorch: {z!r}"
        return
    assert y.shape == tuple(z.shape)
    assert y.dtype == z.detach().numpy().dtype
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol, atol)
    if not y.requires_grad:
        return

    g = array(0, *y.shape)
    inputs = [x for x in ours if x.requires_grad]
    expected = torch.autograd.grad(z, [x for x in theirs if x.requires_grad], torch.tensor(g), allow_unused=True)
    used = [(x, e) for x, e in zip(inputs, expected, strict=True) if e is not None]
    for (x, e), found in zip(used, mg.grad(y, [x for x, _ in used], mg.Tensor(g)), strict=True):
        assert found.dtype == x.dtype
        np.testing.assert_allclose(found.numpy(), e.numpy(), rtol, atol)


seeds = st.integers(0, 1000)
sizes = st.integers(1, 4)


def int_or_pair(low, high):
    one = st.integers(low, high)
    return one | st.tuples(one, one)


# ---- array functions -------------------------------------------------------------------------------------------------


@checked
@given(st.data(), seeds)
def test_elementwise_broadcasting(data, seed):
    name = data.draw(st.sampled_from(["add", "sub", "mul", "div", "maximum", "minimum", "pow", "lt", "eq", "ge"]))
    shapes = [data.draw(st.lists(st.sampled_from([1, 2, 3]), max_size=3)) for _ in range(2)]
    kind = "positive" if name == "pow" else data.draw(st.sampled_from(["normal", "positive"]))
    arrays = [array(seed + i, *shape, kind=kind) for i, shape in enumerate(shapes)]
    same(lambda M, x, y: getattr(M, name)(x, y), *arrays)


@checked
@given(st.data(), seeds, st.sampled_from(["sum", "mean", "max", "min", "var", "logsumexp"]), st.booleans())
def test_reductions(data, seed, name, keep):
    ndim = data.draw(st.integers(1, 4))
    shape = data.draw(st.lists(st.integers(2, 4), min_size=ndim, max_size=ndim))
    axis = data.draw(st.integers(-5, 4) | st.lists(st.integers(-4, 3), min_size=1, max_size=3).map(tuple))
    kind = data.draw(st.sampled_from(["normal", "steps"]))
    same(
        lambda M, x: getattr(M, name)(x, axis, **{"keepdim" if name == "logsumexp" else "keepdims": keep}),
        array(seed, *shape, kind=kind),
    )


@checked
@given(st.data(), seeds)
def test_reshaping(data, seed):
    x = array(seed, *data.draw(st.lists(sizes, min_size=1, max_size=4)))
    dim = st.integers(-4, 4)
    call = data.draw(
        st.sampled_from(["reshape", "permute", "transpose", "flatten", "squeeze", "unsqueeze", "flip", "roll"])
    )
    if call == "reshape":
        shape = data.draw(st.lists(st.sampled_from([-1, 1, 2, 3, 4, 6, x.size]), min_size=1, max_size=3))
        same(lambda M, t: M.reshape(t, tuple(shape)), x)
    elif call == "permute":
        dims = data.draw(st.permutations(range(x.ndim)) | st.lists(dim, min_size=1, max_size=4))
        same(lambda M, t: M.permute(t, tuple(dims)), x)
    elif call == "flip":
        dims = data.draw(st.lists(dim, min_size=1, max_size=3))
        same(lambda M, t: M.flip(t, tuple(dims)), x)
    elif call == "roll":
        pairs = data.draw(st.lists(st.tuples(st.integers(-5, 5), dim), min_size=1, max_size=3))
        same(lambda M, t: M.roll(t, tuple(s for s, _ in pairs), tuple(d for _, d in pairs)), x)
    elif call in ("squeeze", "unsqueeze"):
        d = data.draw(dim)
        same(lambda M, t: getattr(M, call)(t, d), x)
    else:
        d, e = data.draw(dim), data.draw(dim)
        same(lambda M, t: getattr(M, call)(t, d, e), x)


@checked
@given(st.data(), seeds)
def test_joining(data, seed):
    shape = data.draw(st.lists(sizes, min_size=1, max_size=4))
    dim = data.draw(st.integers(-5, 4))
    other = list(shape)
    change = data.draw(st.integers(0, len(shape) - 1))
    other[change] = data.draw(sizes)
    for name in ("cat", "stack"):
        same(lambda M, x, y, f=name: getattr(M, f)([x, y], dim), array(seed, *shape), array(seed + 1, *other))


@checked
@given(st.data(), seeds, st.sampled_from(["constant", "reflect", "replicate", "circular"]))
def test_pad(data, seed, mode):
    shape = data.draw(st.lists(sizes, min_size=1, max_size=5))
    widths = tuple(data.draw(st.lists(st.integers(-2 if mode == "constant" else 0, 3), min_size=1, max_size=6)))
    value = data.draw(st.sampled_from([0, 1.5])) if mode == "constant" else 0
    same(lambda M, x: M.pad(x, widths, mode=mode, value=value), array(seed, *shape))


@checked
@given(st.data(), seeds)
def test_matmul(data, seed):
    m, k, n = (data.draw(sizes) for _ in range(3))
    left = [*data.draw(st.lists(st.sampled_from([1, 2]), max_size=2)), *data.draw(st.sampled_from([[k], [m, k]]))]
    right = [
        *data.draw(st.lists(st.sampled_from([1, 2]), max_size=2)),
        *data.draw(st.sampled_from([[k], [k, n], [n, k]])),
    ]
    same(lambda M, x, y: M.matmul(x, y), array(seed, *left), array(seed + 1, *right))
    same(lambda M, x, w: M.linear(x, w), array(seed, *left), array(seed + 1, *right))


# ---- convolutions ----------------------------------------------------------------------------------------------------


@checked
@given(
    seed=seeds,
    batch=st.sampled_from([(), (1,), (2,)]),
    groups=st.integers(1, 2),
    channels=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    hw=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=int_or_pair(1, 3),
    padding=int_or_pair(0, 3) | st.sampled_from(["same", "valid"]),
    dilation=int_or_pair(1, 3),
    bias=st.booleans(),
    wrong=st.integers(0, 15),
)
def test_conv2d(seed, batch, groups, channels, hw, kernel, stride, padding, dilation, bias, wrong):
    c, o = channels
    x = array(seed, *batch, c * groups + (wrong == 0), *hw)
    w = array(seed + 1, o * groups + (wrong == 1), c, *kernel)
    b = [array(seed + 2, len(w) + (wrong == 2))] if bias else []
    same(lambda M, x, w, *b: M.conv2d(x, w, *(b or [None]), stride, padding, dilation, groups), x, w, *b)


@checked
@given(
    seed=seeds,
    batch=st.sampled_from([(), (1,), (2,)]),
    groups=st.integers(1, 2),
    channels=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    hw=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=int_or_pair(1, 3),
    padding=int_or_pair(0, 3),
    output_padding=int_or_pair(0, 2),
    dilation=int_or_pair(1, 3),
    bias=st.booleans(),
    wrong=st.integers(0, 15),
)
def test_conv_transpose2d(
    seed, batch, groups, channels, hw, kernel, stride, padding, output_padding, dilation, bias, wrong
):
    c, o = channels
    x = array(seed, *batch, c * groups + (wrong == 0), *hw)
    w = array(seed + 1, c * groups, o, *kernel)
    b = [array(seed + 2, o * groups + (wrong == 2))] if bias else []
    rest = stride, padding, output_padding, groups, dilation
    same(lambda M, x, w, *b: M.conv_transpose2d(x, w, *(b or [None]), *rest), x, w, *b)


# ---- pooling ---------------------------------------------------------------------------------------------------------

images = st.tuples(st.sampled_from([(1,), (2, 1), (1, 2), (2, 3)]), st.integers(1, 8), st.integers(1, 8)).map(
    lambda t: (*t[0], t[1], t[2])
)


@checked
@given(
    seeds,
    images,
    int_or_pair(1, 4),
    st.none() | int_or_pair(1, 4),
    int_or_pair(0, 2),
    int_or_pair(1, 3),
    st.booleans(),
    st.sampled_from(["normal", "steps"]),
)
def test_max_pool2d(seed, shape, kernel, stride, padding, dilation, ceil_mode, kind):
    x = array(seed, *shape, kind=kind)
    arguments = kernel, stride, padding, dilation, ceil_mode
    # PyTorch 2.13 writes outside its memory for a window that dilation puts wholly in the padding
    expected = outcome(lambda M, x: M.max_pool2d(x, *arguments), TORCH, [torch.tensor(x)])
    assume(isinstance(expected, Exception) or not torch.isinf(expected).any())
    same(lambda M, x: M.max_pool2d(x, *arguments), x)
    same(lambda M, x: M.max_pool2d(x, *arguments, return_indices=True)[1], x)


@checked
@given(seeds, images, int_or_pair(1, 3), st.none() | int_or_pair(1, 3), int_or_pair(0, 1), st.integers(-3, 3))
def test_max_unpool2d(seed, shape, kernel, stride, padding, extra):
    x = torch.tensor(array(seed, *shape))
    try:
        pooled, indices = TORCH.max_pool2d(x, kernel, stride, padding, return_indices=True)
    except RuntimeError:
        assume(False)
    values = array(seed + 1, *pooled.shape)
    # overlapping windows may name one element twice; with equal values it does not matter which of them is kept
    values = np.ones_like(values) if len(np.unique(indices)) < indices.numel() else values
    output_size = tuple(n + extra for n in shape[-2:])
    for size in (None, output_size):

        def unpool(M, v, i, size=size):
            return M.max_unpool2d(v, i, kernel, stride, padding, size)

        with torch.no_grad():
            expected = outcome(unpool, TORCH, [torch.tensor(values), indices])
        found = outcome(unpool, F, [mg.Tensor(values), mg.Tensor(indices.numpy())])
        if not isinstance(expected, Exception) and not expected.numel():
            continue  # padding has left nothing of the output: PyTorch drops the values, minigrad refuses
        if isinstance(expected, Exception):
            assert isinstance(found, Exception), f"minigrad: {found!r}, PyTorch: {expected!r}"
        else:
            np.testing.assert_array_equal(found.numpy(), expected.numpy())


@checked
@given(
    seeds,
    images,
    int_or_pair(1, 4),
    st.none() | int_or_pair(1, 4),
    int_or_pair(0, 2),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 5),
)
def test_avg_pool2d(seed, shape, kernel, stride, padding, ceil_mode, count_pad, divisor):
    same(lambda M, x: M.avg_pool2d(x, kernel, stride, padding, ceil_mode, count_pad, divisor), array(seed, *shape))


@checked
@given(seeds, images, st.integers(1, 9) | st.tuples(st.none() | st.integers(1, 9), st.none() | st.integers(1, 9)))
def test_adaptive_avg_pool2d(seed, shape, size):
    same(lambda M, x: M.adaptive_avg_pool2d(x, size), array(seed, *shape))


# ---- normalisation ---------------------------------------------------------------------------------------------------


@checked
@given(
    seeds,
    st.sampled_from([(4, 3), (1, 3), (2, 3, 4), (2, 3, 2, 2), (1, 3, 2, 3), (1, 3, 1, 1)]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.1, 0.7, 0.0, 1.0]),
    st.sampled_from([1e-5, 0.1]),
    st.sampled_from([3, 3, 3, 4]),
)
def test_batch_norm(seed, shape, training, with_stats, affine, momentum, eps, channels):
    mean, var = array(seed, channels), array(seed, channels, kind="positive")
    stats = {F: [mg.Tensor(mean), mg.Tensor(var)], TORCH: [torch.tensor(mean), torch.tensor(var)]}
    vectors = [array(seed + 1, channels), array(seed + 2, channels)] if affine else []

    def call(M, x, *affine):
        running = stats[M] if with_stats else (None, None)
        return M.batch_norm(x, *running, *(affine or (None, None)), training, momentum, eps)

    same(call, array(seed, *shape), *vectors, rtol=1e-7, atol=1e-8)
    for ours, theirs in zip(stats[F], stats[TORCH], strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)


@checked
@given(
    seeds,
    st.sampled_from([(2, 5, 3), (1, 6, 2, 2), (2, 1, 2, 3), (3, 4), (1, 3, 2, 2, 2)]),
    st.integers(0, 7),
    st.sampled_from([1e-4, 0.5]),
    st.sampled_from([0.75, 0.5, 2.0]),
    st.sampled_from([1.0, 2.0]),
)
def test_local_response_norm(seed, shape, size, alpha, beta, k):
    assume(len(shape) != 5 or size)
    same(lambda M, x: M.local_response_norm(x, size, alpha, beta, k), array(seed, *shape))


# ---- softmax and losses ----------------------------------------------------------------------------------------------


@checked
@given(seeds, st.lists(sizes, min_size=1, max_size=4), st.integers(-5, 4), st.sampled_from([1.0, 300.0]))
def test_softmax(seed, shape, dim, scale):
    for name in ("softmax", "log_softmax"):
        same(lambda M, x, f=name: getattr(M, f)(x * scale, dim), array(seed, *shape))


@checked
@given(
    seed=seeds,
    shape=st.sampled_from([(5,), (4, 5), (1, 5), (2, 5, 3), (2, 5, 2, 2)]),
    weighted=st.booleans(),
    ignore_index=st.sampled_from([-100, 0, 2, 4]),
    reduction=st.sampled_from(["mean", "sum", "none", "average"]),
    smoothing=st.sampled_from([0.0, 0.1, 1.0, 1.5]),
    wrong=st.integers(0, 12),
)
def test_classification_losses(seed, shape, weighted, ignore_index, reduction, smoothing, wrong):
    dim = 0 if len(shape) == 1 else 1
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 5 + (wrong == 0), (*shape[:dim], *shape[dim + 1 :]))
    if wrong == 1 and target.ndim:  # PyTorch takes (1,) for (), though not with label_smoothing
        target = target[None]
    if wrong == 2:
        target = target.astype(np.float64)
    weight = array(seed, 5 + (wrong == 3), kind="positive") if weighted else None
    options = {"ignore_index": ignore_index, "reduction": reduction}

    def weights(M):
        return None if weight is None else mg.Tensor(weight) if M is F else torch.tensor(weight)

    x = array(seed + 1, *shape)
    same(lambda M, x, t: M.cross_entropy(x, t, weights(M), label_smoothing=smoothing, **options), x, target)
    same(lambda M, x, t: M.nll_loss(M.log_softmax(x, dim), t, weights(M), **options), x, target)
    probabilities = array(seed + 2, *shape, kind="positive")
    same(lambda M, x, p: M.cross_entropy(x, p, weights(M), label_smoothing=smoothing, **options), x, probabilities)


@checked
@given(seeds, st.lists(sizes, max_size=3), st.sampled_from(["mean", "sum", "none", "average"]), st.booleans())
def test_regression_losses(seed, shape, reduction, broadcast):
    x, y = array(seed, *shape), array(seed + 1, *([1] if broadcast else []), *shape)
    for name in ("mse_loss", "l1_loss"):
        same(lambda M, x, y, f=name: getattr(M, f)(x, y, reduction=reduction), x, y)


# ---- resampling ------------------------------------------------------------------------------------------------------


@checked
@given(
    seed=seeds,
    hw=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    size=st.none() | int_or_pair(1, 9),
    scale=st.none() | st.floats(0.2, 3.0) | st.tuples(st.floats(0.2, 3.0), st.floats(0.2, 3.0)),
    mode=st.sampled_from(["nearest", "bilinear"]),
    align_corners=st.sampled_from([None, False, True]),
    recompute=st.sampled_from([None, False, True]),
)
def test_interpolate(seed, hw, size, scale, mode, align_corners, recompute):
    options = {"mode": mode, "align_corners": align_corners, "recompute_scale_factor": recompute}
    same(lambda M, x: M.interpolate(x, size, scale, **options), array(seed, 1, 2, *hw), rtol=1e-7, atol=1e-8)


@checked
@given(seeds, images, int_or_pair(1, 3), int_or_pair(1, 2), int_or_pair(0, 2), int_or_pair(1, 3))
def test_unfold_and_fold(seed, shape, kernel, dilation, padding, stride):
    x = array(seed, *shape)
    same(lambda M, x: M.unfold(x, kernel, dilation, padding, stride), x)
    columns = outcome(lambda M, x: M.unfold(x, kernel, dilation, padding, stride), F, [mg.Tensor(x)])
    if not isinstance(columns, Exception):
        same(lambda M, c: M.fold(c, shape[-2:], kernel, dilation, padding, stride), columns.numpy())
        same(lambda M, c: M.fold(c, (shape[-2] + 1, shape[-1]), kernel, dilation, padding, stride), columns.numpy())


# ---- dtypes, and what PyTorch refuses --------------------------------------------------------------------------------

IMAGE = np.arange(1, 25).reshape(2, 3, 2, 2)
THREE = np.array([0.5, 1.0, 2.0])


def test_local_response_norm_of_integers_is_that_of_the_same_floats():
    y, z = F.local_response_norm(IMAGE, 3, 0.5), F.local_response_norm(IMAGE.astype(np.float32), 3, 0.5)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.numpy(), z.numpy())
    same(lambda M, x: M.local_response_norm(x, 3, 0.5), IMAGE.astype(np.float32), rtol=1e-5, atol=1e-6)


def test_pad_takes_none_for_its_value():
    same(lambda M, x: M.pad(x, (1, 2), value=None), IMAGE.astype(float))
    same(lambda M, x: M.pad(x, (1, 1, 0, 1), mode="reflect", value=None), IMAGE.astype(float))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("which", range(5))
def test_batch_norm_refuses_mixed_dtypes(training, which):
    arrays = [a.astype(np.float32) for a in (IMAGE, THREE, THREE, THREE, THREE)]
    arrays[which] = arrays[which].astype(np.float64)
    same(lambda M, x, mean, var, w, b: M.batch_norm(x, mean.detach(), var.detach(), w, b, training), *arrays)
    with pytest.raises(TypeError, match="batch_norm: x has dtype"):
        F.batch_norm(*map(mg.Tensor, arrays), training=training)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_refuses_half_of_the_statistics_and_such_eps(training):
    x = IMAGE.astype(float)
    same(lambda M, x, v: M.batch_norm(x, v.detach(), None, training=training), x, THREE)
    same(lambda M, x, v: M.batch_norm(x, None, v.detach(), training=training), x, THREE)
    for eps in (0.0, -1e-5):
        same(lambda M, x, v, e=eps: M.batch_norm(x, v.detach(), v.detach(), None, None, training, eps=e), x, THREE)


def test_unfold_and_fold_of_an_empty_batch():
    same(lambda M, x: M.unfold(x, 2, padding=1), np.zeros((0, 3, 4, 4)))
    same(lambda M, x: M.fold(x, (4, 5), 2), np.zeros((0, 8, 12)))


@pytest.mark.parametrize("low, high", [(0.5, 2), (0, 2.5), (0.5, None), (None, 1.5), (0, 2), (np.float64(0.5), 2)])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float32, np.float64])
def test_clamp_dtypes(dtype, low, high):
    same(lambda M, x: M.clamp(x, low, high), IMAGE.astype(dtype))


BOOLS = np.ones((1, 1, 3, 3), bool)
SCORES = np.linspace(-1, 1, 15).reshape(5, 3)
CLASSES = np.array([0, 1, 2, 1, 0])
REFUSED = {
    "leaky_relu: x must be": (lambda M, x: M.leaky_relu(x), IMAGE),
    "relu: x must be": (lambda M, x: M.relu(x), BOOLS),
    "conv2d: x must be": (lambda M, x: M.conv2d(x, x), BOOLS),
    "conv_transpose2d: x must be": (lambda M, x: M.conv_transpose2d(x, x), BOOLS),
    "linear: x must be": (lambda M, x: M.linear(x, x), BOOLS[0, 0]),
    "matmul: a must be": (lambda M, x: M.matmul(x, x), BOOLS[0, 0]),
    "cross_entropy: target must": (lambda M, x, t: M.cross_entropy(x, t), SCORES, CLASSES.astype(np.int32)),
    "nll_loss: target must": (lambda M, x, t: M.nll_loss(x, t), SCORES, CLASSES.astype(np.int8)),
    "cross_entropy: x has dtype float64, weight": (
        lambda M, x, t, w: M.cross_entropy(x, t, w.detach()),
        *(SCORES, CLASSES, THREE.astype(np.float32)),
    ),
    "nll_loss: x has dtype float64, weight": (
        lambda M, x, t, w: M.nll_loss(x, t, w.detach()),
        *(SCORES, CLASSES, THREE.astype(np.float32)),
    ),
    "linear: bias": (lambda M, x, w, b: M.linear(x, w, b), SCORES, THREE, np.array(1.0)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_pytorch_refuses(message):
    call, *arrays = REFUSED[message]
    same(call, *arrays)
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        call(F, *map(mg.Tensor, arrays))


def test_what_pytorch_takes_beside_it():
    same(lambda M, x: M.relu(x), IMAGE - 9)
    same(lambda M, x, t: M.cross_entropy(x, t), SCORES, CLASSES.astype(np.uint8))
    same(lambda M, x, w, b: M.linear(x, w, b), SCORES[None], THREE, np.array(1.0))


def test_sine_and_cosine_of_large_angles():
    angles = np.array([3e5, -1e6, 12345.678], np.float32)
    for name in ("sin", "cos"):
        same(lambda M, x, f=name: getattr(M, f)(x), angles, rtol=1e-5)
