"""Write functional.npz: what PyTorch gives for every case of tests/minigrad/functional/cases.py, values and gradients.

    pip install torch==2.13.0 && python tests/golden/make_golden.py

The file holds one vector of float64 for each case, its output and then its gradients, and `index`, a JSON text with
their shapes and dtypes. Inputs are stored too: the case's generator may draw differently in another NumPy.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent))

from tests.minigrad.functional.cases import CASES  # noqa: E402
from tests.minigrad.functional.torch_names import TORCH  # noqa: E402


def starting_gradient(shape):
    """What the backward pass starts from: fixed numbers of either sign."""
    return np.cos(np.arange(np.prod(shape, dtype=int)) * 1.7 + 0.3).reshape(shape)


def run(case, arrays):
    """(output, [gradient or None for each input]) of a case in PyTorch."""
    wanted = [a.dtype.kind == "f" and not spec.constant for a, spec in zip(arrays, case.inputs, strict=True)]
    tensors = [torch.tensor(a, requires_grad=by_a) for a, by_a in zip(arrays, wanted, strict=True)]
    y = case.call(TORCH, *tensors)
    floats = [t for t in tensors if t.requires_grad]
    if not y.requires_grad:
        return y.numpy(), []
    gradients = torch.autograd.grad(y, floats, torch.tensor(starting_gradient(y.shape)), allow_unused=True)
    return y.detach().numpy(), [None if g is None else g.numpy() for g in gradients]


def main():
    torch.set_num_threads(1)
    inputs, index, values = {}, {}, []
    for case in CASES:
        arrays = [inputs.setdefault(spec, spec.array()) for spec in case.inputs]
        y, gradients = run(case, arrays)
        entry = {
            "shape": y.shape,
            "dtype": str(y.dtype),
            "gradients": [None if g is None else g.shape for g in gradients],
        }
        entry["inputs"] = [list(inputs).index(spec) for spec in case.inputs]
        assert case.name not in index, f"two cases are named {case.name}"
        index[case.name] = entry
        values += [y.ravel().astype(np.float64), *(g.ravel() for g in gradients if g is not None)]

    text = json.dumps({"torch": torch.__version__, "cases": index}, separators=(",", ":"))
    stored = {f"input{i}": a for i, a in enumerate(inputs.values())}
    path = HERE / "functional.npz"
    np.savez_compressed(path, index=np.frombuffer(text.encode(), np.uint8), values=np.concatenate(values), **stored)
    print(f"{path}: {len(CASES)} cases, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
