"""Explore in a real browser: Debian's Chromium, without a window, and a server that is a process of its own."""

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

import models
import viz

from . import tiny
from .browser import needed, seen, started

pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install 'minigrad[test]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'minigrad[test]'")
pytestmark = needed
ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds for what takes a second


class Server:
    """`python -m viz explore` as a process, of which the address is known; it can be ended and started again."""

    def __init__(self, *argv):
        self.argv, self.port, self.process, self.said = [str(word) for word in argv], 0, None, []

    def start(self):
        command = [sys.executable, "-m", "viz", "explore", *self.argv, "--no-browser", "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        first = self.process.stdout.readline()
        self.address = re.search(r"http://\S+", first)[0]
        self.port = int(re.search(r":(\d+)/", self.address)[1])
        threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True).start()
        return self

    def end(self, how=signal.SIGINT):
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny network and three pictures; one has a name that would be an element of a page."""
    folder, rng = tmp_path_factory.mktemp("explored"), np.random.default_rng(0)
    tiny.write(folder)
    for name in ("first.png", "second.png", "<img src=x onerror=alert(1)>.png"):
        models.save_image(rng.random((3, 4, 6), np.float32).repeat(40, 1).repeat(40, 2), folder / name)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("hello")
    return folder


@pytest.fixture(scope="module")
def server(folder):
    server = Server(folder / "first.png", "--model", folder / "tiny3.h5").start()
    yield server
    server.end()
    assert server.said == []


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with started(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(chromium, server):
    """The first view, 1280 pixels wide; nothing may have been said to the console by the end."""
    seen(chromium, 1280)
    chromium.get(server.address)
    chromium.execute_script("sessionStorage.clear(); localStorage.clear()")
    chromium.get(server.address)
    until(chromium, "h2", "It says")
    yield chromium
    assert chromium.get_log("browser") == []


def waiting(driver, found):
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, PATIENCE, 0.05, [StaleElementReferenceException]).until(lambda _: found())


def until(driver, selector, text):
    """Waits until an element that is shown begins with a text."""
    return waiting(
        driver,
        lambda: next(
            (one for one in driver.find_elements("css selector", selector) if one.text.startswith(text)), None
        ),
    )


def go(page, server, address):
    page.get(server.address.rstrip("/") + address)


def answered(page, count):
    """Waits until so many panels have their answers; their titles."""
    script = (
        "return [...document.querySelectorAll('.panel')].map(p => [p.matches('.waits'), p.children[0].textContent])"
    )
    found = waiting(
        page,
        lambda: (
            (panels := page.execute_script(script))
            and len(panels) == count
            and not any(w for w, _ in panels)
            and panels
        ),
    )
    return [title for _, title in found]


def choose(page, path):
    page.find_element("id", "file").send_keys(str(path))


# ---- look ------------------------------------------------------------------------------------------------------------


def test_the_first_visit_says_what_to_do_once(page, server):
    first = page.find_element("id", "first")
    assert first.is_displayed() and "photograph" in first.text
    first.find_element("tag name", "button").click()
    page.refresh()
    until(page, "h2", "It says")
    assert not page.find_element("id", "first").is_displayed()


def test_classes_lead_to_why(page):
    rows = page.find_elements("css selector", ".shares tr")
    assert len(rows) == len(tiny.CLASSES) and all(re.search(r"\d+\.\d+ %$", row.text) for row in rows)
    link = rows[1].find_element("tag name", "a")
    name = link.text
    link.click()
    titles = answered(page, 3)
    assert all(f": {name} (" in title for title in titles) and f"for={name}" in page.current_url
    page.back()
    until(page, "h2", "It says")


def test_photographs_are_chosen_kept_in_a_strip_and_stay_after_a_reload(page, folder):
    choose(page, folder / "second.png")
    waiting(page, lambda: "photo=" in page.current_url and len(page.find_elements("css selector", "#strip img")) == 2)
    until(page, "h2", "It says")
    choose(page, folder / "<img src=x onerror=alert(1)>.png")
    waiting(page, lambda: len(page.find_elements("css selector", "#strip img")) == 3)
    where = page.current_url
    page.refresh()
    until(page, "h2", "It says")
    assert page.current_url == where and len(page.find_elements("css selector", "#strip img")) == 3
    page.find_elements("css selector", "#strip a")[0].click()
    waiting(page, lambda: page.current_url != where)


def test_photographs_are_dropped_and_pasted(page, folder):
    script = (
        "const [kind, text] = arguments; const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));"
        "const files = new DataTransfer(); files.items.add(new File([bytes], 'given.png'));"
        "const event = kind === 'drop' ? new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true})"
        " : new ClipboardEvent('paste', {clipboardData: files, bubbles: true}); document.body.dispatchEvent(event);"
    )
    import base64

    for count, (kind, name) in enumerate(
        {"drop": "second.png", "paste": "<img src=x onerror=alert(1)>.png"}.items(), 2
    ):
        page.execute_script(script, kind, base64.b64encode((folder / name).read_bytes()).decode())
        waiting(page, lambda n=count: len(page.find_elements("css selector", "#strip img")) == n)


@pytest.mark.parametrize("name", ["broken.jpg", "empty.png", "text.png"])
def test_an_odd_file_is_a_sentence_in_the_page(page, folder, name):
    choose(page, folder / name)
    said = until(page, "#said", name)
    assert said.get_attribute("role") == "alert" and str(folder) not in said.text
    assert [entry["message"] for entry in page.get_log("browser") if "400" not in entry["message"]] == []
    assert page.find_element("css selector", "h2").text.startswith("It says")


QUARTERS = {"colours": [(200, 0, 0), (0, 160, 0), (0, 0, 220), (240, 240, 240)], "greys": [(0,), (80,), (160,), (240,)]}


def quartered(kind, dtype=np.uint8):
    """A picture (96,96,channels) of four quarters: above left, above right, below left, below right."""
    rows = np.array(QUARTERS[kind], dtype).reshape(2, 2, -1)
    return rows.repeat(48, 0).repeat(48, 1)


def odd_files():
    """{name: (picture, what it is saved with, the colours of its quarters)}."""
    colours, greys = quartered("colours"), quartered("greys", np.uint16)[..., 0] * 257
    turned, exif = Image.fromarray(np.rot90(colours)), Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    glass = np.concatenate([colours, np.full((96, 96, 1), 255, np.uint8)], 2)
    glass[48:, 48:, 3] = 0  # its last quarter is seen through, and lies on white
    grey = [3 * one for one in QUARTERS["greys"]]
    return {
        "16bit.png": (Image.fromarray(greys), {}, grey),
        "rgba.png": (Image.fromarray(glass), {}, [*QUARTERS["colours"][:3], (255, 255, 255)]),
        "turned.jpg": (turned, {"exif": exif, "quality": 95, "subsampling": 0}, QUARTERS["colours"]),
    }


@pytest.mark.parametrize("name", odd_files())
def test_an_odd_picture_is_the_right_way_up_in_its_colours(page, tmp_path, name):
    picture, how, quarters = odd_files()[name]
    picture.save(tmp_path / name, **how)
    choose(page, tmp_path / name)
    waiting(page, lambda: page.find_elements("css selector", f'#strip [aria-label="Photograph {name}"][aria-current]'))
    found = page.execute_async_script(
        "const done = arguments[0]; const image = new Image();"
        "image.src = document.querySelector('#strip a[aria-current] img').src;"
        "image.decode().then(() => { const [w, h] = [image.naturalWidth, image.naturalHeight];"
        "const context = new OffscreenCanvas(w, h).getContext('2d', {willReadFrequently: true});"
        "context.drawImage(image, 0, 0);"
        "const at = ([x, y]) => [...context.getImageData(x * w / 4, y * h / 4, 1, 1).data];"
        "done([[1, 1], [3, 1], [1, 3], [3, 3]].map(at)); });"
    )
    np.testing.assert_allclose([one[:3] for one in found], quarters, atol=8)


def test_a_picture_that_ends_early_is_a_sentence_in_the_page(page, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    choose(page, tmp_path / "half.jpg")
    until(page, "#said", "half.jpg")
    assert len(page.find_elements("css selector", "#strip img")) == 1
    assert all("400" in entry["message"] for entry in page.get_log("browser"))


# ---- why -------------------------------------------------------------------------------------------------------------


def test_maps_say_how_far_they_agree(page, server, folder):
    go(page, server, "/why?methods=saliency,input_x_gradient,occlusion,guided_backprop")
    answered(page, 4)
    waiting(page, lambda: len(page.find_elements("css selector", ".agrees:not(:empty)")) == 3)
    said = {
        panel.find_element("css selector", "figcaption").text.split(":")[0]: panel.find_element(
            "css selector", ".agrees"
        ).text
        for panel in page.find_elements("css selector", ".panel")
    }
    model = models.load(folder / "tiny3.h5").eval()
    image = models.load_image(folder / "first.png", model.input_size, model.short_side)
    names = {"Saliency": viz.saliency, "Input x gradient": viz.input_x_gradient, "Occlusion": viz.occlusion}
    maps = {name: method(model, image)[0] for name, method in names.items()}
    maps = {name: np.ravel(one if one.ndim == 2 else one.sum(0)) for name, one in maps.items()}

    def likeness(one, other):
        return 0 if min(np.ptp(one), np.ptp(other)) == 0 else spearmanr(one, other).statistic

    for name, text in said.items():
        found = re.findall(r"(?:with |, )([A-Z][a-z ]+) (−?[.0-9]+\d)", text)
        assert len(found) == (2 if name in maps else 0)
        values = [float(value.replace("−", "-")) for _, value in found]
        np.testing.assert_allclose(values, [likeness(maps[name], maps[other]) for other, _ in found], atol=0.006)
        assert values == sorted(values, reverse=True)


def test_methods_stand_beside_each_other_for_two_classes(page, server):
    go(page, server, "/why?for=cat&and=dog&methods=saliency,lrp,occlusion")
    titles = answered(page, 6)
    assert [title.split(": ")[1].split(" (")[0] for title in titles] == ["cat"] * 3 + ["dog"] * 3
    assert page.execute_script(
        "return [...document.querySelectorAll('.panel canvas')].every(c => c.width === 16 && c.height === 16"
        " && c.getAttribute('aria-label').includes('Arrow keys'))"
    )


def test_a_class_is_typed(page, server):
    from selenium.webdriver.common.keys import Keys

    go(page, server, "/why?methods=grad_cam")
    answered(page, 1)
    field = page.find_element("id", "class-for")
    field.send_keys("zebra", Keys.ENTER)
    waiting(page, lambda: "zebra" in answered(page, 1)[0])
    assert "for=zebra" in page.current_url
    field.clear()
    field.send_keys("zebrra", Keys.ENTER)
    until(page, ".panel .said", "no class is called 'zebrra'")
    assert page.execute_script("return [...document.querySelectorAll('#labels option')].map(o => o.value)") == list(
        tiny.CLASSES
    )


def test_what_is_chosen_is_in_the_address(page, server):
    go(page, server, "/why?methods=grad_cam")
    answered(page, 1)
    page.find_element("id", "method-saliency").click()
    answered(page, 2)
    assert re.search(r"methods=saliency(,|%2C)grad_cam", page.current_url)
    page.execute_script("document.querySelectorAll('.settings details').forEach(d => d.open = true)")
    page.execute_script(
        "const field = document.querySelector('select[name=\"grad_cam-layer\"]'); field.value = 'relu2_1';"
        "field.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    until(page, ".panel:nth-child(2) .said", "evidence, in units of the score, at relu2_1")
    page.execute_script(
        "const field = document.querySelector('.inks [name=sign]'); field.value = 'positive';"
        "field.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    where = page.current_url
    assert "grad_cam-layer=relu2_1" in where and "sign=positive" in where
    page.refresh()
    answered(page, 2)
    until(page, ".panel:nth-child(2) .said", "evidence, in units of the score, at relu2_1")
    assert page.current_url == where


def test_every_map_says_its_value_where_one_is_pointed_at(page, server):
    from selenium.webdriver.common.keys import Keys

    go(page, server, "/why?for=cat&methods=input_x_gradient,grad_cam")
    answered(page, 2)
    canvas = page.find_element("css selector", ".panel canvas")
    page.execute_script("arguments[0].focus()", canvas)
    canvas.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    said = [one.text for one in page.find_elements("css selector", ".panel .at-pointer")]
    assert all(re.fullmatch(r"−?\d.* in column 9, row 10", text) for text in said)


def test_colours_are_the_librarys(page, server, folder):
    """A bare map in the page has the colours that viz gives the same map."""
    import viz
    from viz.colours import Scale

    go(page, server, "/why?for=cat&methods=input_x_gradient&mix=100")
    answered(page, 1)
    drawn = page.execute_script(
        "const c = document.querySelector('.panel canvas');"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    model = models.load(folder / "tiny3.h5").eval()
    image = models.load_image(folder / "first.png", model.input_size)
    heat = viz.input_x_gradient(model, image, "cat")[0].sum(0)
    expected = np.rint(Scale.of(heat).colours(heat) * 255)
    found = np.reshape(drawn, (16, 16, 4))[..., :3]
    assert (abs(found - expected).max(2) <= 2).mean() > 0.98  # a value at the border of two colours may take either


def test_a_slow_method_improves_and_is_stopped(page, server):
    go(page, server, "/why?methods=rise,saliency&rise-samples=100000")
    waiting(page, lambda: page.execute_script("return document.querySelector('.panel progress')?.value > 0"))
    assert "(" in answered_one(page, 1)  # the quick one does not wait for it
    page.find_element("css selector", ".panel:nth-child(1) button").click()
    until(page, ".panel:nth-child(1) .said", "mean probability where the pixel is kept")
    assert "stopped at" in page.find_element("css selector", ".panel:nth-child(1) .said").text


def answered_one(page, n):
    """Waits for the answer of panel n alone; its title."""
    script = (
        "const p = document.querySelectorAll('.panel')[arguments[0]]; return p?.matches(':not(.waits)') && p.innerText"
    )
    return waiting(page, lambda: page.execute_script(script, n))


def test_leaving_ends_what_was_asked(page, server):
    go(page, server, "/why?methods=rise&rise-samples=100000")
    waiting(page, lambda: page.execute_script("return document.querySelector('.panel progress')?.value > 0"))
    page.find_element("css selector", "a[data-view=look]").click()
    until(page, "h2", "It says")
    go(page, server, "/why?methods=saliency")
    answered(page, 1)


def test_command_and_python_are_shown_and_copied_and_files_kept(page, server):
    go(page, server, "/why?for=dog&methods=grad_cam")
    answered(page, 1)
    page.execute_script(
        "window.copied = []; navigator.clipboard.writeText = async (text) => copied.push(text);"
        "document.querySelector('.recipe').open = true; document.querySelectorAll('.copy').forEach(b => b.click())"
    )
    command, python = page.execute_script("return copied")
    assert (
        command.startswith("python -m viz grad_cam first.png --target=dog") and "viz.grad_cam(model, image," in python
    )
    kept = page.execute_async_script(
        "const done = arguments[0]; const links = [...document.querySelectorAll('a.keep')];"
        "Promise.all(links.map(l => fetch(l.href).then(r => r.arrayBuffer().then(b => [r.status, b.byteLength]))))"
        ".then(done)"
    )
    assert [status for status, _ in kept] == [200, 200] and min(size for _, size in kept) > 500


# ---- inside ----------------------------------------------------------------------------------------------------------


def test_layers_channels_and_places_are_walked(page, server):
    page.find_element("css selector", "nav a[data-view=inside]").click()
    until(page, ".part-layer h2", "relu5_1")
    page.find_element("css selector", "a.node[data-layer=relu3_1]").click()
    until(page, ".part-layer h2", "relu3_1")
    page.find_element("css selector", "a.channel").click()
    until(page, ".part-channel h2", "relu3_1, channel ")
    canvas = page.find_element("css selector", ".part-channel canvas")
    page.execute_script("arguments[0].focus()", canvas)
    from selenium.webdriver.common.keys import Keys

    canvas.send_keys(Keys.ARROW_RIGHT, Keys.ENTER)
    until(page, ".part-place h2", "relu3_1, channel ")
    made = page.find_elements("css selector", ".recipe summary")
    assert [one.text for one in made] == 3 * ["The command and the Python that make this"]
    kept = page.find_elements("css selector", ".part-place .keep")
    assert [one.get_attribute("textContent") for one in kept] == ["NPZ"]  # a rectifier's one number is no picture
    page.find_element("css selector", ".part-place p a").click()  # down: what the rectifier takes
    until(page, ".part-place h2", "conv3_1, channel ")
    assert (
        len(page.find_elements("css selector", ".term")) == 4
        and "(bias) = " in page.find_element("css selector", ".total").text
    )
    numbers = page.execute_script(
        "return [...document.querySelectorAll('.term')].map(t => [...t.querySelectorAll('table')].map(g =>"
        " [...g.querySelectorAll('td')].map(c => Number(c.textContent.replaceAll('−', '-')))))"
    )
    for patch, kernel, products in numbers:
        np.testing.assert_allclose(np.multiply(patch, kernel), products, rtol=0.03, atol=2e-3)
    where = page.current_url
    page.find_element("css selector", ".term td a").click()  # down to one input place
    until(page, ".part-place h2", "pool2, channel ")
    page.back()
    until(page, ".part-place h2", "conv3_1, channel ")
    assert page.current_url == where
    page.find_element("css selector", ".uses a").click()  # up to who takes it
    until(page, ".part-place h2", "relu3_1, channel ")
    page.refresh()
    until(page, ".part-place h2", "relu3_1, channel ")


def test_a_layer_without_positions_is_numbers(page, server):
    go(page, server, "/inside?layer=fc&channel=1")
    until(page, ".part-place h2", "fc, channel 1: ")
    assert len(page.find_elements("css selector", ".term")) == 4


def test_channels_are_switched_off_and_on(page, server):
    go(page, server, "/inside?layer=relu3_1&channel=2")
    until(page, ".part-channel h2", "relu3_1, channel 2")
    page.find_element("css selector", ".deeds button").click()
    until(page, ".part-off h2", "Without channel 2 of relu3_1")
    page.find_element("css selector", "a.channel[data-channel='4']").click()
    until(page, ".part-channel h2", "relu3_1, channel 4")
    page.find_element("css selector", ".deeds button").click()
    until(page, ".part-off h2", "Without channels 2, 4 of relu3_1")
    page.find_element("css selector", ".part-off button").click()
    waiting(page, lambda: not page.find_element("css selector", ".part-off").text)


def test_the_image_that_a_channel_likes_best_comes_frame_by_frame(page, server):
    go(page, server, "/inside?layer=relu2_1&channel=1")
    until(page, ".part-channel h2", "relu2_1, channel 1")
    page.find_elements("css selector", ".deeds button")[1].click()
    until(page, ".part-ideal h2", "What channel 1 of relu2_1 likes best")
    until(page, ".part-ideal summary", "The command and the Python")
    assert page.execute_script("return document.querySelector('.ideal-image').naturalWidth") == 16


def test_the_channels_are_sorted_by_a_place(page, server):
    go(page, server, "/inside?layer=relu3_1&channel=2&at=1,2")
    until(page, ".part-place h2", "relu3_1, channel 2, row 1, column 2")
    next(b for b in page.find_elements("css selector", ".part-place button") if b.text.startswith("Sort")).click()
    until(page, ".part-layer p", "8 channels of 4 × 4, the strongest in row 1, column 2 first")
    first = page.find_element("css selector", "a.channel")
    number = first.get_attribute("data-channel")
    first.click()  # and its arithmetic is there
    until(page, ".part-place h2", f"relu3_1, channel {number}, row 1, column 2")


# ---- fool it, believe it ---------------------------------------------------------------------------------------------


def test_it_is_fooled_within_a_budget(page, server):
    go(page, server, "/fool?budget=1")
    until(page, ".part h2", "It ")
    until(page, ".part p", "Changed by 1.0 of 255 levels at most")
    page.execute_script(
        "const field = document.querySelector('[name=budget]'); field.value = 32;"
        "field.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    until(page, ".part h2", "It succeeds: ")
    assert "budget=32" in page.current_url and len(page.find_elements("css selector", ".part tbody tr")) == 4
    page.execute_script(
        "const field = document.querySelector('[name=to]'); field.value = 'nobody';"
        "field.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    until(page, ".part .notice", "no class is called 'nobody'")


def test_the_smallest_budget_is_found_by_halving(page, server):
    go(page, server, "/fool")
    until(page, ".part h2", "It ")
    page.find_element("css selector", ".least").click()
    waiting(page, lambda: re.search("No smaller budget", page.find_element("css selector", ".part p").text))
    least = int(re.search(r"budget=(\d+)", page.current_url)[1])
    assert until(page, ".part h2", "It succeeds: ") and least < 32
    assert page.find_element("css selector", ".part p").text.startswith(f"Changed by {least}.0 of 255 levels at most")
    if least > 1:
        go(page, server, f"/fool?budget={least - 1}")
        until(page, ".part h2", "It fails: ")


def test_what_it_would_rather_see_comes_frame_by_frame_and_is_stopped(page, server):
    go(page, server, "/rather?goal=zebra&steps=5&size=32")
    until(page, ".panel p", "For zebra; of this it says ")
    go(page, server, "/rather?goal=zebra&steps=5000&size=32")
    waiting(page, lambda: page.execute_script("return document.querySelector('.panel progress')?.value > 0"))
    page.find_element("css selector", ".panel button").click()
    said = until(page, ".panel p", "For zebra; of this it says ")
    assert re.search(r", stopped at \d+ of 5000$", said.text)


def set_field(page, name, value):
    page.execute_script(
        "const field = document.querySelector(`[name='${arguments[0]}']`); field.value = arguments[1];"
        "field.dispatchEvent(new Event('change', {bubbles: true}))",
        name,
        value,
    )


def test_an_ascent_is_changed_paused_and_begun_anew(page, server):
    go(page, server, "/rather?goal=zebra&steps=3000&size=32")
    how_far = "return document.querySelector('.panel progress')?.value ?? 0"
    waiting(page, lambda: page.execute_script(how_far) > 0)
    _, _, pause, again = page.find_element("css selector", ".panel .row").find_elements("xpath", "*")
    set_field(page, "lr", "0.4")  # acts while it runs: the address says from which step on
    waiting(page, lambda: re.search(r"changes=\d+(:|%3A)lr(=|%3D)0\.4", page.current_url))
    assert page.execute_script(how_far) > 0
    pause.click()
    assert pause.text == "Go on"
    set_field(page, "tv-weight", "0.1")
    waiting(page, lambda: "tv-weight" in page.current_url)
    stood = page.execute_script(how_far)
    assert page.execute_script(how_far) == stood
    pause.click()
    waiting(page, lambda: page.execute_script(how_far) > stood)
    again.click()
    waiting(page, lambda: page.execute_script(how_far) < stood)
    blur = page.find_element("name", "blur")
    assert not blur.is_enabled()
    set_field(page, "from", "pixels")
    set_field(page, "steps", "4")
    said = until(page, ".panel p", "For zebra; of this it says ")
    assert blur.is_enabled() and "changes" not in page.current_url and said.is_displayed()
    assert page.find_elements("css selector", ".panel a.keep")[0].get_attribute("href").find("/keep/maximize.png") > 0


def test_it_dreams_of_the_photograph(page, server):
    go(page, server, "/rather?from=dream&steps=2&size=48&octaves=2")
    until(page, ".panel p", "For relu")
    assert page.execute_script("return document.querySelector('.panel img').naturalWidth") == 48
    assert not page.find_element("name", "tv-weight").is_enabled()


def test_a_refused_layer_is_said_once(page, server):
    go(page, server, "/inside?layer=nothing&channel=1&at=0,0&off=1&ideal=2")
    until(page, ".part-layer .notice", "there is no layer 'nothing'")
    waiting(page, lambda: not page.find_elements("css selector", ".depths [aria-busy]"))
    said = [one.text for one in page.find_elements("css selector", ".depths .notice.bad")]
    assert said[0].startswith("there is no layer 'nothing'") and len(set(said)) == len(said)


def test_a_style_is_chosen_and_comes_frame_by_frame(page, server, folder):
    go(page, server, "/style?style-steps=3&style-size=48")
    until(page, ".part p", "Choose a painting")
    page.find_element("id", "style-file").send_keys(str(folder / "second.png"))
    said = until(page, ".panel p", "content loss from ")
    assert "style loss from" in said.text and "style=" in page.current_url
    assert len(page.find_elements("css selector", ".styles img")) == 2
    assert page.execute_script("return document.querySelector('.panel img').naturalWidth") == 48
    page.execute_script(
        "const field = document.querySelector('[name=w-relu1_1]'); field.value = '0';"
        "field.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    waiting(
        page, lambda: "--style-layers=relu2_1" in page.find_element("css selector", ".part").get_attribute("innerHTML")
    )
    where = page.current_url
    page.refresh()
    until(page, ".panel p", "content loss from ")
    assert page.current_url == where and "style-w-relu1_1=0" in where


def test_a_map_is_put_on_trial(page, server):
    go(page, server, "/why?methods=grad_cam")
    answered(page, 1)
    next(b for b in page.find_elements("css selector", ".panel button") if b.text == "Can I believe it?").click()
    until(page, ".trial h2", "Can I believe Grad-CAM for ")
    assert len(page.find_elements("css selector", ".findings tr")) == 5


# ---- the whole -------------------------------------------------------------------------------------------------------


def test_two_tabs_do_not_mix(page, server, folder):
    one = page.current_window_handle
    choose(page, folder / "second.png")
    waiting(page, lambda: len(page.find_elements("css selector", "#strip img")) == 2)
    page.switch_to.new_window("tab")
    seen(page, 1280)
    go(page, server, "/why?for=dog&methods=saliency,rise&rise-samples=50000")
    answered_one(page, 0)
    assert len(page.find_elements("css selector", "#strip img")) == 1
    page.close()
    page.switch_to.window(one)
    go(page, server, "/why?for=cat&methods=saliency")
    assert ": cat (" in answered(page, 1)[0]


def test_the_page_goes_on_where_the_server_is_started_again(chromium, folder):
    server = Server(folder / "first.png", "--model", folder / "tiny3.h5").start()
    seen(chromium, 1280)
    chromium.get(server.address)
    until(chromium, "h2", "It says")
    choose(chromium, folder / "second.png")
    waiting(chromium, lambda: len(chromium.find_elements("css selector", "#strip img")) == 2)
    until(chromium, "h2", "It says")
    server.end(signal.SIGKILL)
    until(chromium, "#gone", "The server is gone. Start it again")
    server.start()
    waiting(chromium, lambda: not chromium.find_element("id", "gone").is_displayed())
    until(chromium, "h2", "It says")
    assert server.end() == 0
    chromium.get("about:blank")
    chromium.get_log("browser")  # which has what the browser says of a server that is gone


def test_a_photograph_that_has_gone_is_a_sentence(page, server):
    go(page, server, f"/why?photo={'0' * 64}&methods=saliency")
    until(page, ".panel .said", "this photograph is not here any more")
    page.get_log("browser")  # the picture that was not found


@pytest.mark.parametrize("width", [390, 1000, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "address, panels",
    [
        ("/look", 0),
        ("/fool", 0),
        ("/rather?steps=2&size=32", 0),
        ("/style?style-steps=2&style-size=48", 0),
        ("/why?and=dog&methods=saliency,grad_cam,rise&rise-samples=40", 6),
    ],
)
def test_nothing_sticks_out_at_any_width(page, server, width, scheme, address, panels):
    seen(page, width, scheme)
    go(page, server, address)
    if panels:
        answered(page, panels)
    else:
        told = {
            "/look": ("h2", "It "),
            "/fool": ("h2", "It "),
            "/rathe": (".panel p", "For "),
            "/insid": ("h2", "conv3_1"),
            "/style": (".part p", "Choose a painting"),
        }
        until(page, *told[address[:6].rstrip("?")])
    page.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    paper = page.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
    assert (int(paper[4:].split(",")[0]) < 64) is (scheme == "dark")


def test_everything_is_reached_by_the_keyboard_and_the_focus_is_seen(page, server):
    from selenium import webdriver
    from selenium.webdriver.common.keys import Keys

    go(page, server, "/why?methods=saliency")
    answered(page, 1)
    met = set()
    for _ in range(60):
        webdriver.ActionChains(page).send_keys(Keys.TAB).perform()
        met.add(
            page.execute_script(
                "const e = document.activeElement;"
                "const s = getComputedStyle(e.id === 'file' ? e.previousElementSibling : e);"
                "return `${e.tagName} ${e.id || e.dataset.view || e.name || ''} ${s.outlineStyle !== 'none'}`"
            )
        )
    for one in ("A look true", "A why true", "INPUT file true", "INPUT class-for true", "INPUT method-rise true"):
        assert one in met, sorted(met)
    assert {"CANVAS  true", "SUMMARY  true", "SELECT sign true"} <= met


def test_everything_has_a_name(page, server):
    go(page, server, "/why?methods=saliency,smooth_grad")
    answered(page, 2)
    nameless = page.execute_script(
        "return [...document.querySelectorAll('a, button, input, select, canvas, progress, nav')].filter(e =>"
        " !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).map(e => e.outerHTML)"
    )
    assert nameless == []
    assert page.execute_script("return [...document.images].every(i => i.hasAttribute('alt'))")


def test_nothing_is_asked_of_any_other_place(page, server):
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    asked = {url for url in asked if url.startswith(("http", "ws"))}
    assert asked and all(re.match(r"http://127\.0\.0\.1:\d+/", url) for url in asked)
