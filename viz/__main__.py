"""The techniques, by name.

python -m viz --list        every technique: what it shows, its script and its paper, family by family
python -m viz saliency      its signature and description, its script, its paper and its page of the guide
"""

import argparse
import difflib
import inspect
import sys
import textwrap

import viz

from .techniques import FAMILIES, TECHNIQUES


def listing():
    """Every technique, family by family."""
    lines = []
    for family, page, rows in FAMILIES:
        lines += ["", f"{family}    docs/techniques/{page}"]
        for technique in (TECHNIQUES[row[0]] for row in rows):
            where = "; ".join(part for part in (technique.command, technique.paper) if part)
            lines += [f"  {technique.name:24} {technique.what}", f"  {'':24} {where}"]
    return "\n".join(lines[1:])


def described(technique):
    """What `python -m viz NAME` prints."""
    function = getattr(viz, technique.name)
    rows = {
        "family": technique.family,
        "script": technique.command,
        "paper": technique.paper,
        "guide": f"docs/techniques/{technique.page}",
    }
    signature = f"viz.{technique.name}{inspect.signature(function)}"
    return "\n".join(
        [
            *textwrap.wrap(signature, 118, subsequent_indent="    "),
            "",
            textwrap.indent(inspect.getdoc(function), "    "),
            "",
            *(f"{name:8} {value}" for name, value in rows.items() if value),
        ]
    )


def main(argv=None):
    """Returns the exit code: 0, or 2 for a technique that does not exist."""
    options = argparse.ArgumentParser(
        "python -m viz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("name", nargs="?", metavar="NAME", help="a technique, such as saliency")
    options.add_argument("--list", action="store_true", help="list every technique; so does no argument at all")
    args = options.parse_args(argv)
    if args.name is None or args.list:
        print(listing())
        return 0
    name = args.name.lower().replace("-", "_")
    if name not in TECHNIQUES:
        near = difflib.get_close_matches(name, TECHNIQUES, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "python -m viz --list names all"
        print(f"viz: there is no technique {args.name!r}: {hint}", file=sys.stderr)
        return 2
    print(described(TECHNIQUES[name]))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        sys.exit(141)
