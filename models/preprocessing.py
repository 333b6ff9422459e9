"""How pictures are prepared, by name."""

from .layers import PREPROCESSING, Preprocess

CHOICES = PREPROCESSING | {"imagenet": PREPROCESSING["torchvision"], "unit": PREPROCESSING["none"]}
CHOICES |= {"rgb255": {"scale": 255}}  # Keras' networks that begin with a Rescaling
MEANING = {
    "imagenet": "RGB, 0 to 1, ImageNet's mean and deviation",
    "unit": "RGB, 0 to 1",
    "rgb255": "RGB, 0 to 255",
    "half": "RGB, -1 to 1",
    "caffe": "BGR, 0 to 255, minus VGG's mean",
    "caffe-squeezenet": "BGR, 0 to 255, minus 104, 117, 123",
    "bgr255": "BGR, 0 to 255",
}
LISTING = ", ".join(f"{name} ({meaning})" for name, meaning in MEANING.items())


def for_channels(prepare: Preprocess, channels: int) -> Preprocess:
    """The same for pictures of so many channels: of one, where it treats all colours alike. Raises ValueError else."""
    if len(prepare.mean) == channels:
        return prepare
    alike = len({*prepare.mean}) == len({*prepare.std}) == 1 and prepare.channel_order == "RGB"
    if channels == 1 and alike:
        return Preprocess(prepare.scale, prepare.mean[:1], prepare.std[:1])
    raise ValueError(
        f"the network sees pictures of {channels} channel{'s' * (channels > 1)}, and the preprocessing is for "
        f"{len(prepare.mean)}: give unit, rgb255, half, or a Preprocess with as many means"
    )


def prepared(given: str | Preprocess) -> Preprocess:
    """The Preprocess of a name, or itself. Raises ValueError for an unknown name."""
    if isinstance(given, Preprocess):
        return given
    if given not in CHOICES:
        raise ValueError(f"there is no preprocessing {given!r}: choose from {LISTING}")
    return Preprocess(**CHOICES[given])
