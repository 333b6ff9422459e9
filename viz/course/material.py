"""What stages 6 to 8 look at, both in the package: a photograph, and the weights of a trained network."""

from pathlib import Path

from models.catalogue import EMBEDDED

PHOTOGRAPH = Path(__file__).parent / "photograph.png"  # scikit-image's data.cat() (CC0), its centre, 112x112
WEIGHTS = EMBEDDED / "minivgg.h5"
