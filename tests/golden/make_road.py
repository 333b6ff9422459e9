"""Write road.npz: the imputation of ROAD as Quantus 0.6.0 computes it (pip install quantus).

python tests/golden/make_road.py
"""

from pathlib import Path

import numpy as np
from quantus.functions.perturb_func import noisy_linear_imputation

rng = np.random.default_rng(0)
image = rng.random((3, 7, 9))
removed = np.zeros((2, 63), bool)
removed[0, rng.permutation(63)[:40]] = True
removed[1, 10:60] = True  # an area, up to two rims
imputed = [noisy_linear_imputation(image, np.flatnonzero(one), noise=0.0).reshape(image.shape) for one in removed]
np.savez_compressed(
    Path(__file__).with_name("road.npz"), image=image, removed=removed.reshape(2, 7, 9), imputed=np.stack(imputed)
)
