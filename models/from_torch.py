"""A live torch module -> a Model of ours, in one call, by torch's own export to ONNX in memory.

The export follows one picture, so what `forward` decides by values is lost, and exporters have faults: the result is
compared with the module on drawn pictures before it is given away.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import minigrad as mg

from .hdf5 import WeightsError, shown
from .layers import Preprocess
from .model import Model
from .preprocessing import for_channels

ALIKE = 1e-3  # of the largest output: far above float32's rounding
RANGES = ((0.0, 1.0), (0.0, 0.1), (-1.0, 2.0))  # of the compared pictures, in which values may decide otherwise


def from_torch(
    module: Any,
    input_size: int | tuple[int, int],
    preprocessing: Any = None,
    labels: Sequence[str] | None = None,
    name: str | None = None,
    output_name: str | None = None,
) -> Model:
    """The Model that computes what the torch.nn.Module `module` computes in evaluation mode.

    input_size: (H, W) or a number of pixels; pictures are in colour, or grey where the first convolution sees one
    channel. preprocessing: how they were prepared in training: "imagenet" (RGB, 0 to 1, ImageNet's mean and deviation),
    "unit" (RGB, 0 to 1), ... or a `Preprocess`. labels: names of its classes, or "imagenet". Layers have the module's
    names. Weights are copied, as float32. output_name: of the output meant, where there are several: the key in a dict,
    or "output_0", "output_1", ... in a tuple.

    Needs the packages torch and onnx. Raises WeightsError for a module that cannot be exported or expressed, or of
    which the result differs on drawn pictures, ValueError for missing preprocessing or an unknown output_name.
    """
    import torch

    from .convert.onnx_file import read_onnx
    from .convert.whole import asked_for

    sides = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)
    kind = type(module).__name__
    convs = [inner.in_channels for inner in module.modules() if isinstance(inner, torch.nn.Conv2d)]
    prepare = for_channels(asked_for(preprocessing, b""), 1 if convs[:1] == [1] else 3)
    noise = np.random.default_rng(0).random((1, len(prepare.mean), *sides), dtype=np.float32)
    pictures = [low + (high - low) * noise for low, high in RANGES]
    with _evaluated(module):
        try:
            content, place = _exported(module, _prepared(module, prepare, noise), output_name)
        except (WeightsError, ValueError):
            raise
        except Exception as error:  # torch's, of dozens of kinds
            raise WeightsError(f"torch cannot export this {kind} to ONNX ({shown(error)})") from None
        model = read_onnx(content, preprocessing, sides, labels, name or kind, output_name=f"output_{place}")
        for picture in pictures:
            _compare(model, module, picture, _prepared(module, prepare, picture), place)
    model.provenance["source"] = f"torch module {kind}"
    return model


@contextlib.contextmanager
def _evaluated(module: Any) -> Iterator[None]:
    """The module in evaluation mode, without gradients; afterwards all its parts are in the mode that they were in."""
    import torch

    training = {inner: inner.training for inner in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for inner, mode in training.items():
            inner.training = mode


def _prepared(module: Any, prepare: Preprocess, pictures: np.ndarray) -> Any:
    """Pictures as the module takes them, a torch tensor."""
    import torch

    first = next(iter(module.parameters()), torch.zeros(1))
    with mg.no_grad():
        return torch.tensor(prepare(mg.Tensor(pictures)).numpy()).to(first.device, first.dtype)


def _exported(module: Any, image: Any, output_name: str | None) -> tuple[bytes, int]:
    """(bytes of ONNX, place of the output meant); outputs are called output_0, output_1, ..."""
    import torch

    given, buffer = _outputs(module(image)), io.BytesIO()
    if output_name is None and len(given) != 1:
        raise WeightsError(f"it has {len(given)} outputs ({shown(', '.join(given), 100)}): name one (output_name)")
    if output_name is not None and output_name not in given:
        raise ValueError(f"there is no output {output_name!r}: it has {', '.join(given)}")
    names = [f"output_{place}" for place in range(len(given))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export is to come, and names layers less well
        keep = torch.onnx.TrainingMode.PRESERVE  # batch normalisation stays
        options = {"dynamo": False, "training": keep, "do_constant_folding": False, "output_names": names}
        with _unlogged(torch):
            torch.onnx.export(module, (image,), buffer, **options)
    return buffer.getvalue(), 0 if output_name is None else list(given).index(output_name)


@contextlib.contextmanager
def _unlogged(torch: Any) -> Iterator[None]:
    """Without the graph that torch prints where its exporter fails: what it says of that is in the error."""
    log = getattr(torch._C, "_jit_onnx_log", None)
    torch._C._jit_onnx_log = lambda *texts: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = log


def _outputs(result: Any) -> dict:
    """{name: tensor} of what a module gives: a tensor, or a dict or tuple of tensors."""
    import torch

    if isinstance(result, torch.Tensor):
        return {"output_0": result}
    if isinstance(result, list | tuple):
        result = {f"output_{place}": one for place, one in enumerate(result)}
    if not isinstance(result, Mapping) or not all(isinstance(one, torch.Tensor) for one in result.values()):
        raise WeightsError(
            "it gives neither a tensor nor a dict or tuple of tensors: wrap it in a module that gives one"
        )
    return {str(name): one for name, one in result.items()}


def _compare(model: Model, module: Any, picture: np.ndarray, image: Any, place: int) -> None:
    """Refuse a Model that gives anything else than the module for a picture."""
    import torch

    try:
        wanted = list(_outputs(module(image)).values())[place].cpu().float().numpy()
    except Exception:  # a picture beyond the usual range, which the module refuses
        return
    with mg.no_grad():
        found = model(mg.Tensor(picture)).numpy()
    if not np.isfinite(wanted).all():
        return
    largest, alike = np.abs(wanted).max(initial=0), max(ALIKE, 16 * torch.finfo(image.dtype).eps)
    apart = np.abs(found - wanted).max(initial=0) if found.shape == wanted.shape else np.inf
    if not apart <= alike * largest:
        raise WeightsError(
            f"what was made of this {type(module).__name__} differs from it, by {apart:.2g} where the largest output "
            f"is {largest:.2g}, for a drawn picture: values decide in its forward (an `if` on a tensor, of which the "
            "export keeps one branch: write torch.where), or torch's exporter has a fault (it drops AvgPool2d's "
            "divisor_override: multiply instead)"
        )
