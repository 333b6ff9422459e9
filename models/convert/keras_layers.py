"""Keras' layers, each as a few of ours: (config, arrays, shape of one picture's input) -> modules, one after the other.

A shape is (C, H, W), or (C,) once the network is flat. What cannot be expressed is a ValueError, which the reader
(keras_archive.py) completes with the layer's name.
"""

from collections.abc import Callable

import numpy as np

from minigrad import nn

from ..hdf5 import shown

ACTIVATIONS = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_silu": nn.Hardswish,
    "hard_swish": nn.Hardswish,
    "softmax": lambda: nn.Softmax(1),
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
}
ONLY_IN_TRAINING = {
    "Dropout",
    "SpatialDropout2D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "StochasticDepth",
}
ONLY_IN_TRAINING |= {f"Random{what}" for what in "Flip Rotation Zoom Translation Contrast Brightness Shear".split()}
ONLY_IN_TRAINING |= {"RandomColorJitter", "RandomGrayscale", "RandomHue", "RandomSaturation", "ActivityRegularization"}
LARGEST_PAD = 1024
MOST_ELEMENTS = 1 << 26  # of one picture's activation: 256 MiB


def _allow(channels: int, rows: int, columns: int) -> None:
    """Refuse what would make more numbers than any network, before it does."""
    if channels * rows * columns > MOST_ELEMENTS:
        raise ValueError(f"it makes {channels} x {rows} x {columns} numbers, which is absurd")


def _activation(config: dict) -> list[nn.Module]:
    name = config.get("activation", "linear")
    if name in ("linear", None):
        return []
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"there is no layer for its activation {shown(name, 60)}")
    return [ACTIVATIONS[name]()]


def _loaded(module: nn.Module, **arrays: np.ndarray) -> nn.Module:
    for name, array in arrays.items():
        tensor = getattr(module, name)
        if tuple(tensor.shape) != array.shape or not np.isfinite(array).all():
            raise ValueError(f"its {name} has shape {array.shape} or is not finite, expected {tuple(tensor.shape)}")
        tensor.data = np.ascontiguousarray(array, np.float32)
    return module


def for_each_channel(function: str, array: np.ndarray, shape: tuple) -> nn.Module:
    """A function of each channel and a number of its own, of pictures (C, H, W) or flat (C,)."""
    array = np.reshape(array, (-1, *[1] * (len(shape) - 1)))
    return _loaded(nn.WeightedCall(function, array.shape), weight=array)


def _bias(config: dict, arrays: list) -> dict:
    return {"bias": arrays[-1]} if config["use_bias"] else {}


def _window(config: dict, size: str) -> dict:
    padding = {"valid": 0, "same": "same_upper"}[config["padding"]]
    return {"kernel_size": tuple(config[size]), "stride": tuple(config["strides"]), "padding": padding}


# ---- layers with weights ---------------------------------------------------------------------------------------------


def _conv(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    kernel, groups = arrays[0], config.get("groups", 1)
    _allow(kernel.shape[3], *shape[1:])
    window = _window(config, "kernel_size") | {"dilation": tuple(config["dilation_rate"]), "groups": groups}
    layer = nn.Conv2d(kernel.shape[2] * groups, kernel.shape[3], bias=config["use_bias"], **window)
    return [_loaded(layer, weight=kernel.transpose(3, 2, 0, 1), **_bias(config, arrays)), *_activation(config)]


def _depthwise(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    rows, columns, channels, each = arrays[0].shape
    _allow(channels * each, *shape[1:])
    window = _window(config, "kernel_size") | {"dilation": tuple(config["dilation_rate"])}
    layer = nn.Conv2d(channels, channels * each, bias=config["use_bias"], groups=channels, **window)
    weight = arrays[0].transpose(2, 3, 0, 1).reshape(channels * each, 1, rows, columns)
    return [_loaded(layer, weight=weight, **_bias(config, arrays)), *_activation(config)]


def _separable(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    apart = _depthwise(config | {"use_bias": False, "activation": None}, arrays[:1], shape)
    one = {"kernel_size": (1, 1), "strides": (1, 1), "dilation_rate": (1, 1), "padding": "valid", "groups": 1}
    return [*apart, *_conv(config | one, arrays[1:], shape)]


def _transposed(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    kernel, padding, stride = arrays[0], config["padding"], tuple(config["strides"])
    more = [size - step for size, step in zip(kernel.shape[:2], stride, strict=True)]
    if config.get("output_padding") is not None or tuple(config["dilation_rate"]) != (1, 1):
        raise ValueError("its output_padding or dilation has no counterpart here")
    if padding == "valid" and min(more) < 0 or padding == "same" and (min(more) < 0 or any(n % 2 for n in more)):
        raise ValueError("its padding is uneven, which Keras does in another way on torch than on TensorFlow")
    _allow(kernel.shape[2], *(n * s + k for n, s, k in zip(shape[1:], stride, kernel.shape[:2], strict=True)))
    around = tuple(n // 2 for n in more) if padding == "same" else 0
    layer = nn.ConvTranspose2d(*kernel.shape[:1:-1], kernel.shape[:2], stride, around, bias=config["use_bias"])
    return [_loaded(layer, weight=kernel.transpose(3, 2, 0, 1), **_bias(config, arrays)), *_activation(config)]


def _dense(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    """On pictures, at each place of theirs."""
    kernel, bias = arrays[0], _bias(config, arrays)
    if len(shape) == 1:
        layer = _loaded(nn.Linear(*kernel.shape, bias=config["use_bias"]), weight=kernel.T, **bias)
    else:
        _allow(kernel.shape[1], *shape[1:])
        layer = _loaded(nn.Conv2d(*kernel.shape, 1, bias=config["use_bias"]), weight=kernel.T[:, :, None, None], **bias)
    return [layer, *_activation(config)]


def _batch_norm(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    arrays, size = list(arrays), arrays[-1].size
    weight = arrays.pop(0) if config["scale"] else np.ones(size, np.float32)
    bias = arrays.pop(0) if config["center"] else np.zeros(size, np.float32)
    mean, var = arrays
    layer = nn.BatchNorm2d(size, config["epsilon"])
    return [_loaded(layer, weight=weight, bias=bias, running_mean=mean, running_var=var)]


def _learned(config: dict, arrays: list, size: str) -> dict:
    arrays = list(arrays)
    weight = arrays.pop(0) if config.get("scale", True) else np.ones(size, np.float32)
    bias = arrays.pop(0) if config.get("center", True) else np.zeros(size, np.float32)
    return {"weight": weight, "bias": bias}


def _layer_norm(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    if config.get("rms_scaling"):
        raise ValueError("it scales by the root of the mean square")
    kind = nn.LayerNorm if len(shape) == 1 else nn.LayerNorm2d
    return [_loaded(kind(shape[0], config["epsilon"]), **_learned(config, arrays, shape[0]))]


def _group_norm(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    groups = shape[0] if config["groups"] == -1 else config["groups"]
    return [_loaded(nn.GroupNorm(groups, shape[0], config["epsilon"]), **_learned(config, arrays, shape[0]))]


def _normalization(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    """Of pictures, by a mean and variance that are given or were adapted."""
    given = config.get("mean") is not None
    mean, var = ([config["mean"], config["variance"]] if given else arrays[:2]) if given or arrays else (0.0, 1.0)
    mean, var = (np.broadcast_to(np.ravel(one), (shape[0],)) for one in (mean, var))
    if config.get("invert") or len(shape) != 3:
        raise ValueError("it is inverted, or not of pictures")
    return [for_each_channel("sub", mean, shape), for_each_channel("div", np.maximum(np.sqrt(var), 1e-7), shape)]


def _prelu(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    (slope,) = arrays
    if slope.size not in (1, slope.shape[-1]):
        raise ValueError("its slopes are not one for each channel (shared_axes=[1, 2])")
    return [_loaded(nn.PReLU(slope.size), weight=slope.ravel())]


# ---- layers without --------------------------------------------------------------------------------------------------


def _relu(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    highest, slope = config.get("max_value"), config.get("negative_slope") or 0
    if config.get("threshold") or (highest and slope) or highest not in (None, 6):
        raise ValueError(f"its max_value {highest}, negative_slope {slope} or threshold is unusual")
    return [nn.ReLU6() if highest else nn.LeakyReLU(slope) if slope else nn.ReLU()]


def _mean_pool(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    """Padding does not count, as with Keras on TensorFlow; on torch it repeats the edge."""
    return [nn.AvgPool2d(**_window(config, "pool_size"), count_include_pad=False)]


def _global(layer: type[nn.Module]) -> Callable[..., list[nn.Module]]:
    return lambda config, arrays, shape: [layer(1), *([] if config.get("keepdims") else [nn.Flatten()])]


def _zeros_around(config: dict, arrays: list, shape: tuple, sign: int = 1) -> list[nn.Module]:
    (top, bottom), (left, right) = config["padding"] if sign > 0 else config["cropping"]
    if max(top, bottom, left, right) > LARGEST_PAD:
        raise ValueError("its padding is absurd")
    _allow(shape[0], shape[1] + top + bottom, shape[2] + left + right)
    widths = tuple(sign * n for n in (left, right, top, bottom))
    return [nn.ZeroPad2d(widths) if sign > 0 else nn.Call("pad", pad=widths)]


def _upsampling(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    mode = {"nearest": "nearest", "bilinear": "bilinear"}.get(config["interpolation"])
    if mode is None or max(config["size"]) > 64:
        raise ValueError(f"its interpolation {config['interpolation']!r} or size has no counterpart here")
    _allow(shape[0], *(n * by for n, by in zip(shape[1:], config["size"], strict=True)))
    return [nn.Upsample(scale_factor=tuple(config["size"]), mode=mode)]


def _flatten(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    """In Keras' order, which puts channels last."""
    if shape[1:] == (1, 1):
        return [nn.Flatten()]
    return [nn.Call("permute", dims=(0, 2, 3, 1)), nn.Flatten()] if len(shape) == 3 else [nn.Identity()]


def _reshape(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    target = tuple(config["target_shape"])
    if len(target) == 1:
        return _flatten(config, arrays, shape)
    if len(target) != 3:
        raise ValueError(f"it makes {len(target)} dimensions, and only pictures have layers here")
    if len(shape) == 3:
        return [*_flatten(config, arrays, shape), *_reshape(config, arrays, (int(np.prod(shape)),))]
    if target[:2] == (1, 1):
        return [nn.Call("reshape", shape=(-1, target[2], 1, 1))]
    return [nn.Call("reshape", shape=(-1, *target)), nn.Call("permute", dims=(0, 3, 1, 2))]


def _rescaling(config: dict, arrays: list, shape: tuple) -> list[nn.Module]:
    scale, offset = (np.ravel(config[name]).astype(float) for name in ("scale", "offset"))
    if scale.size == offset.size == 1:
        return [nn.Call("mul", b=scale.item()), nn.Call("add", b=offset.item())]
    return [for_each_channel(name, one * np.ones(shape[0]), shape) for name, one in (("mul", scale), ("add", offset))]


LAYERS = {
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "Conv2DTranspose": _transposed,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "Normalization": _normalization,
    "LayerScale": lambda config, arrays, shape: [for_each_channel("mul", arrays[0], shape)],
    "Activation": lambda config, arrays, shape: _activation(config) or [nn.Identity()],
    "ReLU": _relu,
    "PReLU": _prelu,
    "ELU": lambda config, arrays, shape: [nn.ELU(config.get("alpha", 1.0))],
    "LeakyReLU": lambda config, arrays, shape: [nn.LeakyReLU(config.get("negative_slope", 0.3))],
    "Softmax": lambda config, arrays, shape: [nn.Softmax(1)],
    "MaxPooling2D": lambda config, arrays, shape: [nn.MaxPool2d(**_window(config, "pool_size"))],
    "AveragePooling2D": _mean_pool,
    "GlobalAveragePooling2D": _global(nn.AdaptiveAvgPool2d),
    "GlobalMaxPooling2D": _global(nn.AdaptiveMaxPool2d),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "ZeroPadding2D": _zeros_around,
    "Cropping2D": lambda config, arrays, shape: _zeros_around(config, arrays, shape, -1),
    "UpSampling2D": _upsampling,
    "Rescaling": _rescaling,
}
