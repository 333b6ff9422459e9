"""What to do where `python -m viz` or `python -m models` runs in a clone without what these stand on."""

import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("numpy", "scipy", "h5py", "PIL", "matplotlib", "tqdm", "threadpoolctl")  # pyproject.toml's dependencies

# The package of `python -m` is imported before its __main__.py, which so cannot say it; argv[0] is "-m" meanwhile.
missing = [name for name in NEEDED if find_spec(name) is None] if sys.argv[:1] == ["-m"] else []
if missing:
    what_to_do = f"run `make demo` in {Path(__file__).parents[1]} and use its .venv/bin/python"
    asked = "viz" if "viz" in sys.modules else "models"
    print(f"{asked}: {missing[0]} is not installed: {what_to_do}", file=sys.stderr)
    sys.exit(2)
