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


def plain_ppm(levels, top=65535):
    """As text, with comments in the header and among the numbers, and lines of any length."""
    numbers = [str(n) for n in levels.ravel()]
    lines = [" ".join(numbers[i : i + 7]) for i in range(0, len(numbers), 7)]
    lines.insert(3, "# 12 34 a comment")
    head = f"P3 # of text\n# another\n{levels.shape[1]} {levels.shape[0]}\n{top}\n"
    return (head + "\n".join(lines) + "\n").encode()


def grey_tiff(levels, photometric, bits=16, sign=1, order="<"):
    """A TIFF of grey levels by hand; those of 12 bits are packed, most significant bit first."""
    packed = levels.astype(order + "u2").tobytes()
    if bits == 12:
        packed = b"".join(np.packbits([n >> (11 - k) & 1 for n in row for k in range(12)]).tobytes() for row in levels)
    elif bits == 32:
        packed = levels.astype(order + ("f4" if sign == 3 else "u4")).tobytes()
    height, width = levels.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
    tags |= {279: len(packed), 339: sign}
    body = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(packed)) + packed
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return body + struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0)


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
    "plain ppm": (plain_ppm(RGB), RGB / 65535),
    "plain ppm, 10 bits": (plain_ppm(RGB % 1024, 1023), (RGB % 1024) / 1023),
    "plain pgm": (plain_ppm(RGB[..., 0]).replace(b"P3", b"P2"), RGB[..., :1] / 65535),
    "tiff grey": (grey_tiff(RGB[..., 0], 1), RGB[..., :1] / 65535),
    "tiff grey, other order": (grey_tiff(RGB[..., 0], 1, order=">"), RGB[..., :1] / 65535),
    "tiff, white is zero": (grey_tiff(RGB[..., 0], 0), 1 - RGB[..., :1] / 65535),
    "tiff, 12 bits": (grey_tiff(RGB[..., 0] % 4096, 1, bits=12), (RGB[..., :1] % 4096) / 4095),
    "tiff, floats": (grey_tiff(RGB[..., 0] / 65535, 1, 32, 3), RGB[..., :1] / 65535),
    "tiff, floats, white is zero": (grey_tiff(RGB[..., 0] / 65535, 0, 32, 3), 1 - RGB[..., :1] / 65535),
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


@pytest.mark.parametrize(("bits", "sign"), [(16, 2), (32, 2), (32, 1)])
def test_whole_numbers_of_no_known_range_are_refused(bits, sign, tmp_path):
    path = tmp_path / "picture.tif"
    path.write_bytes(grey_tiff(RGB[..., 0] // 4, 1, bits, sign))
    with pytest.raises(ImageError, match="picture.tif: a TIFF of signed or 32-bit whole numbers has no known range"):
        load_image(path)


def test_a_plain_file_that_is_damaged_is_refused(tmp_path):
    path, whole = tmp_path / "picture.ppm", plain_ppm(RGB)
    for damaged in (
        whole[: len(whole) // 2],
        whole.replace(b"255", b"25x", 1),
        whole.replace(b" 65535 ", b" 65539 ", 1),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ImageError, match="picture.ppm"):
            load_image(path)
