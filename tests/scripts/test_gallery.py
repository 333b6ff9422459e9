"""gallery.py writes one page that holds everything, escapes every text and needs nothing from outside."""

import base64
import html
import inspect
import io
import json
import os
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import models
import viz
from minigrad import functional as F
from minigrad import nn
from tests.scripts import test_wired, tiny
from viz.commands import gallery
from viz.commands.command import find, main
from viz.commands.gallery import apart, attributions, embed, layers, notes, robust, study
from viz.commands.gallery.page import code, learned
from viz.commands.methods import COARSE

METHODS = sum(map(len, attributions.FAMILIES.values()))
HOSTILE = "<img src=x onerror=alert(1)> & 'co'.png"


class Own(nn.Module):
    """A residual block whose activations are no layers."""

    def __init__(self, rng):
        self.conv = nn.Conv2d(8, 8, 3, padding=1, rng=rng)

    def forward(self, x):
        return F.relu(self.conv(x) + x)


class Page(HTMLParser):
    """What a page consists of: elements as (tag, attributes), and the text inside elements of a class."""

    def __init__(self, text):
        super().__init__()
        self.text, self.elements, self.stack, self.within = text, [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("img", "meta", "link", "input"):
            self.stack.append((tag, dict(attributes).get("class", "")))

    def handle_endtag(self, tag):
        assert self.stack[-1][0] == tag, f"</{tag}> closes <{self.stack[-1][0]}>"
        self.stack.pop()

    def handle_data(self, data):
        if self.stack:
            self.within.setdefault(self.stack[-1], []).append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture
def folder(gallery_photographs):
    return gallery_photographs


@pytest.fixture
def small(monkeypatch, gallery_budget):
    monkeypatch.setattr(gallery, "BUDGET", gallery_budget)


def run(*argv):
    return main("gallery", gallery.options, gallery.run, [str(a) for a in argv])


@pytest.fixture(scope="module")
def whole(gallery_written):
    """(the page as text, its record)."""
    return gallery_written.read_text("utf-8"), json.loads(gallery_written.with_suffix(".json").read_text("utf-8"))


@pytest.fixture(scope="module")
def page(whole):
    return Page(whole[0])


def test_the_page_is_well_formed_and_holds_every_section(page, whole):
    assert page.stack == []
    assert [a["id"] for a in page.all("section")] == [*gallery.SECTIONS, "code", "made"]
    assert len(whole[0]) < gallery.LARGEST and whole[1]["numbers"]["bytes"] == len(whole[0].encode())
    for note in attributions.METHODS.keys() - {"random", "centre"}:
        assert f">{notes.ATTRIBUTIONS[note].title}</h4>" in whole[0]
    assert whole[0].count('class="bare pixels"') == 3 * METHODS + 2 * 3  # classes by methods, others by their methods
    assert whole[0].count('class="overlay"') == 3 * len(COARSE) + 2


def test_what_methods_can_be_trusted_for_is_the_guides_table(whole):
    guide = (notes.ROOT / "docs" / "techniques" / "ground_truth.md").read_text("utf-8")
    found = attributions.trusted()
    kept = [name for name in found["columns"] if not name.endswith(": parts")]
    for row in found["rows"]:
        cells = " | ".join(row[name] for name in kept)
        assert f"| {row['method']} | {cells} |" in guide
        parts = "".join(f"<td>{row[name]}</td>" for name in found["columns"])
        assert f'<tr><th scope="row">{row["title"]}</th>{parts}</tr>' in whole[0]
    assert len(found["rows"]) == METHODS


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "data", "action", "poster"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, name)
        if tag == "link":
            assert attributes["href"] == "data:,"
    assert not re.search(r"@import|url\((?![\"']data:)", page.text)
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:")


def test_texts_are_escaped(page, whole):
    assert "onerror" in whole[0] and "<img src=x" not in whole[0]
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    (title,) = [text for (tag, _), text in page.within.items() if tag == "title"]
    assert HOSTILE in "".join(title)


def test_pictures_say_what_they_show_and_how_large_they_are(page):
    from PIL import Image

    pictures = page.all("img")
    assert len(pictures) > 100
    for picture in pictures:
        assert len(picture["alt"]) > 5
        with Image.open(io.BytesIO(base64.b64decode(picture["src"].split(",")[1]))) as image:
            assert image.size == (int(picture["width"]), int(picture["height"]))


def test_headings_landmarks_and_names(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
    assert len(page.all("main")) == len(page.all("nav")) == len(page.all("header")) == 1
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    labels = {a.get("for") for a in page.all("label")}
    sliders = [s for s in page.all("input") if s["type"] == "range"]
    assert len(sliders) == 6 and all(s["id"] in labels for s in sliders)
    switches = [(s["name"], s["value"]) for s in page.all("input") if s["type"] == "radio"]
    assert [value for name, value in switches if name == "explained"] == ["1", "2", "3", "all"]
    assert [value for name, value in switches if name == "sanity-class"] == ["1", "2", "3"]
    assert all(s["data-scope"] in ids for s in sliders)
    links = [a["href"] for a in page.all("a") if a["href"].startswith("#")]
    assert links and all(link[1:] in ids for link in links)


def test_commands_name_the_network_where_the_default_is_another(tmp_path, gallery_budget):
    said = []

    def ask(job):
        asked = study.Study(job, [None], None, gallery_budget)
        said.extend(asked.command(name, photograph=False) for name in ("saliency", "maximize", "style_transfer"))

    assert main("gallery", gallery.options, ask, ["--out", str(tmp_path), "--quiet"]) == 0
    assert ["--model minivgg" in command for command in said] == [False, True, False]


def test_every_command_is_one_that_its_script_takes(page):
    commands = re.findall(r'<code class="command"[^>]*>(.*?)</code>', page.text)
    assert len(commands) == METHODS + len(gallery.SECTIONS) - 1 + 1  # of the robust network there is a sentence
    assert len(page.all("button")) >= len(commands)
    for command in {html.unescape(command) for command in commands}:
        python, script, *argv = shlex.split(command)
        assert python == "python"
        name = re.fullmatch(r"scripts/(\w+)\.py", script)[1]
        find(name).options.parse_args(argv)


def test_the_adversarial_pair_on_the_page_is_read_as_it_says(page, whole, small_weights):
    model = models.load(small_weights)
    pair = [a["src"] for a in page.all("img") if a["alt"].startswith(("The photograph before", "The attacked"))]
    report = whole[1]["numbers"]["adversarial"]
    for uri, state in zip(pair[:2], ("original", "saved"), strict=True):
        image = models.load_image(read(uri))
        scores = viz.attacks.scores(model, image)[0].astype(np.float64)
        p = np.exp(scores - scores.max())
        assert int(scores.argmax()) == report[state]["class"]
        assert p.max() / p.sum() == pytest.approx(report[state]["probability"], rel=1e-4)


def read(uri):
    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_numbers_of_the_sanity_check_are_those_of_viz(whole, small_weights, folder):
    model = models.load(small_weights)
    image = models.load_image(folder / HOSTILE, model.input_size)
    target = int(viz.attacks.scores(model, image).argmax())
    found = viz.model_randomization(model, image, viz.saliency, target)
    shown = whole[1]["numbers"]["sanity"]["Saliency"]
    np.testing.assert_allclose(shown, found.spearman[attributions.looks(found.layers), 0], rtol=1e-3)


def test_code_is_on_the_page_and_files_are_linked_only_from_within_the_repository(page, tmp_path):
    assert not [a for a in page.all("a") if a["href"].endswith(".py")]  # the page of this test lies elsewhere
    assert "viz/cam.py, line\u00a0" in page.text and "def grad_cam(" in page.text
    places = [a["href"] for a in page.all("a") if a["href"].startswith("#code-")]
    assert len(places) == METHODS + len(gallery.SECTIONS) - 1 and len(set(places)) == len(page.all("pre"))
    listings = {}
    found = code(viz.grad_cam, notes.ROOT / "out", listings)
    assert found["link"] == "../viz/cam.py" and code(viz.grad_cam, tmp_path, {})["link"] is None
    assert found["source"] == inspect.getsource(viz.grad_cam) and listings == {"grad_cam": found}


def test_rise_is_shown_less_its_mean(page):
    maps = {a["alt"]: a for a in page.all("img") if "data-high" in a}
    assert all("data-signed" in a for alt, a in maps.items() if alt.startswith("RISE for"))
    assert not any("data-signed" in a for alt, a in maps.items() if alt.startswith("Saliency for"))


def test_a_map_has_the_value_of_each_colour(page, small_weights, folder):
    """To a 256th of the scale, beyond whose ends it is clipped."""
    model = models.load(small_weights)
    image = models.load_image(folder / HOSTILE, model.input_size)
    wanted = viz.saliency(model, image)[0]
    shown = next(a for a in page.all("img") if "data-high" in a and re.fullmatch("Saliency for ((?! in ).)*", a["alt"]))
    high = float(shown["data-high"])
    colours = [tuple(bytes.fromhex(page.all("main")[0]["data-plain"][6 * n : 6 * n + 6])) for n in range(256)]
    assert len(set(colours)) == 256
    pixels = np.asarray(read(shown["src"]).convert("RGB")).reshape(-1, 3)
    values = (np.array([colours.index(tuple(p)) for p in pixels.tolist()]) + 0.5) / 256 * high
    np.testing.assert_allclose(values.reshape(wanted.shape), np.minimum(wanted, high), atol=high / 500)


def test_frozen_numbers_count_as_learned_and_shared_ones_once():
    model = models.build("minivgg", seed=0)
    wanted = sum(tensor.size for tensor in model.parameters())
    assert learned(model.requires_grad_(False)) == wanted > 1e6


# ---- what may go wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["nowhere.png"], "there is no file nowhere.png"),
        (["--style", "nowhere.png"], "there is no file nowhere.png"),
        (["--target", "unicorn"], "unicorn"),
        (["--seed", "-1"], "--seed must not be negative"),
    ],
)
def test_mistakes_are_said_in_a_sentence(argv, sentence, small_weights, folder, tmp_path, capsys, small):
    argv = argv if argv[0].endswith("png") else [folder / "b.png", *argv]
    assert run(*argv, "--model", small_weights, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith("gallery: ") and sentence in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_folder_without_pictures(tmp_path, small_weights, capsys):
    (tmp_path / "notes.txt").write_text("no picture")
    assert run(tmp_path, "--model", small_weights, "--out", tmp_path / "out") == 2
    assert "holds no pictures" in capsys.readouterr().err


def only(monkeypatch, **sections):
    monkeypatch.setattr(gallery, "SECTIONS", sections)


def interrupt(study):
    raise KeyboardInterrupt


def test_parts_appear_as_they_are_done(small_weights, folder, tmp_path, small, monkeypatch):
    path, seen = tmp_path / "gallery_b_small.html", []

    def look(study):
        seen.append(path.read_text("utf-8") if path.exists() else "")
        return {"remark": "looked"}

    only(monkeypatch, seen=attributions.seen, sanity=look, map=look)
    assert run(folder / "b.png", "--model", small_weights, "--out", tmp_path) == 0
    finished = path.read_text("utf-8")
    assert "being made: 2 more parts appear" in seen[0] and "being made: 1 more part appears" in seen[1]
    assert "data-growing" in seen[0] and "being made" not in finished and "data-growing>" not in finished
    assert run(folder / "b.png", "--model", small_weights, "--out", tmp_path) == 0
    assert seen[2] == seen[3] == finished  # a finished page stays until the next is whole


def test_a_page_that_fails_does_not_stay(small_weights, folder, tmp_path, small, monkeypatch):
    def fail(study):
        assert list(tmp_path.glob("*.html"))
        raise RuntimeError("a fault of ours")

    only(monkeypatch, seen=attributions.seen, sanity=fail)
    with pytest.raises(RuntimeError, match="of ours"):
        run(folder / "b.png", "--model", small_weights, "--out", tmp_path)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_keeps_what_is_done(small_weights, folder, tmp_path, small, monkeypatch):
    only(monkeypatch, seen=attributions.seen, sanity=interrupt, map=attributions.sanity)
    assert run(folder / "b.png", "--model", small_weights, "--out", tmp_path) == 130
    text = (tmp_path / "gallery_b_small_stopped-early.html").read_text("utf-8")
    assert "stopped before it was complete" in text and 'id="seen"' in text and 'section id="map"' not in text
    assert json.loads((tmp_path / "gallery_b_small_stopped-early.json").read_text())["stopped_early"] is True


def test_ctrl_c_before_anything_is_done(small_weights, folder, tmp_path, small, monkeypatch, capsys):
    only(monkeypatch, seen=interrupt)
    assert run(folder / "b.png", "--model", small_weights, "--out", tmp_path / "out") == 130
    assert "nothing" in capsys.readouterr().err and not list(tmp_path.glob("out/*"))


def test_a_section_that_does_not_apply_says_why(small_weights, folder, tmp_path, small, monkeypatch):
    flat = nn.Sequential({"flatten": nn.Flatten(), "fc": nn.Linear(48, 2)})
    flat.input_size = (4, 4)
    only(monkeypatch, seen=attributions.seen, style=lambda study: viz.style.default_layers(flat))
    assert run(folder / "b.png", "--model", small_weights, "--out", tmp_path) == 0
    assert "this network has no maps" in (tmp_path / "gallery_b_small.html").read_text("utf-8")


@pytest.mark.parametrize("kind", ["wired", "smooth", "own"])
@pytest.mark.filterwarnings("ignore")
def test_a_page_of_a_network_of_any_wiring(kind, folder, tmp_path, small, monkeypatch, capsys):
    """Residual sums and gates with ReLU6; smooth activations; a forward of one's own without layers of activations."""
    rng, wired = np.random.default_rng(0), test_wired.network()
    chain = dict(wired.children())
    if kind == "smooth":
        chain = dict(tiny.network().children())
        chain |= {name: nn.SiLU() for name in chain if name.startswith("relu")}
    if kind == "own":
        chain = {"preprocess": chain["preprocess"], "stem": chain["stem"], "block": Own(rng)}
        chain |= {name: wired[name] for name in ("gap", "flatten", "fc")}
    model = models.Model(chain, kind, (16, 16), tiny.CLASSES)
    monkeypatch.setattr(attributions, "CHECKED", ("saliency", "grad_cam"))
    monkeypatch.setattr(models, "load", lambda name, **_: model)
    assert run(folder / "b.png", "--model", "any", "--out", tmp_path) == 0, capsys.readouterr().err
    page = Page((tmp_path / "gallery_b_any.html").read_text("utf-8"))
    assert page.stack == [] and "has no twin" in page.text
    plain, switches = "this is the plain gradient", "hardly the image"
    assert (plain in page.text, switches in page.text) == {"wired": (False, True), "own": (False, True)}.get(
        kind, (True, False)
    )


def test_of_many_layers_some_are_looked_at(small_weights):
    model = models.load(small_weights)
    every, count = layers.looked_at(model, 16)
    assert count == len(every) == 9 and every[0].name == "relu1_1"
    few, count = layers.looked_at(model, 3)
    assert count == 9 and [row.name for row in few] == ["relu1_1", "relu3_2", "relu5_2"]


def test_two_networks_are_asked_the_same(tmp_path, gallery_budget):
    """On the sample: the standard network is led to the attacker's class, the other stays; both columns have all."""
    found = {}

    def ask(job):
        job.args.image = None
        budget = replace(gallery_budget, attack_steps=gallery.BUDGET.attack_steps)
        found.update(robust.robust(study.Study(job, [None], None, budget)))

    assert main("gallery", gallery.options, ask, ["--out", str(tmp_path), "--quiet"]) == 0
    standard, trained = found["columns"]
    assert (standard["name"], trained["name"]) == ("minivgg", "minivgg_robust")
    assert standard["bars"][0]["name"] == trained["bars"][0]["name"] == trained["attacked"][0]["name"] == "cat"
    assert standard["attacked"][0]["name"] == found["least"] and found["other"] not in ("cat", found["least"])
    answers = [answer for c in found["columns"] for answer in c["answers"]]
    assert [answer["class"] for answer in answers] == 2 * found["classes"] and found["classes"][0] == "cat"
    assert all(answer["saliency"]["bare"].scale and answer["grown"].frames == 3 for answer in answers)


def test_the_other_process_makes_the_same_sections(small_weights, folder, tmp_path, gallery_budget, monkeypatch, capfd):
    monkeypatch.setattr(apart, "thread_count", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    def ask(job):
        job.own_process, job.args.image, units = True, folder / "b.png", []
        here = study.Study(job, [job.args.image], None, gallery_budget)
        with apart.beside(here, gallery.built_or_remark) as other:
            assert os.environ["OMP_NUM_THREADS"] == "1"
            other.look(units.append, wait=True)
        assert os.environ["OMP_NUM_THREADS"] == "2"
        (key, made, seconds), (_, second, _) = other.taken()
        assert key == "optimised" and seconds > 0 and "has no twin" in second["remark"] and not other.taken()
        alone = gallery.optimised.optimised(here)
        assert {key: made[key] for key in ("steps", "frames", "commands")} == {
            key: alone[key] for key in ("steps", "frames", "commands")
        }
        assert sum(units) == len(units) and len(made["films"]) == len(alone["films"])
        np.testing.assert_allclose(made["best"], alone["best"], atol=2e-3)

        with apart.beside(here, divmod) as other:  # which fails there
            other.look(units.append, wait=True)
        assert other.taken() == []  # what is left to this process

    argv = [folder / "b.png", "--model", small_weights, "--out", tmp_path, "--quiet"]
    assert main("gallery", gallery.options, ask, [str(a) for a in argv]) == 0
    assert capfd.readouterr().err == ""


# ---- the parts -------------------------------------------------------------------------------------------------------


def test_a_folder_gives_its_pictures_and_few_of_many(folder):
    assert [p.name for p in study.photographs([folder], 0, 10)] == sorted(["b.png", "c.png", HOSTILE])
    few = study.photographs([folder], 0, 2)
    assert len(few) == 2 and few == study.photographs([folder], 0, 2)
    assert study.photographs([], 0, 10) == [None]


def test_classes_are_chosen_whose_maps_differ():
    a, b, c = np.eye(3)
    maps = np.stack([a, 0.9 * a + 0.1 * b, b, 0.8 * b + a, c, -a]).reshape(6, 1, 3)
    assert study.differing(maps, 3) == [0, 2, 4]  # in order, without those that look like one before
    assert study.differing(maps[[0, 1, 3]], 3) == [0, 2, 1]  # where all look alike, the least alike first
    assert study.differing(maps[:1], 3) == [0] and study.differing(np.zeros((2, 1, 3)), 2) == [0, 1]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (-0.0312, "−0.031"), (123.4, "123"), (1.5e-5, "1.5 × 10⁻⁵"), (-2.5e12, "−2.5 × 10¹²")],
)
def test_numbers_have_two_digits_that_count(value, text):
    assert embed.number(value) == text


def test_a_film_has_its_frames_side_by_side_with_their_edges_doubled():
    frames = [np.full((3, 4, 6), value) for value in (0.0, 0.5, 1.0)]
    film = embed.film(frames, "three greys", "greys")
    sheet = np.asarray(read(film.picture.uri).convert("RGB"))
    assert sheet.shape == (4, 3 * 8, 3) and film.frames == 3
    for n, value in enumerate((0, 128, 255)):
        assert abs(sheet[:, 8 * n : 8 * n + 8].astype(int) - value).max() <= 4


def test_every_note_has_two_sentences_an_equation_and_code():
    for note in (*notes.ATTRIBUTIONS.values(), *notes.SECTIONS.values()):
        assert len(re.findall(r"[.?!;:](?= |$)", note.reading)) >= 2, note.title
        assert note.equation and note.paper[1].startswith("https://")
        path, line, text = notes.place(note.function)
        assert note.function.__name__ in text[:300]
        source = (notes.ROOT / path).read_text("utf-8").splitlines()
        assert any(note.function.__name__ in text for text in source[line - 1 : line + 1])  # a decorator may come first
