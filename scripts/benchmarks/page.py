"""Explore in Chromium, from click to picture: `python -m benchmarks.page FOLDER ROUNDS` ends with a line of JSON.

{network: {method: {"page": [seconds], "own": [seconds]}}}: from the click on a method until its map is drawn, and what
the method's function takes in a process of its own. {} where there is no Chromium to measure in.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import models
import viz
from benchmarks import cases, measure

FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
PATIENCE = 60  # seconds for what takes one at most


@contextmanager
def server(photograph, network):
    """The address of `python -m viz explore`."""
    command = [sys.executable, "-m", "viz", "explore", photograph, "--model", network, "--no-browser", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield re.search(r"http://\S+(?=/ )", process.stdout.readline())[0]
    finally:
        process.terminate()
        process.wait()


@contextmanager
def chromium(profile):
    """A driver of Chromium without a window; None where there is none."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        driver = None
    if not (binary and driver):
        yield None
        return
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def clicked(browser, method):
    """Seconds from a click on a method until its map is drawn, as the page itself takes them."""
    from selenium.webdriver.support.ui import WebDriverWait

    panels = "return [...document.querySelectorAll('.panel')].map(panel => panel.dataset.shown ?? null)"
    box = browser.find_element("id", f"method-{method}")
    box.click()
    waiting = WebDriverWait(browser, PATIENCE, 0.02)
    (shown,) = waiting.until(lambda _: (found := browser.execute_script(panels)) and found[0] and found)
    box.click()
    waiting.until(lambda _: not browser.execute_script(panels))
    return float(shown) / 1e3


def in_page(browser, photograph, network, rounds):
    """{method: [seconds]}; the first answer of each, for which weights are read, does not count."""
    from selenium.webdriver.support.ui import WebDriverWait

    with server(photograph, network) as address:
        browser.get(f"{address}/why?methods=none")
        WebDriverWait(browser, PATIENCE, 0.05).until(lambda _: browser.find_elements("id", "method-saliency"))
        return {method: [clicked(browser, method) for _ in range(rounds + 1)][1:] for method in cases.PAGE_METHODS}


def alone(photograph, network, rounds):
    """{method: [seconds]} of viz's functions."""
    model = models.load(network).eval().requires_grad_(False)
    image = models.load_image(photograph, model.input_size)
    steps = {method: partial(getattr(viz, method), model, image) for method in cases.PAGE_METHODS}
    measure.interleaved(steps, 1)
    return measure.interleaved(steps, rounds)


def main(folder, rounds):
    found, photograph = {}, str(Path(folder) / "cat.png")
    with tempfile.TemporaryDirectory() as profile, chromium(profile) as browser:
        if browser is None:
            print("there is no Chromium with its driver and selenium: the page is not timed")
        for title, (network, _) in cases.PAGE_BARS.items() if browser else ():
            weights = network if network == "minivgg" else str(Path(folder) / f"{network}.h5")
            page, own = in_page(browser, photograph, weights, rounds), alone(photograph, weights, rounds)
            found[title] = {method: {"page": page[method], "own": own[method]} for method in page}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
