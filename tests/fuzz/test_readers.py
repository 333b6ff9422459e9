"""Damaged and malicious files: each is read or refused with a documented error, whatever it holds; `make fuzz`.

No crash, no hang, no memory beyond a limit, no other exception. `make test` tries a few inputs of every kind, `make
fuzz` thousands: MINIGRAD_FUZZ is the number for each test. An input that fails is made as small as can be by Hypothesis
and left in MINIGRAD_FUZZ_KEEP, if that is set.
"""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import seeds
from tests.fuzz.child import Reader
from tests.fuzz.hdf5 import edited
from tests.fuzz.headers import edited_archive, edited_safetensors
from tests.fuzz.mutations import damaged, damaged_member, damaged_png, pickle_program
from tests.fuzz.onnx_edits import edited_onnx

INPUTS = int(os.environ.get("MINIGRAD_FUZZ", 40))
KEEP = os.environ.get("MINIGRAD_FUZZ_KEEP")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")


CASES = {  # what is damaged and how: (reader, strategy of the seeds, the seeds of a folder)
    "pictures, bytes": ("image", damaged, lambda folder: seeds.pictures()),
    "pictures, PNG chunks": ("image", damaged_png, lambda folder: seeds.pngs()),
    "weights, bytes": ("weights", damaged, seeds.weights_files),
    "weights, HDF5 objects": ("weights", edited, seeds.weights_files),
    "Keras, bytes": ("foreign", damaged, seeds.keras_files),
    "Keras, HDF5 objects": ("foreign", edited, seeds.keras_files),
    "torch, bytes": ("foreign", damaged, seeds.torch_files),
    "torch, archive members": ("foreign", damaged_member, lambda folder: seeds.torch_files(folder)[:1]),
    "torch, pickle instructions": ("foreign", lambda _: pickle_program(), lambda folder: [b""]),
    "npz, bytes": ("foreign", damaged, seeds.npz_files),
    "npz, archive members": ("foreign", damaged_member, seeds.npz_files),
    "safetensors, bytes": ("foreign", damaged, seeds.safetensors_files),
    "safetensors, header": ("foreign", edited_safetensors, seeds.safetensors_files),
    "ONNX, bytes": ("onnx", damaged, seeds.onnx_files),
    "ONNX, nodes": ("onnx", edited_onnx, seeds.onnx_files),
    "Keras archives, bytes": ("convert", damaged, seeds.keras_archives),
    "Keras archives, members": ("convert", damaged_member, seeds.keras_archives),
    "Keras archives, layers": ("convert", edited_archive, seeds.keras_archives),
    "Keras networks, bytes": ("convert", damaged, seeds.keras_networks),
    "Keras networks, HDF5 objects": ("convert", edited, seeds.keras_networks),
    "state dicts, bytes": ("state", damaged, seeds.state_dicts),
    "state dicts, HDF5 objects": ("state", edited, seeds.state_dicts),
}


class Hidden:
    """Bytes that Hypothesis does not print after a failure."""

    def __init__(self, content):
        self.content = content

    def __repr__(self):
        return f"<{len(self.content):,} bytes>"


@pytest.mark.parametrize("case", CASES)
def test_damaged_files_are_read_or_refused(case, tmp_path, record_property):
    kind, strategy, made = CASES[case]
    valid = made(tmp_path)
    if not valid:
        pytest.skip("needs the package that writes such files")
    reader = Reader(kind, tmp_path / "input")

    @settings(
        max_examples=INPUTS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(data=st.data())
    def read(data):
        content = data.draw(strategy(valid).map(Hidden)).content
        try:
            reader(content)
        except AssertionError:
            if KEEP:  # the last one written is the smallest
                Path(KEEP).mkdir(parents=True, exist_ok=True)
                (Path(KEEP) / case.replace(", ", "_").replace(" ", "_")).write_bytes(content)
            raise

    try:
        assert [reader(content) for content in valid if content] == ["read"] * len([c for c in valid if c])
        read()
    finally:
        reader.stop()
        record_property("fuzz", (case, reader.outcomes, reader.slowest, reader.largest))


def test_the_watchdog_sees_a_crash_and_a_hang(tmp_path, monkeypatch):
    reader = Reader("weights", tmp_path / "input")
    content = seeds.weights_files(tmp_path)[0]
    assert reader(content) == "read"
    for wait in (False, True):  # it dies after or before it is asked
        reader.process.kill()
        if wait:
            reader.process.join()
        with pytest.raises(AssertionError, match="died|reset|Broken"):
            reader(content)
        assert reader.process is None
        assert reader(content) == "read"  # a new child

    os.kill(reader.process.pid, signal.SIGSTOP)  # stopped: it answers no more
    monkeypatch.setattr("tests.fuzz.child.SECONDS", 0.5)
    with pytest.raises(AssertionError, match="hangs"):
        reader(content)
    assert reader.process is None
