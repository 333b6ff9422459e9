"""Files of 16 bits: every level comes back, whatever the format, the order of bytes, alpha and a transparent value."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from models import load_image
from models.images import ImageError

tifffile = pytest.importorskip("tifffile")  # scikit-image's

LEVELS = np.random.default_rng(0).integers(0, 65536, (9, 14, 4), np.uint16)
LEVELS[0, :4], LEVELS[1, :4] = (0, 65535, 255, 256), (65535, 65280, 1, 65534)
GREY, TRUECOLOUR, GREY_ALPHA, TRUECOLOUR_ALPHA = 0, 2, 4, 6


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(levels, colour_type, transparent=None, orientation=None):
    """A PNG file, by hand: Pillow writes no colours of 16 bits. Rows are filtered by none, sub and up in turn."""
    rows, above = [], np.zeros(levels[0].nbytes, np.uint8)
    step = levels[0].nbytes // len(levels[0])
    for n, row in enumerate(levels):
        row = np.frombuffer(row.astype(">u2").tobytes(), np.uint8)
        left = np.concatenate([np.zeros(step, np.uint8), row[:-step]])
        rows.append(bytes([n % 3]) + (row - (np.zeros_like(row), left, above)[n % 3]).tobytes())
        above = row
    header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header)]
    if transparent is not None:
        parts.append(chunk(b"tRNS", np.asarray(transparent, ">u2").tobytes()))
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        parts.append(chunk(b"eXIf", exif.tobytes()[6:]))
    parts += [chunk(b"IDAT", zlib.compress(b"".join(rows))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def interlaced_png(levels, colour_type):
    """The same in Adam7's seven passes, each an image of its own with rows of no filter."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    parts = [levels[top::down, left::right] for top, left, down, right in passes]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, colour_type, 0, 0, 1)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(levels, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, levels, photometric="rgb", **options)
    return file.getvalue()


def ppm(levels, top=65535):
    kind = b"P6" if levels.ndim == 3 else b"P5"
    return kind + b" %d %d %d\n" % (levels.shape[1], levels.shape[0], top) + levels.astype(">u2").tobytes()


def over_white(colour, alpha):
    colour, alpha = colour / 65535, alpha / 65535
    return colour * alpha + 1 - alpha


RGB, ALPHA = LEVELS[..., :3], LEVELS[..., 3:]
PREMULTIPLIED = np.concatenate([np.minimum(RGB, ALPHA), ALPHA], axis=2)
FILES = {
    "png rgb": (png(RGB, TRUECOLOUR), RGB / 65535),
    "png rgba": (png(LEVELS, TRUECOLOUR_ALPHA), over_white(RGB, ALPHA)),
    "png la": (png(LEVELS[..., 2:], GREY_ALPHA), over_white(LEVELS[..., 2:3], ALPHA)),
    "png rgb, interlaced": (interlaced_png(RGB, TRUECOLOUR), RGB / 65535),
    "png rgba, interlaced": (interlaced_png(LEVELS, TRUECOLOUR_ALPHA), over_white(RGB, ALPHA)),
    "png grey, interlaced": (interlaced_png(LEVELS[..., 0], GREY), LEVELS[..., :1] / 65535),
    "png grey": (png(LEVELS[..., 0], GREY), LEVELS[..., :1] / 65535),
    "tiff, compressed, alpha": (tiff(LEVELS, extrasamples=["unassalpha"], compression="zlib"), over_white(RGB, ALPHA)),
    "tiff, premultiplied": (
        tiff(PREMULTIPLIED, extrasamples=["assocalpha"]),
        (PREMULTIPLIED[..., :3] / 65535 + 1 - ALPHA / 65535).clip(0, 1),
    ),
    "ppm": (ppm(RGB), RGB / 65535),
    "ppm, 10 bits": (ppm(RGB % 1024, 1023), (RGB % 1024) / 1023),
    "pgm": (ppm(RGB[..., 0]), RGB[..., :1] / 65535),
}
FILES |= {
    f"tiff {order} {compression}": (tiff(RGB, byteorder=order, compression=compression), RGB / 65535)
    for order in "<>"
    for compression in (None, "zlib")
}


@pytest.mark.parametrize("name", FILES)
def test_every_level_comes_back(name, tmp_path):
    file, wanted = FILES[name]
    path = tmp_path / "picture"
    path.write_bytes(file)
    found = load_image(path)
    assert found.shape == (1, 3, 9, 14) and found.dtype == np.float32
    wanted = np.broadcast_to(wanted, (9, 14, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(found[0], wanted, rtol=0, atol=2e-7)


@pytest.mark.parametrize(("levels", "kind"), [(RGB, TRUECOLOUR), (RGB[..., 0], GREY)], ids=["rgb", "grey"])
def test_a_transparent_value_is_white(levels, kind, tmp_path):
    """The very value of 16 bits, not those that share its upper byte."""
    levels = levels.copy()
    value = levels[4, 5].copy()
    levels[7, 8] = value
    levels[2, 2] = value ^ 1
    path = tmp_path / "picture.png"
    path.write_bytes(png(levels, kind, transparent=value))
    wanted = levels / 65535
    wanted[4, 5] = wanted[7, 8] = 1
    found = load_image(path)[0].transpose(1, 2, 0)
    np.testing.assert_allclose(found, np.broadcast_to(wanted.reshape(9, 14, -1), found.shape), rtol=0, atol=2e-7)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("levels", "kind"), [(RGB, TRUECOLOUR), (LEVELS[..., 2:], GREY_ALPHA)], ids=["rgb", "la"])
def test_a_deep_photograph_is_turned_as_its_shallow_one(orientation, levels, kind, tmp_path):
    deep, shallow = tmp_path / "deep.png", tmp_path / "shallow.png"
    deep.write_bytes(png(levels, kind, orientation=orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((levels >> 8).astype(np.uint8), "LA" if kind == GREY_ALPHA else "RGB").save(shallow, exif=exif)
    found, wanted = load_image(deep), load_image(shallow)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=3 / 255)


def test_resizing_keeps_the_depth(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(png(RGB, TRUECOLOUR))
    np.testing.assert_array_equal(load_image(path, (4, 6)), load_image(RGB, (4, 6)))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_separate_planes_are_refused(compression, tmp_path):
    """Pillow takes the bytes of uncompressed ones for levels."""
    path = tmp_path / "picture.tif"
    path.write_bytes(tiff(RGB.transpose(2, 0, 1).copy(), planarconfig="separate", compression=compression))
    with pytest.raises(ImageError, match="picture.tif: a TIFF of 16 bits .* separate planes is not read"):
        load_image(path)


@pytest.mark.parametrize("cut", [60, 200, -30])
def test_a_deep_file_cut_short_is_refused(cut, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(png(LEVELS, TRUECOLOUR_ALPHA)[:cut])
    with pytest.raises(ImageError, match="picture.png"):
        load_image(path)
