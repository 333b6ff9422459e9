"""A live torch module -> a Model of ours, in one call, by torch's own export to ONNX in memory."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

from ..hdf5 import WeightsError, shown
from ..model import Model
from .onnx_file import read_onnx


def from_torch(
    module: Any,
    input_size: int | tuple[int, int],
    preprocessing: Any = None,
    labels: Sequence[str] | None = None,
    name: str | None = None,
) -> Model:
    """The Model that computes what the torch.nn.Module `module` computes in evaluation mode.

    input_size: (H, W) or a number of pixels; pictures are in colour, or grey where the first convolution sees one
    channel. preprocessing: how they were prepared in training: "imagenet" (RGB, 0 to 1, ImageNet's mean and deviation),
    "unit" (RGB, 0 to 1), ... or a `Preprocess`. labels: names of its classes, or "imagenet". Layers have the module's
    names. Weights are copied, as float32.

    Needs the packages torch and onnx. Raises WeightsError for a module that cannot be exported or expressed,
    ValueError for missing preprocessing.
    """
    import torch

    sides = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)
    first = next(iter(module.parameters()), torch.zeros(1))
    convs = [inner.in_channels for inner in module.modules() if isinstance(inner, torch.nn.Conv2d)]
    channels = 1 if convs[:1] == [1] else 3
    image = torch.zeros(1, channels, *sides, dtype=first.dtype, device=first.device)
    buffer: Any = io.BytesIO()
    training = {inner: inner.training for inner in module.modules()}
    module.eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch.export is to come, and names layers less well
            keep = torch.onnx.TrainingMode.PRESERVE  # batch normalisation stays
            torch.onnx.export(module, (image,), buffer, dynamo=False, training=keep, do_constant_folding=False)
    except Exception as error:  # torch's, of dozens of kinds
        raise WeightsError(f"torch cannot export this {type(module).__name__} to ONNX ({shown(error)})") from None
    finally:
        for inner, mode in training.items():
            inner.training = mode
    model = read_onnx(buffer.getvalue(), preprocessing, sides, labels, name or type(module).__name__)
    model.provenance["source"] = f"torch module {type(module).__name__}"
    return model
