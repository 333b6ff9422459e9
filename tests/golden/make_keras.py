"""Makes keras_vgg16.weights.h5, keras_vgg16.h5 and keras_vgg16.npz: a narrow VGG16, written and run by Keras itself.

Run with Keras 3 (made with 3.15.1 on its torch backend): KERAS_BACKEND=torch python tests/golden/make_keras.py
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers

STAGES = ((2, 2), (3, 3), (3, 4, 4), (4, 4, 5), (5, 5, 5))
HIDDEN, CLASSES = 6, 7
HERE = Path(__file__).parent

keras.utils.set_random_seed(0)
image = layers.Input((224, 224, 3))
x = image
for stage, widths in enumerate(STAGES, 1):
    for place, width in enumerate(widths, 1):
        name = f"block{stage}_conv{place}"
        x = layers.Conv2D(
            width, 3, padding="same", activation="relu", name=name,
            kernel_initializer="he_normal", bias_initializer=keras.initializers.RandomNormal(stddev=0.1),
        )(x)  # fmt: skip
    x = layers.MaxPooling2D(2, name=f"block{stage}_pool")(x)
x = layers.Flatten(name="flatten")(x)
x = layers.Dense(HIDDEN, activation="relu", kernel_initializer="he_normal", bias_initializer="ones", name="fc1")(x)
x = layers.Dense(HIDDEN, activation="relu", kernel_initializer="he_normal", bias_initializer="ones", name="fc2")(x)
x = layers.Dense(CLASSES, bias_initializer="ones", name="predictions")(x)
model = keras.Model(image, x)

picture = np.random.default_rng(0).random((1, 3, 224, 224), dtype=np.float32)  # RGB in [0, 1]
fed = picture.transpose(0, 2, 3, 1)[..., ::-1] * np.float32(255) - np.array([103.939, 116.779, 123.68], np.float32)
np.savez(HERE / "keras_vgg16.npz", scores=model.predict(fed, verbose=0), version=keras.__version__)
model.save_weights(HERE / "keras_vgg16.weights.h5")
model.save(HERE / "keras_vgg16.h5")
