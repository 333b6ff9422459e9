"""What every script begins with: this clone's packages are found, installed or not, and Ctrl-C ends in one line."""

import os
import signal
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
sys.path.insert(1, str(SCRIPTS.parent))  # after the folder of the script


def stopped(*_):
    os.write(2, f"{Path(sys.argv[0]).stem}: stopped; written so far: nothing\n".encode())
    os._exit(130)


# Imports take a second, and Ctrl-C in the middle of NumPy's comes out as an ImportError. exits.py takes over later.
if Path(getattr(sys.modules["__main__"], "__file__", None) or "").resolve().parent == SCRIPTS:
    signal.signal(signal.SIGINT, stopped)

try:
    from viz.commands.command import SCRIPT, start
except ModuleNotFoundError as error:
    what_to_do = f"run `make demo` in {SCRIPTS.parent} and use its .venv/bin/python"
    print(f"{Path(sys.argv[0]).stem}: {error.name} is not installed: {what_to_do}", file=sys.stderr)
    sys.exit(2)


def technique(script):
    """Run the technique that the file `script` is named for; does not return."""
    sys.exit(start(Path(script).stem, sys.argv[1:], SCRIPT, own_process=True))


def weights(script):
    """Run the command of models that the file `script` is named for; does not return."""
    from models.__main__ import main

    name = Path(script).stem
    sys.exit(main([name, *sys.argv[1:]], SCRIPT))
