"""Convert other programs' weights to a weights file of ours: Keras' .h5, torch's .pth, NumPy's .npz.

Reads Keras' HDF5 in its original, Keras 2 and Keras 3 layouts, torch and torchvision state dicts (without torch, and
without running anything in them) and .npz files. Without --arch, takes the first architecture that the weights fit.
"""

import argparse
from pathlib import Path

import begin  # noqa: F401 (first of all: see there)

from models.convert import ARCHITECTURES, convert
from models.layers import PREPROCESSING
from models.weights_file import save
from viz.commands.exits import exit_code

EXAMPLE = "python scripts/convert.py vgg16-397923af.pth --arch vgg16 --out vgg16.h5"

options = argparse.ArgumentParser(
    description=__doc__, epilog=f"Example:\n  {EXAMPLE}", formatter_class=argparse.RawDescriptionHelpFormatter
)
options.add_argument("source", type=Path, metavar="SOURCE", help="the file to convert")
options.add_argument("--arch", choices=ARCHITECTURES, metavar="NAME", help=f"one of {', '.join(ARCHITECTURES)}")
options.add_argument(
    "--preprocess",
    choices=PREPROCESSING,
    help="what the network was trained on: caffe is BGR, 0-255, minus VGG's mean (caffe-squeezenet: minus 104, 117, "
    "123; bgr255: minus nothing), torchvision RGB, 0-1, normalised, none RGB, "
    "0-1 (default: caffe for Keras and .npz files, torchvision for .pth)",
)
options.add_argument("--out", type=Path, required=True, metavar="FILE", help="the weights file to write, .h5")
options.add_argument(
    "--half", "--float16", action="store_true", help="store 16 bits a weight: half the size, read into memory"
)
options.add_argument("--quiet", action="store_true", help="print nothing")


def run(args):
    model = convert(args.source, args.arch, args.preprocess)
    save(model, args.out, half=args.half)
    if not args.quiet:
        count = sum(parameter.size for parameter in model.parameters())
        print(f"{args.source.name}: {model.name}, {count:,} parameters, {model['preprocess']} -> {args.out}")


def main(argv=None):
    args = options.parse_args(argv)
    return exit_code("convert", lambda: run(args))


if __name__ == "__main__":
    raise SystemExit(main())
