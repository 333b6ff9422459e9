"""`python -m viz explore`: what the page asks and gets, who may ask, and what is refused. The page itself is tested in
test_explore_browser.py."""

import base64
import io
import json
import shlex
import threading
import warnings
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

import models
import viz
from minigrad import nn
from models.layers import Preprocess
from viz.__main__ import main
from viz.commands.attribution import COMMANDS
from viz.commands.job import Job

from . import tiny

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'minigrad[test]'")
testclient = pytest.importorskip("starlette.testclient", reason="httpx is not installed: pip install 'minigrad[test]'")
from viz.commands import explore  # noqa: E402
from viz.commands.explore import room, server, worker  # noqa: E402

HERE, TALK = "http://127.0.0.1:8765", "ws://127.0.0.1:8765/talk"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """(folder, Room): a tiny network, and a photograph with a space and a dollar sign in its name."""
    folder = tmp_path_factory.mktemp("explored")
    picture = np.random.default_rng(0).random((3, 4, 6), np.float32).repeat(5, 1).repeat(5, 2)
    models.save_image(picture, folder / "my $cat.png")
    return folder, Opened(folder).room


class Opened:
    """What `serve` makes of a command line."""

    def __init__(self, folder, channels=3):
        weights = tiny.write(folder, channels)
        argv = [str(folder / "my $cat.png"), "--model", str(weights)]
        args = explore.options.parse_args(argv)
        self.room = room.Room(Job("explore", args, argv, "python -m viz {}", False, []))


@pytest.fixture(scope="module")
def client(shown):
    app = server.guarded(server.application(shown[1]), 8765, None)
    return testclient.TestClient(app, HERE, headers={"origin": HERE})


def asked(client, **question):
    """The last answer to a question."""
    return course(client, **question)[-1]


def course(client, **question):
    with client.websocket_connect(TALK) as socket:
        question.setdefault("photo", socket.receive_json()["start"]["photograph"]["photo"])
        socket.send_json({"ask": [{"id": 7, **question}]})
        answers = [socket.receive_json()]
        while not answers[-1].get("done"):
            answers.append(socket.receive_json())
    assert {answer["id"] for answer in answers} == {7}
    return answers


def floats(packed):
    return np.frombuffer(base64.b64decode(packed["f4"]), "<f4").reshape(packed["shape"])


def run_python(text, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {}
    exec(text, names)
    return names


# ---- the same from the page, the command and Python ------------------------------------------------------------------

TOLD = {  # options that make each quick, and change its result
    "saliency": {"--reduce": "sum"},
    "guided_backprop": {"--only-convolutional": True},
    "integrated_gradients": {"--steps": "5", "--baseline": "0.5"},
    "smooth_grad": {"--samples": "5", "--sigma": "0.2", "--seed": "3"},
    "lrp": {"--rule": "zplus"},
    "grad_cam": {"--layer": "relu3_1", "--signed": True},
    "layer_cam": {"--layer": "relu2_1"},
    "occlusion": {"--patch": "6", "--stride": "3"},
    "rise": {"--samples": "9", "--cells": "3"},
}


@pytest.mark.parametrize("target", ["dog", "cat-dog"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_map_is_what_its_command_and_its_python_make(shown, client, name, target, tmp_path, monkeypatch):
    folder, _ = shown
    answer = asked(client, view="why", method=name, target=target, options=TOLD.get(name, {}))
    assert "refused" not in answer and answer["of"] == {"dog": "dog", "cat-dog": "cat less dog"}[target]
    program = run_python(answer["python"], folder, monkeypatch)
    assert answer["command"].startswith(f"python -m viz {name} 'my $cat.png' --target={target}")
    assert main([*shlex.split(answer["command"])[3:], "--out", str(tmp_path), "--quiet"]) == 0
    (written,) = tmp_path.glob("*.npz")
    with np.load(written) as arrays:
        whole = arrays["attribution" if "attribution" in arrays else "map"]
        np.testing.assert_array_equal(program["found"], whole)
        draw = COMMANDS[name].draw or (lambda found: found)
        np.testing.assert_allclose(floats(answer["map"]), draw(whole)[0], rtol=1e-6)


def test_a_layers_channel_is_explained(shown, client, monkeypatch):
    answer = asked(client, view="why", method="saliency", target="relu2_1:3")
    program = run_python(answer["python"], shown[0], monkeypatch)
    assert answer["of"] == "relu2_1, unit 3" and answer["p"] == []
    np.testing.assert_array_equal(program["found"][0], floats(answer["map"]))


def test_the_classes_are_those_of_classify(shown, client, monkeypatch):
    answer = asked(client, view="look")
    program = run_python(answer["python"], shown[0], monkeypatch)
    p = program["probabilities"]
    assert [one["name"] for one in answer["classes"]] == [tiny.CLASSES[i] for i in np.argsort(-p)]
    np.testing.assert_allclose([one["p"] for one in answer["classes"]], np.sort(p)[::-1], rtol=1e-6)
    assert answer["command"].startswith("python -m viz classify 'my $cat.png' --model ")


def test_every_option_of_a_method_can_be_told_but_none_that_names_files():
    for method in server.why.methods():
        flags = {one["flag"] for one in method["options"]}
        assert not flags & {"--out", "--model", "--device", "--data", "--labels", "--quiet", "--help"}
        assert {one["kind"] for one in method["options"]} <= {"number", "choice", "switch", "layer", "text"}
    assert {"--steps", "--baseline"} == {
        one["flag"] for one in server.why.controls("integrated_gradients", COMMANDS["integrated_gradients"].options)
    }


@pytest.mark.parametrize(
    "question, sentence",
    [
        ({"method": "nonsense"}, "there is no method 'nonsense'"),
        ({"method": "saliency", "options": {"--out": "/tmp"}}, "saliency has no option '--out' that can be asked for"),
        ({"method": "saliency", "options": {"--model": "x.h5"}}, "saliency has no option '--model'"),
        ({"method": "saliency", "target": "caat"}, "cat"),
        ({"method": "smooth_grad", "options": {"--sigma": "7"}}, "--sigma must be from 0 to 1, got 7"),
        ({"method": "smooth_grad", "options": {"--samples": "x"}}, "argument --samples: invalid int value: 'x'"),
        ({"method": "saliency", "target": "cat --out /tmp"}, "no class is called '-out /tmp'"),
        ({"method": "saliency", "photo": "0" * 64}, "this photograph is not here any more"),
        ({"method": "grad_cam", "options": {"--layer": "fc"}}, "has no positions to map"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(client, question, sentence):
    answer = asked(client, view="why", **question)
    assert sentence in answer["refused"] and "map" not in answer


def test_a_view_that_is_none(client):
    assert "explore knows no 'nowhere'" in asked(client, view="nowhere")["refused"]


def test_slow_methods_improve_while_one_watches(client, monkeypatch):
    monkeypatch.setattr(worker, "EVERY", 0.0)
    answers = course(client, view="why", method="smooth_grad", options={"--samples": "4"})
    assert [(one.get("step"), one.get("steps")) for one in answers] == [(n, 4) for n in (1, 2, 3, 4)] + [(None, None)]
    np.testing.assert_array_equal(floats(answers[3]["map"]), floats(answers[4]["map"]))
    assert (floats(answers[0]["map"]) != floats(answers[3]["map"])).any()


def test_a_slow_one_is_stopped_with_what_it_has(client, monkeypatch):
    monkeypatch.setattr(worker, "EVERY", 0.0)
    with client.websocket_connect(TALK) as socket:
        photo = socket.receive_json()["start"]["photograph"]["photo"]
        question = {"view": "why", "photo": photo, "method": "smooth_grad", "options": {"--samples": "100000"}}
        socket.send_json({"ask": [{"id": 1, **question}]})
        assert socket.receive_json()["step"] == 1
        socket.send_json({"cancel": [1]})
        while not (answer := socket.receive_json()).get("done"):
            pass
    assert answer["ending"].startswith("stopped at ") and answer["ending"].endswith(" of 100000")
    assert np.isfinite(floats(answer["map"])).all()


def test_results_are_those_of_the_command(client, shown):
    question = json.dumps({"photo": shown[1].own.key, "target": "dog", "options": {"--layer": "relu3_1"}})
    found = client.get("/keep/grad_cam.npz", params={"question": question})
    assert found.headers["content-disposition"] == 'attachment; filename="grad_cam_my_cat_tiny3_dog_relu3_1.npz"'
    (shown[0] / "found.npz").write_bytes(found.content)
    assert zipfile.is_zipfile(shown[0] / "found.npz")
    with np.load(shown[0] / "found.npz") as arrays:
        expected = viz.grad_cam(shown[1].model, shown[1].own.image, "dog", "relu3_1")
        np.testing.assert_array_equal(arrays["map"], expected)
    assert client.get("/keep/grad_cam.png", params={"question": question}).content.startswith(b"\x89PNG")
    for name in ("grad_cam.json", "train.png", "gallery.html", "download.npz"):
        answer = client.get(f"/keep/{name}", params={"question": question})
        assert answer.status_code == 400 and answer.text.startswith("there is no result")


# ---- inside ----------------------------------------------------------------------------------------------------------


def test_the_channels_of_a_layer_come_by_strength(shown, client, monkeypatch):
    answer = asked(client, view="layer", layer="relu3_1")
    program = run_python(answer["python"], shown[0], monkeypatch)
    assert [one["channel"] for one in answer["channels"]] == list(program["strongest"])
    assert answer["command"].startswith("python -m viz activations 'my $cat.png' --layer=relu3_1 --model ")
    assert answer["maps"]["shape"] == [8, 4, 4] and answer["shape"] == [8, 4, 4]
    by = asked(client, view="layer", layer="relu3_1", by=[1, 2])
    program = run_python(by["python"], shown[0], monkeypatch)
    assert [one["channel"] for one in by["channels"]] == list(program["strongest"])
    assert by["channels"][0]["strength"] == pytest.approx(program["a"][0, :, 1, 2].max())
    numbers = asked(client, view="layer", layer="fc")
    assert numbers["shape"] == [4] and "maps" not in numbers and numbers["command"] is None


def test_a_channel_and_what_it_responds_to_most(shown, client, monkeypatch, tmp_path):
    best = asked(client, view="layer", layer="relu2_1")["channels"][0]["channel"]
    answer = asked(client, view="channel", layer="relu2_1", channel=best)
    program = run_python(answer["python"], shown[0], monkeypatch)
    np.testing.assert_array_equal(floats(answer["map"]), program["a"])
    np.testing.assert_array_equal(floats(answer["back"]), program["found"][0])
    assert answer["max"] == pytest.approx(program["a"].max())
    assert program["a"][tuple(answer["unit"][1:])] == program["a"].max() and answer["patches"] == []
    assert main([*shlex.split(answer["command"])[3:], "--out", str(tmp_path), "--quiet"]) == 0
    (written,) = tmp_path.glob("*.npz")
    with np.load(written) as arrays:
        np.testing.assert_array_equal(arrays["attribution"], program["found"])


def test_a_channel_has_the_rank_that_its_layer_gives_it(client):
    """Also where the mean of one map and the same map's in the mean of all differ by a rounding."""
    order = [one["channel"] for one in asked(client, view="layer", layer="relu1_1")["channels"]]
    ranks = [asked(client, view="channel", layer="relu1_1", channel=channel)["rank"] for channel in order]
    assert ranks[0] == 1 and ranks == sorted(ranks)


def test_channels_switched_off(shown, client, monkeypatch, capsys, tmp_path):
    answer = asked(client, view="off", layer="relu3_1", channels=[2, 5, 2])
    program = run_python(answer["python"], shown[0], monkeypatch)
    assert answer["fall"] == pytest.approx(float(program["fall"][0]), rel=1e-5)
    assert sum(one["after"] for one in answer["classes"]) == pytest.approx(1, rel=1e-5)
    first, second = sorted(answer["classes"], key=lambda one: -one["after"])[:2]
    assert (answer["now"], answer["second"]) == (first["name"], second["name"])
    assert main([*shlex.split(answer["command"])[3:], "--out", str(tmp_path), "--draws", "2"]) == 0
    way = "rises" if answer["fall"] < 0 else "falls"
    assert f"the score {way} by {abs(answer['fall']):.3g}" in capsys.readouterr().out
    name, kept = answer["keep"]
    question = {"photo": shown[1].own.key, **kept}
    assert client.get(f"/keep/{name}.npz", params={"question": json.dumps(question)}).content.startswith(b"PK")


def test_the_image_that_a_channel_likes_best(shown, client, monkeypatch, tmp_path):
    monkeypatch.setattr(worker, "EVERY", 0.0)
    answers = course(client, view="ideal", layer="relu2_1", channel=3, steps=4)
    assert [one.get("step") for one in answers] == [1, 2, 3, 4, None]
    assert all(one["image"].startswith("data:image/png;base64,") for one in answers)
    program = run_python(answers[-1]["python"], shown[0], monkeypatch)
    assert main([*shlex.split(answers[-1]["command"])[3:], "--out", str(tmp_path), "--quiet"]) == 0
    (written,) = tmp_path.glob("*.npz")
    with np.load(written) as arrays:
        np.testing.assert_array_equal(arrays["result"], program["found"])
    assert answers[-1]["image"] == server.inside.picture(program["found"])


def test_a_place_is_taken_apart(shown, client, monkeypatch):
    answer = asked(client, view="place", layer="conv3_1", unit=[2, 1, 1])
    program = run_python(answer["python"], shown[0], monkeypatch)
    parts = sum(term["sum"] for term in answer["terms"]) + answer["rest"] + answer["bias"]
    assert parts == pytest.approx(answer["value"], rel=1e-4, abs=1e-5) and answer["source"] == "pool2"
    first = answer["terms"][0]
    assert first["sum"] == pytest.approx(np.sum(np.array(first["patch"]) * first["kernel"]), rel=1e-5, abs=1e-7)
    assert answer["value"] == program["found"].value and len(answer["uses"]) == len(program["uses"]) == 1
    top, left, bottom, right = answer["box"]
    assert 0 <= top < bottom <= 16 and 0 <= left < right <= 16
    mean = asked(client, view="place", layer="gap", unit=[1, 0, 0])
    assert mean["note"] == "the mean of all 16 numbers"
    pool = asked(client, view="place", layer="pool1", unit=[1, 0, 0])
    assert max(map(max, pool["terms"][0]["patch"])) == pool["value"] and pool["terms"][0]["sum"] is None
    number = asked(client, view="place", layer="fc", unit=[1])
    assert len(number["terms"]) == 4 and number["more"] == 4 and number["uses"] == []


@pytest.mark.parametrize(
    "layer, unit, names",
    [
        ("conv3_1", [2, 1, 1], {"patches", "kernels", "products"}),
        ("pool1", [1, 0, 0], {"patches"}),
        ("fc", [1], {"patches", "kernels", "products"}),
        ("relu3_1", [2, 1, 1], set()),
    ],
)
def test_a_place_is_kept_as_its_command_writes_it(shown, client, layer, unit, names, monkeypatch, tmp_path, capsys):
    answer = asked(client, view="place", layer=layer, unit=unit)
    name, more, suffixes = answer["keep"]
    files = {
        suffix: server.written(shown[1], name, {"photo": shown[1].own.key, **more}, f".{suffix}") for suffix in suffixes
    }
    assert ("png" in files) == (layer not in ("fc", "relu3_1"))  # a picture, where there are patches to be seen
    monkeypatch.chdir(shown[0])
    assert main([*shlex.split(answer["command"])[3:], "--out", str(tmp_path)]) == 0
    assert f": {answer['value']:.3g}: {answer['note']}" in capsys.readouterr().out
    (written,) = tmp_path.glob("*.npz")
    with np.load(written) as arrays, np.load(io.BytesIO(files["npz"][1])) as kept:
        assert set(arrays) == set(kept) == names | {"image"}
        for n, term in enumerate(answer["terms"]):
            np.testing.assert_allclose(arrays["patches"][n], np.array(term["patch"], float), rtol=1e-6)
            if "kernels" in names:
                np.testing.assert_allclose(kept["kernels"][n], term["kernel"], rtol=1e-6)
                assert kept["products"][n].sum() == pytest.approx(term["sum"], rel=1e-5, abs=1e-7)


def test_the_padding_of_a_max_pool_is_no_number():
    term = viz.arithmetic(
        nn.Sequential({"pool": nn.MaxPool2d(3, 2, padding=1)}).eval(),
        np.ones((1, 3, 4, 4), np.float32),
        "pool",
        (0, 0, 0),
    ).terms[0]
    assert server.inside.described_term(term)["patch"] == [[None] * 3, [None, 1, 1], [None, 1, 1]]


def test_numbers_that_are_none_are_said(client, monkeypatch):
    monkeypatch.setitem(server.ANSWERS, "look", lambda room, question, wish: {"p": float("nan")})
    assert asked(client, view="look")["refused"].startswith("the network gives numbers that are infinite")


@pytest.mark.parametrize(
    "question, sentence",
    [
        ({"view": "layer", "layer": "nothing"}, "there is no layer 'nothing'"),
        ({"view": "layer", "layer": "relu3_1", "by": [9, 0]}, "relu3_1 has no place [9, 0]"),
        ({"view": "channel", "layer": "relu3_1", "channel": 8}, "relu3_1 has channels 0 to 7, there is no 8"),
        ({"view": "off", "layer": "relu3_1", "channels": [8]}, "8"),
        ({"view": "ideal", "layer": "relu3_1", "channel": 99, "steps": 2}, "99"),
        ({"view": "place", "layer": "relu3_1", "unit": [0, 9, 9]}, "it has no unit (0, 9, 9)"),
    ],
)
def test_what_is_not_inside_is_said(client, question, sentence):
    assert sentence in asked(client, **question)["refused"]


def test_branches_and_graphs_are_drawn_as_they_are():
    rng = np.random.default_rng(0)
    conv = lambda: nn.Conv2d(3, 3, 1, rng=rng)  # noqa: E731
    graph = nn.Graph({"a": conv(), "b": (conv(), "input"), "join": (nn.Call("cat", dim=1), ["a", "b"])})
    layers = {
        "preprocess": Preprocess(),
        "two": nn.Parallel({"left": conv(), "right": nn.Sequential({"deep": conv()})}),
        "sum": nn.Sum({"way": nn.Conv2d(6, 3, 1, rng=rng), "other": nn.Conv2d(6, 3, 1, rng=rng)}),
        "graph": graph,
    }
    model = models.Model(layers, "wired", (8, 8)).eval()
    preprocess, two, added, wired = server.inside.tree(SimpleNamespace(model=model))
    assert preprocess["inner"] == [] and preprocess["shape"] == (3, 8, 8)
    assert two["joined"] == "side by side" and [one["name"] for one in two["inner"]] == ["two.left", "two.right"]
    assert two["inner"][1]["inner"][0]["name"] == "two.right.deep" and added["joined"] == "added"
    assert [one["takes"] for one in wired["inner"]] == [[], ["input"], ["a", "b"]]


def test_the_best_patches_are_the_indexs(shown, tmp_path, monkeypatch):
    images = np.random.default_rng(3).random((12, 3, 4, 4), np.float32).repeat(4, 2).repeat(4, 3)
    index = viz.index_patches(shown[1].model, images, ["relu2_1"], 4)
    monkeypatch.setattr(shown[1], "patches", index)
    monkeypatch.setattr(shown[1], "_scores", {})
    client = testclient.TestClient(
        server.guarded(server.application(shown[1]), 8765, None), HERE, headers={"origin": HERE}
    )
    answer = asked(client, view="channel", layer="relu2_1", channel=1)
    found = index.of(shown[1].model, "relu2_1", 1)
    assert [one["value"] for one in answer["patches"]] == pytest.approx([v for v in found.activation if v > 0])
    assert answer["indexed"] == 12
    assert asked(client, view="channel", layer="relu3_1", channel=1)["patches"] == []


def test_the_embedded_networks_come_with_an_index():
    for name in ("minivgg", "minivgg_robust"):
        args = explore.options.parse_args(["--model", name])
        index, model = room.patch_index(args), models.load(name)
        assert len(index) == 64 and index.layers[0] == "relu1_1" and index.layers[-1] == "relu5_2"
        image, row, column, activation = (one[11] for one in index.places["relu3_2"])
        a = viz.activation_maps(model, index.image(int(image[0])), "relu3_2")[0, 11]
        assert a.max() == pytest.approx(a[int(row[0]), int(column[0])])
        assert a.max() == pytest.approx(float(activation[0]), rel=1e-3)


# ---- fool it, believe it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, target, options",
    [
        ("pgd", "zebra", {"--epsilon": "16/255"}),
        ("pgd", "", {"--epsilon": "8/255", "--steps": "3"}),
        ("fgsm", "", {"--epsilon": "3/255"}),
        ("apgd", "zebra", {"--epsilon": "8/255", "--steps": "5"}),
        ("deepfool", "", {"--steps": "2"}),
        ("one_pixel", "", {"--steps": "2", "--pixels": "3"}),
    ],
)
def test_an_attack_is_what_its_command_and_its_python_make(
    shown, client, method, target, options, tmp_path, monkeypatch
):
    photo = shown[1].own
    top = tiny.CLASSES[int(shown[1].model(photo.image).numpy().argmax())]
    target = next(name for name in ("zebra", "dog") if name != top) if target else ""
    answer = asked(client, view="fool", target=target, options={"--method": method, **options})
    assert "refused" not in answer, answer
    program = run_python(answer["python"], shown[0], monkeypatch)
    assert main([*shlex.split(answer["command"])[3:], "--out", str(tmp_path), "--quiet"]) == 0
    (written,) = tmp_path.glob("*.npz")
    with np.load(written) as arrays:
        difference = (arrays["saved"] - arrays["image"])[0]
        np.testing.assert_array_equal(floats(answer["difference"]), difference)
        if method != "deepfool":  # whose command may go farther, until it survives 8 bits
            np.testing.assert_array_equal(program["found"], arrays["attacked"])
    assert answer["linf"] == pytest.approx(255 * abs(difference).max(), abs=1e-3)
    if "--epsilon" in options:
        assert answer["linf"] <= float(options["--epsilon"].split("/")[0]) + 1e-3
    assert [one["name"] for one in answer["readings"]] == ["original", "attacked", "saved"]
    assert answer["readings"][0]["class"] == top and len(answer["defences"]) == 4


@pytest.mark.parametrize(
    "question, sentence",
    [
        ({"options": {"--method": "cw"}}, "here an attack is one of pgd, "),
        ({"options": {"--method": "pgd", "--norm": "l2"}}, "with its usual norm"),
        ({"options": {"--method": "pgd", "--epsilon": "300/255"}}, "255"),
        ({"target": "nobody", "options": {"--method": "pgd"}}, "no class is called 'nobody'"),
    ],
)
def test_an_attack_that_cannot_be_is_said(client, question, sentence):
    assert sentence in asked(client, view="fool", **question)["refused"]


def test_a_map_is_put_on_trial_as_its_command_does(shown, client, monkeypatch, tmp_path, capsys):
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install 'minigrad[test]'")
    monkeypatch.setattr(worker, "EVERY", 0.0)
    answers = course(client, view="believe", method="grad_cam", target="dog")
    steps = [one["step"] for one in answers[:-1]]
    assert steps == sorted(steps) and set(steps) == set(range(1, 14)) and {one["steps"] for one in answers[:-1]} == {13}
    answer = answers[-1]
    program = run_python(answer["python"], shown[0], monkeypatch)
    assert answer["verdict"] == program["found"].verdict
    assert [one["text"] for one in answer["findings"]] == [one.text for one in program["found"].findings.values()]
    np.testing.assert_allclose(floats(answer["map"]), program["found"].map, rtol=1e-6)
    capsys.readouterr()
    assert main([*shlex.split(answer["command"])[3:], "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert answer["verdict"] in said and all(one["text"] in said for one in answer["findings"])


def test_a_trial_that_nobody_waits_for_ends_after_its_step(shown):
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install 'minigrad[test]'")
    steps = []
    wish = SimpleNamespace(part=lambda step, *given: steps.append(step) or len(steps) == 3)
    with pytest.raises(worker.Cancelled):
        server.believe.believe(shown[1], {"photo": shown[1].own.key, "method": "saliency", "target": "dog"}, wish)
    assert steps == [1, 1, 1]  # within the second part, between passes of insertion and deletion


def test_a_click_is_answered_before_a_trial_and_a_cancelled_one_says_nothing(shown):
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install 'minigrad[test]'")
    heard, begun, ended = [], threading.Event(), threading.Event()
    asking = worker.Worker()
    question = {"photo": shown[1].own.key, "method": "occlusion", "target": "dog"}

    def trial(wish):
        part = wish.part
        wish.part = lambda *given: begun.set() or part(*given)
        try:
            return server.believe.believe(shown[1], question, wish)
        finally:
            ended.set()

    def look(wish):
        asking.cancel("tab", 1)  # while it rests
        return {"ended": ended.is_set()}

    answered = threading.Event()
    asking.ask([worker.Wish("tab", 1, trial, heard.append)])
    assert begun.wait(60)
    asking.ask([worker.Wish("tab", 2, look, lambda facts: heard.append(facts) or answered.set())])
    assert answered.wait(60) and ended.wait(60)
    assert [one for one in heard if one.get("done")] == [heard[-1]] and not heard[-1]["ended"]


# ---- what would it rather see ----------------------------------------------------------------------------------------


def as_command_and_python(shown, answer, folder, monkeypatch):
    """Whether an answer's image is what its command and its Python make."""
    found = run_python(answer["python"], shown[0], monkeypatch)["found"]
    assert main([*shlex.split(answer["command"])[3:], "--out", str(folder), "--quiet"]) == 0
    (written,) = folder.glob("*.npz")
    with np.load(written) as arrays:
        np.testing.assert_array_equal(arrays["result"], found)
    assert answer["image"] == server.inside.picture(found)


@pytest.mark.parametrize("target", ["zebra", "cat-dog", "relu3_1:2", "relu3_1:2,1,1", "relu3_1", ""])
def test_an_ideal_image_is_what_its_command_and_its_python_make(shown, client, target, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "EVERY", 0.0)
    options = {"--steps": "3", "--size": "24", "--lr": "0.03", "--tv-weight": "0.01"}
    answers = course(client, view="rather", target=target, options=options)
    assert [one.get("step") for one in answers] == [1, 2, 3, None]
    as_command_and_python(shown, answers[-1], tmp_path, monkeypatch)
    assert answers[-1]["says"] in tiny.CLASSES


@pytest.mark.parametrize(
    "recipe, options, changes",
    [
        ("pixels", {"--blur": "0.4", "--jitter": "3"}, []),
        ("pixels", {"--blur": "0", "--jitter": "0"}, ["2:blur=0.6", "3:jitter=2", "4:tv-weight=0.05", "5:lr=0.2"]),
        ("fourier", {}, ["1:lr=0.01", "2:lr=0.2", "3:tv-weight=0.1"]),
    ],
)
def test_an_ascent_that_changes_on_its_way_is_what_is_said(
    shown, client, recipe, options, changes, tmp_path, monkeypatch
):
    told = {"--steps": "6", "--size": "24"} | options
    answer = asked(client, view="rather", recipe=recipe, target="zebra", options=told, changes=changes)
    as_command_and_python(shown, answer, tmp_path, monkeypatch)
    plain = asked(client, view="rather", recipe=recipe, target="zebra", options=told)
    assert ("--change" in answer["command"]) is bool(changes)
    assert (answer["image"] != plain["image"]) is bool(changes)
    name, kept = answer["keep"]
    question = {"photo": shown[1].own.key, **kept}
    found = client.get(f"/keep/{name}.npz", params={"question": json.dumps(question)})
    (tmp_path / "kept.npz").write_bytes(found.content)
    with np.load(tmp_path / "kept.npz") as arrays:
        assert server.inside.picture(arrays["result"]) == answer["image"]


def test_an_ascent_is_changed_while_it_runs(shown, client, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "EVERY", 0.0)
    with client.websocket_connect(TALK) as socket:
        photo = socket.receive_json()["start"]["photograph"]["photo"]
        options = {"--steps": "200", "--size": "24"}
        question = {"view": "rather", "photo": photo, "target": "dog", "options": options}
        socket.send_json({"ask": [{"id": 1, **question}]})
        assert socket.receive_json()["step"] == 1
        socket.send_json({"pause": [[1, True]], "change": {"numbers": [1], "what": "lr=0.4", "recipe": "fourier"}})
        socket.send_json({"change": {"numbers": [1], "what": "blur=1", "recipe": "fourier"}, "pause": [[1, False]]})
        heard = [socket.receive_json()]
        while not heard[-1].get("done"):
            heard.append(socket.receive_json())
    (changed,) = [one["changes"] for one in heard if "changes" in one]
    first, what = changed[0].split(":")
    assert 3 <= int(first) <= 200 and what == "lr=0.4"
    assert [one["said"] for one in heard if "said" in one] == [
        "--change: blur cannot change here: choose from lr, tv-weight"
    ]
    assert heard[-1]["command"].endswith(f"--change {changed[0]}")
    as_command_and_python(shown, heard[-1], tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "question, sentence",
    [
        ({"recipe": "nothing"}, "explore knows no recipe 'nothing'"),
        ({"recipe": "fourier", "changes": ["3:jitter=2"]}, "jitter cannot change here"),
        ({"recipe": "pixels", "changes": ["3:lr=7"]}, "lr must be above 0 and at most 1, got 7"),
        ({"recipe": "pixels", "changes": ["x:lr=0.1"]}, "--change takes STEP:NAME=VALUE, such as 40:lr=0.01"),
        ({"recipe": "dream", "options": {"--lr": "0"}}, "--lr must be"),
    ],
)
def test_what_cannot_be_seen_is_said(client, question, sentence):
    assert sentence in asked(client, view="rather", target="dog", **question)["refused"]


def test_the_embedded_networks_stand_side_by_side(tmp_path):
    models.save_image(np.random.default_rng(0).random((3, 40, 40)), tmp_path / "a.png")
    args = explore.options.parse_args([str(tmp_path / "a.png"), "--model", "minivgg"])
    both = room.Room(Job("explore", args, [], "python -m viz {}", False, []))
    assert list(both.networks) == ["minivgg", "minivgg_robust"]
    question = {"photo": both.own.key, "network": "minivgg_robust", "options": {}}
    job = both.asked("saliency", question)
    assert job.command_line == "python -m viz saliency a.png --model minivgg_robust"
    np.testing.assert_array_equal(job.scores, both.networks["minivgg_robust"](both.own.image).numpy())
    maximize = both.asked("maximize", question | {"network": None})
    assert maximize.command_line == "python -m viz maximize --model minivgg"
    assert both.asked("maximize", question).command_line == "python -m viz maximize"
    with pytest.raises(ValueError, match="'other' is not one of the networks here: minivgg, minivgg_robust"):
        both.asked("saliency", question | {"network": "other"})


# ---- photographs -----------------------------------------------------------------------------------------------------


def test_a_photograph_is_read_as_from_disk_and_known_by_its_content(client, shown, tmp_path):
    path = tmp_path / "other.png"
    models.save_image(np.random.default_rng(1).random((3, 40, 30)), path)
    found = client.post("/photographs", params={"name": "C:\\pictures\\other.png"}, content=path.read_bytes()).json()
    assert found["name"] == "other.png"
    np.testing.assert_array_equal(shown[1].photograph(found["photo"]).image, models.load_image(path, (16, 16)))
    again = client.post("/photographs", params={"name": "again.png"}, content=path.read_bytes()).json()
    assert again["photo"] == found["photo"]
    picture = client.get(f"/photographs/{found['photo']}.png")
    (tmp_path / "seen.png").write_bytes(picture.content)
    np.testing.assert_allclose(
        models.load_image(tmp_path / "seen.png"), models.load_image(path, (16, 16)), atol=0.5 / 255 + 1e-6
    )
    answer = asked(client, view="why", method="saliency", photo=found["photo"])
    assert "viz saliency other.png " in answer["command"]


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "odd.jpg is empty (zero bytes)"),
        (b"hello", "odd.jpg is not a picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "odd.jpg is not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "odd.jpg is not a picture"),
    ],
)
def test_odd_files_are_refused_in_a_sentence_without_a_path(client, content, sentence):
    answer = client.post("/photographs", params={"name": "../odd.jpg"}, content=content)
    assert answer.status_code == 400 and answer.json()["refused"].startswith(sentence)
    assert "tmp" not in answer.json()["refused"]


def test_large_files_are_refused_while_they_arrive(client, monkeypatch):
    monkeypatch.setattr(server, "LARGEST", 1_000_000)
    answer = client.post("/photographs", content=b"\xff" * 1_000_001)
    assert answer.status_code == 413 and answer.json()["refused"] == "more than 1 MB: make it smaller first"


def test_old_photographs_go_and_the_first_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "KEPT", 2)
    models.save_image(np.random.default_rng(2).random((3, 20, 20)), tmp_path / "my $cat.png")
    opened, keys = Opened(tmp_path).room, []
    for seed in range(4):
        models.save_image(np.random.default_rng(seed + 9).random((3, 20, 20)), tmp_path / "next.png")
        keys.append(opened.add("next.png", (tmp_path / "next.png").read_bytes()).key)
    assert list(opened.photographs)[-1] == keys[-1] and opened.own.key in opened.photographs
    assert len(opened.photographs) <= 3 and keys[0] not in opened.photographs


def test_a_network_that_sees_grey_gets_grey(tmp_path, monkeypatch):
    models.save_image(np.random.default_rng(2).random((3, 20, 20)), tmp_path / "my $cat.png")
    opened = Opened(tmp_path, channels=1).room
    app = server.guarded(server.application(opened), 8765, None)
    client = testclient.TestClient(app, HERE, headers={"origin": HERE})
    answer = asked(client, view="why", method="saliency")
    program = run_python(answer["python"], tmp_path, monkeypatch)
    np.testing.assert_array_equal(program["found"][0], floats(answer["map"]))
    assert list(server.rather.recipes(opened)) == ["pixels", "dream"]
    ideal = asked(client, view="ideal", layer="relu2_1", channel=1, steps=2)
    assert ideal["image"] == server.inside.picture(run_python(ideal["python"], tmp_path, monkeypatch)["found"])


def of_layers(layers, folder):
    """A client, and the Room, of a network of these layers."""
    model = models.Model({"preprocess": Preprocess()} | layers, "own", (16, 16)).eval()
    models.save_weights(model, folder / "own.h5")
    models.save_image(np.random.default_rng(0).random((3, 20, 20)), folder / "a.png")
    argv = [str(folder / "a.png"), "--model", str(folder / "own.h5")]
    opened = room.Room(Job("explore", explore.options.parse_args(argv), argv, "python -m viz {}", False, []))
    app = server.guarded(server.application(opened), 8765, None)
    return testclient.TestClient(app, HERE, headers={"origin": HERE}), opened


def test_a_network_without_class_scores_is_looked_into(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    client, opened = of_layers(
        {"conv": nn.Conv2d(3, 4, 3, rng=rng), "relu": nn.ReLU(), "out": nn.Conv2d(4, 2, 1, rng=rng)}, tmp_path
    )
    for view in ("look", "fool"):
        sentence = asked(client, view=view)["refused"]
        assert "not the scores of classes" in sentence and sentence.endswith("a LAYER:CHANNEL")
    assert asked(client, view="layer", layer="out")["shape"] == [2, 14, 14]
    assert asked(client, view="channel", layer="out", channel=1)["of"] == 2
    assert asked(client, view="place", layer="out", unit=[1, 2, 3])["kind"] == "Conv2d"
    assert "image" in asked(client, view="ideal", layer="out", channel=1, steps=1)
    answer = asked(client, view="why", method="saliency", target="out:1")
    program = run_python(answer["python"], tmp_path, monkeypatch)
    np.testing.assert_array_equal(program["found"][0], floats(answer["map"]))


def test_a_network_without_maps_is_shown_and_has_no_style(tmp_path):
    layers = {"flatten": nn.Flatten(), "fc": nn.Linear(3 * 16 * 16, 3, rng=np.random.default_rng(0))}
    client, opened = of_layers(layers, tmp_path)
    assert "has no maps" in server.beginning(opened)["style"]["refused"]
    assert len(asked(client, view="look")["classes"]) == 3
    assert floats(asked(client, view="why", method="saliency")["map"]).shape == (16, 16)


# ---- who may ask -----------------------------------------------------------------------------------------------------


def test_another_sites_page_can_neither_read_nor_ask(client, shown):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/", headers={"host": "127.0.0.1:80"}).status_code == 403
    assert client.get("/", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post("/photographs", headers={"origin": "null"}, content=b"x").status_code == 403
    for headers in ({"origin": "http://evil.example"}, {"host": "evil.example", "origin": "http://evil.example"}):
        with pytest.raises(testclient.WebSocketDisconnect), client.websocket_connect(TALK, headers=headers):
            pass
    bare = testclient.TestClient(client.app, HERE)
    assert bare.get("/").status_code == 200 and bare.post("/photographs", content=b"x").status_code == 403


def test_others_need_the_token_once(shown):
    app = server.guarded(server.application(shown[1]), 8765, "secret")
    there = "http://192.168.7.7:8765"
    client = testclient.TestClient(app, there, headers={"origin": there})
    for address in ("/", "/?token=wrong", "/page/app.js", f"/photographs/{shown[1].own.key}.png"):
        assert client.get(address).status_code == 403
    with pytest.raises(testclient.WebSocketDisconnect), client.websocket_connect("ws://192.168.7.7:8765/talk"):
        pass
    assert client.get("/?token=secret").status_code == 200  # which leaves a cookie, and the token out of the address
    assert client.get("/page/app.js").status_code == 200 and "view" in client.get("/").text
    with client.websocket_connect("ws://192.168.7.7:8765/talk") as socket:
        assert "start" in socket.receive_json()


def test_only_the_pages_own_files_are_served(client):
    for view in server.VIEWS:
        answer = client.get(view)
        assert answer.status_code == 200 and "default-src 'self'" in answer.headers["content-security-policy"]
    for name in ("..%2fserver.py", "%2e%2e%2fserver.py", "server.py", "__init__.py", "/etc/passwd", "gallery.js"):
        assert client.get(f"/page/{name}").status_code == 404
    assert client.get("/photographs/..%2f..%2fetc%2fpasswd.png").status_code == 404


# ---- the worker ------------------------------------------------------------------------------------------------------


class Asking:
    """Wishes of one owner to a fresh worker, and what was heard, in order."""

    def __init__(self, owner="a", working=None):
        self.owner, self.heard, self.ended = owner, [], threading.Event()
        self.awaited = {"last"}  # the wishes with whose answers it has ended
        self.worker = worker.Worker() if working is None else working

    def ask(self, **answers):
        self.worker.ask([worker.Wish(self.owner, name, answer, self.hear) for name, answer in answers.items()])

    def hear(self, facts):
        self.heard.append(facts)
        if facts.get("done"):
            self.awaited.discard(facts["id"])
            if not self.awaited:
                self.ended.set()


def test_the_newest_wish_comes_first_and_stale_ones_not_at_all():
    one, begun, free = Asking(), threading.Event(), threading.Event()
    one.ask(first=lambda wish: begun.set() or free.wait(60) and {})
    assert begun.wait(60)
    one.ask(old=lambda wish: {}, last=lambda wish: {})
    one.ask(stale=lambda wish: {})
    one.ask(new=lambda wish: {}, next=lambda wish: {})
    one.worker.cancel("a", "stale")
    free.set()
    assert one.ended.wait(60)
    assert [facts["id"] for facts in one.heard] == ["first", "new", "next", "old", "last"]


def test_a_wish_that_is_cancelled_before_its_thread_begins_it_holds_up_nobody():
    one = Asking()
    with one.worker._changed:  # no thread comes in between
        one.ask(stale=lambda wish: {})
        one.worker.cancel("a", "stale")
    one.ask(last=lambda wish: {})
    assert one.ended.wait(60)
    assert [facts["id"] for facts in one.heard] == ["last"]


def test_newer_wishes_are_answered_between_the_steps_of_a_slow_one():
    one, begun, free = Asking(), threading.Event(), threading.Event()

    def slow(wish):
        begun.set()
        free.wait(60)
        wish.part(1, 2, dict)
        return {}

    one.ask(last=slow, other=lambda wish: {})
    assert begun.wait(60)
    one.ask(quick=lambda wish: {})
    free.set()
    assert one.ended.wait(60)
    assert [(facts["id"], facts.get("done", False)) for facts in one.heard] == [
        ("quick", True),
        ("other", True),
        ("last", False),
        ("last", True),
    ]


def test_those_asked_together_take_turns_and_one_may_rest():
    one, steps = Asking(), []

    def slow(name, count):
        def answer(wish):
            warnings.warn(f"by {name}", stacklevel=1)
            for step in range(1, count + 1):
                steps.append(name)
                if steps == ["a", "b", "a"]:
                    one.worker.pause("a", "a")
                wish.part(step, count, dict)
            warnings.warn(f"by {name}, later", stacklevel=1)
            return {}

        return answer

    def last(wish):
        while len(steps) < 7:
            if len(steps) == 5:  # b has ended
                one.worker.pause("a", "a", False)
            wish.part(1, 1, dict)
        return {}

    one.awaited |= {"a", "b"}
    one.ask(a=slow("a", 4), b=slow("b", 3), last=last)
    assert one.ended.wait(60)
    assert "".join(steps) == "ababbaa"
    done = {facts["id"]: facts["warnings"] for facts in one.heard if facts.get("done")}
    assert done == {"a": ["by a", "by a, later"], "b": ["by b", "by b, later"], "last": []}


def test_a_wish_that_rests_keeps_nobody_waiting_and_is_cancelled():
    one = Asking()
    other, resting = Asking("b", one.worker), threading.Event()

    def slow(wish):
        one.worker.pause("a", "last")
        resting.set()
        while not wish.part(1, 9, dict):
            pass
        return {"kept": True}

    one.ask(last=slow)
    assert resting.wait(60)
    other.ask(last=lambda wish: {})
    assert other.ended.wait(60) and not one.ended.is_set()
    one.worker.cancel("a", "last")
    assert one.ended.wait(60) and one.heard[-1]["kept"]


def test_wishes_on_their_way_are_changed_from_the_same_step_on():
    one, ready = Asking(), threading.Event()

    def slow(count):
        def answer(wish):
            for step in range(1, count + 1):
                wish.part(step, count, dict)
            if count == 3:
                ready.set()
            while len(wish.changes) < 1:
                wish.part(count, count, dict)
            return {"kept": wish.changes}

        return answer

    one.ask(other=slow(1), last=slow(3))
    assert ready.wait(60)
    one.worker.change("a", ["other", "last"], "lr=0.1")
    assert one.ended.wait(60)
    assert {(facts["id"], *facts["changes"]) for facts in one.heard if "changes" in facts} == {
        ("other", "5:lr=0.1"),
        ("last", "5:lr=0.1"),
    }


def test_one_tab_does_not_cancel_another():
    one = Asking("a")
    other, begun, free = Asking("b", one.worker), threading.Event(), threading.Event()
    one.ask(first=lambda wish: begun.set() or free.wait(60) and {})
    assert begun.wait(60)
    other.ask(last=lambda wish: {})
    one.ask(mine=lambda wish: {})
    one.worker.cancel("a")
    free.set()
    assert other.ended.wait(60)
    assert [facts["id"] for facts in other.heard] == ["last"] and not [f for f in one.heard if f["id"] == "mine"]


def test_a_fault_of_the_program_is_said_and_the_worker_goes_on(capfd):
    one = Asking()
    one.ask(broken=lambda wish: [][1], last=lambda wish: {})
    assert one.ended.wait(60)
    assert one.heard[0]["refused"].startswith("explore went wrong here, which is its own fault (IndexError")
    assert "IndexError" in capfd.readouterr().err


# ---- the command -----------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_the_command_line_is_said(small_weights, tmp_path, capsys):
    model = ["--model", str(small_weights), "--no-browser"]
    assert main(["explore", str(tmp_path / "none.jpg"), *model]) == 2
    assert "none.jpg" in capsys.readouterr().err
    with server.socket.create_server(("127.0.0.1", 0)) as taken:
        models.save_image(np.zeros((3, 32, 32)), tmp_path / "a.png")
        assert main(["explore", str(tmp_path / "a.png"), *model, "--port", str(taken.getsockname()[1])]) == 2
    said = capsys.readouterr().err
    assert said.startswith("explore: cannot listen on 127.0.0.1, port ") and "--port 0" in said
