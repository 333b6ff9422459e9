"""Explore's pictures larger than the network takes them: style transfer, and dreams that begin with a photograph."""

import shlex

import numpy as np
import pytest

import models
from viz.__main__ import main

from .test_explore import asked, client, course, run_python, shown  # noqa: F401

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'minigrad[test]'")
from viz.commands.explore import packed, room, worker  # noqa: E402


@pytest.fixture
def painting(shown, client):  # noqa: F811
    """The key of a second picture, not square, which lies in the folder too."""
    picture = np.random.default_rng(5).random((3, 5, 4), np.float32).repeat(8, 1).repeat(8, 2)
    models.save_image(picture, shown[0] / "painting.png")
    return sent(client, shown[0] / "painting.png")


def sent(client, path, name=None):  # noqa: F811
    return client.post("/photographs", params={"name": name or path.name}, content=path.read_bytes()).json()["photo"]


def result_of(command, folder):
    assert main([*shlex.split(command)[3:], "--out", str(folder), "--quiet"]) == 0
    (written,) = folder.glob("*.npz")
    with np.load(written) as arrays:
        return arrays["result"]


@pytest.mark.parametrize(
    "options",
    [
        {"--size": "24"},
        {"--style-layers": "relu1_1,relu2_1", "--layer-weights": ["1", "0.25"], "--content-layers": "relu2_1"},
        {"--original-colours": True, "--style-weight": "50", "--content-weight": "2", "--style-scale": "0.5"},
    ],
)
def test_a_style_is_what_its_command_and_its_python_make(
    shown,  # noqa: F811
    client,  # noqa: F811
    painting,
    options,
    tmp_path,
    monkeypatch,
):
    monkeypatch.setattr(worker, "EVERY", 0.0)
    answers = course(client, view="style", style=painting, options={"--steps": "3"} | options)
    assert [one.get("step") for one in answers] == [1, 2, 3, None], answers[-1].get("refused")
    found = run_python(answers[-1]["python"], shown[0], monkeypatch)["found"]
    assert found.shape == ((1, 3, 16, 24) if "--size" in options else (1, 3, 20, 30))  # larger than the network's 16
    np.testing.assert_array_equal(result_of(answers[-1]["command"], tmp_path), found)
    assert answers[-1]["image"] == packed.picture(found) == answers[-2]["image"]


def test_the_style_is_kept_as_files(shown, client, painting):  # noqa: F811
    import json

    question = {"photo": shown[1].own.key, "style": painting, "options": {"--steps": 2}}
    for suffix, start in {"png": b"\x89PNG", "npz": b"PK"}.items():
        answer = client.get(f"/keep/style_transfer.{suffix}", params={"question": json.dumps(question)})
        assert answer.status_code == 200 and answer.content.startswith(start)
        assert "painting" in answer.headers["content-disposition"]


def test_two_pictures_of_one_name_are_two(shown, client, painting, tmp_path):  # noqa: F811
    models.save_image(np.random.default_rng(6).random((3, 30, 30)), tmp_path / "other.png")
    namesake = sent(client, tmp_path / "other.png", "painting.png")
    answer = asked(client, view="style", photo=painting, style=namesake, options={"--steps": "1"})
    assert answer["command"].startswith(
        "python -m viz style_transfer painting.png --steps=1 --style=style-painting.png "
    )
    same = asked(client, view="style", photo=painting, style=painting, options={"--steps": "1"})
    assert same["command"].startswith("python -m viz style_transfer painting.png --steps=1 --style=painting.png ")


@pytest.mark.parametrize(
    "question, sentence",
    [
        ({"style": "0" * 64}, "this photograph is not here any more"),
        ({"options": {"--style": "/etc/passwd"}}, "style_transfer has no option '--style' that can be asked for here"),
        ({"options": {"--start": "/etc/passwd"}}, "style_transfer has no option '--start' that can be asked for here"),
        ({"options": {"--style-layers": "relu9"}}, "relu9"),
        ({"options": {"--size": "4"}}, "--size"),
    ],
)
def test_a_style_that_cannot_be_is_said(client, painting, question, sentence):  # noqa: F811
    assert sentence in asked(client, **({"view": "style", "style": painting} | question))["refused"]


def test_files_are_kept_up_to_so_many_bytes(shown, client, painting, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setattr(room, "FILES_KEPT", 6000)
    for seed in range(3):
        models.save_image(np.random.default_rng(seed).random((3, 30, 30)), tmp_path / "noise.png")
        last = sent(client, tmp_path / "noise.png")
    kept = shown[1].files
    assert last in kept and painting not in kept and sum(map(len, kept.values())) <= 6000
    answer = asked(client, view="style", photo=last, style=painting, options={"--steps": "1"})
    assert answer["refused"] == "the file of painting.png is not here any more: drop or choose it again"
    monkeypatch.undo()
    sent(client, shown[0] / "painting.png")
    sent(client, shown[0] / "my $cat.png")
    assert "image" in asked(client, view="style", photo=last, style=painting, options={"--steps": "1"})


@pytest.mark.parametrize("target", ["", "relu2_1", "relu3_1:2", "zebra"])
def test_a_dream_is_what_its_command_and_its_python_make(
    shown,  # noqa: F811
    client,  # noqa: F811
    target,
    tmp_path,
    monkeypatch,
):
    monkeypatch.setattr(worker, "EVERY", 0.0)
    options = {"--steps": "2", "--octaves": "2", "--size": "26", "--jitter": "4"}
    answers = course(client, view="rather", recipe="dream", target=target, options=options)
    assert [one.get("step") for one in answers] == [1, 2, 3, 4, None], answers[-1].get("refused")
    found = run_python(answers[-1]["python"], shown[0], monkeypatch)["found"]
    np.testing.assert_array_equal(result_of(answers[-1]["command"], tmp_path), found)
    assert answers[-1]["image"] == packed.picture(found) and answers[-1]["keep"][0] == "dream"
