"""tqdm's bars, which need not be imported before one is shown: that takes as long as a tenth of all of viz."""

from typing import Any


def tqdm(*args: Any, **options: Any) -> Any:
    """As of the package tqdm."""
    from tqdm import tqdm

    return tqdm(*args, **options)


def trange(*args: int, **options: Any) -> Any:
    """tqdm(range(...))."""
    return tqdm(range(*args), **options)
