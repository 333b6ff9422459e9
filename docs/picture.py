"""Make README's picture of the sample photograph: the figure of compare, with fewer pixels and colours,
and put it in place of docs/images/compare.png.

python docs/picture.py --targets cat,zebra
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from viz.commands.command import start  # noqa: E402  (found in ROOT)

METHODS = "saliency,guided_backprop,integrated_gradients,lrp,grad_cam"
WIDTH, COLOURS = 1200, 256

with tempfile.TemporaryDirectory() as folder:
    code = start("compare", ["--methods", METHODS, "--quiet", "--out", folder, *sys.argv[1:]])
    if code == 0:
        (figure,) = Path(folder).glob("*.png")
        picture = Image.open(figure).convert("RGB")
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
        target = ROOT / "docs" / "images" / "compare.png"
        picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=1).save(target, optimize=True)
        print(target)
raise SystemExit(code)
