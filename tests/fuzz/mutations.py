"""Strategies that damage valid files: blindly, byte by byte, and with knowledge of their structure."""

import io
import struct
import zipfile
import zlib

from hypothesis import strategies as st

from tests.models import torch_format as torch

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1)


@st.composite
def damaged(draw, seeds, most=6):
    """One of `seeds` (bytes) with a few changes: flipped bits, other bytes, edge numbers, splices, cuts."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, most))):
        if content:
            place = draw(st.integers(0, len(content) - 1))
            draw(st.sampled_from(CHANGES))(draw, content, place, seeds)
    return bytes(content)


def _flip(draw, content, place, seeds):
    content[place] ^= 1 << draw(st.integers(0, 7))


def _overwrite(draw, content, place, seeds):
    content[place] = draw(st.integers(0, 255))


def _edge_number(draw, content, place, seeds):
    order, length = draw(st.sampled_from("<>")), draw(st.sampled_from((1, 2, 4, 8)))
    number = draw(st.sampled_from(NUMBERS)) & ((1 << 8 * length) - 1)
    content[place : place + length] = struct.pack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[length], number)


def _cut_out(draw, content, place, seeds):
    del content[place : place + draw(st.integers(1, 64))]


def _cut_short(draw, content, place, seeds):
    del content[place:]


def _repeat(draw, content, place, seeds):
    content[place:place] = content[place : place + draw(st.integers(1, 64))] * draw(st.integers(1, 4))


def _splice(draw, content, place, seeds):
    other = draw(st.sampled_from(seeds))
    start = draw(st.integers(0, len(other) - 1))
    content[place : place + draw(st.integers(0, 64))] = other[start : start + draw(st.integers(1, 256))]


def _zeros(draw, content, place, seeds):
    content[place : place + draw(st.integers(1, 32))] = bytes(draw(st.integers(0, 32)))


CHANGES = (_flip, _flip, _overwrite, _overwrite, _edge_number, _edge_number)
CHANGES += (_cut_out, _cut_short, _repeat, _splice, _zeros)


# ---- PNG: whose checksums would hide any change from the decoder -----------------------------------------------------


@st.composite
def damaged_png(draw, seeds):
    """A PNG with chunks damaged, repeated, lost or moved, all with right checksums."""
    content = draw(st.sampled_from(seeds))
    chunks, place = [], 8
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    for _ in range(draw(st.integers(1, 3))):
        if not chunks:
            break
        place = draw(st.integers(0, len(chunks) - 1))
        kind, data = chunks[place]
        change = draw(st.sampled_from(("damage", "damage", "damage", "drop", "repeat", "move", "rename")))
        if change == "damage" and data:
            chunks[place] = kind, draw(damaged([data], 3))
        elif change == "rename":
            chunks[place] = draw(st.sampled_from([b"tRNS", b"PLTE", b"IDAT", b"iTXt", b"zTXt", b"eXIf", b"acTL"])), data
        elif change == "repeat":
            chunks.insert(place, (kind, data))
        elif change in ("drop", "move"):
            del chunks[place]
            if change == "move":
                chunks.insert(draw(st.integers(0, len(chunks))), (kind, data))
    made = bytearray(content[:8])
    for kind, data in chunks:
        made += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return bytes(made)


# ---- zip archives: damage within, sound without ----------------------------------------------------------------------


@st.composite
def damaged_member(draw, seeds):
    """A zip archive with one of its files damaged, all checksums right; compressed now and then."""
    made = io.BytesIO()
    kind = draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    with zipfile.ZipFile(io.BytesIO(draw(st.sampled_from(seeds)))) as old, zipfile.ZipFile(made, "w", kind) as new:
        names = old.namelist()
        chosen = draw(st.sampled_from(names))
        for name in names:
            data = old.read(name)
            new.writestr(name, draw(damaged([data])) if name == chosen and data else data)
    return made.getvalue()


# ---- pickles: programs of the stack machine --------------------------------------------------------------------------

GLOBALS = (
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "FloatStorage"),
    ("torch", "BFloat16Storage"),
    ("os", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
)
SIMPLE = b"()]}Nt\x85\x86\x87euas\x88\x89RQb\x94.0212lodc\x81\x8f\x90\x91\x92\x93"
INTEGERS = st.one_of(st.integers(-3, 300), st.integers(-(1 << 70), 1 << 70), st.sampled_from((1 << 31, 1 << 62, -1)))


@st.composite
def instruction(draw):
    """The bytes of one instruction, or of a few that belong together; sound by themselves."""
    kind = draw(st.sampled_from(("simple", "simple", "integer", "text", "global", "tensor", "memo", "bytes")))
    if kind == "integer":
        return torch.integer(draw(INTEGERS))
    if kind == "text":
        return torch.text(draw(st.sampled_from(("0", "1", "storage", "cpu", "state_dict", "a.weight", "é" * 30, ""))))
    if kind == "global":
        return torch.name(*draw(st.sampled_from(GLOBALS)))
    if kind == "tensor":
        sizes = st.lists(INTEGERS, max_size=4)
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
        strides = draw(st.one_of(st.none(), sizes))
        made = {"dtype": draw(st.sampled_from(sorted(torch.STORAGE))), "shape": shape, "strides": strides}
        return torch.tensor(draw(st.sampled_from("0123")), **made, offset=draw(INTEGERS), legacy=draw(st.booleans()))
    if kind == "memo":
        return draw(st.sampled_from((b"q", b"h", b"r\x00\x00\x00", b"j\x00\x00\x00"))) + bytes(
            [draw(st.integers(0, 9))]
        )
    if kind == "bytes":
        return draw(
            st.sampled_from((b"C\x03abc", b"\x8e" + b"\xff" * 8, b"\x8b\xff\xff\xff\x7f", b"\x82\x01", b"I1\n"))
        )
    return bytes([draw(st.sampled_from(SIMPLE))])


@st.composite
def pickle_program(draw):
    """A .pth in either format around a pickle of random instructions, in the midst of a sound one or alone."""
    program = b"".join(draw(st.lists(instruction(), max_size=24)))
    if draw(st.booleans()):
        items = {"a.weight": torch.tensor("0", "f4", (2, 3)), "b": program, "a.bias": torch.tensor("1", "f4", (2,))}
        program = torch.pickled(items)
    else:
        program = b"\x80\x02" + program + draw(st.sampled_from((b".", b"")))
    storages = {"0": b"\x00\x00\x80\x3f" * 6, "1": bytes(8)}
    return _contained(program, storages, draw(st.booleans()))


def _contained(program, storages, legacy):
    if legacy:
        keys = b"\x80\x02](" + b"".join(map(torch.text, storages)) + b"e."
        data = b"".join(struct.pack("<q", len(raw) // 4) + raw for raw in storages.values())
        info = b"\x80\x02}" + torch.text("little_endian") + b"\x88s."
        head = b"\x80\x02" + torch.integer(torch.MAGIC) + b"." + b"\x80\x02" + torch.integer(1001) + b"."
        return head + info + program + keys + data
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        for key, raw in storages.items():
            archive.writestr(f"archive/data/{key}", raw)
    return file.getvalue()
