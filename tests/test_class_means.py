"""docs/class_means.py: the weights stay as they are, and what is said of them is so."""

import re
import sys

import models
from tests.docs_scripts import cats_and_zebras, script


def test_a_file_gets_its_means_and_keeps_its_weights(tmp_path, monkeypatch, capsys):
    class_means = script("class_means")
    cats_and_zebras(tmp_path / "data", 32)
    before = models.build("minivgg", seed=0, labels=("cat", "zebra"))
    before.input_size = (32, 32)
    models.save_weights(before, tmp_path / "net.h5", half=True)
    before = models.load(tmp_path / "net.h5")
    other = tmp_path / "data" / "val" / "cat" / "0.png"
    monkeypatch.setenv("MINIGRAD_HOME", str(tmp_path / "home"))
    words = [str(tmp_path / "data"), "--models", str(tmp_path / "net.h5"), "--others", str(other)]
    monkeypatch.setattr(sys, "argv", ["class_means.py", *words, "--out", str(tmp_path / "out")])
    class_means.main()
    after = models.load(tmp_path / "out" / "minivgg.h5")
    assert after.provenance["weights_sha256"] == before.provenance["weights_sha256"] and before.known is None
    assert after.known.layer == "gap" and after.known.means.shape == (2, 384)
    out = capsys.readouterr().out
    assert re.search(r"class means: \d+\.\d% \(.*\) of 4 pass\n  [01] of 1 caught, ", out)
    image = models.load_image(other, (32, 32))
    caught = int(re.search(r"class means.*\n  (\d) of 1", out)[1])
    assert models.unknown(after, image).sum() == caught
