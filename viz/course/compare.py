"""Right, or which mistake this is: a student's result beside the right one, and beside what classic mistakes give."""

import numpy as np

UNNAMED = ("the values differ", "the shape is ", "there are NaN")  # sentences that name no mistake begin like this


class Mistake(Exception):
    """What is wrong, in a sentence; with the smallest example, what was expected there, and what was found."""

    def __init__(self, sentence, example="", expected="", found=""):
        super().__init__(sentence)
        self.sentence, self.example, self.expected, self.found = sentence, example, expected, found


def same(example, found, expected, mistakes=None, tolerance=1e-5, other_dtype=False):
    """Raise Mistake unless `found` has the shape, dtype and values of `expected` (to tolerance times the largest).

    example: the call, as it would be typed. found: an array, a number, or what holds an array as `data`.
    mistakes: {sentence: what this mistake gives}, or a function that gives it, called if need be; the one whose result
    was found is named. other_dtype: any will do.
    """
    if found is None:
        raise Mistake("nothing came back (None): a `return` is missing", example, _shown(np.asarray(expected)), "None")
    found, expected = _array("what came back", example, found), np.asarray(getattr(expected, "data", expected))

    def wrong(sentence):
        raise Mistake(sentence, example, *_pair(expected, found))

    agrees = _close(found, expected, tolerance)
    if callable(mistakes):
        mistakes = {} if agrees else mistakes()
    for sentence, result in (mistakes or {}).items():
        if not agrees and _close(found, np.asarray(result), tolerance):
            wrong(sentence)
    if found.shape != expected.shape:
        wrong(f"the shape is {found.shape}, expected {expected.shape}")
    if not agrees and not np.isfinite(found).all() and np.isfinite(expected).all():
        wrong("there are NaN or infinite values")
    if not agrees:
        wrong("the values differ")
    if found.dtype != expected.dtype and not other_dtype:
        creeping = found.dtype == np.float64 and expected.dtype == np.float32
        wrong(
            "float64 creeps in: float32 went in and float64 came out"
            if creeping
            else f"the dtype is {found.dtype}, expected {expected.dtype}"
        )


def require(condition, sentence, example="", expected="", found=""):
    """Raise Mistake unless `condition` holds."""
    if not condition:
        raise Mistake(sentence, example, str(expected), str(found))


def _array(what, example, value):
    array = np.asarray(getattr(value, "data", value) if not isinstance(value, np.ndarray) else value)
    if array.dtype.kind not in "fiub":
        raise Mistake(f"{what} is no array of numbers but {type(value).__name__}", example)
    return array


def _close(found, expected, tolerance):
    if found.shape != expected.shape:
        return False
    finite = expected[np.isfinite(expected)]
    largest = np.abs(finite).max() if finite.size else 1.0
    return np.allclose(found, expected, rtol=0, atol=tolerance * max(largest, 1e-30), equal_nan=True)


def _pair(expected, found):
    """Both, in a few words; of large arrays the place where they differ most."""
    if expected.shape != found.shape or expected.size <= 12:
        return _shown(expected), _shown(found)
    difference = np.abs(np.nan_to_num(found.astype(np.float64), nan=np.inf) - expected)
    place = tuple(int(i) for i in np.unravel_index(difference.argmax(), expected.shape))
    where = f"[{', '.join(map(str, place))}]"
    return tuple(f"{array[place]:.6g} at {where} of {array.shape} {array.dtype}" for array in (expected, found))


def _shown(array):
    if array.size > 12:
        return f"{array.dtype} of shape {array.shape}"
    values = np.array2string(array, separator=", ", precision=6).replace("\n", "")
    return f"{values} ({array.dtype}, shape {array.shape})"
