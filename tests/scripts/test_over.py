"""`over`: techniques over many photographs, into a store that goes on after a kill, whoever computes."""

import csv
import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import tarfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import models
import viz
from minigrad.kernels import thread_count
from models.mistakes import UserError
from tests.scripts import tiny
from viz.commands import command, over, progress
from viz.many import engine, work
from viz.many.photographs import Batch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve photographs of four classes, and two that cannot be read, "cat/1b.png" and "zebra/9.png"."""
    root, _ = tiny.photographs(tmp_path_factory.mktemp("pictures") / "few")
    (root / "cat" / "1b.png").write_bytes(b"no picture")
    whole = (root / "zebra" / "1.png").read_bytes()
    (root / "zebra" / "9.png").write_bytes(whole[: len(whole) // 2])
    return root


@pytest.fixture
def run(script, network, tmp_path):
    """run(PHOTOGRAPHS, ..., out="store"): (exit code, stdout, stderr)."""

    def run(*argv, out="store"):
        return script("over", *argv, "--model", network, "--out", tmp_path / out)

    return run


def same(one, other, atol=1e-5):
    """Two stores hold the same, to rounding."""
    assert one.names == other.names
    for name in one.names:
        found, expected = one.array(name), other.array(name)
        np.testing.assert_allclose(found, expected, atol=atol * abs(expected).max(), rtol=0)
    for row, expected in zip(one.table(), other.table(), strict=True):
        assert row.keys() == expected.keys()
        for key, text in expected.items():
            if key != "seconds" and row[key] != text:
                assert float(row[key]) == pytest.approx(float(text), rel=1e-4, abs=1e-6), key


def test_the_store_holds_what_viz_gives(run, folder, network, tmp_path):
    code, said, _ = run(folder, "--do", "saliency,grad_cam,lrp", "--set", "lrp.rule=epsilon", "--batch-size", 5)
    assert code == 0 and "14 of 14 photographs, 14 of them now" in said and "right 100.0%" in said
    assert "2 without an answer, the first for: cat/1b.png: the picture is not a picture" in said
    store, model = viz.open_store(tmp_path / "store"), models.load(network)
    for name in ("cat/0.png", "dog/2.png", "zebra/1.png"):
        row, arrays = store[name]
        x = models.load_image(folder / name, model.input_size, model.short_side)
        expected = {
            "saliency": viz.saliency(model, x)[0],
            "grad_cam": viz.grad_cam(model, x, upsample=False)[0],
            "lrp": viz.lrp(model, x, rule="epsilon")[0].sum(0),
        }
        assert arrays.keys() == expected.keys() and row["named"] == row["class"] == name.split("/")[0]
        for key, heat in expected.items():
            np.testing.assert_allclose(arrays[key], heat, atol=1e-5 * abs(heat).max(), rtol=1e-4)
            assert float(row[f"{key}_sum"]) == pytest.approx(
                heat.sum(dtype=np.float64), abs=float(1e-4 * abs(heat).sum())
            )
    broken = [row["name"] for row in store.table() if row["error"]]
    assert broken == ["cat/1b.png", "zebra/9.png"] and len(store.array("saliency")) == 12
    (facts,) = store.facts["runs"]
    assert store.facts["question"]["weights"]["weights_sha256"] == model.provenance["weights_sha256"]
    assert facts["photographs"] == 14 and len(facts["code_sha256"]) == 64 and facts["versions"]["numpy"]
    assert all(memory["peak"] > 1e7 for memory in facts["memory_of"].values())


def test_the_page_shows_the_extremes(run, folder, tmp_path):
    named_wrongly = tmp_path / "few"
    shutil.copytree(folder, named_wrongly)
    (named_wrongly / "cat" / "0.png").rename(named_wrongly / "dog" / "cat & mouse.png")
    run(named_wrongly, "--do", "saliency,grad_cam,fgsm")
    page = (tmp_path / "store" / "report.html").read_text()
    for heading in ("most sure and wrong", "least sure", "most sure", "maps that agree least"):
        assert page.count(f"<h2>{heading}</h2>") == 1
    wrong = page.split("<h2>most sure and wrong</h2>")[1].split("<h2>")[0]
    assert wrong.count("<figure>") == 1 and "dog/cat &amp; mouse.png" in wrong and "named cat" in wrong
    assert "cat/1b.png" in page and "<script" not in page and "http" not in page.split("<body>")[1]
    from PIL import Image

    with Image.open(tmp_path / "store" / "contact_sheet.png") as sheet:
        assert sheet.width > 4 * 112 and sheet.height > 112  # four pictures of 16 pixels beside each other, enlarged


def test_attacks_and_features_too(run, folder, network, tmp_path):
    code, said, _ = run(
        folder, "--do", "pgd,features", "--set", "pgd.epsilon=16/255", "pgd.steps=5", "features.layer=relu5_1"
    )
    assert code == 0
    store, model = viz.open_store(tmp_path / "store"), models.load(network)
    row, arrays = store["dog/0.png"]
    x = models.load_image(folder / "dog" / "0.png", model.input_size, model.short_side)
    np.testing.assert_allclose(arrays["features"], viz.features(model, x, "relu5_1")[0], rtol=1e-4, atol=1e-5)
    attacked = arrays["pgd"] / np.float32(255)
    assert arrays["pgd"].dtype == np.uint8 and abs(attacked - x[0]).max() <= 16.5 / 255 + 1e-6
    assert float(row["pgd_linf"]) == pytest.approx(abs(attacked - x[0]).max(), abs=1e-6)
    assert row["pgd_named"] == model.labels[model(attacked[None]).numpy().argmax()]
    assert row["pgd_success"] == str(int(row["pgd_named"] != row["named"]))


def test_optimised_images_are_each_photographs_own(run, folder, network, tmp_path):
    few = ["invert.steps=3", "deep_dream.steps=2", "deep_dream.octaves=1", "reconstruct_content.steps=2"]
    asked = ["--do", "deep_dream,invert,reconstruct_content", "--set", *few, "invert.layer=relu2_1", "--batch-size"]
    assert run(folder, *asked, 5)[0] == 0 and run(folder, *asked, 14, out="other")[0] == 0
    store, model = viz.open_store(tmp_path / "store"), models.load(network).requires_grad_(False)
    same(store, viz.open_store(tmp_path / "other"), atol=0)
    row, arrays = store["dog/1.png"]
    x = models.load_image(folder / "dog" / "1.png", model.input_size, model.short_side)
    found = {
        "invert": viz.invert(model, x, "relu2_1", steps=3),
        "deep_dream": viz.deep_dream(
            model, x, store.facts["question"]["techniques"]["deep_dream"]["layer"], 1, steps=2
        ),
        "reconstruct_content": viz.reconstruct_content(model, x, steps=2),
    }
    for name, expected in found.items():
        assert arrays[name].dtype == np.uint8 and abs(arrays[name] / 255 - expected.image[0]).max() <= 0.51 / 255
        assert float(row[f"{name}_loss"]) == pytest.approx(expected.total[-1], rel=1e-5)
        assert float(row[f"{name}_l2"]) == pytest.approx(np.linalg.norm(arrays[name] / 255 - x[0]), rel=1e-4)


def test_style_transfer_takes_its_picture_along(run, folder, network, tmp_path):
    painting = tmp_path / "painting.png"
    models.save_image(np.random.default_rng(0).random((3, 24, 40)), painting)
    more = ["style_transfer.steps=3", "style_transfer.style-weight=1e5", "style_transfer.style_layers=relu1_1,relu2_1"]
    asked = ["--do", "style_transfer", "--set", f"style_transfer.style={painting}", *more, "--batch-size", 5]
    code, _, heard = run(folder, *asked)
    assert code == 0, heard
    store, model = viz.open_store(tmp_path / "store"), models.load(network).requires_grad_(False)
    row, arrays = store["dog/1.png"]
    x = models.load_image(folder / "dog" / "1.png", model.input_size, model.short_side)
    style = models.load_image(painting, (10, 16))  # its long side is the network's
    expected = viz.style_transfer(
        model, x, style, style_layers=["relu1_1", "relu2_1"], style_weight=1e5, steps=3, seed=0
    )
    assert abs(arrays["style_transfer"] / 255 - expected.image[0]).max() <= 0.51 / 255 and row["style_transfer_loss"]
    known = store.facts["question"]["techniques"]["style_transfer"]
    assert len(known["style"]["sha256"]) == 64 and known["content_layers"] and "painting" not in str(known)
    models.save_image(np.zeros((3, 24, 40)), painting)
    code, _, heard = run(folder, *asked)
    assert code == 2 and "its techniques.style_transfer.style.sha256 is" in heard


def test_half_is_half_and_knows_small_numbers(run, folder, tmp_path):
    run(folder, "--do", "saliency,lrp")
    run(folder, "--do", "saliency,lrp", "--half", out="half")
    whole, half = viz.open_store(tmp_path / "store"), viz.open_store(tmp_path / "half")
    for name in ("saliency", "lrp"):
        one, other = whole.array(name), half.array(name)
        largest = abs(one).max((1, 2), keepdims=True)
        assert other.dtype == np.float32 and (abs(one - other) <= 2**-11 * largest).all() and (one != other).any()
    sizes = [sum(p.stat().st_size for p in (tmp_path / n / "parts").iterdir()) for n in ("store", "half")]
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("do", ["saliency,grad_cam,smooth_grad,rise", "pgd,integrated_gradients"])
def test_batches_decide_nothing(run, folder, tmp_path, do):
    few = ["--set", *(f"{n}.samples=20" for n in ("smooth_grad", "rise") if n in do), "integrated_gradients.steps=4"]
    few = few if "integrated" in do else few[:-1]
    run(folder, "--do", do, *few, "--batch-size", 3)
    run(folder, "--do", do, *few, "--batch-size", 14, out="other")
    same(viz.open_store(tmp_path / "store"), viz.open_store(tmp_path / "other"))


def test_any_technique_may_be_computed_side_by_side(run, folder, tmp_path, monkeypatch):
    few = {"smooth_grad.samples": 3, "integrated_gradients.steps": 3, "rise.samples": 30, "one_pixel.generations": 2}
    few |= {"square_attack.queries": 5, "carlini_wagner.steps": 3, "carlini_wagner.searches": 1, "invert.steps": 2}
    few |= {"deep_dream.steps": 1, "reconstruct_content.steps": 2, "apgd.steps": 3, "pgd.steps": 2}
    all_but = ("style_transfer", *over.TO_A_CLASS, "auto_attack")
    do = [name for name in over.KNOWN if name not in all_but]
    asked = [folder, "--do", ",".join(do), "--set", *(f"{key}={value}" for key, value in few.items())]
    for cores, out in ((1, "alone"), (3, "store")):
        monkeypatch.setattr(engine, "thread_count", lambda cores=cores: cores)
        code, _, heard = run(*asked, "--batch-size", 2, out=out)
        assert code == 0, heard
    one, other = viz.open_store(tmp_path / "alone"), viz.open_store(tmp_path / "store")
    assert set(one.names) == set(do)
    for name in do:
        expected, found = one.array(name).astype(float), other.array(name)
        assert np.quantile(abs(found - expected), 0.9) <= 1e-4 * abs(expected).max(), name  # ties may go another way
    assert [row["named"] for row in one.table()] == [row["named"] for row in other.table()]


# ---- kills -----------------------------------------------------------------------------------------------------------


def started(folder, network, out, *more, **how):
    argv = [
        folder,
        "--model",
        network,
        "--out",
        out,
        "--do",
        "saliency,rise",
        "--set",
        "rise.samples=300",
        "--batch-size",
        2,
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "viz", "over", *map(str, argv), *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **how,
    )


def wait_for_parts(process, out, count):
    while len(list((out / "parts").glob("[0-9]*.h5")) if out.is_dir() else []) < count and process.poll() is None:
        time.sleep(0.01)


def test_killed_three_times_it_is_as_if_it_never_was(folder, network, tmp_path):
    done = started(folder, network, tmp_path / "whole").communicate(timeout=300)
    for count in (1, 3, 5):
        process = started(folder, network, tmp_path / "killed")
        wait_for_parts(process, tmp_path / "killed", count)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=300)
    last = started(folder, network, tmp_path / "killed")
    out, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    assert b"14 of them now" in done[0] and b"14 of 14 photographs" in out and b"14 of them now" not in out
    same(viz.open_store(tmp_path / "killed"), viz.open_store(tmp_path / "whole"))
    assert len(viz.open_store(tmp_path / "killed").facts["runs"]) >= 2


def test_a_second_ctrl_c_does_not_wait(folder, network, tmp_path):
    out = tmp_path / "store"
    process = started(folder, network, out, "--do", "invert", "--set", "invert.steps=3000")  # a photograph: seconds
    facts = out / "store.json"
    while process.poll() is None and not (facts.exists() and json.loads(facts.read_text())["runs"]):
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said, heard = process.communicate(timeout=300)
    assert process.returncode == 130 and b"Traceback" not in heard, heard
    assert not viz.open_store(out).table()


def test_after_ctrl_c_the_same_command_goes_on(run, folder, tmp_path, monkeypatch):
    once = over.answers

    def stopped(job, question, batches):
        for n, found in enumerate(once(job, question, batches)):
            if n == 1:
                signal.raise_signal(signal.SIGINT)
            yield found

    monkeypatch.setattr(over, "answers", stopped)
    code, said, _ = run(folder, "--do", "saliency", "--batch-size", 4)
    assert code == 130 and "8 of 14 photographs, 8 of them now" in said and "the same command goes on" in said
    monkeypatch.setattr(over, "answers", once)
    code, said, _ = run(folder, "--do", "saliency", "--batch-size", 4)
    assert code == 0 and "14 of 14 photographs, 10 of them now" in said  # the first four again: one has an error
    with open(tmp_path / "store" / "table.csv", newline="") as file:
        assert [row["photograph"] for row in csv.DictReader(file)] == [str(n) for n in range(14)]


def test_a_batch_that_fails_is_done_one_by_one(run, folder, tmp_path, monkeypatch):
    once = work.computed

    def breaking(question, model, images):
        if len(images) > 1 or images[0, 0, 0, 0] == first:
            raise ArithmeticError("of no use")
        return once(question, model, images)

    first = models.load_image(folder / "dog" / "1.png")[0, 0, 0, 0]
    monkeypatch.setattr(work, "computed", breaking)
    code, said, _ = run(folder, "--do", "saliency")
    errors = {row["name"]: row["error"] for row in viz.open_store(tmp_path / "store").table() if row["error"]}
    assert code == 0 and errors["dog/1.png"] == "ArithmeticError: of no use" and len(errors) == 3


@pytest.mark.parametrize("kind", ["folder", "tar", "list"])
def test_other_photographs_under_the_same_names_are_computed_again(run, folder, tmp_path, kind):
    source = root = tmp_path / "few"
    shutil.copytree(folder, root)
    (root / "cat" / "1b.png").unlink(), (root / "zebra" / "9.png").unlink()
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))

    def again(*more):
        if kind == "tar":
            with tarfile.open(tmp_path / "few.tar", "w") as tar:
                for name in names:
                    tar.add(root / name, name)
        if kind == "list":
            (tmp_path / "few.txt").write_text("".join(f"few/{name}\n" for name in names))
        asked = source if kind == "folder" else tmp_path / f"few.{'tar' if kind == 'tar' else 'txt'}"
        return run(asked, "--do", "saliency", "--batch-size", 4)

    assert "12 of 12 photographs, 12 of them now" in again()[1]
    before = viz.open_store(tmp_path / "store")["dog/2.png" if kind != "list" else "few/dog/2.png"]
    for name in names:  # copied elsewhere: other times, the same bytes
        os.utime(root / name, ns=(1, 2_000_000_000))
    assert again()[1:] == (again()[1], "") and "12 of 12 photographs, 0 of them now" in again()[1]
    shutil.copy(root / "zebra" / "0.png", root / "dog" / "2.png")
    code, said, heard = again()
    assert code == 0 and "12 of 12 photographs, 4 of them now" in said
    assert "other photographs than before, whose batches are computed again" in heard and "dog/2.png" in heard
    store = viz.open_store(tmp_path / "store")
    row, arrays = store["dog/2.png" if kind != "list" else "few/dog/2.png"]
    same_bytes, expected = store["zebra/0.png" if kind != "list" else "few/zebra/0.png"]
    assert row["sha256"] == same_bytes["sha256"] != before[0]["sha256"] and int(row["bytes"]) > 0
    np.testing.assert_allclose(arrays["saliency"], expected["saliency"], rtol=1e-4, atol=1e-5)


def test_photographs_that_are_gone_have_not_changed(run, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "few")
    (tmp_path / "few.txt").write_text("few/cat/0.png\nfew/dog/0.png\n")
    run(tmp_path / "few.txt", "--do", "saliency")
    shutil.rmtree(tmp_path / "few")
    code, said, heard = run(tmp_path / "few.txt", "--do", "saliency")
    assert code == 0 and "2 of 2 photographs, 0 of them now" in said and not heard
    assert len(viz.open_store(tmp_path / "store").array("saliency")) == 2


def test_two_photographs_of_one_name_are_not_mixed(run, folder, tmp_path):
    with tarfile.open(tmp_path / "few.tar", "w") as tar:
        for name in ("cat/0.png", "dog/0.png", "cat/1.png"):
            tar.add(folder / name, "a.png" if "0" in name else "b.png")
    assert run(tmp_path / "few.tar", "--do", "saliency")[0] == 0
    store = viz.open_store(tmp_path / "store")
    assert store[0][0]["named"] == "cat" and store[1][0]["named"] == "dog" and store["b.png"][0]["named"] == "cat"
    with pytest.raises(KeyError, match="several photographs 'a.png': take one by its place, 0, 1"):
        store["a.png"]
    (tmp_path / "twice.txt").write_text(f"{folder / 'cat' / '0.png'}\n" * 2)
    assert run(tmp_path / "twice.txt", "--do", "saliency", out="twice")[0] == 0
    assert viz.open_store(tmp_path / "twice")[f"{folder / 'cat' / '0.png'}"][0]["photograph"] == "0"


@pytest.mark.parametrize("name", ["over", "classify"])
def test_where_none_has_an_answer_the_run_has_failed(script, network, tmp_path, name):
    (tmp_path / "few").mkdir()
    for n in range(3):
        (tmp_path / "few" / f"{n}.png").write_bytes(b"no picture")
    code, _, heard = script(name, tmp_path / "few", "--model", network, "--out", tmp_path / "out")
    assert code == 2 and "no photograph" in heard and "0.png: the picture is not a picture" in heard
    if name == "over":
        assert len(viz.open_store(tmp_path / "out").table()) == 3


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv, said",
    [
        (["--do", "salience"], "there is no technique 'salience'"),
        (["--do", "saliency,saliency"], "named twice"),
        (["--do", "saliency", "--set", "lrp.rule=zplus"], "of one that --do names"),
        (["--do", "lrp", "--set", "lrp.rule=zminus"], "invalid choice"),
        (["--do", "lrp", "--set", "lrp.target=cat"], "has no such option"),
        (["--do", "pgd", "--set", "pgd.steps=many"], "expected a whole number"),
        (["--do", "pgd", "--set", "pgd.epsilon=1/0"], "expected a number such as"),
        (["--do", "style_transfer"], "style_transfer needs a picture: give --set style_transfer.style=FILE"),
        (["--do", "style_transfer", "--set", "style_transfer.style=no.png"], "no.png"),
        (["--do", "invert", "--set", "invert.style=no.png"], "has no such option"),
        (["--do", "pgd", "--set", "pgd.steps=0"], "steps must be"),
        (["--do", "jsma"], "needs a --target to reach"),
        (["--do", "deepfool", "--target", "cat"], "takes no --target"),
        (["--do", "grad_cam", "--target", "relu2_1:0"], "explains classes"),
        (["--do", "pgd", "--target", "relu2_1:0"], "only attributions explain"),
        (["--do", "grad_cam", "--set", "grad_cam.layer=relu9"], "relu9"),
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "not both"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_no_store(run, folder, tmp_path, argv, said):
    code, _, heard = run(folder, *argv)
    assert code == 2 and said in heard and heard.count("\n") == 1
    assert not list((tmp_path / "store" / "parts").glob("*.h5")) if (tmp_path / "store").exists() else True


def test_another_question_is_refused(run, folder, tmp_path):
    run(folder, "--do", "saliency")
    for other in (["--do", "lrp"], ["--do", "saliency", "--seed", 1], ["--do", "saliency", "--count", 3]):
        code, _, heard = run(folder, *other)
        assert code == 2 and "answers another question: its" in heard


def test_a_store_among_the_photographs_is_refused(script, network, folder):
    code, _, heard = script("over", folder, "--model", network, "--out", folder / "cat" / "store")
    assert code == 2 and "lies among the photographs" in heard and not (folder / "cat" / "store").exists()


def test_progress_says_images_a_second(run, folder, monkeypatch):
    monkeypatch.setattr(command, "as_lines", lambda: progress.as_lines(every=0))
    _, _, heard = run(folder, "--do", "saliency")
    assert "14/14" in heard and "image/s" in heard


# ---- workers ---------------------------------------------------------------------------------------------------------


def test_without_dask_it_says_what_to_install(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, heard = run(folder, "--workers", 2)
    assert code == 2 and "pip install 'minigrad[dask]'" in heard


@pytest.mark.parametrize("cores", [1, 3, 9])
def test_batches_side_by_side_come_in_order_and_few_wait(network, monkeypatch, cores):
    model = models.load(network)
    question = work.Question(str(network), {}, "cpu", work.identity(model), (), {}, {}, 0, False)
    read, threads = [], set()

    def slow_first(question, batch, ready):
        threads.add(threading.current_thread())
        time.sleep(0.2 if batch.first == 0 else 0)
        assert cores != 3 or thread_count() == 1
        return batch.first

    def batches():
        for first in range(20):
            read.append(first)
            yield Batch(first, ("a.png",), ("no picture",), (0,))

    monkeypatch.setattr(engine, "thread_count", lambda: cores)
    monkeypatch.setattr(engine, "answer", slow_first)
    found = engine.here(question, batches())
    assert next(found) == 0 and len(read) == engine.AHEAD + (3 if cores == 3 else 1)
    assert list(found) == list(range(1, 20)) and read == list(range(20))
    assert len(threads) <= (3 if cores == 3 else 1) and threading.current_thread() not in threads


def test_what_reading_raises_is_raised(network):
    question = work.Question(
        str(network),
        {},
        "cpu",
        work.identity(models.load(network)),
        (work.Technique("saliency", "attribution"),),
        {},
        {},
        0,
        False,
    )

    def broken():
        yield Batch(0, ("a.png",), ("no picture",), (0,))
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        list(engine.here(question, broken()))


def test_the_store_knows_what_it_was_asked(run, folder, tmp_path):
    run(folder, "--do", "grad_cam,lrp", "--set", "lrp.epsilon=0.01", "--target", "zebra", "--seed", 3)
    question = json.loads((tmp_path / "store" / "store.json").read_text())["question"]
    assert question["techniques"]["lrp"]["epsilon"] == 0.01 and question["techniques"]["grad_cam"]["layer"] == "relu5_1"
    assert question["seed"] == 3 and question["target"] == "3" and question["photographs"]["count"] == 14


@pytest.fixture(scope="module")
def alone(folder, network, tmp_path_factory):
    """The store of one process, and what was asked."""
    out = tmp_path_factory.mktemp("alone") / "store"
    asked = ["--do", "saliency,rise,pgd", "--set", "rise.samples=600", "pgd.steps=4", "--batch-size", "2"]
    argv = [str(folder), "--model", str(network), "--out", str(out), *asked]
    assert command.main("over", over.options, over.run, argv) == 0
    return viz.open_store(out), asked


@pytest.fixture
def dask():
    return pytest.importorskip("distributed")


def test_two_workers_give_the_same_though_one_is_killed(run, folder, alone, tmp_path, monkeypatch, dask):
    once, killed = over.answers, []

    def killing(job, question, batches):
        for n, found in enumerate(once(job, question, batches)):
            if n == 1:
                killed.append(int(found.who.rpartition(" ")[2]))
                os.kill(killed[0], signal.SIGKILL)
            yield found

    monkeypatch.setattr(over, "answers", killing)
    code, said, _ = run(folder, *alone[1], "--workers", 2)
    store = viz.open_store(tmp_path / "store")
    assert code == 0 and "14 of 14 photographs, 14 of them now" in said and killed[0] != os.getpid()
    assert [row["photograph"] for row in store.table()] == [str(n) for n in range(14)]
    same(store, alone[0])
    assert len(store.facts["runs"][0]["memory_of"]) >= 2


def dying_once(flag, model, n):
    """What the third piece does to its worker, the first time."""
    if n == 3 and not flag.exists():
        flag.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return {"n": n}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_network_that_was_sent_outlives_one_of_two_workers(network, tmp_path, dask, workers):
    items = {str(n): (n,) for n in range(8)}
    with engine.client(None, workers) as found:
        there = engine.sent(found, models.load(network))
        results = engine.pieces(found, partial(dying_once, tmp_path / "flag"), there, items)
        if workers == 2:
            assert dict(results) == {str(n): {"n": n} for n in range(8)}
        else:
            with pytest.raises(UserError, match="every worker that had the network has died"):
                dict(results)


def test_ctrl_c_ends_a_run_on_workers(folder, network, tmp_path, dask):
    out = tmp_path / "store"
    process = started(folder, network, out, "--workers", "1", start_new_session=True)
    wait_for_parts(process, out, 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers too
    said, heard = process.communicate(timeout=300)
    assert process.returncode in (0, 130), heard
    assert process.returncode == 0 or b"the same command goes on" in said and b"Traceback" not in heard


def test_a_scheduler_elsewhere(run, folder, alone, tmp_path, dask):
    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": ":0", "memory_limit": 0}
    with dask.LocalCluster(host="127.0.0.1", processes=True, **options) as cluster:
        code, _, said = run(folder, *alone[1], "--scheduler", cluster.scheduler_address)
        assert code == 0, said
    same(viz.open_store(tmp_path / "store"), alone[0])


def test_no_scheduler_there_is_one_sentence(run, folder, monkeypatch, dask):
    monkeypatch.setattr(engine, "PATIENCE", "1s")
    code, _, said = run(folder, "--scheduler", "tcp://127.0.0.1:1")
    assert code == 2 and "there is no Dask scheduler at tcp://127.0.0.1:1" in said and "Traceback" not in said


class Web(socketserver.BaseRequestHandler):
    """A server that answers whatever comes as one of the web does."""

    def handle(self):
        self.request.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n" * 9)
        self.request.recv(1 << 16)


def test_another_server_is_no_scheduler(run, folder, monkeypatch, dask):
    monkeypatch.setattr(engine, "PATIENCE", "2s")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code, _, said = run(folder, "--scheduler", f"tcp://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    assert code == 2 and "there is no Dask scheduler at tcp://127.0.0.1:" in said


def test_what_no_worker_can_compute_is_rows_with_the_reason(network):
    question = work.Question(
        str(network), {}, "cpu", {}, (work.Technique("saliency", "attribution"),), {}, {}, 0, False
    )
    batch = Batch(4, ("a/b.png", "a/c.png"), (b"", b""), (0, 0))
    found = engine.failed(question, batch, RuntimeError("worker died"))
    assert [(row["photograph"], row["error"]) for row in found.rows] == [
        (4, "RuntimeError: worker died"),
        (5, "RuntimeError: worker died"),
    ]
    with pytest.raises(UserError, match="other weights"):
        engine.failed(question, batch, UserError("other weights"))


def test_a_worker_with_other_weights_says_so(network, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "_held", {})
    question = work.Question(str(network), {}, "cpu", {"weights_sha256": "another"}, (), {}, {}, 0, False)
    with pytest.raises(UserError, match="has other weights at .* than this run was begun with"):
        work.held(question)


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cores = len(os.sched_getaffinity(0))
    for processes, threads in ((1, cores), (cores, 1), (3 * cores, 1)):
        work.share_cores(processes)
        assert os.environ["OMP_NUM_THREADS"] == str(threads)
    assert engine.host("tcp://10.0.0.7:8786") == "10.0.0.7"


def test_a_worker_that_joins_late_counts_itself():
    threads = {"tcp://10.0.0.7:1": 2, "tcp://10.0.0.7:2": 3, "tcp://10.0.0.8:1": 4}
    assert engine.threads_beside("tcp://10.0.0.7:1", 2, threads) == 5
    assert engine.threads_beside("tcp://10.0.0.7:3", 1, threads) == 6
    assert engine.threads_beside("tcp://10.0.0.9:1", 2, threads) == 2
    assert engine.threads_beside("tcp://10.0.0.9:1", 0, {}) == 1
