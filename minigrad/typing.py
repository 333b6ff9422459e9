"""Names for annotations: what counts as a tensor, a pair, axes, rules. CuPy's arrays have no types of their own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from .autograd import Function
from .tensor import Tensor

Array = np.ndarray[Any, Any]
TensorLike = Tensor | Array | np.generic | float | list[Any] | tuple[Any, ...]
Pair = int | Sequence[int]  # of rows and columns
Axis = int | Sequence[int] | None
Gradients = Tensor | None | tuple[Tensor | None, ...]  # what vjp returns: of the input, or of each of several
Rule = Callable[[Any, Tensor], Any]  # rule(function, g) returns what vjp would
Rules = Mapping[type[Function], Rule]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])
