"""The gallery's page in a real browser: Debian's Chromium, without a window and without a network."""

import json
import re

import pytest

from tests.scripts.browser import needed, seen, started
from viz.commands.gallery.attributions import FAMILIES

pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install 'minigrad[test]'")
pytestmark = needed


@pytest.fixture(scope="module")
def address(gallery_written):
    return gallery_written.as_uri()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with started(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(chromium, address):
    """The page, freshly opened, 1280 pixels wide, for a reader who wants no motion."""
    seen(chromium, 1280, "light", "reduce")
    chromium.get(address)
    return chromium


def test_the_console_is_silent_and_every_picture_loads(page):
    assert page.execute_script("return document.images.length") > 100
    assert (
        page.execute_script("return [...document.images].filter(i => !(i.complete && i.naturalWidth > 0)).length") == 0
    )
    assert page.get_log("browser") == []


def test_nothing_is_asked_of_the_network(page):
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {
        m["params"]["request"]["url"].split(":")[0] for m in messages if m["method"] == "Network.requestWillBeSent"
    }
    assert "file" in asked and not asked & {"http", "https", "ws", "wss"}


def opacity(page, name):
    return float(
        page.execute_script(
            f"return getComputedStyle(document.querySelector('#attributions .stack:not(.fine) .{name}')).opacity"
        )
    )


def test_the_slider_goes_from_photograph_over_overlay_to_map_by_keys(page):
    from selenium.webdriver.common.keys import Keys

    slider = page.find_element("id", "attribution-mix")
    assert (opacity(page, "overlay"), opacity(page, "bare")) == (1, 0)
    slider.send_keys(Keys.HOME)
    assert slider.get_attribute("value") == "0"
    assert (opacity(page, "overlay"), opacity(page, "bare")) == (0, 0)
    assert slider.get_attribute("aria-valuetext") == "photograph"
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert slider.get_attribute("value") == "10" and opacity(page, "overlay") == pytest.approx(0.2)
    slider.send_keys(Keys.END)
    assert (opacity(page, "overlay"), opacity(page, "bare")) == (1, 1)
    assert slider.get_attribute("aria-valuetext") == "map"


def shift(page):
    return page.execute_script(
        "return new DOMMatrix(getComputedStyle(document.querySelector('#optimised-films .film img')).transform).m41"
        " / document.querySelector('#optimised-films .film').getBoundingClientRect().width"
    )


def test_films_follow_their_slider_and_start_at_the_end(page):
    from selenium.webdriver.common.keys import Keys

    slider = page.find_element("id", "optimised-frame")
    cell = 34 / 32  # a frame of 32 pixels and a copy of its edge on both sides
    assert slider.get_attribute("value") == "2" and shift(page) == pytest.approx(-(2 * cell + 1 / 32), abs=0.01)
    slider.send_keys(Keys.HOME)
    assert shift(page) == pytest.approx(-1 / 32, abs=0.01)
    slider.send_keys(Keys.ARROW_RIGHT)
    assert shift(page) == pytest.approx(-(cell + 1 / 32), abs=0.01)
    assert slider.get_attribute("aria-valuetext") == "frame 2 of 3"


def test_films_play_to_their_end_by_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    page.execute_script(
        "const button = document.querySelector('[data-plays=style-frame]');"
        "window.noted = []; const slider = document.getElementById('style-frame');"
        "new MutationObserver(() => noted.push(`${button.textContent} ${slider.value}`))"
        ".observe(button, {childList: true, characterData: true, subtree: true});"
    )
    page.find_element("css selector", "[data-plays=style-frame]").send_keys(Keys.ENTER)
    WebDriverWait(page, 200).until(lambda _: page.execute_script("return noted.length") == 2)
    assert page.execute_script("return noted") == ["Pause 0", "Play 2"]


def test_films_pause_by_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    page.execute_script("window.setInterval = () => 1; window.clearInterval = () => {};")  # time stands still
    button = page.find_element("css selector", "[data-plays=style-frame]")
    slider = page.find_element("id", "style-frame")
    for shown in ("Pause", "Play"):
        button.send_keys(Keys.SPACE)
        assert button.text == shown and slider.get_attribute("value") == "0"


@pytest.mark.parametrize(("motion", "plays"), [("reduce", False), ("no-preference", True)])
def test_films_play_by_themselves_only_for_those_who_do_not_mind(chromium, address, motion, plays):
    seen(chromium, 1280, "light", motion)
    chromium.get(address)
    moved = chromium.execute_async_script(
        "const done = arguments[0], slider = document.getElementById('style-frame'), seen = new Set();"
        "document.getElementById('style-films').scrollIntoView();"
        "const watch = setInterval(() => seen.add(slider.value), 10);"
        "setTimeout(() => { clearInterval(watch); done(seen.size > 1); }, 1500);"
    )
    assert moved is plays


def test_the_attacked_photograph_appears_over_the_other(page):
    from selenium.webdriver.common.keys import Keys

    page.find_element("id", "flip-mix").send_keys(Keys.END)
    assert page.execute_script("return getComputedStyle(document.querySelector('.over')).opacity") == "1"


def test_the_first_key_leads_past_the_navigation(page):
    from selenium.webdriver.common.keys import Keys

    page.find_element("tag name", "body").send_keys(Keys.TAB)
    assert page.switch_to.active_element.text == "Skip to the pictures"
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.execute_script("return document.activeElement.id") == "main"


@pytest.mark.parametrize("width", [360, 820, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_at_any_width(chromium, address, width, scheme):
    seen(chromium, width, scheme, "reduce")
    chromium.get(address)
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    paper = chromium.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
    assert (int(paper[4:].split(",")[0]) < 64) is (scheme == "dark")


def test_nothing_moves_while_the_page_loads(page):
    shift = page.execute_async_script(
        "const done = arguments[0]; let sum = 0;"
        "new PerformanceObserver(list => { for (const e of list.getEntries()) sum += e.value; })"
        ".observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(sum), 300);"
    )
    assert shift < 0.01


# ---- pointing, enlarging, choosing -----------------------------------------------------------------------------------

MAPS = "#attributions .choice[data-choice='1'] .probe"


def at(page, selector, u, v):
    """Moves the pointer to a share of the width and height of the first such element."""
    page.execute_script(
        "const [selector, u, v] = arguments, box = document.querySelector(selector), r = box.getBoundingClientRect();"
        "const at = {bubbles: true, clientX: r.left + u * r.width, clientY: r.top + v * r.height};"
        "box.dispatchEvent(new PointerEvent('pointermove', at));",
        selector,
        u,
        v,
    )


def test_all_maps_say_their_value_where_one_is_pointed_at(page):
    at(page, MAPS, 0.26, 0.51)
    values = page.execute_script("return [...document.querySelectorAll(arguments[0])].map(m => m.dataset.value)", MAPS)
    assert len(values) == sum(map(len, FAMILIES.values())) and all(
        re.fullmatch(r"[≥≤ ]*−?\d+(\.\d+)?(e[+−]\d+)?", value) for value in values
    )
    pixel = page.execute_script(
        "const image = document.querySelector(arguments[0] + ' .bare'), n = image.naturalWidth;"
        "return value(image, Math.floor(0.26 * n), Math.floor(0.51 * n));",
        MAPS,
    )
    assert values[0] == pixel
    at(page, "h1", 0.5, 0.5)
    assert not page.execute_script("return document.querySelectorAll('.pointed').length")


def test_a_value_is_that_of_the_colour(page):
    found = page.execute_script(
        "const colour = (table, n) => [...tables[table]].find(([, m]) => m === n)[0];"
        "const one = (table, n, high, clipped) => {"
        "  const image = new Image(); image.dataset.high = high;"
        "  if (table === 'signed') image.dataset.signed = ''; if (clipped) image.dataset.clipped = '';"
        "  const c = colour(table, n); sheets.set(image, {data: [c >> 16, (c >> 8) & 255, c & 255, 255], width: 1});"
        "  return value(image, 0, 0); };"
        "return [one('plain', 0, 2), one('plain', 100, 2), one('plain', 255, 2, true), one('signed', 0, 2, true),"
        " one('signed', 28, 2), one('signed', 128, 2), one('plain', 100, 2e-9), one('plain', 255, 2e5)];"
    )
    assert found == ["0", "0.785", "≥ 2.000", "≤ −2.00", "−1.55", "0", "7.85e−10", "199609"]


def test_a_click_makes_a_map_large_and_arrows_move_its_crosshair(page):
    from selenium.webdriver.common.keys import Keys

    page.execute_script("document.querySelector(arguments[0]).focus()", MAPS)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    large = "#enlarged[open] .view .probe"
    wide = "return document.querySelector(arguments[0]).getBoundingClientRect().width"
    assert page.execute_script(wide, large) > 2 * page.execute_script(wide, MAPS)
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    said = page.find_element("css selector", "#enlarged output")
    assert said.text.endswith("in column 17, row 16")
    page.switch_to.active_element.send_keys(Keys.ARROW_UP, Keys.ARROW_UP)
    assert said.text.endswith("in column 17, row 14")
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not page.find_elements("css selector", large) and page.get_log("browser") == []


def test_the_class_is_switched_for_all_maps(page):
    shown = (
        "return [...new Set([...document.querySelectorAll('#attributions .choice')]"
        ".filter(c => c.offsetParent).map(c => c.dataset.choice))]"
    )
    assert page.execute_script(shown) == ["1"]
    page.execute_script("document.querySelector('input[name=explained][value=\"2\"]').click()")
    assert page.execute_script(shown) == ["2"]
    page.execute_script("document.querySelector('input[name=explained][value=all]').click()")
    assert page.execute_script(shown) == ["1", "2", "3"]


def test_fine_maps_are_bare_where_coarse_ones_are_overlays(page):
    opaque = "return [...document.querySelectorAll('#attributions .bare')].map(b => getComputedStyle(b).opacity)"
    fine = page.execute_script(
        "return [...document.querySelectorAll('#attributions .bare')].map(b => b.parentElement.matches('.fine'))"
    )
    assert page.execute_script(opaque) == ["1" if bare else "0" for bare in fine] and any(fine) and not all(fine)


def test_points_of_the_map_say_who_they_are(page):
    from selenium.webdriver.common.keys import Keys

    named = page.find_element("css selector", ".named")
    points = json.loads(named.get_attribute("data-points"))
    x, y, _ = points[0]
    at(page, ".named", x, y)
    here = [name for *place, name in points if place == [x, y]]
    assert named.get_attribute("data-value") in here and re.fullmatch(r"part of .*: .*, p = [01]\.\d\d", here[0])
    named.send_keys(Keys.ARROW_RIGHT)
    assert named.get_attribute("data-value") == named.get_attribute("aria-label") == points[1][2]


def test_names_of_points_stay_on_the_page(chromium, address):
    seen(chromium, 360)
    chromium.get(address)
    widest = chromium.execute_script(
        "const named = document.querySelector('.named'), points = JSON.parse(named.dataset.points);"
        "return Math.max(...points.map((_, n) => { name(named, n); return document.documentElement.scrollWidth; }));"
    )
    assert widest <= 360


def test_a_film_made_large_shows_one_frame(page):
    shares = page.execute_script(
        "document.querySelector('#style-films .film').click();"
        "const film = document.querySelector('dialog .film'), image = film.querySelector('img');"
        "const [whole, shown] = [image, film].map(box => box.getBoundingClientRect());"
        "return [whole.width / shown.width, whole.height / shown.height];"
    )
    assert shares == pytest.approx([3 * 34 / 32, 1], abs=0.01)  # three frames of 32 pixels and their doubled edges


def test_a_command_is_copied(page):
    from selenium.webdriver.support.ui import WebDriverWait

    page.execute_script("window.copied = []; navigator.clipboard.writeText = async (text) => copied.push(text);")
    page.execute_script("document.querySelector('button.copy').click()")
    WebDriverWait(page, 60).until(lambda _: page.execute_script("return copied.length") == 1)
    first = page.execute_script("return document.querySelector('code.command').textContent")
    assert page.execute_script("return copied[0]") == first and "classify" in first


def test_what_is_too_wide_says_that_it_scrolls(chromium, address):
    seen(chromium, 390, "light", "reduce")
    chromium.get(address)
    hint = "return getComputedStyle(document.querySelector('#sanity .sideways')).display"
    after = (
        "return [...document.querySelectorAll('#optimised dt, #style dt')]"
        ".filter(t => getComputedStyle(t, '::after').content.includes('scrolls')).length"
    )
    assert chromium.execute_script(hint) == "block" and chromium.execute_script(after) > 0
    seen(chromium, 1920, "light", "reduce")
    chromium.get(address)
    assert chromium.execute_script(hint) == "none"


def test_the_class_of_the_sanity_check_is_switched(page):
    shown = (
        "return [...document.querySelectorAll('#sanity .choice')].filter(e => getComputedStyle(e).display !== 'none')"
        ".map(e => e.dataset.choice)"
    )
    assert page.execute_script(shown) == ["1"]
    page.execute_script("document.querySelectorAll('#sanity .switch input')[1].click()")
    assert page.execute_script(shown) == ["2"]
    first = "return document.querySelector('#attributions .switch :checked').value"
    assert page.execute_script(first) == "1"


def test_a_place_in_the_code_opens_there(page):
    page.execute_script("document.querySelector('a[href=\"#code-pgd\"]').click()")
    assert page.execute_script("return document.getElementById('code-pgd').parentElement.open")
    assert "def pgd(" in page.find_element("id", "code-pgd").text
