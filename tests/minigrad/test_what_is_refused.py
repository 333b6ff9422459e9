"""What a mistake meets at the engine's edges: a sentence, or what was meant; never something else without a word."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.functional import choice, reduce


@pytest.mark.parametrize("kind, other", [(choice.Maximum, F.minimum), (choice.Minimum, F.maximum)])
def test_a_rule_for_one_extremum_is_not_for_the_other(kind, other):
    x = mg.Tensor([1.0, -2.0], requires_grad=True)
    g = mg.grad(other(x, 5.0 if other is F.minimum else -5.0).sum(), x, rules={kind: lambda f, g: (g * 100.0, None)})
    assert g.numpy().tolist() == [1, 1]
    assert not issubclass(reduce.Min, reduce.Max) and not issubclass(reduce.Max, reduce.Min)


def test_data_of_another_kind_is_refused():
    x = mg.Tensor([1.0, 2.0])
    for wrong in (np.array([1, 2]), np.array([True, False])):
        with pytest.raises(TypeError, match="the tensor holds float32, the array .*; convert it by .astype"):
            x.data = wrong
    with pytest.raises(TypeError, match="Tensor.data: expected an array, got list"):
        x.data = [1.0, 2.0]
    with pytest.raises(TypeError, match="the tensor holds int64, the array float64"):
        mg.Tensor([1, 2]).data = np.array([1.0, 2.0])
    assert x.numpy().tolist() == [1, 2]


@pytest.mark.host("NumPy's numbers are the host's")
def test_a_number_of_numpys_becomes_an_array():
    for number in (np.float32(2), np.int64(3), np.bool_(True)):
        assert type(mg.Tensor(number).data) is np.ndarray and mg.Tensor(number).dtype == number.dtype
    x = mg.Tensor(1.5, dtype=np.float64)
    x.data = np.float64(2.5)
    assert type(x.data) is np.ndarray and x.item() == 2.5


def test_a_number_as_gradient_to_start_from():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="grad: the gradient to start from must be a Tensor or an array, .* got float"):
        mg.grad(x.sum(), x, grad_outputs=2.0)


class Masked(nn.Module):
    buffers = (*nn.Module.buffers, "mask")

    def __init__(self):
        self.weight = mg.Tensor([1.0, 2.0], requires_grad=True)
        self.mask = mg.Tensor([1.0, 0.0])
        self.order = mg.Tensor([1, 0])


def test_integers_and_buffers_are_no_parameters():
    module = Masked().requires_grad_(False).requires_grad_(True)
    assert [name for name, _ in module.named_parameters()] == ["weight"]
    assert [name for name, _ in module.named_tensors()] == ["weight", "mask", "order"]


@pytest.mark.host("a GPU's arrays have no flag")
def test_what_replaces_a_frozen_parameter_is_read_only_too():
    layer = nn.Linear(2, 1).requires_grad_(False)
    before, after = layer.weight.data, np.ones((1, 2), np.float32)
    layer.weight.data = after
    with pytest.raises(ValueError, match="read-only"):
        layer.weight.data[0, 0] = 5
    before[0, 0] = 7  # nobody's any more
    assert layer(mg.Tensor(np.ones((1, 2), np.float32))).item() == 2
    layer.requires_grad_(True)
    after[0, 0] = 3
    assert layer.weight.numpy()[0, 0] == 3


# ---- whole numbers, Python's or NumPy's ------------------------------------------------------------------------------

IMAGE = np.random.default_rng(0).standard_normal((2, 4, 4, 4)).astype(np.float32)
WHOLE = {  # of x (2,4,4,4) and a function that makes the ints
    "reshape": lambda x, i: F.reshape(x, (i(8), i(-1))),
    "reshape to one": lambda x, i: F.reshape(x, i(128)),
    "Tensor.reshape": lambda x, i: x.reshape(i(128)),
    "Tensor.permute": lambda x, i: x.reshape(-1).permute(i(0)),
    "permute": lambda x, i: F.permute(x, [i(1), i(0), i(3), i(2)]),
    "broadcast_to": lambda x, i: F.broadcast_to(x[0, 0, 0, 0], i(3)),
    "flip": lambda x, i: F.flip(x, i(1)),
    "roll": lambda x, i: F.roll(x, i(1), i(2)),
    "roll, flattened": lambda x, i: F.roll(x, i(1)),
    "roll, several": lambda x, i: F.roll(x, (i(1), i(2)), (i(2), i(3))),
    "sum": lambda x, i: F.sum(x, (i(0), i(-1))),
    "mean": lambda x, i: F.mean(x, i(1)),
    "max": lambda x, i: F.max(x, i(1)),
    "logsumexp": lambda x, i: F.logsumexp(x, i(1)),
    "softmax": lambda x, i: F.softmax(x, i(1)),
    "argmax": lambda x, i: F.argmax(x, i(1)),
    "cat": lambda x, i: F.cat([x, x], i(1)),
    "stack": lambda x, i: F.stack([x, x], i(1)),
    "squeeze": lambda x, i: F.squeeze(x[:1], i(0)),
    "flatten": lambda x, i: F.flatten(x, i(1), i(2)),
    "pad": lambda x, i: F.pad(x, (i(1), i(2))),
    "max_pool2d": lambda x, i: F.max_pool2d(x, i(2), i(1), i(1)),
    "avg_pool2d": lambda x, i: F.avg_pool2d(x, i(2), i(1), i(1), divisor_override=i(3)),
    "adaptive_avg_pool2d": lambda x, i: F.adaptive_avg_pool2d(x, i(3)),
    "adaptive_max_pool2d": lambda x, i: F.adaptive_max_pool2d(x, (i(3), i(2))),
    "interpolate": lambda x, i: F.interpolate(x, i(7)),
    "unfold": lambda x, i: F.unfold(x, i(2), i(1), i(1), i(2)),
    "pixel_shuffle": lambda x, i: F.pixel_shuffle(x, i(2)),
    "group_norm": lambda x, i: F.group_norm(x, i(2)),
    "layer_norm": lambda x, i: F.layer_norm(x, i(4)),
    "local_response_norm": lambda x, i: F.local_response_norm(x, i(3)),
    "nn.ZeroPad2d": lambda x, i: nn.ZeroPad2d(i(1))(x),
    "nn.LayerNorm": lambda x, i: nn.LayerNorm(i(4))(x),
    "nn.AvgPool2d": lambda x, i: nn.AvgPool2d(i(2), i(1))(x),
}


@pytest.mark.parametrize("name", WHOLE)
def test_numpys_integers_are_integers(name):
    x = mg.Tensor(IMAGE)
    found = WHOLE[name](x, np.int64)
    np.testing.assert_array_equal(found.numpy(), WHOLE[name](x, int).numpy())
    assert all(type(n) is int for n in found.shape)


SENTENCES = {  # of x (2,4,4,4)
    "max_pool2d: x must be numbers, got dtype bool": lambda x: F.max_pool2d(x > 0, 2),
    "adaptive_max_pool2d: x must be numbers, got dtype bool": lambda x: F.adaptive_max_pool2d(x > 0, 2),
    "reshape: shape must be an int or a sequence of ints, got .2.0, -1.": lambda x: x.reshape(2.0, -1),
    "sum: axis must be an int or a sequence of ints, got 1.5": lambda x: F.sum(x, 1.5),
    "mean: axis must be an int or a sequence of ints, got .0, 1.5.": lambda x: x.mean((0, 1.5)),
    "flip: dims must be an int or a sequence of ints, got 'a'": lambda x: F.flip(x, "a"),
    "roll: shifts must be an int or a sequence of ints, got 0.5": lambda x: F.roll(x, 0.5, 0),
    "layer_norm: normalized_shape must be an int or a sequence of ints, got 4.0": lambda x: F.layer_norm(x, 4.0),
    "adaptive_avg_pool2d: output_size must be an int or a pair of ints, got .1.5": lambda x: F.adaptive_avg_pool2d(
        x, 1.5
    ),
    "max_unpool2d: output_size .5,. must be": lambda x: F.max_unpool2d(x, (x * 0).astype(np.int64), 2, output_size=5),
    "instance_norm: weight has shape .2,., expected .4,.": lambda x: F.instance_norm(x, weight=[1.0, 2.0]),
    "group_norm: eps must be 0 or more, got -1": lambda x: F.group_norm(x, 2, eps=-1),
    "batch_norm: weight has shape .2,., expected .4,.": lambda x: F.batch_norm(
        x, None, None, weight=[1.0, 2.0], training=True
    ),
    "batch_norm: running_mean must be a Tensor, which training writes to, got list": lambda x: F.batch_norm(
        x, [0.0] * 4, [1.0] * 4, training=True
    ),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_mistake_is_named_by_its_function(sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        SENTENCES[sentence](mg.Tensor(IMAGE))


@pytest.mark.host("lists are the host's")
def test_vectors_of_norms_may_be_lists():
    x, weight, bias = mg.Tensor(IMAGE), [1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0]
    tensors = mg.Tensor(weight), mg.Tensor(bias)
    norms = [
        lambda *vectors: F.batch_norm(x, None, None, *vectors, training=True),
        lambda *vectors: F.group_norm(x, 2, *vectors),
        lambda *vectors: F.instance_norm(x, None, None, *vectors),
        lambda *vectors: F.layer_norm(x, 4, *vectors),
        lambda *vectors: F.channel_layer_norm(x, *vectors),
    ]
    for norm in norms:
        np.testing.assert_array_equal(norm(weight, bias).numpy(), norm(*tensors).numpy())


@pytest.mark.parametrize(
    "shapes", [((5, 0), (3, 0)), ((5, 2), (0, 2)), ((0, 0), (3, 0)), ((0,), (3, 0)), ((2, 3, 0), (1, 0))]
)
def test_linear_of_no_features_has_gradients(shapes):
    x, w = (mg.Tensor(np.ones(shape, np.float32), requires_grad=True) for shape in shapes)
    bias = mg.Tensor(np.ones(shapes[1][0], np.float32), requires_grad=True)
    y = F.linear(x, w, bias)
    assert (y.numpy() == 1).all()
    gx, gw, gbias = mg.grad(y.sum(), (x, w, bias))
    assert gx.shape == x.shape and gw.shape == w.shape and (gbias.numpy() == np.prod(shapes[0][:-1])).all()
    assert not gx.numpy().any()
