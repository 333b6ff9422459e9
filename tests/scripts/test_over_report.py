"""The page of `over`: what it says of classes and settings."""

import pytest

import models
import viz
from models.labels import read_labels
from tests.scripts import tiny
from viz.many import report


@pytest.mark.parametrize("listing", [True, False])
def test_it_has_the_names_of_classes_and_settings_in_words(script, tmp_path, listing):
    folder, _ = tiny.photographs(tmp_path / "named")
    ids, network = dict(cat="n02121808", dog="n02084071", tiger="n02129604", zebra="n02391049"), tiny.network()
    if not listing:
        network.labels = read_labels([f"{ids[name]} {name}" for name in tiny.CLASSES])
    network.provenance = {"recipe": {"epochs": 2, "sizes": [48, 64], "flip": True, "area": {"least": None}}}
    models.save_weights(network, tmp_path / "tiny.h5")
    for name, number in ids.items():
        (folder / name).rename(folder / number)
    (folder / ids["cat"] / "0.png").rename(folder / ids["dog"] / "7.png")
    if listing:
        lines = [f"{n}\t{ids[name]}\t{name}\n" for n, name in enumerate(ids)]
        (folder / "classes.txt").write_text("".join(lines))
    argv = ["--do", "saliency,lrp", "--set", "lrp.rule=epsilon", "--model", tmp_path / "tiny.h5"]
    assert script("over", folder, *argv, "--out", tmp_path / "store")[0] == 0
    page = (tmp_path / "store" / "report.html").read_text()
    assert f"dog: {ids['dog']}/7.png" in page and f"zebra: {ids['zebra']}/1.png" in page
    assert "epochs 2, sizes (48, 64), flip true, area (least none)" in page and "lrp, rule epsilon" in page
    row = next(row for row in viz.open_store(tmp_path / "store").table() if row["name"].endswith("7.png"))
    assert report.caption_of(row, {ids["dog"]: "dog"}).endswith(", wrong: dog")


def test_long_settings_are_folded():
    assert report.folded("a & b") == "<code>a &amp; b</code>"
    page = report.folded("<" * 200)
    assert page.startswith("<details><summary><code>" + "&lt;" * report.LONGEST + " ...</code></summary>")
    assert page.endswith("<code>" + "&lt;" * 200 + "</code></details>")
