"""Keras 3 itself, on its torch backend: networks that it writes in each of its three kinds of files, read back."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

import minigrad as mg
from models.convert import convert
from verification.agreement import DIRECT, Check
from verification.references import reference

SIDE = 24


def checks(setting):
    """The scores of each network from each kind of file."""
    for name, build in (("sequential", _sequential), ("branches", _branches), ("network within a network", _nested)):
        written = cache(lambda n=name, b=build: Written(b(reference("keras")), setting.rng(f"keras {n}")))
        for file in ("net.keras", "net.h5", "net.weights.h5"):
            yield Check(
                *("Keras files", f"{name}, {file.removeprefix('net')}", "keras", f"(2, 3, {SIDE}, {SIDE})"),
                ours=lambda p, w=written, f=file: w().ours[f],
                theirs=lambda w=written: w().theirs,
                precisions=(DIRECT,),
                note="Keras computes in float32, too",
            )


def _sequential(keras):
    """Names of its own; a Flatten, which is over channels last."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Conv2D(6, 3, padding="same", name="first"),
            layers.BatchNormalization(name="first_norm"),
            layers.ReLU(),
            layers.MaxPooling2D(3, 2, padding="same"),
            layers.Dropout(0.5),
            layers.Conv2D(8, 3, strides=2, use_bias=False, activation="elu", name="second"),
            layers.Flatten(),
            layers.Dense(10, activation="tanh", name="before"),
            layers.Dense(5, name="scores"),
        ]
    )


def _branches(keras):
    layers = keras.layers
    x = image = keras.Input((SIDE, SIDE, 3))
    for channels in (6, 8):
        x = layers.Conv2D(channels, 3, padding="same", dilation_rate=channels // 4)(x)
        y = layers.BatchNormalization()(layers.Conv2D(channels, 1, activation="silu")(x))
        z = layers.LeakyReLU(0.1)(layers.Conv2D(channels, (3, 5), padding="same", groups=2)(x))
        x = layers.MaxPooling2D()(layers.Concatenate()([layers.Add()([x, y, z]), layers.Multiply()([y, z])]))
    return keras.Model(image, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


def _nested(keras):
    layers = keras.layers
    x = image = keras.Input((SIDE, SIDE, 3))
    for name in ("first", "second", "third"):
        x = layers.ReLU()(layers.BatchNormalization(name=f"{name}_norm")(layers.Conv2D(6, 3, name=name)(x)))
    base = keras.Model(image, x, name="base")
    flip = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)], name="augmentation")
    top = [layers.Rescaling(2.0, -1.0), base, layers.GlobalMaxPooling2D(), layers.Dense(5, name="scores")]
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), flip, *top])


class Written:
    """What Keras makes of two pictures, .theirs, and we, of the files that it wrote: .ours {file: scores}."""

    def __init__(self, network, rng):
        for weight in network.weights:
            low, high = (0.5, 1.5) if "moving_variance" in weight.path or "gamma" in weight.path else (-0.5, 0.5)
            if "seed" not in weight.path:
                weight.assign(rng.uniform(low, high, weight.shape).astype(np.float32))
        images = rng.random((2, SIDE, SIDE, 3), dtype=np.float32)
        self.theirs, self.ours = np.asarray(network.predict(images, verbose=0)), {}
        image = mg.Tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        with tempfile.TemporaryDirectory() as folder, mg.no_grad():
            for file in ("net.keras", "net.h5", "net.weights.h5"):
                path = Path(folder, file)
                (network.save_weights if file.endswith(".weights.h5") else network.save)(path)
                self.ours[file] = self._read(path, Path(folder, "net.keras"))(image).numpy()

    @staticmethod
    def _read(path, archive):
        """The network in a file; or that of the archive, its weights 0, filled from a file of weights alone."""
        if not path.name.endswith(".weights.h5"):
            return convert(path, preprocessing="unit")
        model = convert(archive, preprocessing="unit")
        for _, tensor in model.named_tensors():
            tensor.data = np.zeros(tensor.shape, np.float32)
        return convert(path, model, "unit")
