"""How pictures are prepared, by name."""

from ..layers import PREPROCESSING, Preprocess

CHOICES = PREPROCESSING | {"imagenet": PREPROCESSING["torchvision"], "unit": PREPROCESSING["none"]}
CHOICES |= {"rgb255": {"scale": 255}}  # Keras' networks that begin with a Rescaling


def prepared(given):
    """The Preprocess of a name, or itself. Raises ValueError for an unknown name."""
    if isinstance(given, Preprocess):
        return given
    if given not in CHOICES:
        raise ValueError(f"there is no preprocessing {given!r}: choose from {', '.join(CHOICES)}")
    return Preprocess(**CHOICES[given])
