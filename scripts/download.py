"""Download the official weights of a network, check them, and convert them for `models.load` to find.

vgg16 is Keras' file (the original Caffe weights), vgg19 and squeezenet1_1 are torchvision's. They are kept in
$MINIGRAD_HOME, or minigrad in your cache folder. A download that was cut goes on where it stopped. Without a network,
put the official file in that folder by hand and run this again: it is checked and converted.
"""

import argparse

import begin  # noqa: F401 (first of all: see there)

from models.catalogue import SOURCES
from models.download import download
from viz.commands.exits import exit_code

options = argparse.ArgumentParser(
    description=__doc__,
    epilog="Example:\n  python scripts/download.py vgg16",
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
options.add_argument("name", choices=SOURCES, help="which network")
options.add_argument("--quiet", action="store_true", help="no progress bar, and print nothing")


def run(args):
    path = download(args.name, progress=not args.quiet)
    if not args.quiet:
        print(f'{args.name} is at {path}: models.load("{args.name}")')


def main(argv=None):
    args = options.parse_args(argv)
    return exit_code("download", lambda: run(args))


if __name__ == "__main__":
    raise SystemExit(main())
