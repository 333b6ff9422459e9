"""A store is written whole or not at all, by one run, for one question, and read back as it was written."""

import csv
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import viz
from models.mistakes import UserError, users_mistake
from viz.many.store import Writer

QUESTION = {"techniques": {"saliency": {}}, "seed": 0}


def part(first, count=2, error=""):
    rows = [{"photograph": first + n, "name": f"a/{first + n}.png", "value": n / 3, "error": ""} for n in range(count)]
    maps = np.random.default_rng(first).random((count, 3, 4), np.float32)
    if error:
        rows[0]["error"], maps = error, maps[1:]
    return first, rows, {"saliency": maps}


def test_what_was_written_is_read(tmp_path):
    with Writer(tmp_path / "store", QUESTION) as store:
        for one in (part(2, error="damaged"), part(0)):
            store.put(*one)
        store.finish()
    found = viz.open_store(tmp_path / "store")
    assert len(found) == 4 and found.names == ["saliency"]
    assert [row["photograph"] for row in found.table()] == list("0123")
    assert [row["error"] for row in found.table()] == ["", "", "damaged", ""]
    np.testing.assert_array_equal(
        found.array("saliency"), np.concatenate([part(0)[2]["saliency"], part(2)[2]["saliency"][1:]])
    )
    np.testing.assert_array_equal(found["a/3.png"][1]["saliency"], part(2)[2]["saliency"][1])
    np.testing.assert_array_equal(found[1][1]["saliency"], part(0)[2]["saliency"][1])
    assert found[2][1] == {} and found[2][0]["error"] == "damaged"
    with open(tmp_path / "store" / "table.csv", newline="") as file:
        assert list(csv.DictReader(file)) == found.table()
    with pytest.raises(KeyError, match="no photograph 7"):
        found[7]
    with pytest.raises(KeyError, match="no array 'lrp': the arrays are saliency"):
        found.array("lrp")


def test_a_part_of_errors_alone_is_passed_over(tmp_path):
    with Writer(tmp_path, QUESTION) as store:
        store.note({"began": "now"})
        rows = [{**row, "error": "damaged"} for row in part(0)[1]]
        store.put(0, rows, {})
        found = viz.open_store(tmp_path)
        assert found.names == [] and list(found.pieces()) == [] and len(found) == 2
        with pytest.raises(KeyError, match="no photograph in it has an answer"):
            found.array("saliency")
        store.put(*part(2))
    found = viz.open_store(tmp_path)
    assert found.names == ["saliency"] and len(list(found.pieces())) == 1
    np.testing.assert_array_equal(found.array("saliency"), part(2)[2]["saliency"])


def test_a_part_with_an_error_is_written_again_by_the_next_run(tmp_path):
    with Writer(tmp_path, QUESTION) as store:
        store.put(*part(0))
        store.put(*part(2, error="damaged"))
        assert store.done == {0, 2}
    with Writer(tmp_path, QUESTION) as store:
        assert store.done == {0}
        store.put(*part(2))
    with Writer(tmp_path, QUESTION) as store:
        assert store.done == {0, 2}
    found = viz.open_store(tmp_path)
    assert len(found) == 4 and len(found.array("saliency")) == 4 and not any(row["error"] for row in found.table())


def test_others_read_the_arrays_too(tmp_path):
    """HDF5's own filters, not h5py's shortcut, undo what was compressed here."""
    import h5py

    arrays = {
        "map": np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float16),
        "image": np.eye(8, dtype=np.uint8)[:2],
    }
    arrays["empty"] = np.zeros((0, 3), np.float32)
    with Writer(tmp_path, QUESTION) as store:
        store.put(0, part(0)[1], arrays)
    with h5py.File(tmp_path / "parts" / "00000000.h5") as file:
        for name, array in arrays.items():
            np.testing.assert_array_equal(file["arrays"][name][()], array)
        assert file["arrays/map"].compression == "gzip" and file["arrays/map"].shuffle


def test_another_question_is_refused(tmp_path):
    with Writer(tmp_path, QUESTION) as store:
        store.note({"began": "now"})
    with pytest.raises(UserError, match="another question: its seed is 0, not 1; name another store"):
        Writer(tmp_path, {**QUESTION, "seed": 1})
    with Writer(tmp_path, QUESTION) as store:  # the lock is free again
        assert store.facts["runs"] == [{"began": "now"}]


@pytest.mark.parametrize(
    "options, said",
    [
        ({"rule": "zplus"}, 'its techniques.lrp.rule is "epsilon", not "zplus"'),
        ({"rule": "epsilon", "rules": [1]}, r"its techniques.lrp.rules is absent, not \[1\]"),
    ],
)
def test_the_part_that_differs_is_named(tmp_path, options, said):
    long = {f"technique_{n}": {"samples": 50} for n in range(9)}
    with Writer(tmp_path, {"techniques": {**long, "lrp": {"rule": "epsilon"}}}):
        pass
    with pytest.raises(UserError, match=said):
        Writer(tmp_path, {"techniques": {**long, "lrp": options}})
    with Writer(tmp_path / "list", {"weights": [{"sha256": "a"}, {"sha256": "b"}]}):
        pass
    with pytest.raises(UserError, match='its weights.1.sha256 is "b", not "c"'):
        Writer(tmp_path / "list", {"weights": [{"sha256": "a"}, {"sha256": "c"}]})


def test_two_runs_are_refused_and_a_killed_one_is_not_in_the_way(tmp_path):
    code = (
        "import sys, time; from viz.many.store import Writer\n"
        "with Writer(sys.argv[1], {}) as store:\n print('there', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "there\n"
        with pytest.raises(
            UserError, match=f"being written by process {other.pid} on {socket.gethostname()}, since 20"
        ):
            Writer(tmp_path, {})
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    with Writer(tmp_path, {}):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")
    assert (tmp_path / "lock").read_text() == ""


def test_the_lock_of_another_machine_is_left(tmp_path):
    (tmp_path / "lock").write_text("process 7 on elsewhere, since 2026-01-01 00:00:00")
    with pytest.raises(UserError, match=r"left by process 7 on elsewhere, .*: if that has ended, delete .*lock"):
        Writer(tmp_path, QUESTION)


def test_a_half_written_part_is_none(tmp_path):
    with Writer(tmp_path, QUESTION) as store:
        store.note({"began": "now"})
        store.put(*part(0))
        (tmp_path / "parts" / ".00000002.h5.abcd.part").write_bytes(b"half")
        with pytest.raises(ZeroDivisionError):
            store.put(4, part(4)[1], {"saliency": Breaking()})
        assert store.done == {0}
    with Writer(tmp_path, QUESTION) as store:
        assert store.done == {0} and [path.name for path in (tmp_path / "parts").iterdir()] == ["00000000.h5"]


def test_a_full_disk_is_one_sentence_and_leaves_no_part(tmp_path, monkeypatch):
    def full(path, _):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with Writer(tmp_path, QUESTION) as store:
        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError) as caught:
            store.put(*part(0))
        assert store.done == set() and not list((tmp_path / "parts").iterdir())
    assert users_mistake(caught.value).endswith("No space left on device") and "\n" not in users_mistake(caught.value)


class Breaking:
    def __array__(self, *_, **__):
        raise ZeroDivisionError


@pytest.mark.parametrize("content", ["{}", "[]", "no json", json.dumps({"format": 99, "question": {}, "runs": []})])
def test_what_is_no_store_is_refused(tmp_path, content):
    with pytest.raises(UserError, match="there is no store at"):
        viz.open_store(tmp_path / "nowhere")
    (tmp_path / "store.json").write_text(content)
    for opening in (viz.open_store, lambda path: Writer(path, QUESTION)):
        with pytest.raises(UserError, match="is not that of a store"):
            opening(tmp_path)


def test_without_file_locks_viz_is_there_and_a_store_says_so(tmp_path):
    code = f"""
import sys
sys.modules["fcntl"] = None  # as on Windows
import viz.many.store
try:
    viz.many.store.Writer({str(tmp_path / "store")!r}, {{}})
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("cannot be written here: stores need the file locks of Linux or macOS\n")
