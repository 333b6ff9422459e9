"""`load_image` and `save_image`: every kind of picture, and every kind of file that is none."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.images import MAX_PIXELS, ImageError, load_image, save_image

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def picture():
    """A smooth 40x60 RGB picture with a red left, a green right and blue growing downwards, uint8 (H, W, 3)."""
    y, x = np.mgrid[0:1:40j, 0:1:60j]
    return np.rint(255 * np.stack([1 - x, x, y], axis=2)).astype(np.uint8)


def wanted(picture):
    return picture.transpose(2, 0, 1)[None].astype(np.float32) / 255


@pytest.mark.parametrize(
    "suffix, options, tolerance",
    [
        ("png", {}, 0),
        ("bmp", {}, 0),
        ("tiff", {}, 0),
        ("webp", {"lossless": True}, 0),
        ("jpg", {"quality": 95}, 0.05),
        ("jpg", {"quality": 95, "progressive": True}, 0.05),
    ],
)
def test_rgb_formats(tmp_path, picture, suffix, options, tolerance):
    path = tmp_path / f"p.{suffix}"
    Image.fromarray(picture).save(path, **options)
    x = load_image(path)
    assert x.shape == (1, 3, 40, 60) and x.dtype == np.float32 and x.flags.c_contiguous
    np.testing.assert_allclose(x, wanted(picture), atol=tolerance)
    np.testing.assert_array_equal(x, load_image(str(path)))


def test_gif_gives_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "p.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(load_image(tmp_path / "p.gif")[0, :, 3, 3], [1, 0, 0])


def test_grey_palette_and_bilevel(tmp_path, picture):
    grey = picture[:, :, 2]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    x = load_image(tmp_path / "grey.png")
    for channel in range(3):
        np.testing.assert_array_equal(x[0, channel], grey.astype(np.float32) / 255)
    Image.fromarray(picture).quantize(200).save(tmp_path / "palette.png")
    np.testing.assert_allclose(load_image(tmp_path / "palette.png"), wanted(picture), atol=0.1)
    Image.fromarray(grey > 128).save(tmp_path / "bilevel.png")
    np.testing.assert_array_equal(load_image(tmp_path / "bilevel.png")[0, 1], grey > 128)


def test_sixteen_bits_keep_their_depth(tmp_path):
    deep = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    for suffix in ("png", "tiff"):
        Image.fromarray(deep).save(tmp_path / f"deep.{suffix}")
        np.testing.assert_allclose(load_image(tmp_path / f"deep.{suffix}")[0, 0], deep / 65535, atol=1e-7)
    Image.fromarray((deep / 65535).astype(np.float32)).save(tmp_path / "float.tiff")
    np.testing.assert_allclose(load_image(tmp_path / "float.tiff")[0, 2], deep / 65535, atol=1e-7)


def test_whole_numbers_in_memory_have_no_known_range(tmp_path, picture):
    """Those of an 8-bit picture, read as 16, would be nearly black; a file says which it is."""
    grey, levels = Image.fromarray(picture[:, :, 0]), picture[:, :, 0].astype(np.int32)
    for made in (grey.convert("I"), Image.fromarray(levels), Image.fromarray(257 * levels), grey.convert("I").copy()):
        assert made.mode == "I"
        with pytest.raises(ImageError, match='mode "I" has no known range: give uint8, uint16 or floats'):
            load_image(made)
    Image.fromarray((257 * levels).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray((257 * levels).astype(np.uint16)).save(tmp_path / "deep.pgm", format="PPM")
    for name in ("deep.png", "deep.pgm"):  # which Pillow opens as "I;16" or "I"
        with Image.open(tmp_path / name) as opened:
            np.testing.assert_allclose(load_image(opened)[0, 0], levels / 255, atol=1e-6)
        np.testing.assert_allclose(load_image(tmp_path / name)[0, 0], levels / 255, atol=1e-6)
    in_memory = Image.fromarray((257 * levels).astype(np.uint16))
    np.testing.assert_allclose(load_image(in_memory)[0, 0], levels / 255, atol=1e-6)


def test_transparency_goes_over_white(tmp_path, picture):
    alpha = np.linspace(0, 255, 60).astype(np.uint8) * np.ones((40, 1), np.uint8)
    Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / "rgba.png")
    a = (alpha / 255)[None, None]
    np.testing.assert_allclose(load_image(tmp_path / "rgba.png"), wanted(picture) * a + 1 - a, atol=0.005)
    np.testing.assert_allclose(load_image(np.dstack([picture, alpha])), wanted(picture) * a + 1 - a, atol=1e-6)

    Image.fromarray(np.dstack([picture[:, :, 0], 0 * alpha])).save(tmp_path / "la.png")
    assert (load_image(tmp_path / "la.png") == 1).all()

    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 1), 1)
    palette.save(tmp_path / "p.png", transparency=0)
    x = load_image(tmp_path / "p.png")
    assert (x[0, :, 0, 0] == 1).all() and x[0, :, 1, 1].tolist() == [0, 1, 0]


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=95)
    np.testing.assert_allclose(load_image(tmp_path / "red.jpg")[0, :, 8, 8], [1, 0, 0], atol=0.03)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, picture, orientation):
    stored = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture, 1),  # the reader turns it clockwise
        7: np.rot90(picture, 2).transpose(1, 0, 2),
        8: np.rot90(picture, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "p.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "p.png"), wanted(picture))


def test_damaged_exif_is_ignored(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "p.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff\x01\x12garbage")
    assert load_image(tmp_path / "p.jpg").shape == (1, 3, 40, 60)


def test_reading_leaves_the_filters_of_warnings_alone(tmp_path, picture, monkeypatch):
    Image.fromarray(picture).save(tmp_path / "p.png")
    seen, opened, converted = [], Image.open, Image.Image.convert  # they are the process's, and other threads warn too
    monkeypatch.setattr(Image, "open", lambda *args, **how: seen.append(warnings.filters[:]) or opened(*args, **how))
    monkeypatch.setattr(Image.Image, "convert", lambda *args: seen.append(warnings.filters[:]) or converted(*args))
    load_image(tmp_path / "p.png")
    assert seen == [warnings.filters, warnings.filters]


def test_size_is_the_centre_resized(picture):
    image = Image.fromarray(picture)
    square = load_image(image, 20)
    by_hand = np.asarray(image.resize((30, 20), Image.Resampling.BICUBIC).crop((5, 0, 25, 20)))
    np.testing.assert_array_equal(square, wanted(by_hand))
    by_hand = np.asarray(image.resize((36, 24), Image.Resampling.BICUBIC).crop((8, 2, 28, 22)))
    np.testing.assert_allclose(load_image(image, 20, short_side=24), wanted(by_hand), atol=1.01 / 255)
    assert load_image(image, (30, 10)).shape == (1, 3, 30, 10)
    np.testing.assert_array_equal(load_image(image, (40, 60)), wanted(picture))
    np.testing.assert_allclose(load_image(wanted(picture), 20), square, atol=0.004)  # not rounded to 8 bits


def test_reduction_is_antialiased():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = load_image(stripes, 8)
    np.testing.assert_allclose(small[..., 1:-1], 0.5, atol=0.02)


@pytest.mark.parametrize("shape", [(2, 2), (2, 7), (2, 20_000), (20_000, 2)])
def test_thin_pictures(tmp_path, shape):
    Image.fromarray(np.full(shape, 51, np.uint8)).save(tmp_path / "p.png")
    assert load_image(tmp_path / "p.png").shape == (1, 3, *shape)
    np.testing.assert_allclose(load_image(tmp_path / "p.png", 32), np.full((1, 3, 32, 32), 0.2), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (1, 20_000), (20_000, 1)])
def test_lines_and_dots_are_no_pictures(tmp_path, shape):
    Image.fromarray(np.full(shape, 51, np.uint8)).save(tmp_path / "p.png")
    with pytest.raises(ImageError, match=f"p.png has {shape[1]}x{shape[0]} pixels: a line or a dot shows nothing"):
        load_image(tmp_path / "p.png")
    with pytest.raises(ImageError, match="a line or a dot"):
        load_image(np.zeros(shape, np.uint8))


def test_arrays(picture):
    x = wanted(picture)
    for array in (picture, x, x[0], x[0].transpose(1, 2, 0), (picture.astype(np.uint16) * 257), x.astype(np.float64)):
        np.testing.assert_allclose(load_image(array), x, atol=1e-7)
    assert load_image(np.eye(5, dtype=bool)).shape == (1, 3, 5, 5)
    np.testing.assert_array_equal(load_image(x[0, :1]), np.repeat(x[:, :1], 3, axis=1))


def test_save_and_load_agree_to_half_a_level(tmp_path):
    x = np.random.default_rng(0).random((1, 3, 9, 13), dtype=np.float32)
    save_image(x, tmp_path / "p.png")
    assert np.abs(load_image(tmp_path / "p.png") - x).max() <= 0.5 / 255 + 1e-6
    save_image(load_image(tmp_path / "p.png"), tmp_path / "again.png")
    np.testing.assert_array_equal(load_image(tmp_path / "again.png"), load_image(tmp_path / "p.png"))
    for grey in (x[0, 0], x[0, :1], x[:, :1], x[0, 0, :, :, None]):
        save_image(grey, tmp_path / "grey.png")
        assert Image.open(tmp_path / "grey.png").mode == "L" and Image.open(tmp_path / "grey.png").size == (13, 9)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["again.png", "grey.png", "p.png"]


# ----------------------------------------------------------------------------------------------------------------------
# Refusals
# ----------------------------------------------------------------------------------------------------------------------


def bomb(width, height):
    """A PNG that declares width x height pixels and has none."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b"hello, this is text", "not a picture in a format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture in a format"),
        (b"\x89PNG\r\n\x1a\n", "p.bin"),
        (bomb(20_000, 20_000), "megapixels"),
        (bomb(10_000, 9_000), "megapixels"),
        (bomb(50, 50), "damaged or cut short"),
    ],
)
def test_files_that_are_no_pictures(tmp_path, content, message, recwarn):
    (tmp_path / "p.bin").write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        load_image(tmp_path / "p.bin")
    assert "p.bin" in str(caught.value) and "\n" not in str(caught.value)
    assert {one.category for one in recwarn} <= {Image.DecompressionBombWarning}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tiff"])
def test_truncated_files(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format={"jpg": "JPEG"}.get(suffix, suffix.upper()))
    (tmp_path / f"p.{suffix}").write_bytes(file.getvalue()[: len(file.getvalue()) // 2])
    with pytest.raises(ImageError, match=f"p.{suffix}"):
        load_image(tmp_path / f"p.{suffix}")


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match="there is no file"):
        load_image(tmp_path / "absent.png")
    with pytest.raises(ImageError, match="takes a path, a PIL image or an array"):
        load_image(42)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.full((4, 4, 3), np.nan, np.float32), "NaN"),
        (np.full((4, 4, 3), 128.0, np.float32), "must lie in"),
        (np.zeros((4, 4), np.int64), "dtype int64"),
        (np.zeros((4, 4, 5), np.uint8), "is no picture"),
        (np.zeros((2, 3, 4, 4), np.uint8), "is no picture"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
    ],
)
def test_arrays_that_are_no_pictures(array, message):
    with pytest.raises(ImageError, match=message):
        load_image(array)


@pytest.mark.parametrize("size", [0, -3, 2.5, "big", (1, 2, 3), 10**6, float("nan")])
def test_sizes_that_are_none(picture, size):
    with pytest.raises(ImageError, match="size"):
        load_image(picture, size)


def test_short_side_must_cover_the_size(picture):
    for size, short_side in ((20, 19), (None, 20), ((10, 30), 20), (20, float("nan"))):
        with pytest.raises(ImageError, match="short_side must be at least"):
            load_image(picture, size, short_side)


@pytest.mark.parametrize(
    "array, name, message",
    [
        (np.full((3, 4, 4), np.nan), "p.png", "NaN"),
        (np.full((3, 4, 4), 2.0), "p.png", "must lie in"),
        (np.zeros((2, 3, 4, 4)), "p.png", "got shape"),
        (np.zeros((3, 0, 4)), "p.png", "got shape"),
        (np.zeros((3, 4, 4)), "p.jpg", "end in .png"),
    ],
)
def test_saving_refuses(tmp_path, array, name, message):
    with pytest.raises(ImageError, match=message):
        save_image(array, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_saving_into_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        save_image(np.zeros((3, 4, 4)), tmp_path / "absent" / "p.png")
    (tmp_path / "p.png").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save_image(np.zeros((3, 4, 4)), tmp_path / "p.png")


def test_interrupted_saving_leaves_the_old_file(tmp_path, monkeypatch):
    save_image(np.zeros((3, 4, 4)), tmp_path / "p.png")
    before = (tmp_path / "p.png").read_bytes()

    def interrupted(self, file, **_):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_image(np.ones((3, 4, 4)), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.fixture(scope="module")
def seeds():
    """One small valid file of each format."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 9, 3)).astype(np.uint8))
    files = []
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"):
        file = io.BytesIO()
        noise.save(file, format=kind)
        files.append(file.getvalue())
    return files


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path_factory, seeds, data):
    content = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "fuzz.img"
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        x = load_image(path, 16)
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert x.shape == (1, 3, 16, 16) and x.min() >= 0 and x.max() <= 1


# ----------------------------------------------------------------------------------------------------------------------
# Real photographs
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (SHARED / "photos").is_dir(), reason="needs ../shared/data/photos")
def test_every_shared_photograph_loads():
    paths = sorted((SHARED / "photos").iterdir())
    assert len(paths) >= 15
    for path in paths:
        x = load_image(path, 64)
        assert x.shape == (1, 3, 64, 64) and 0.05 < x.std() < 0.6, path


def test_the_pixel_limit_is_below_pillows():
    assert MAX_PIXELS < Image.MAX_IMAGE_PIXELS
