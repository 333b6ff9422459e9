"""Rendered scenes: pictures of four parts, each of four kinds, of which one decides the class.

    background   stripes across, upright or slanting, or checks
    object       a card of 18 x 18 pixels with a disc, a frame, a triangle or a cross
    mark         a black card of 7 x 7 with one of four signs in white
    distractor   a card of 10 x 10 with a diamond, bars, a corner or two dots

Kinds, places and colours are drawn independently, so that a network whose class is the kind of one part, its *cue*,
can learn nothing of use from the others. The cards do not overlap, so the four masks share out the picture, and a part
of another kind changes no pixel outside its own mask: what that does to the score is what the part is worth.

Letters: N scenes, S = 48 the side of the picture in pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..random import stream

SIZE, KINDS = 48, 4
CARDS = {"object": 18, "distractor": 10, "mark": 7}  # sides in pixels, in the order in which they find a place
PARTS = ("background", *CARDS)
NOISE = 0.04  # most of what is added to a pixel
BLACK_AND_WHITE = np.array([[0.0] * 3, [1.0] * 3])  # or a mark takes long to learn


@dataclass(frozen=True)
class Scenes:
    """images: (N,3,S,S) float32 in [0,1], on the 256 levels of a picture file. kinds: {part: (N,) ints from 0 to 3}.
    masks: {part: (N,S,S) bool}, each pixel in one of them. seed, indices: what each was drawn from."""

    images: np.ndarray
    kinds: dict
    masks: dict
    seed: int
    indices: range

    def __len__(self) -> int:
        return len(self.images)

    def changed(self, part: str, kinds: np.ndarray) -> "Scenes":
        """The same scenes with `part` of other `kinds` (N,), and nothing else changed."""
        if part not in PARTS:
            raise ValueError(f"changed: part must be one of {', '.join(PARTS)}, got {part!r}")
        kinds = np.asarray(kinds)
        if kinds.shape != (len(self),) or not np.isin(kinds, range(KINDS)).all():
            raise ValueError(f"changed: kinds must be {len(self)} whole numbers from 0 to {KINDS - 1}")
        return _drawn(self.seed, self.indices, self.kinds | {part: kinds})


def scenes(count: int, seed: int = 0, first: int = 0) -> "Scenes":
    """`count` scenes, those numbered from `first`: each depends on the seed and its own number alone."""
    if count < 1 or first < 0:
        raise ValueError(f"scenes: count must be at least 1 and first at least 0, got {count} and {first}")
    indices = range(first, first + count)
    drawn = np.array([stream(seed, "scene kinds", str(index)).integers(KINDS, size=len(PARTS)) for index in indices])
    return _drawn(seed, indices, dict(zip(PARTS, drawn.T, strict=True)))


def _drawn(seed: int, indices: np.ndarray, kinds: np.ndarray) -> Scenes:
    images = np.empty((len(indices), 3, SIZE, SIZE), np.float32)
    masks = {part: np.zeros((len(indices), SIZE, SIZE), bool) for part in PARTS}
    for n, index in enumerate(indices):
        layout = _Layout(stream(seed, "scene layout", str(index)))
        images[n] = layout.picture({part: kinds[part][n] for part in PARTS})
        for part, box in layout.boxes.items():
            masks[part][n][box] = True
    masks["background"] = ~np.any([masks[part] for part in CARDS], 0)
    return Scenes(images, kinds, masks, seed, indices)


class _Layout:
    """All of a scene but the kinds of its parts. boxes: {card: (slice, slice)}."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.boxes = _places(rng)
        self.colours = {part: _two_colours(rng) for part in PARTS} | {"mark": BLACK_AND_WHITE}
        self.phase = rng.integers(8, size=2)
        self.noise = rng.uniform(-NOISE, NOISE, (3, SIZE, SIZE))

    def picture(self, kinds: Any) -> np.ndarray:
        """(3,S,S) float32."""
        figure = _background(kinds["background"], *self.phase)
        image = _coloured(figure, self.colours["background"])
        for part, box in self.boxes.items():
            image[:, *box] = _coloured(FIGURES[part](CARDS[part])[kinds[part]], self.colours[part])
        return (np.round(255 * np.clip(image + self.noise, 0, 1)) / 255).astype(np.float32)


def _places(rng: np.random.Generator) -> list:
    """A box for each card, none within a pixel of another, drawn until they fit."""
    while True:
        boxes, taken = {}, np.zeros((SIZE, SIZE), bool)
        for part, side in CARDS.items():
            top, left = rng.integers(SIZE - side + 1, size=2)
            if taken[max(top - 1, 0) : top + side + 1, max(left - 1, 0) : left + side + 1].any():
                break
            boxes[part] = slice(top, top + side), slice(left, left + side)
            taken[boxes[part]] = True
        else:
            return boxes


def _two_colours(rng: np.random.Generator) -> np.ndarray:
    """(2,3): a dark and a bright colour, in either order."""
    return rng.permutation([rng.uniform(0, 0.4, 3), rng.uniform(0.6, 1, 3)])


def _coloured(figure: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """(3,H,W): the first colour, and the second where the figure (H,W) is."""
    return np.where(figure, colours[1][:, None, None], colours[0][:, None, None])


# ---- the four kinds of each part, as figures (H,W) of bool -----------------------------------------------------------


def _background(kind: int, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE]
    rows, columns, slanting = ((n // 4) % 2 == 1 for n in (y + down, x + right, x + y + down))
    return (rows, columns, slanting, rows ^ columns)[kind]


def _grid(side: int) -> Any:
    """y and x of each pixel of a card, from -1 to 1."""
    return np.meshgrid(*2 * [(np.arange(side) + 0.5) / side * 2 - 1], indexing="ij")


def _objects(side: int) -> tuple:
    y, x = _grid(side)
    far = np.maximum(abs(x), abs(y))
    cross = (np.minimum(abs(x), abs(y)) < 0.25) & (far < 0.8)
    return x**2 + y**2 < 0.55, (far < 0.8) & (far > 0.45), (abs(x) < (y + 0.8) / 2) & (y < 0.8), cross


def _distractors(side: int) -> tuple:
    y, x = _grid(side)
    bars = (abs(y) > 0.2) & (abs(y) < 0.6) & (abs(x) < 0.8)
    return abs(x) + abs(y) < 0.8, bars, (x < -0.2) | (y > 0.2), (abs(abs(x) - 0.5) < 0.3) & (abs(y) < 0.3)


def _marks(side: int) -> tuple:
    y, x = np.mgrid[:side, :side] - side // 2
    return (x == 0) | (y == 0), abs(x) == abs(y), abs(y) == 2, abs(x) == 2


FIGURES = {"object": _objects, "distractor": _distractors, "mark": _marks}
