"""The gallery's page in a real browser: Debian's Chromium, without a window and without a network."""

import json
import shutil

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install 'minigrad[test]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="there is no Chromium with its driver: apt-get install chromium chromium-driver"
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
)


@pytest.fixture(scope="module")
def address(gallery_written):
    return gallery_written.as_uri()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(chromium, address):
    """The page, freshly opened, 1280 pixels wide, for a reader who wants no motion."""
    seen(chromium, 1280, "light", "reduce")
    chromium.get(address)
    return chromium


def seen(driver, width, scheme, motion):
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {
            "features": [
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": motion},
            ]
        },
    )
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


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
        page.execute_script(f"return getComputedStyle(document.querySelector('#attributions .{name}')).opacity")
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
