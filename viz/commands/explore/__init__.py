"""Explore: the network under your fingers, a page on this machine that answers as one asks.

Look: what the network gets of a photograph, and what it takes it for. Why: any attribution methods beside each other,
with their parameters at hand. Inside: its layers, their channels, and the arithmetic of a single place. Choose, drop or
paste photographs in the page, which says everywhere which command and which Python make the same.

The page is served to this machine alone. With --host it is served to others too, to those who have the token in the
address that is printed. Ctrl-C ends it.
"""

from pathlib import Path

from models.mistakes import UserError

from ..job import Job
from ..options import parser

EXAMPLE = "photo.jpg --model minivgg_robust"
options = parser(__doc__, EXAMPLE, target=False, results=False)
add, number = options.add_argument, options.number
number("--port", 8765, "where it listens; 0 takes any that is free", low=0, high=65535)
add("--host", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0: for others too, by a token (default %(default)s)")
add(
    "--patches",
    type=Path,
    metavar="FILE",
    help="best patches of channels: what patch_index has written for the network",
)
add("--no-browser", action="store_true", help="print the address, and open no browser")


def run(job: Job) -> None:
    """Serve the page until Ctrl-C."""
    try:
        from .server import serve
    except ImportError as error:
        raise UserError(f"explore needs {error.name}: pip install 'minigrad[explore]'") from None
    serve(job)
