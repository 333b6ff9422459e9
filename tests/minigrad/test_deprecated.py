"""Old names work for one version, and say what they are called now."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import deprecated
from minigrad import functional as F

pytestmark = pytest.mark.host("names are looked up on the host")
CHANGES = Path(__file__).parents[2] / "docs" / "changes.md"


@pytest.mark.parametrize("old", deprecated.MODULES)
def test_a_module_that_moved_is_found_and_warns(old):
    new = deprecated.MODULES[old]
    name = {"device": "array_module", "config": "show_config", "gradcheck": "check_gradients"}.get(
        new.rpartition(".")[2], {"cost": "flops", "graph": "Graph", "graph_layout": "svg"}.get(new.rpartition(".")[2])
    )
    name = name or {"minigrad.kernels": "conv_algorithm"}.get(new, "limits" if "profile" in new else "summarize")
    code = (
        f"import warnings; warnings.simplefilter('error')\nimport minigrad as mg, {new} as new, {old} as old\n"
        f"try:\n    old.{name}\nexcept DeprecationWarning as warning:\n    print(warning)\n"
        f"warnings.simplefilter('ignore')\nassert old.{name} is new.{name}\n"
        "mg.graph(mg.Tensor(1.0)), mg.profile()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{old}.{name} is now {new}.{name}; the old name goes with the next version\n"


def test_functions_that_went_still_compute():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 8, 8), np.float32), rng.standard_normal((4, 3, 3, 3), np.float32)
    expected = F.relu(F.conv2d(x, w, padding=1))
    with pytest.warns(DeprecationWarning, match=r"functional.conv2d_relu is now relu\(conv2d\(...\)\)"):
        np.testing.assert_array_equal(F.conv2d_relu(x, w, padding=1).numpy(), expected.numpy())
    with pytest.warns(DeprecationWarning, match=r"max_pool2d\(relu\(conv2d"):
        pooled = F.conv2d_relu_max_pool(x, w, padding=1)
    np.testing.assert_array_equal(pooled.numpy(), F.max_pool2d(expected, 2).numpy())
    with pytest.warns(DeprecationWarning, match="cat_relu"):
        np.testing.assert_array_equal(F.cat_relu([x, x], 1).numpy(), np.maximum(np.concatenate([x, x], 1), 0))
    with pytest.warns(DeprecationWarning, match="batch_norm_relu"):
        found = F.batch_norm_relu(x, None, None, training=True)
    np.testing.assert_array_equal(found.numpy(), F.relu(F.batch_norm(x, None, None, training=True)).numpy())
    with pytest.warns(DeprecationWarning, match=r"x.to\(device\)"):
        assert F.to_device(mg.Tensor(x), "cpu").shape == x.shape
    with pytest.raises(AttributeError, match="has no attribute 'conv9d'"):
        F.conv9d  # noqa: B018


def test_the_page_of_changes_lists_them_all():
    listed = CHANGES.read_text("utf-8")
    for name in (*deprecated.MODULES, *(f"functional.{name}" for name in deprecated.functions(F))):
        assert re.search(rf"`{re.escape(name)}[`(]", listed), name
