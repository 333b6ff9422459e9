"""What a person can get wrong ends in exit code 2 and one sentence; what the program gets wrong keeps its traceback."""

import errno
import hashlib
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigrad.functional as F
import models
from models import installed
from models.labels import imagenet_labels
from models.mistakes import UserError
from viz.commands.command import main
from viz.commands.options import parser
from viz.commands.record import RECORDED, file_stem, plain, versions
from viz.commands.target import read_target

SCRIPTS = Path(__file__).parents[2] / "scripts"
NETWORK = "network: random, 12 classes, 128 x 128 pixels"  # of the weights of conftest.py
RUNNABLE = sorted(p.name for p in SCRIPTS.glob("*.py") if '\nif __name__ == "__main__"' in p.read_text("utf-8"))


def sentence(stderr):
    """The one line of stderr."""
    assert stderr.endswith("\n") and stderr.count("\n") == 1 and "Traceback" not in stderr
    return stderr.strip()


@pytest.mark.parametrize(
    "argv, said",
    [
        ([""], "an argument is empty"),
        (["--out="], "--out is empty"),
        (["nowhere.jpg"], "there is no file nowhere.jpg"),
        (["."], "is a folder, not a picture"),
        ([__file__], "is not a picture in a format that is read here"),
        (["--target", "zebrra"], "no class is called 'zebrra'; near names: zebra"),
        (["--target", "c"], "no class is called 'c'"),
        (["--target", "cat-zebrra"], "no class is called 'zebrra'; near names: zebra"),
        (["--target", "cat-cat"], "a class less itself is nothing"),
        (["--target", "12"], "class 12 is out of range: this model has classes 0 to 11"),
        (["--target", "-1"], "class -1 is out of range"),
        (["--target", ""], "--target is empty"),
        (["--target", "conv9_9"], "there is no class or layer 'conv9_9', did you mean conv"),
        (["--target", "conv9_9:3"], "there is no class or layer 'conv9_9:3', did you mean conv"),
        (["--layer", "relu3_1", "--target", "cat"], "give --target or --layer, not both"),
        (["--target", "relu3_1:99999"], "out of range"),
        (["--target", "relu3_1:1,2"], "a unit is a channel, or channel,row,column"),
        (["--unit", "1"], "--unit needs the name of its --layer"),
        (["--device", "tpu"], "device is 'tpu': give"),
        (["--seed", "-3"], "--seed must not be negative"),
        (["--seed", "few"], "invalid int value: 'few'"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--model", "nonet"], "there is no model 'nonet': give a weights file, MODULE:FUNCTION, or one of vgg11,"),
        (["--model", "vgg61"], "there is no model 'vgg61': did you mean vgg19 or vgg16 or vgg13?"),
        (["--model", "nowhere.h5"], "there is no weights file nowhere.h5"),
        (["--model", __file__], "is none of the files that are read (a weights file of minigrad, Keras"),
        (["--out", __file__], "is not a folder"),
        (["--out", __file__ + "/deeper"], "is not a folder"),
    ],
)
def test_mistakes_of_the_user(script, argv, said, tmp_path):
    code, out, err = script("saliency", *argv)
    assert (code, out) == (2, "")
    assert sentence(err).startswith("saliency: ") and said in err
    assert not (tmp_path / "out").exists()


def test_a_contrast_of_kinds_says_which_is_ambiguous():
    class Network(dict):
        labels = imagenet_labels()

    assert read_target(Network(), "pug-dog").classes == (254,)  # a name with a hyphen
    for text, half in (("cat-dog", "cat"), ("zebra-dog", "dog"), ("cat-zebra", "cat")):
        with pytest.raises(ValueError, match=f"class '{half}' is ambiguous, it may be"):
            read_target(Network(), text)


def test_no_gpu_is_a_users_mistake(script):
    if "cupy" in sys.modules:
        pytest.skip("there may be a GPU")
    code, _, err = script("saliency", "--device", "cuda")
    assert code == 2 and "device 'cuda' is not available" in sentence(err)


def test_a_damaged_picture(script, tmp_path, photograph):
    cut = tmp_path / "cut.png"
    cut.write_bytes(photograph.read_bytes()[:3000])
    code, _, err = script("saliency", cut)
    assert code == 2 and "cut.png is damaged" in sentence(err)


def test_a_picture_with_damaged_exif_is_no_warning(script, tmp_path, photograph):
    with Image.open(photograph) as picture:
        picture.convert("RGB").save(tmp_path / "p.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00")
    with pytest.warns(UserWarning, match="EXIF"):
        models.load_image(tmp_path / "p.jpg")
    code, _, err = script("saliency", tmp_path / "p.jpg")
    assert code == 0 and err == ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write to any folder")
def test_a_folder_that_may_not_be_written_to(script, tmp_path):
    (tmp_path / "mine").mkdir(mode=0o555)
    code, _, err = script("saliency", "--out", tmp_path / "mine" / "deeper")
    assert code == 2 and "may not be written to" in sentence(err)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc, a folder where no file can be made")
def test_a_folder_that_cannot_be_made(script):
    code, _, err = script("saliency", "--out", "/proc/minigrad")
    assert code == 2 and "--out /proc/minigrad: the folder /proc may not be written to" in sentence(err)


def test_a_full_disk_leaves_whole_files_only(script, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "map.npz")

    monkeypatch.setattr("zipfile.ZipFile.writestr", full)
    code, _, err = script("saliency")
    assert code == 2 and sentence(err) == f"saliency: map.npz: {os.strerror(errno.ENOSPC)}"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["saliency_cat_random.png"]
    Image.open(tmp_path / "out" / "saliency_cat_random.png").verify()


# ---- exit codes of a script made up here -----------------------------------------------------------------------------


def call(run, tmp_path, *argv, **shared):
    return main("test_command", parser("A test.", "photo.jpg", **shared), run, ["--out", str(tmp_path / "out"), *argv])


def test_too_little_memory(tmp_path, capsys):
    def run(job):
        raise MemoryError

    assert call(run, tmp_path) == 2
    assert "not enough memory" in sentence(capsys.readouterr().err)


@pytest.mark.parametrize(
    "kind, mistake",
    [
        (ValueError, lambda: np.zeros(3) + np.zeros(4)),
        (ValueError, lambda: F.conv2d(np.zeros((1, 3, 8, 8)), np.zeros((1, 4, 3, 3)))),
        (ValueError, lambda: int("seven")),
        (TypeError, lambda: len(3)),
        (KeyError, lambda: {}["x"]),
        (ZeroDivisionError, lambda: 1 / 0),
        (AssertionError, lambda: (_ for _ in ()).throw(AssertionError)),
    ],
)
def test_mistakes_of_the_program_keep_their_traceback(tmp_path, kind, mistake):
    with pytest.raises(kind):
        call(lambda job: mistake(), tmp_path)


def test_ctrl_c_says_what_was_written(tmp_path, capsys):
    def run(job):
        job.write("first", numbers={"x": 1}, subject="first")
        raise KeyboardInterrupt

    assert call(run, tmp_path) == 130
    assert "stopped; written so far: " in sentence(capsys.readouterr().err)
    assert json.loads((tmp_path / "out" / "test_command_first.json").read_text())["numbers"] == {"x": 1}


def test_long_work_is_left_with_what_it_has(tmp_path):
    def run(job):
        with job.stoppable():
            for step in range(100):
                if step == 3:
                    os.kill(os.getpid(), signal.SIGINT)
                if job.stopped:
                    break
        job.write("partial", numbers={"steps": step}, subject="partial")

    before = signal.getsignal(signal.SIGINT)
    assert call(run, tmp_path) == 130
    record = json.loads((tmp_path / "out" / "test_command_partial_stopped-early.json").read_text())
    assert record["stopped_early"] and record["numbers"]["steps"] <= 4
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    def run(job):
        with job.stoppable():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("not reached")

    assert call(run, tmp_path) == 130


def test_warnings_are_one_line(tmp_path, capsys):
    import warnings

    assert call(lambda job: warnings.warn("the map is zero", stacklevel=1), tmp_path) == 0
    assert capsys.readouterr().err == "test_command: warning: the map is zero\n"


def test_options_that_a_script_does_without(tmp_path, capsys):
    assert call(lambda job: None, tmp_path, "photo.jpg", image=False) == 2
    assert call(lambda job: None, tmp_path, "--target", "cat", target=False) == 2
    assert capsys.readouterr().err.count("unrecognized arguments") == 2


def test_user_errors_of_scripts(tmp_path, capsys):
    def run(job):
        raise UserError("--steps must be positive")

    assert call(run, tmp_path) == 2
    assert capsys.readouterr().err == "test_command: --steps must be positive\n"


def test_a_function_of_the_scripts_name_is_named_once(script):
    code, _, err = script("grad_cam", "--layer", "fc6")
    assert code == 2 and sentence(err).count("grad_cam: ") == 1


def test_what_a_command_does_not_need_is_not_imported():
    """From the prompt to a picture is half a second, of which imports are half."""
    unneeded = "importlib.metadata", "models.convert", "onnx", "scipy", "socket", "tarfile", "matplotlib"
    code = f"import sys, viz.commands.command; print([name for name in {unneeded} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_versions_are_those_of_folders_that_record_packages(tmp_path, monkeypatch):
    for name in (
        "scikit_image-0.25.2.dist-info",
        "h5py-3.1.0-py3.11.egg-info",
        "numpy-9.9.dist-info",
        "scipy.egg-info",
    ):
        (tmp_path / "late" / name).mkdir(parents=True)
    (tmp_path / "first" / "numpy-2.1.0rc1.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / name) for name in ("first", "nowhere", "late")])
    found = versions.__wrapped__()
    assert {name: found[name] for name in RECORDED if name in found} == {
        "numpy": "2.1.0rc1",
        "h5py": "3.1.0",
        "scikit-image": "0.25.2",
    }


# ---- the record ------------------------------------------------------------------------------------------------------


def test_a_result_can_be_made_again_from_its_record(script, photograph, weights, tmp_path):
    code, out, _ = script("saliency", photograph, "--target", "zebra", "--seed", "5")
    record = json.loads((tmp_path / "out" / "saliency_my_cat_random_zebra_seed-5.json").read_text())
    assert code == 0 and record["seed"] == 5 and record["target"] == {"index": 3, "name": "zebra"}
    assert record["weights"]["file"] == str(weights) and len(record["weights"]["weights_sha256"]) == 64
    assert {"python", "numpy", "minigrad", "platform"} <= record["versions"].keys()
    assert all(record["versions"][name] == version(name) for name in RECORDED if name in record["versions"])

    _, _, *argv = shlex.split(record["command"])  # python, scripts/saliency.py, ...
    with np.load(tmp_path / "out" / "saliency_my_cat_random_zebra_seed-5.npz") as file:
        first = {key: file[key] for key in file.files}
    assert script("saliency", *argv, "--out", tmp_path / "again")[0] == 0
    with np.load(tmp_path / "again" / "saliency_my_cat_random_zebra_seed-5.npz") as file:
        assert file.files == list(first) == ["image", "map"]
        assert all(np.array_equal(file[key], first[key]) for key in first)
    assert record["arrays"] == {k: {"shape": list(a.shape), "dtype": str(a.dtype)} for k, a in first.items()}


def test_the_network_and_a_line_with_the_paths_of_whole_files(script, photograph, tmp_path):
    code, out, err = script("saliency", photograph)
    network, result = out.splitlines()
    line, paths = result.split(" -> ")
    assert (code, err, network) == (0, "", NETWORK) and line.startswith("saliency: ")
    out = tmp_path / "out"
    assert paths.strip() == " ".join(str(out / f"saliency_my_cat_random{end}") for end in (".png", ".npz", ".json"))
    assert {path.name for path in out.iterdir()} == {
        f"saliency_my_cat_random{end}" for end in (".png", ".npz", ".json")
    }
    assert Image.open(out / "saliency_my_cat_random.png").size > (300, 150)


@pytest.mark.parametrize(
    "name, words, lines",
    [
        ("saliency", ["{photograph}", "{photograph}"], 3),
        ("classify", ["{photograph}"], 1),
        ("classify", ["{folder}"], 3),
        ("over", ["{folder}", "--do", "saliency"], 1),
        ("bias", ["--data", "{folder}", "--shown", "0"], 5),
        ("robustness", ["--data", "{folder}", "--tables", "attacks", "--count", "2"], 5),
        ("evaluate_attribution", ["--data", "{folder}", "--measures", "infidelity", "--methods", "saliency"], 3),
        ("maximize", ["--target", "cat", "--steps", "1", "--preset", "paper"], 1),
    ],
)
def test_the_first_line_names_the_network_once(name, words, lines, script, photograph, tmp_path):
    for stem in ("cat/a", "zebra/b"):
        (tmp_path / "folder" / stem).parent.mkdir(parents=True)
        shutil.copy(photograph, tmp_path / "folder" / f"{stem}.png")
    words = [word.format(photograph=photograph, folder=tmp_path / "folder") for word in words]
    code, out, _ = script(name, *words)
    network, *rest = out.splitlines()
    assert (code, network) == (0, NETWORK) and len(rest) >= lines and NETWORK not in rest
    assert script(name, *words, "--quiet")[:2] == (0, "")


def test_quiet_says_nothing(script, tmp_path):
    assert script("saliency", "--quiet") == (0, "", "")
    assert (tmp_path / "out" / "saliency_cat_random.png").is_file()


def test_pictures_and_frames(tmp_path):
    picture = np.linspace(0, 1, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)

    def run(job):
        job.write("both", pictures={"a/b c": picture}, frames=[picture, 1 - picture], subject="../up")

    assert call(run, tmp_path) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"test_command_.._up_a_b_c.png", "test_command_.._up.gif", "test_command_.._up.json"}
    pixels = np.asarray(Image.open(tmp_path / "out" / "test_command_.._up_a_b_c.png"))
    assert np.array_equal(pixels, np.rint(picture[0] * 255).astype(np.uint8).transpose(1, 2, 0))
    assert Image.open(tmp_path / "out" / "test_command_.._up.gif").n_frames == 2


@pytest.mark.parametrize(
    "parts, stem",
    [
        (("saliency", "my cat (1)"), "saliency_my_cat_1"),
        (("x", "a/../b\\c:d"), "x_a_.._b_c_d"),
        (("", "..."), "result"),
        (("x", "катя"), "x_катя"),
        (("x" * 300,), "x" * 93 + "_" + hashlib.sha256(b"x" * 300).hexdigest()[:6]),
    ],
)
def test_file_stems(parts, stem):
    assert file_stem(*parts) == stem


def test_records_are_plain_json():
    values = {
        "a": np.float32(0.5),
        1: np.arange(2),
        "n": float("nan"),
        "i": np.array([np.inf]),
        "p": Path("x"),
        "t": (1, True),
    }
    assert plain(values) == {"a": 0.5, "1": [0, 1], "n": None, "i": [None], "p": "x", "t": [1, True]}
    json.dumps(plain(values), allow_nan=False)


# ---- the folder of scripts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNNABLE)
def test_help_holds_an_example(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPTS / name), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    said = capsys.readouterr().out
    assert end.value.code in (0, None)
    assert "example:" in said.lower() and f"python scripts/{name}" in said


def test_no_script_hides_another_module():
    stems = {path.stem for path in SCRIPTS.glob("*.py")}
    assert not stems & (sys.stdlib_module_names | {"minigrad", "models", "viz", "numpy", "scipy", "matplotlib", "PIL"})


def test_from_any_folder(weights, photograph, tmp_path):
    command = [sys.executable, SCRIPTS / "classify.py", photograph, "--model", weights, "--out", "here"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert all((tmp_path / path).is_file() for path in done.stdout.split(" -> ")[1].split())


def test_without_an_installation(tmp_path):
    """-S leaves out what is installed: a script says what to do, or, given what minigrad needs, finds its clone."""
    command = [sys.executable, "-S", SCRIPTS / "saliency.py", "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence(done.stderr).startswith("saliency: numpy is not installed: run `make demo` in ")
    environment["PYTHONPATH"] = sysconfig.get_path("purelib")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "") and "python scripts/saliency.py photo.jpg" in done.stdout


@pytest.mark.parametrize("package", ["viz", "models"])
def test_a_package_without_an_installation(package):
    """The same of `python -m`, which reads the whole package before it runs any of it."""
    command = [sys.executable, "-S", "-m", package]
    done = subprocess.run(command, cwd=SCRIPTS.parent, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence(done.stderr).startswith(f"{package}: numpy is not installed: run `make demo` in ")
    wanted = tomllib.loads((SCRIPTS.parent / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = {re.match(r"[\w-]+", one)[0] for one in wanted}
    assert {"pillow" if name == "PIL" else name for name in installed.NEEDED} == names


@pytest.mark.skipif(os.name != "posix", reason="closes what a shell closes")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_error(closed, weights, photograph, tmp_path):
    words = ["-m", "viz", "rise", photograph, "--samples", "2", "--model", weights, "--out", tmp_path]
    command = f"{shlex.join(map(str, [sys.executable, *words]))} {closed}"
    done = subprocess.run(command, shell=True, cwd=SCRIPTS.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and list(tmp_path.glob("rise_*.json"))
    nowhere = shlex.join([sys.executable, "-m", "viz", "saliency", "nowhere.jpg"])
    done = subprocess.run(f"{nowhere} {closed}", shell=True, cwd=SCRIPTS.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and (done.stderr == "") == ("2>" in closed)


def test_a_closed_pipe_is_no_error(weights, photograph, tmp_path):
    command = [sys.executable, SCRIPTS / "classify.py", photograph, "--model", weights, "--out", tmp_path]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


# ---- results stay ----------------------------------------------------------------------------------------------------


def test_an_answer_replaces_its_own_and_no_other(script, photograph, tmp_path):
    def names():
        return {path.name for path in (tmp_path / "out").glob("*.json")}

    for _ in range(2):  # the same question
        assert script("lrp", photograph)[0] == 0
        assert names() == {"lrp_my_cat_random.json"}
    first = (tmp_path / "out" / "lrp_my_cat_random.npz").read_bytes()
    for _ in range(2):  # another rule
        assert script("lrp", photograph, "--rule", "zplus")[0] == 0
        assert names() == {"lrp_my_cat_random.json", "lrp_my_cat_random_rule-zplus.json"}
    assert (tmp_path / "out" / "lrp_my_cat_random.npz").read_bytes() == first
    other = tmp_path / "elsewhere" / photograph.name
    other.parent.mkdir()
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(other)  # a picture of the same name
    said = [script("lrp", other)[1] for _ in range(2)]
    assert said[0] == said[1] and re.search(r"lrp_my_cat_random_[0-9a-f]{6}\.json\n$", said[0])
    assert (tmp_path / "out" / "lrp_my_cat_random.npz").read_bytes() == first and len(names()) == 3
    elsewhere = tmp_path / "elsewhere" / "copy" / photograph.name
    elsewhere.parent.mkdir()
    shutil.copy(photograph, elsewhere)  # the same picture in another place: the same question
    assert script("lrp", elsewhere)[0] == 0 and len(names()) == 3
    (tmp_path / "out" / "saliency_my_cat_random.json").write_text("[]")  # not ours
    assert re.search(r"saliency_my_cat_random_[0-9a-f]{6}\.json", script("saliency", photograph)[1])


def test_a_stopped_run_says_so_and_replaces_no_finished_one(tmp_path, capsys):
    for stopped in (False, True):

        def run(job, stopped=stopped):
            job.stopped = stopped
            job.write("done", numbers={}, subject="x")

        assert call(run, tmp_path) == (130 if stopped else 0)
    assert "done, stopped early -> " in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "test_command_x.json",
        "test_command_x_stopped-early.json",
    }
