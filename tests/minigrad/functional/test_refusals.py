"""What the functions refuse, and in which words: each names the function, the argument and what came.

That PyTorch refuses the same is compared live in test_against_torch.py; here its presence is not needed.
"""

import re
import warnings
from numbers import Number

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import minigrad as mg
from minigrad import functional as F

X = np.zeros((2, 3, 8, 8), np.float32)
W = np.zeros((4, 3, 3, 3), np.float32)
BOOLS = np.ones((1, 1, 3, 3), bool)
ROWS = np.zeros((5, 3), np.float32)
CLASSES = np.array([0, 1, 2, 1, 0])
PROBABILITIES = np.full((5, 3), 1 / 3, np.float32)
STATS = (mg.Tensor(np.zeros(3, np.float32)), mg.Tensor(np.ones(3, np.float32)))
LEARNT = mg.Tensor(np.ones(3, np.float32), requires_grad=True)

REFUSED = {
    "arithmetic": [
        (lambda: F.where(ROWS > 0, X, X), "where: shapes (5, 3), (2, 3, 8, 8) and (2, 3, 8, 8)"),
        (lambda: F.clamp(X), "clamp: give min, max or both"),
        (lambda: F.relu(BOOLS), "relu: x must be numbers, got dtype bool"),
        (lambda: F.leaky_relu(CLASSES), "leaky_relu: x must be floating point, got dtype int64"),
        (lambda: F.silu(CLASSES), "silu: x must be floating point, got dtype int64"),
        (lambda: F.gelu(X, "none at all"), 'gelu: approximate must be "none" or "tanh", got \'none at all\''),
        (lambda: F.softplus(X, 0), "softplus: beta must not be 0"),
        (lambda: F.prelu(X, ROWS[:, 0]), "prelu: weight has shape (5,), expected (1,) or (3,) (x.shape[1])"),
        (lambda: F.prelu(X, np.ones(3)), "prelu: x has dtype float32, weight has float64"),
        (lambda: F.sub(BOOLS, BOOLS), "sub: booleans have no difference"),
        (lambda: F.neg(BOOLS), "neg: booleans have no negative"),
        (lambda: F.pow(BOOLS, BOOLS), "pow: booleans have no powers"),
        (lambda: F.clamp(BOOLS, 0, 1), "clamp: x must be numbers, got dtype bool"),
        (lambda: F.pow(CLASSES, -1), "pow: integers have no negative powers"),
        (lambda: F.pow(2, -CLASSES), "pow: integers have no negative powers"),
        (lambda: F.add(CLASSES.astype(np.uint8), 300), "add: 300 is beyond what uint8 holds"),
        (lambda: F.lt(-1, CLASSES.astype(np.uint8)), "lt: -1 is beyond what uint8 holds"),
        (lambda: F.where(CLASSES > 0, CLASSES, 2**70), "where: 1180591620717411303424 is beyond what int64 holds"),
        (lambda: F.clamp(CLASSES.astype(np.uint8), 0, 300), "clamp: 300 is beyond what uint8 holds"),
        (lambda: F.mul(X, 1j), "mul: expected a real number, got 1j"),
        (lambda: F.mse_loss(BOOLS, BOOLS), "mse_loss: x and target must be numbers, got dtype bool"),
    ],
    "products": [
        (lambda: F.matmul(ROWS, 2.0), "matmul: expected vectors or matrices, got shapes (5, 3) and ()"),
        (lambda: F.matmul(X, X[:, :2]), "matmul: (2, 3, 8, 8) by (2, 2, 8, 8): the leading axes do not broadcast"),
        (lambda: F.matmul(BOOLS, BOOLS), "matmul: a must be numbers, got dtype bool"),
        (lambda: F.linear(ROWS, X), "linear: weight must have 1 or 2 dimensions, got shape (2, 3, 8, 8)"),
        (lambda: F.linear(ROWS, ROWS, ROWS[0]), "linear: bias has shape (3,), expected (5,)"),
        (lambda: F.linear(ROWS, ROWS[0], np.float32(1)), "linear: bias goes with no 1-d weight where x is 2-d"),
    ],
    "normalisation of each image": [
        (lambda: F.group_norm(X, 2), "group_norm: num_groups 2 must be positive and divide 3 (x.shape[1])"),
        (lambda: F.group_norm(X, 3, ROWS[:, 0]), "group_norm: weight has shape (5,), expected (3,)"),
        (lambda: F.group_norm(X, 3, np.ones(3)), "group_norm: x has dtype float32, weight has float64"),
        (lambda: F.instance_norm(X, *STATS), "instance_norm: running_mean and running_var are not supported"),
        (lambda: F.instance_norm(X[:, :, :1, :1]), "instance_norm: needs more than 1 position"),
        (
            lambda: F.layer_norm(X, (3, 8)),
            "layer_norm: normalized_shape (3, 8) is not how x of shape (2, 3, 8, 8) ends",
        ),
        (lambda: F.layer_norm(CLASSES, 5), "layer_norm: x must be floating point"),
    ],
    "grids": [
        (lambda: F.pixel_shuffle(X, 2), "pixel_shuffle: x must be (N,C*2*2,H,W), got shape (2, 3, 8, 8)"),
        (lambda: F.pixel_shuffle(X, 0), "pixel_shuffle: upscale_factor must be a positive int, got 0"),
        (lambda: F.adaptive_max_pool2d(X, 2, True), "adaptive_max_pool2d: return_indices is not supported"),
        (lambda: F.interpolate(X, 4, coordinates="corners"), "interpolate: coordinates must be one of half_pixel"),
        (lambda: F.interpolate(X, 4, rounding="ceil"), "interpolate: rounding must be one of floor, ceil"),
        (
            lambda: F.interpolate(X, 4, mode="bilinear", align_corners=True, coordinates="half_pixel"),
            "interpolate: align_corners goes with mode",
        ),
    ],
    "convolutions": [
        (lambda: F.conv2d(X, W, W[:3, 0, 0, 0]), "conv2d: bias has shape (3,), expected (4,)"),
        (lambda: F.conv2d(X, W, stride=(1, 2, 3)), "conv2d: stride must be an int or a pair of ints, got (1, 2, 3)"),
        (lambda: F.conv2d(X, W, dilation=True), "conv2d: dilation must be an int or a pair of ints, got True"),
        (lambda: F.conv2d(X[0, 0], W), "conv2d: x must be (N,C,H,W) or (C,H,W), got shape (8, 8)"),
        (lambda: F.conv2d(X, W[0]), "conv2d: weight must have 4 dimensions, got shape (3, 3, 3)"),
        (lambda: F.conv2d(X, W[:0]), "conv2d: x (2, 3, 8, 8) and weight (0, 3, 3, 3) must not be empty"),
        (lambda: F.conv2d(BOOLS, BOOLS), "conv2d: x must be numbers, got dtype bool"),
        (lambda: F.conv2d(X, W.astype(np.float64)), "conv2d: x has dtype float32, weight has float64"),
        (lambda: F.conv2d(X, W, groups=0), "conv2d: groups must be a positive int, got 0"),
        (lambda: F.conv2d(X, W, groups=3), "conv2d: groups 3 must divide 4 (weight.shape[0])"),
        (lambda: F.conv2d(X, W, stride=2, padding="same"), 'conv2d: padding "same" needs stride 1, got (2, 2)'),
        (lambda: F.conv_transpose2d(X, W[:3], ROWS[0, :2]), "conv_transpose2d: bias has shape (2,), expected (3,)"),
        (lambda: F.conv_transpose2d(X, W[:3], output_padding=1), "output_padding (1, 1) must be smaller than stride"),
        (lambda: F.conv_transpose2d(X, W[:3], padding=5), "conv_transpose2d: the output would have size (0, 0)"),
    ],
    "pools": [
        (lambda: F.max_pool2d(X[0, 0], 2), "max_pool2d: x must be (N,C,H,W) or (C,H,W), got shape (8, 8)"),
        (lambda: F.max_pool2d(X[:, :0], 2), "max_pool2d: x (2, 0, 8, 8) must not be empty but for the batch"),
        (lambda: F.avg_pool2d(X.astype(int), 2), "avg_pool2d: x must be floating point, got dtype int64"),
        (lambda: F.adaptive_avg_pool2d(X, (1, 2, 3)), "adaptive_avg_pool2d: output_size must be an int or a pair"),
        (lambda: F.max_unpool2d(X, X, 2), "max_unpool2d: indices must be integers, got dtype float32"),
        (lambda: F.max_unpool2d(X, X[0].astype(int), 2), "max_unpool2d: indices has shape (3, 8, 8), x has"),
        (lambda: F.max_unpool2d(X, X.astype(int) + 256, 2), "indices must be from 0 to 255 for an output of 16 by 16"),
        (lambda: F.max_unpool2d(X, X.astype(int), 2, output_size=(20, 16)), "output_size (20, 16) must be within"),
    ],
    "normalisation": [
        (lambda: F.batch_norm(ROWS[0], *STATS), "batch_norm: x must be floating point (N,C,...)"),
        (lambda: F.batch_norm(X.astype(np.float64), *STATS), "batch_norm: x has dtype float64, running_mean has"),
        (lambda: F.batch_norm(X, *STATS, eps=-1.0), "batch_norm: eps must be 0 or more, got -1.0"),
        (lambda: F.batch_norm(X, *STATS, training=True, eps=0), "batch_norm: eps must be positive in training, got 0"),
        (lambda: F.batch_norm(X, STATS[0], None, training=True), "give both running_mean and running_var, or neither"),
        (
            lambda: F.batch_norm(mg.Tensor(ROWS[:1]), *STATS, training=True),
            "training needs more than 1 element in each channel",
        ),
        (lambda: F.local_response_norm(ROWS, 3), "local_response_norm: x must be (N,C,...) of 3 or more dimensions"),
        (lambda: F.local_response_norm(X, 0), "local_response_norm: size must be a positive int, got 0"),
    ],
    "losses": [
        (lambda: F.cross_entropy(1.0, 0), "cross_entropy: x must be (N,C,...) or (C,), got a single number"),
        (lambda: F.cross_entropy(ROWS[:, :0], CLASSES), "cross_entropy: x must have at least one class"),
        (lambda: F.cross_entropy(ROWS, CLASSES, label_smoothing=2), "label_smoothing must be from 0 to 1, got 2"),
        (lambda: F.cross_entropy(ROWS, ROWS.astype(int)), "a target of x's shape holds probabilities, got dtype int64"),
        (lambda: F.cross_entropy(ROWS, PROBABILITIES, ignore_index=1), "ignore_index goes with class indices"),
        (lambda: F.cross_entropy(ROWS, CLASSES, weight=ROWS[0, :2]), "weight has shape (2,), expected one for each of"),
        (lambda: F.nll_loss(ROWS, CLASSES, weight=LEARNT), "nll_loss: no gradient by weight with class indices"),
        (lambda: F.nll_loss(ROWS, CLASSES.astype(np.int32)), "nll_loss: target must hold class indices of int64"),
        (lambda: F.nll_loss(ROWS, CLASSES, weight=np.ones(3)), "nll_loss: x has dtype float32, weight has float64"),
    ],
    "reductions": [
        (lambda: F.sum(X, (1, -3)), "sum: axis (1, -3) names an axis twice"),
        (lambda: F.var(X, 1, ddof=3), "var: 3 elements over axis 1 of shape (2, 3, 8, 8) are too few for ddof=3"),
        (lambda: F.max(X[:0], 0), "max: no elements along axis 0 of shape (0, 3, 8, 8)"),
        (lambda: F.argmax(X, (0, 1)), "argmax: axis must be an int or None, got (0, 1)"),
        (lambda: F.argmax(X[:0], 0), "argmax: no elements along axis 0 of shape (0, 3, 8, 8)"),
    ],
    "resampling": [
        (
            lambda: F.interpolate(ROWS, 4),
            "interpolate: x must be floating point (N,C,H,W), got float32 of shape (5, 3)",
        ),
        (lambda: F.interpolate(X, 4, align_corners=True), 'interpolate: align_corners goes with mode "bilinear"'),
        (lambda: F.interpolate(X), "interpolate: give either size or scale_factor"),
        (lambda: F.interpolate(X, 4, recompute_scale_factor=True), "recompute_scale_factor goes with scale_factor"),
        (lambda: F.interpolate(X, scale_factor=(1, -1)), "scale_factor must be a positive number or a pair"),
        (lambda: F.interpolate(X, scale_factor=0.1), "interpolate: scale_factor 0.1 leaves no pixel of (8, 8)"),
        (lambda: F.unfold(ROWS, 2), "unfold: x must be (N,C,H,W) or (C,H,W), got shape (5, 3)"),
        (lambda: F.fold(X[0], 8, 3), "fold: x has shape (3, 8, 8), expected (N, a multiple of 9, 36)"),
    ],
    "shapes": [
        (lambda: F.broadcast_to(ROWS, (5, 4)), "broadcast_to: shape (5, 3) does not broadcast to (5, 4)"),
        (lambda: F.broadcast_to(ROWS, (3,)), "broadcast_to: shape (5, 3) does not broadcast to (3,)"),
        (lambda: F.flatten(X, 2, 1), "flatten: start_dim 2 comes after end_dim 1"),
        (lambda: F.permute(X, (0, 1, 2)), "permute: dims (0, 1, 2) is not an order of the 4 dimensions"),
        (lambda: F.flip(X, (1, -3)), "names a dimension twice"),
        (lambda: F.roll(X, (1, 2), (0,)), "roll: 2 shifts for 1 dims"),
        (lambda: F.cat([]), "cat: expected at least one tensor"),
        (lambda: F.stack([]), "stack: expected at least one tensor"),
        (lambda: F.stack([X, ROWS]), "stack: tensors[1] has shape (5, 3), expected (2, 3, 8, 8)"),
        (lambda: F.transpose(X, 0.5, 1), "must be an integer, got float"),
        (lambda: F.transpose(X, 4, 1), "is out of range for 4 dimensions"),
    ],
    "borders": [
        (lambda: F.pad(X, 1.5), "pad: pad must be a sequence of ints, got 1.5"),
        (lambda: F.pad(X, (1, 1, 1)), "pad: pad must hold an even number of widths, at most 8"),
        (lambda: F.pad(X, (-5, -4)), "pad: widths -5 and -4 leave nothing of the 8 elements of dimension 3"),
        (lambda: F.pad(CLASSES, (1, 1), value=1.5), "pad: 1.5 is beyond what int64 holds"),
        (lambda: F.pad(X, (1, 1), mode="edge"), "pad: mode must be constant, reflect, replicate or circular"),
        (lambda: F.pad(X, (1, 1), mode="reflect", value=1), "pad: mode 'reflect' takes no value, got 1"),
        (lambda: F.pad(X, (8, 0, 0, 0), mode="reflect"), "pad: reflect widths 8, 0 must be less than the 8 elements"),
        (lambda: F.pad(X, (9, 0, 0, 0), mode="circular"), "pad: circular widths 9, 0 wrap more than once"),
        (lambda: F.pad(X[..., :0], (1, 0, 0, 0), mode="replicate"), "pad: there is no edge to replicate"),
    ],
}
CASES = [pytest.param(*case, id=f"{family}-{case[1]}") for family, cases in REFUSED.items() for case in cases]


@pytest.mark.parametrize(("call", "message"), CASES)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=re.escape(message)):
        call()


UNARY = (
    "abs neg exp log sqrt sin cos square sign relu leaky_relu tanh sigmoid sum mean var max min argmax argmin".split()
)
BINARY = "add sub mul div pow maximum minimum eq ne lt le gt ge logical_and logical_or where clamp pad".split()
OF_TENSORS = "matmul linear mse_loss l1_loss".split()
DTYPES = st.sampled_from([bool, np.uint8, np.int64, np.float16, np.float32, np.float64])
NUMBERS = st.sampled_from([True, -1, 300, 2**70, 1.5, -1.5, np.nan, np.inf, 1e300, 1j])
SHAPES = st.sampled_from([(), (0,), (3,), (3, 3), (0, 3), (3, 0)])


def array_of(dtype, shape):
    return mg.Tensor((np.arange(np.prod(shape)).reshape(shape) % 3).astype(dtype))


@pytest.mark.host("arguments are the host's")
@settings(max_examples=300)
@given(st.data(), DTYPES, SHAPES, st.sampled_from([*UNARY, *BINARY, *OF_TENSORS]))
def test_what_is_refused_is_refused_by_name(data, dtype, shape, name):
    """Never in the words of NumPy, which does not know what was called."""
    x = array_of(dtype, shape)
    tensors = st.builds(array_of, DTYPES, SHAPES)
    other = None if name in UNARY else data.draw(NUMBERS | tensors if name in BINARY else tensors)
    calls = {
        "where": lambda: F.where(mg.Tensor(np.ones(shape, bool)), x, other),
        "clamp": lambda: F.clamp(x, max=other),
        "pad": lambda: F.pad(x, (1, 1), value=other if isinstance(other, Number) else None),
    }
    default = (lambda: getattr(F, name)(x)) if name in UNARY else (lambda: getattr(F, name)(x, other))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            calls.get(name, default)()
        except (ValueError, TypeError, OverflowError, IndexError) as error:
            assert str(error).startswith(f"{name}: ")


def test_a_nan_among_the_bounds_is_not_lost():
    for bounds in ((None, np.nan), (np.nan, None), (np.nan, 1.0), (0.0, np.nan)):
        for form in (lambda b: b, lambda b: None if b is None else mg.Tensor(b), lambda b: b and mg.Tensor([b, b])):
            x = mg.Tensor(np.array([-1.0, 2.0]), requires_grad=True)
            y = F.clamp(x, *(form(b) for b in bounds))
            assert np.isnan(y.numpy()).all() and (mg.grad(y.sum(), x).numpy() == 0).all()
    assert np.isnan(F.clamp(mg.Tensor(np.nan), mg.Tensor(0.0), mg.Tensor(1.0)).item())


def test_values_of_booleans_and_integers():
    flags, x = mg.Tensor(np.array([True, False])), mg.Tensor(np.array([2, 3], np.uint8))
    assert F.sign(flags).dtype == bool and F.sign(flags).tolist() == [True, False]
    assert (flags + 1).tolist() == [2, 1] and (1 - flags).tolist() == [0, 1]
    assert (x + 250).tolist() == [252, 253] and (x**2).tolist() == [4, 9] and (x < 255).tolist() == [True, True]
    np.testing.assert_allclose((x**-1.0).numpy(), [1 / 2, 1 / 3], rtol=1e-6)


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss])
def test_a_loss_of_shapes_that_differ_warns(loss):
    with pytest.warns(UserWarning, match=r"x \(5, 3\) and target \(3,\) are broadcast; is that meant\?"):
        assert loss(ROWS, np.ones(3, np.float32)).item() == 1


def test_one_image_is_a_batch_of_one():
    """(C,H,W) gives what (1,C,H,W) gives, less its first dimension."""
    x = np.random.default_rng(0).random((1, 3, 8, 9))
    calls = [
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
        lambda x: F.unfold(x, (2, 3), padding=1),
        lambda x: F.conv_transpose2d(x, np.ones((3, 2, 3, 3)), stride=2),
    ]
    for call in calls:
        np.testing.assert_array_equal(call(x[0]).numpy(), call(x).numpy()[0])
    columns = F.unfold(x, 2)
    np.testing.assert_array_equal(F.fold(columns[0], (8, 9), 2).numpy(), F.fold(columns, (8, 9), 2).numpy()[0])


def test_winners_gather_what_they_scattered():
    """scatter and gather of a max pool are each other's derivative: gather(scatter(g)) = g where windows are apart."""
    x = mg.Tensor(np.random.default_rng(0).random((2, 3, 6, 6)), requires_grad=True)
    y = F.max_pool2d(x, 2)
    pool = y.function
    g = mg.Tensor(np.random.default_rng(1).random(y.shape), requires_grad=True)
    np.testing.assert_array_equal(pool.gather(pool.scatter(g)).numpy(), g.numpy())
    np.testing.assert_array_equal(pool.gather(x).numpy(), y.numpy())
    found = mg.grad((pool.gather(x) * g).sum(), x)
    np.testing.assert_array_equal(found.numpy(), pool.scatter(g).numpy())


@pytest.mark.host("NumPy's arrays among the arguments")
def test_numbers():
    """Functions of a single number, which has no dimensions to name."""
    assert F.softmax(3.0, 0).item() == 1 and F.log_softmax(3.0, -1).item() == 0
    assert F.flatten(mg.Tensor(3.0)).shape == (1,)
    assert F.clamp(np.array([1, 5]), 0, 2.5).dtype == np.float32  # as in torch, an integer clamped by a fraction
    assert (np.arange(3) * mg.Tensor([1.5, 1.5, 1.5])).dtype == np.float32


@pytest.mark.parametrize("value", [2**70, -(2**70), 0.5])
def test_booleans_are_padded_by_any_number(value):
    padded = F.pad(mg.Tensor(np.zeros(1, bool)), (1, 1), value=value)
    np.testing.assert_array_equal(padded.numpy(), [True, False, True])
