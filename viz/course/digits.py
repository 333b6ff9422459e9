"""Small digits to learn from, rendered here: no data set is needed."""

import numpy as np

SIDE = 16


def digits(count, seed=0):
    """Images (count, 256) float32 in about [0, 1], and labels (count,): digits of 16x16, shifted, turned and noisy."""
    from PIL import Image, ImageDraw, ImageFont

    rng, font = np.random.default_rng(seed), ImageFont.load_default(14)
    labels = rng.integers(0, 10, count)
    images = np.empty((count, SIDE, SIDE), np.float32)
    for image, label in zip(images, labels, strict=True):
        drawn = Image.new("L", (SIDE, SIDE))
        place = tuple(SIDE / 2 + rng.uniform(-1.5, 1.5, 2))
        ImageDraw.Draw(drawn).text(place, str(label), fill=255, font=font, anchor="mm")
        image[...] = np.asarray(drawn.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR), np.float32) / 255
    images += rng.standard_normal(images.shape, np.float32) * np.float32(0.15)
    return images.reshape(count, -1), labels
