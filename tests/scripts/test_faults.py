"""Every bad input and fault, through the scripts: one sentence on stderr, exit code 2 (130 after Ctrl-C), whole files.

What each reader refuses, and why, is in tests/models; here is that the refusal reaches a person as it should.
"""

import contextlib
import io
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image, ImageFile

import models
from minigrad.serialization import replacing
from models import catalogue
from models.__main__ import main as weights_command
from models.exits import exit_code
from tests.models.test_download import Server
from tests.models.test_images import bomb
from tests.models.test_torch_file import Evil
from tests.models.test_weights_file import REFUSED, small
from tests.models.torch_format import write_legacy, write_state_dict, write_zip
from viz.commands.tables import escaped, markdown

SCRIPTS = Path(__file__).parents[2] / "scripts"
RUNNABLE = sorted(p.stem for p in SCRIPTS.glob("*.py") if '\nif __name__ == "__main__"' in p.read_text("utf-8"))
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")


def sentence(code, out, err, wanted=2):
    """stderr, if it is one line, nothing went to stdout and the exit code is right."""
    assert (code, out) == (wanted, ""), err
    assert err.count("\n") == 1 and err.endswith("\n") and "Traceback" not in err and len(err) < 1000
    return err


def encoded(array, kind, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, format=kind, **options)
    return file.getvalue()


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
BAD_PICTURES = {
    "text.jpg": (b"hello, this is text", "is not a picture in a format"),
    "cut.jpg": (encoded(NOISE, "JPEG")[:2000], "is damaged or cut short"),
    "empty.png": (b"", "is empty (zero bytes)"),
    "dot.png": (encoded(NOISE[:1, :1], "PNG"), "has 1x1 pixels"),
    "row.png": (encoded(NOISE[:1], "PNG"), "has 64x1 pixels"),
    "huge.png": (bomb(20_000, 20_000), "larger than 80 megapixels"),
    "not a number.tiff": (encoded(np.full((9, 9), np.nan, np.float32), "TIFF"), "NaN or infinite"),
    "beyond.tiff": (encoded(np.full((9, 9), 7, np.float32), "TIFF"), "must lie in [0, 1]"),
}
DECODED = {"cut.jpg", "not a number.tiff", "beyond.tiff"}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_pictures(script, tmp_path, monkeypatch, name):
    content, said = BAD_PICTURES[name]
    (tmp_path / name).write_bytes(content)
    load, decoded = ImageFile.ImageFile.load, []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image.size) or load(image))
    err = sentence(*script("classify", tmp_path / name))
    assert name in err and said in err and not (tmp_path / "out").exists()
    assert bool(decoded) == (name in DECODED)  # 20,000 x 20,000 pixels never are


@pytest.mark.parametrize("edit, said", REFUSED, ids=[said for _, said in REFUSED])
def test_bad_weights(script, tmp_path, edit, said):
    models.save_weights(small(), tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        edit(file)
    err = sentence(*script("classify", "--model", tmp_path / "w.h5"))
    assert "w.h5" in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.999])
def test_weights_cut_short(script, tmp_path, share):
    models.save_weights(small(), tmp_path / "w.h5")
    content = (tmp_path / "w.h5").read_bytes()
    (tmp_path / "w.h5").write_bytes(content[: int(share * len(content))])
    assert "w.h5" in sentence(*script("classify", "--model", tmp_path / "w.h5"))


def test_objects_of_the_wrong_kind_are_not_walked_through(script, tmp_path, capsys):
    """A data set of 2^40 elements in a group's place once took for ever; so did groups that contain themselves."""
    models.save_weights(small(), tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        del file["layers/fc6"]
        file["layers"].create_dataset("fc6", (1 << 40,), "u8", chunks=(16,))
    assert "fc6 is not a group" in sentence(*script("classify", "--model", tmp_path / "w.h5"))

    with h5py.File(tmp_path / "keras.h5", "w") as file:
        group = file.create_group("layers/conv2d")
        for n in range(30):
            group[f"{n}"] = group
    code = convert(tmp_path / "keras.h5", "--out", tmp_path / "w.h5")
    assert "contain themselves" in sentence(code, *capsys.readouterr())


def test_names_in_a_file_cannot_break_the_line(script, tmp_path):
    models.save_weights(small(), tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        file["layers"].create_group("a\nb\x1b[31m" + "c" * 5000)["weight"] = np.zeros(1, "f4")
    err = sentence(*script("classify", "--model", tmp_path / "w.h5"))
    assert "a b?[31mccc" in err and "\x1b" not in err


# ---- other programs' weights -----------------------------------------------------------------------------------------


def convert(*argv):
    return weights_command(["convert", *map(str, argv)])


def converted(capsys, source, *argv):
    """What converting `source` gives: exit code, stdout and stderr; nothing is left beside it unless it worked."""
    out = source.with_name("out.h5")
    code = convert(source, "--out", out, *argv)
    assert out.exists() == (code == 0) and {p.name for p in source.parent.iterdir()} <= {source.name, "out.h5"}
    return code, *capsys.readouterr()


@pytest.mark.parametrize("legacy", [False, True])
def test_malicious_pickles_run_nothing(tmp_path, capsys, legacy):
    attack = pickle.dumps({"weight": Evil(tmp_path / "owned")}, 2)
    (write_legacy if legacy else write_zip)(tmp_path / "w.pth", attack, {})
    assert "nothing in it was run" in sentence(*converted(capsys, tmp_path / "w.pth"))
    assert not (tmp_path / "owned").exists()


def test_zip_bombs(tmp_path, capsys):
    write_zip(tmp_path / "w.pth", b"\x80\x02}.", {"0": bytes(1 << 24)}, zipfile.ZIP_DEFLATED)
    assert "its weights are compressed" in sentence(*converted(capsys, tmp_path / "w.pth"))
    (tmp_path / "w.pth").unlink()
    np.savez_compressed(tmp_path / "w.npz", **{"conv1.weight": np.zeros(1 << 22)})
    assert "more than 64 times its size" in sentence(*converted(capsys, tmp_path / "w.npz"))


@pytest.fixture(scope="module")
def squeezenet():
    return models.build("squeezenet1_1", seed=1).state_dict()


def test_legacy_files_are_converted(tmp_path, capsys, squeezenet):
    write_state_dict(tmp_path / "w.pth", squeezenet, legacy=True)
    code, out, err = converted(capsys, tmp_path / "w.pth", "--arch", "squeezenet1_1")
    assert (code, err) == (0, "") and "1,235,496 parameters" in out


def test_the_wrong_model_for_the_weights(tmp_path, capsys, squeezenet):
    np.savez(tmp_path / "w.npz", **squeezenet)
    sentence(*converted(capsys, tmp_path / "w.npz", "--arch", "vgg16"))


def test_weights_that_are_not_numbers(tmp_path, capsys, squeezenet):
    broken = {name: array.copy() for name, array in squeezenet.items()}
    broken["conv1.bias"][0] = np.nan
    np.savez(tmp_path / "w.npz", **broken)
    err = sentence(*converted(capsys, tmp_path / "w.npz", "--arch", "squeezenet1_1"))
    assert "conv1.bias holds NaN or infinite" in err


# ---- disks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB, a real one; `small_disk(True)` makes it read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        return subprocess.run(["mount", *options, "tmpfs", folder], capture_output=True).returncode == 0

    if not sys.platform.startswith("linux") or os.geteuid() or not mount("-t", "tmpfs", "-o", "size=64k"):
        pytest.skip("only root may mount a small disk")
    yield folder, lambda: mount("-o", "remount,ro")
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(script, small_disk):
    disk, _ = small_disk
    err = sentence(*script("saliency", "--out", disk))
    assert "disk/saliency_cat_random.png: No space left on device" in err and not list(disk.iterdir())


def test_a_disk_too_small_for_weights(small_disk, tmp_path, capfd, squeezenet):
    disk, _ = small_disk
    np.savez(tmp_path / "w.npz", **squeezenet)
    (disk / "w.h5").write_bytes(b"old")
    code = convert(tmp_path / "w.npz", "--arch", "squeezenet1_1", "--out", disk / "w.h5")
    err = sentence(code, *capfd.readouterr())  # capfd: what the HDF5 library itself might print
    assert "w.h5: No space left on device" in err
    assert [(path.name, path.read_bytes()) for path in disk.iterdir()] == [("w.h5", b"old")]


def test_a_read_only_disk(script, small_disk):
    disk, make_read_only = small_disk
    assert make_read_only()
    err = sentence(*script("saliency", "--out", disk))
    assert "disk" in err and ("Read-only file system" in err or "may not be written to" in err)
    sentence(*script("saliency", "--out", disk / "deeper"))
    assert not list(disk.iterdir())


@pytest.mark.skipif(not hasattr(os, "setresuid") or os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_of_another_user(script, weights, photograph):
    """The folder may be listed, not written to; everything needed was imported by the first run."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        files = Path(folder) / "photo.png", Path(folder) / "w.h5"
        for source, copy in zip((photograph, weights), files, strict=True):
            copy.write_bytes(source.read_bytes())
        argv = ("saliency", files[0], "--model", files[1])
        assert script(*argv)[0] == 0
        os.setresuid(65534, 65534, 0)
        try:
            result = script(*argv, "--out", folder)
        finally:
            os.setresuid(0, 0, 0)
        err = sentence(*result)
        assert "cannot be written: Permission denied" in err or "may not be written to" in err
        assert set(Path(folder).iterdir()) == set(files)


@LINUX
@pytest.mark.parametrize("limit, left", [(4_000, 0), (20_000, None)])
def test_files_that_may_grow_no_further(weights, photograph, tmp_path, limit, left):
    """RLIMIT_FSIZE stops a write in the middle, as a quota or a full disk does."""
    import resource

    command = [sys.executable, SCRIPTS / "saliency.py", photograph, "--model", weights, "--out", tmp_path / "out"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert "File too large" in sentence(done.returncode, done.stdout, done.stderr)
    assert not [path for path in (tmp_path / "out").iterdir() if path.suffix not in (".png", ".npz")]


@LINUX
def test_stdout_on_a_full_disk(weights, photograph, tmp_path):
    command = [sys.executable, SCRIPTS / "classify.py", photograph, "--model", weights, "--out", tmp_path / "out"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert "No space left" in sentence(done.returncode, "", done.stderr)


@LINUX
@pytest.mark.parametrize("whole", [True, False])
def test_killed_in_the_middle_of_writing(tmp_path, whole):
    """SIGKILL after half of the new file: the old one is there, whole; where there was none, none is."""
    path = tmp_path / "result.npz"
    if whole:
        path.write_bytes(b"the old file")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            file.write(b"half")
            file.flush()
            os.write(writer, b"!")
            time.sleep(60)
    assert os.read(reader, 1) == b"!"
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    os.close(reader), os.close(writer)
    assert path.exists() == whole and (not whole or path.read_bytes() == b"the old file")
    assert all(p == path or p.name.startswith(".result.npz.") for p in tmp_path.iterdir())


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------

ARGUMENTS = {
    "convert": ["x.pth", "--out", "x.h5"],
    "download": ["vgg16"],
    "labelled": ["--data", "x"],
    "maximize": ["--target", "cat"],
    "style_transfer": ["--style", "x.png"],
    "train": ["--data", "x"],
}
END_SOON = set(ARGUMENTS) - {"maximize"}  # there is nothing for them to work on


@pytest.mark.parametrize("name", RUNNABLE)
def test_ctrl_c_in_every_script(name, tmp_path):
    """At a random moment of its first second: one line and exit code 130, whatever it was doing."""
    if "MINIGRAD_SLOW" not in os.environ and name not in ("convert", "maximize", "saliency"):
        pytest.skip("needs MINIGRAD_SLOW=1: starts every script")
    longest = 0.4 if name in END_SOON else 1.0
    moments = np.random.default_rng(sum(map(ord, name))).uniform(0, longest, 2)
    for moment in moments:
        code, out, err = stopped(name, tmp_path, moment)
        stops = code == 130 and err.startswith(f"{name}: stopped") and err.count("\n") == 1
        left_with_results = code == 130 and err == "" and " -> " in out  # a loop takes it for the end of its work
        # Python on its way out no longer handles Ctrl-C
        ended_before = name in END_SOON and (code in (2, -signal.SIGINT) and err.count("\n") == 1 or " -> " in out)
        lost = code == 130 and "Exception ignored in" in err and f"\n{name}: stopped" in err  # by Python, in the
        # callback of a weak reference, and told at the end
        assert stops or left_with_results or ended_before or lost, (moment, code, out, err)


def test_a_ctrl_c_that_was_dropped_is_no_success(capsys):
    def work(code=None):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return code

    assert exit_code("work", work, ["a.png"]) == 130
    assert capsys.readouterr().err == "work: stopped; written so far: a.png\n"
    assert exit_code("work", lambda: work(0)) == 0 and exit_code("work", lambda: None) == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# Runs a script that says when it has taken over Ctrl-C, which is the first thing that it does.
BEGIN = """
import os, runpy, signal, sys

def first(*given):
    signal.signal = install
    install(*given)
    print("!", flush=True)

install, signal.signal = signal.signal, first
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def stopped(name, folder, moment):
    """(exit code, stdout, stderr) of a script that gets SIGINT `moment` seconds after it has begun."""
    command = [sys.executable, "-c", BEGIN, SCRIPTS / f"{name}.py", *ARGUMENTS.get(name, [])]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=600)
    return process.returncode, out, err


# ---- the network -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server of "vgg16", with the faults that are asked for."""
    server = Server(np.random.default_rng(0).bytes(1 << 16))
    monkeypatch.setattr("models.download.SOURCES", {"vgg16": server.source()})
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("MINIGRAD_HOME", str(tmp_path / "home"))
    yield server
    server.shutdown()
    server.server_close()


def download(capsys):
    return weights_command(["download", "vgg16", "--quiet"]), *capsys.readouterr()


def test_a_wrong_checksum(server, capsys, tmp_path):
    server.content = bytes(1 << 16)
    assert "expected" in sentence(*download(capsys)) and not list((tmp_path / "home").iterdir())


def test_a_connection_cut_for_good(server, capsys, tmp_path):
    server.cut_after = 0
    assert "run the command again to go on" in sentence(*download(capsys))
    assert all(path.suffix == ".part" for path in (tmp_path / "home").iterdir())


def test_no_network(server, capsys, monkeypatch, tmp_path):
    source = catalogue.Source("http://127.0.0.1:9/w.pth", "sha256", "0" * 8, "torchvision")
    monkeypatch.setattr("models.download.SOURCES", {"vgg16": source})
    assert "without a network put a copy of that file at" in sentence(*download(capsys))
    assert not list((tmp_path / "home").iterdir())


def test_what_arrives_is_no_weights_file(server, capsys, tmp_path):
    assert "is none of the files that are read" in sentence(*download(capsys))
    assert not list((tmp_path / "home").glob("*.h5"))


# ---- names from outside ----------------------------------------------------------------------------------------------


def test_tables_escape_what_users_supply():
    name = "a|b <script>alert(1)</script> [x](javascript:y) `c`\n# d & \\"
    row = markdown([{"file": name, "share": 0.5}]).splitlines()[2]
    assert row == f"| {escaped(name)} | 50.0% |" and row.count("|") - row.count("\\|") == 3
    assert "<" not in row and "`" not in row.replace("\\`", "") and "\\[x\\]" in row


@pytest.mark.parametrize("name", ["$x^2$", "a/../../b", "<svg onload=alert(1)>", "-rf", "{0}%s", "x" * 300, "日本 語"])
def test_file_names_come_to_nothing_bad(script, tmp_path, name, photograph):
    picture = tmp_path / f"{name.replace('/', '_')[:200]}.png"
    picture.write_bytes(photograph.read_bytes())
    code, out, err = script("saliency", f"./{os.path.relpath(picture)}")
    assert (code, err) == (0, "")
    written = list((tmp_path / "out").iterdir())
    assert len(written) == 3 and all(set(path.name) & set("<>$/ ()|") == set() for path in written)


def test_class_names_come_to_nothing_bad(script, tmp_path, photograph):
    model = models.build("minivgg", seed=0)
    model.labels = ["$\\frac{", "<b>|", "../../x", *(f"c{i}" for i in range(9))]
    models.save_weights(model, tmp_path / "w.h5")
    for target in ("0", "1", "2"):
        code, _, err = script("saliency", photograph, "--model", tmp_path / "w.h5", "--target", target)
        assert (code, err) == (0, "")
    assert len(list((tmp_path / "out").iterdir())) == 9 and not (tmp_path.parent / "x").exists()
