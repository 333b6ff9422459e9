"""Networks that a function of your own returns: "my_network:network" names a module and the function in it.

So Python code stands where a file does: it registers the classes of layers of your own, or builds the network.
"""

import importlib
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from .hdf5 import WeightsError, shown
from .model import Model
from .weights_file import digest_of

HOW = "MODULE:FUNCTION, of a function in Python that returns a models.Model"
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_own(name: Any) -> bool:
    """Whether a model's name is that of a function, and of no file."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and not Path(name).exists()


def made(name: str) -> Model:
    """The Model that the function of this name returns, in evaluation mode; its module is looked for in the working
    directory too.

    Raises WeightsError, one sentence, where there is no such module or function, where it fails, and where what it
    returns is no Model.
    """
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` has it
    try:
        found = getattr(importlib.import_module(module), function, None)
        if not callable(found):
            raise WeightsError(f"{name}: the module {module} has no function {function!r}: give {HOW}")
        model = found()
    except WeightsError:
        raise
    except (Exception, SystemExit) as error:
        raise WeightsError(f"{name}: {_what_happened(error, module)}") from error
    if not isinstance(model, Model):
        raise WeightsError(
            f"{name} returned a {type(model).__name__}: give {HOW}, which also says what the network looks at, "
            f'models.Model({{"preprocess": models.Preprocess(), "network": network}}, name, input_size)'
        )
    arrays = {key: tensor.numpy() for key, tensor in model.named_tensors()}
    model.provenance = {"source": name} | model.provenance | {"made_by": name, "weights_sha256": digest_of(arrays)}
    return model.eval()


def _what_happened(error: BaseException, module: str) -> str:
    """What stopped the import of the module or its function, with the place in a file of the user's."""
    if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
        return f"there is no module {error.name!r} in {os.getcwd()}, nor among those that are installed"
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
    else:
        own = [f for f in frames if Path(f.filename).stem == module.rpartition(".")[2]] or frames
        place = f"{own[-1].filename}, line {own[-1].lineno}"
    return f"{type(error).__name__}: {shown(error)} ({place})"
