"""Names for annotations: pictures and images, what is explained in them, and what watches long work."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from PIL.Image import Image

if TYPE_CHECKING:  # these modules take their annotations from here
    from .objective import Objective
    from .target import Contrast

Images = np.ndarray[Any, Any] | Image | list[Any] | tuple[Any, ...]  # (N,3,H,W), (3,H,W), or pictures: see as_images
Classes = int | str | list[Any] | tuple[Any, ...] | np.ndarray[Any, Any]  # one class, or one for each image
Target = Union[Classes, "Contrast", "Objective", Callable[..., Any]]
Unit = int | Sequence[int]  # a channel, or channel, row, column
Callback = Callable[..., Any]
SoFar = Callable[[int, int, np.ndarray], Any]  # f(step, steps, the result so far): True ends the work with that result
Method = Callable[..., Any]  # f(model, image, target) gives an attribution
