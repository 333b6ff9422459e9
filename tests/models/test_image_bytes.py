"""The bytes of a picture's file are read as the file is."""

import numpy as np
import pytest
from PIL import Image

from models.images import ImageError, load_image

RNG = np.random.default_rng(0)


def plain_ppm(path):
    numbers = " ".join(map(str, RNG.integers(0, 1001, 5 * 4 * 3)))
    path.write_text(f"P3\n5 4\n1000\n{numbers}\n")


FILES = {
    "colour.jpg": lambda path: Image.fromarray(RNG.integers(0, 256, (9, 7, 3), np.uint8)).save(path),
    "grey16.png": lambda path: Image.fromarray(RNG.integers(0, 65536, (9, 7), np.uint16)).save(path),
    "binary.ppm": lambda path: path.write_bytes(b"P6\n5 4\n65535\n" + RNG.bytes(5 * 4 * 6)),
    "plain.ppm": plain_ppm,
}


@pytest.mark.parametrize("name", FILES)
def test_bytes_are_the_file(tmp_path, name):
    FILES[name](tmp_path / name)
    np.testing.assert_array_equal(load_image((tmp_path / name).read_bytes(), 4), load_image(tmp_path / name, 4))


@pytest.mark.parametrize(
    "content, said", [(b"", "empty"), (b"GIF89a", "cut short|not a picture|cannot be"), (b"text", "not a picture")]
)
def test_what_is_no_picture_is_refused(content, said):
    with pytest.raises(ImageError, match=f"^the picture .*({said})"):
        load_image(content)
