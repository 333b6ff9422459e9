"""What the page asks about: one network, and the photographs that were shown to it; and runs of commands on them."""

import argparse
import hashlib
import shlex
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import models
import viz
from models.mistakes import UserError
from models.model import Model

from ..command import MODULE, find
from ..job import Job
from ..options import TOLD, Parser
from .worker import Wish

KEPT = 200  # photographs, the last that were looked at
LARGEST = 40_000_000  # bytes of a photograph's file
FILES_KEPT = 200_000_000  # bytes of all files that are kept, to be read larger than the network gets them
SHARED = ("image", "model", "target", "device", "out", "quiet", "help", *TOLD.values())
FILES = ("start", "data", "gif", "style")  # options that name a file, or make one
LARGER = ("style_transfer", "dream")  # commands that read pictures larger than the network gets them
EMBEDDED = ("minivgg", "minivgg_robust")  # networks whose index of patches lies beside this file
SAMPLE = "cat"  # what stands for scikit-image's, whose command line names no file


@dataclass(frozen=True)
class Photograph:
    """key: the hash of its file's bytes. name: the file's. image: (1,3,H,W) in [0,1], what the network gets. whole:
    whether that is the picture as it is, of the network's size already."""

    key: str
    name: str
    image: np.ndarray
    whole: bool = False


class Room:
    """job: of the command line, whose network and photograph there are to begin with."""

    def __init__(self, job: Job) -> None:
        self.patches = patch_index(job.args)
        self.job, self.model, self.photographs, self._scores = job, job.model, OrderedDict(), {}
        self.files = OrderedDict()  # {key: bytes}
        self.own = None
        self.own = self._first()

    def _first(self) -> Photograph | None:
        """The photograph of the command line, or the sample; None where there is none."""
        if self.job.args.image:
            path = Path(self.job.args.image)
            image = self.job.image  # read first: it says what is wrong with the file
            content = path.read_bytes()
            found = Photograph(sha256(content), path.name, image, is_whole(self.job, path))
            return self._keep(found, content)
        try:
            image = self.job.image
        except UserError:  # without scikit-image
            return None
        return self._keep(Photograph(sha256(image.tobytes()), SAMPLE, image))

    def add(self, name: str, content: bytes) -> Photograph:
        """The Photograph of a file's bytes, read as one on disk is; UserError or ImageError says what is wrong."""
        if len(content) > LARGEST:
            raise UserError(f"{name} has more than {LARGEST // 1_000_000} MB: make it smaller first")
        key = sha256(content)
        if key in self.photographs:
            return self._keep(self.photograph(key), content)
        name = Path(name.replace("\\", "/")).name[-80:] or "photograph"
        with TemporaryDirectory() as folder:
            path = Path(folder) / "photograph"
            path.write_bytes(content)
            try:
                job = self._job("classify", [], image_path=path)
                found = Photograph(key, name, job.image, is_whole(job, path))
            except models.ImageError as error:
                raise UserError(str(error).replace(str(path), name)) from None
        return self._keep(found, content)

    def photograph(self, key: str | None) -> Photograph:
        """The Photograph of this key; UserError where it is none that was shown, or it has gone."""
        if key not in self.photographs:
            raise UserError("this photograph is not here any more: drop or choose it again")
        self.photographs.move_to_end(key)
        return self.photographs[key]

    def file(self, photograph: Photograph) -> bytes | None:
        """The bytes of a Photograph's file; UserError where they have gone. None for the sample, which has no file."""
        if photograph.name == SAMPLE and photograph is self.own:
            return None
        if photograph.key not in self.files:
            raise UserError(f"the file of {photograph.name} is not here any more: drop or choose it again")
        self.files.move_to_end(photograph.key)
        return self.files[photograph.key]

    def _keep(self, photograph: Photograph, content: bytes | None = None) -> Photograph:
        """Keep it and its file as the last looked at; what is beyond KEPT and FILES_KEPT goes, but not `own`."""
        self.photographs[photograph.key] = photograph
        if content is not None:
            self.files[photograph.key] = content
            self.files.move_to_end(photograph.key)
        while sum(map(len, self.files.values())) > FILES_KEPT or len(self.files) > KEPT:
            self.files.popitem(last=False)
        passing = [key for key in self.photographs if self.own is None or key != self.own.key]
        for key in passing[: max(0, len(self.photographs) - KEPT)]:
            self._scores.pop(key, None)
            del self.photographs[key]
        return photograph

    def _job(
        self,
        name: str,
        words: Sequence[str],
        image_path: Path | None = None,
        out: Path | None = None,
        network: str | None = None,
    ) -> "Live":
        """A Job of a command, with this network or another of `networks`."""
        options = find(name).options
        args = options.parse_args([*([str(image_path)] if image_path else []), *words, "--quiet"])
        for key in ("device", *TOLD.values()):
            setattr(args, key, getattr(self.job.args, key))
        args.model = network or self.job.args.model
        args.out = out
        job = Live(name, args, words, MODULE, False, [], {key: options.get_default(key) for key in vars(args)})
        job.model = self.networks[args.model]
        return job

    @cached_property
    def networks(self) -> dict[str, Model]:
        """{name: network}: the one of the command line, and where that is embedded both that are."""
        found = {self.job.args.model: self.model}
        for name in EMBEDDED if self.job.args.model in EMBEDDED else ():
            if name not in found:
                found[name] = models.load(name, device=self.job.args.device).eval().requires_grad_(False)
        return found

    def asked(self, name: str, question: dict[str, Any], wish: Wish | None = None, out: Path | None = None) -> "Live":
        """The Live job of a command for what the page asks: {"photo": key, "target": text or None, "options": {...}}.

        Only a command's own options can be given: none names a file, a folder or a device. question["network"]: one of
        `networks`, by default the command line's.
        """
        network = question.get("network") or self.job.args.model
        if network not in self.networks:
            raise UserError(f"{network!r} is not one of the networks here: {', '.join(map(str, self.networks))}")
        photograph = self.photograph(question.get("photo"))
        style = self._style(question["style"], photograph) if "style" in question else None
        words, usual = words_of(name, question), find(name).options.get_default("model")
        words += [f"--style={style[0]}"] if style else []
        job = self._job(name, words, out=out, network=network)
        job.image, job.photo, job.wish = photograph.image, photograph, wish
        named = []
        if "image" in vars(job.args) and photograph.name != SAMPLE:
            job.args.image = photograph.name
            named = [photograph.name]
        if name in LARGER:
            job.files = {job.args.image: self.file(photograph)} | dict([style] if style else [])
        told = self.job.names_model[0 if self.job.args.model == "minivgg" else 2 :]
        model = [] if network == usual else ["--model", network]
        elsewhere = [] if job.args.device == "cpu" else ["--device", job.args.device]
        job.shown = [*named, *words, *model, *told, *elsewhere]
        job.kept = self._scores.setdefault(photograph.key, {})
        return job

    def _style(self, key: str, photograph: Photograph) -> tuple[str, bytes]:
        """(name, bytes) of the second picture, of which a command tells the first by its name."""
        style = self.photograph(key)
        content = self.file(style)
        if content is None:
            raise UserError("the sample is no file that a command could take as a style: drop or choose a picture")
        same = style.name == photograph.name and style.key != photograph.key
        return (f"style-{style.name}" if same else style.name), content

    def begin_python(self, network: str | None) -> str:
        """Lines that load a network."""
        told = [
            f", {name}={value!r}" for name, key in TOLD.items() if (value := getattr(self.job.args, key)) is not None
        ]
        device = "" if self.job.args.device == "cpu" else f", device={self.job.args.device!r}"
        loaded = (
            f"models.load({str(network or self.job.args.model)!r}{device}{''.join(told)}).eval().requires_grad_(False)"
        )
        return f"import models\nimport viz\n\nmodel = {loaded}\n"

    def python(self, photograph: Photograph | None, *lines: str, network: str | None = None) -> str:
        """A program that loads the network and a photograph (or None), and goes on with these lines."""
        if photograph is None:
            return self.begin_python(network) + "\n".join(lines) + "\n"
        source, before = repr(photograph.name), ""
        if photograph.name == SAMPLE:
            source, before = "data.cat()", "from skimage import data\n\n"
        size = "" if photograph.whole else ", model.input_size, model.short_side"
        image = f"image = models.load_image({source}{size})\n"
        if photograph.image.shape[1] == 1:
            before += "from viz.commands.pictures import in_channels\n"
            image += "image = in_channels(model, image)\n"
        return before + self.begin_python(network) + image + "\n".join(lines) + "\n"


def patch_index(args: Namespace) -> viz.PatchIndex | None:
    """The PatchIndex of --patches, or of the embedded network; None where there is none."""
    embedded = Path(__file__).with_name(f"patches_{args.model}.npz") if args.model in EMBEDDED else None
    path = args.patches or embedded
    return None if path is None else viz.load_patches(path)


def sha256(content: bytes) -> str:
    """The key of a photograph: 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def is_whole(job: Job, path: Path) -> bool:
    """Whether a picture has the network's size and is taken as it is (see Job.image)."""
    size, short_side = job.model.input_size, job.model.short_side
    return short_side is not None and job.photograph(path).shape[2:] == size


class Live(Job):
    """A Job whose steps go to the page, which may end it. photo: the Photograph. shown: its command's words. files:
    {name: bytes} of the pictures that it reads itself, None for the sample. kept: {network: scores} of the photo."""

    photo: Photograph | None = None
    wish: Wish | None = None
    shown: Sequence[str] = ()
    files: Mapping[str | None, bytes | None] = {}
    kept: dict[str, np.ndarray] | None = None

    def drawn(self, result: Any) -> dict[str, Any]:
        """What the page gets of a result on its way; set where there is something to show."""
        return {}

    @cached_property
    def scores(self) -> np.ndarray:
        """Computed once for a photograph; a network that has none is refused where they are needed, and only there."""
        if self.kept is None:
            return super().scores
        if self.args.model not in self.kept:
            self.kept[self.args.model] = super().scores
        return self.kept[self.args.model]

    def photograph(
        self, path: Any, size: int | tuple[int, int] | None = None, short_side: int | None = None
    ) -> np.ndarray:
        """As of Job, of one of `files` where there are any."""
        source = path if path is None or not self.files else self.files[path]
        return super().photograph(source, size, short_side)

    @contextmanager
    def stoppable(self) -> Iterator["Live"]:
        """Inside, nothing is different: the page's button ends it, no signal."""
        yield self

    def so_far(self, step: int, steps: int, result: np.ndarray) -> bool:
        super().so_far(step, steps, result)
        if self.wish is not None:
            self.stopped = self.wish.part(step, steps, lambda: self.drawn(result))
        return self.stopped

    def until_stopped(
        self, total: int | None, done: Callable[..., Any] = lambda *given: given[0]
    ) -> Callable[..., bool]:
        before = super().until_stopped(total, done)

        def callback(*given: Any) -> bool:
            before(*given)
            self.stopped = self.wish is not None and self.wish.part(self.done[0], total, dict)
            return self.stopped

        return callback

    def frame(self, step: int, image: np.ndarray, losses: Mapping[str, float]) -> bool:
        """The callback of viz's optimisers."""
        steps = (self.args.steps or 0) * getattr(self.args, "octaves", 1) * getattr(self.args, "scales", 1)
        return self.wish is not None and self.wish.part(step, steps, lambda: self.drawn(image))

    @property
    def command_line(self) -> str:
        """What makes the same in a terminal."""
        return shlex.join([*self.program.format(self.name).split(), *map(str, self.shown)])


def own_options(options: Parser) -> dict[str, argparse.Action]:
    """{flag: action} of the options that are a command's own."""
    return {
        action.option_strings[0]: action
        for action in options._actions
        if action.option_strings and action.dest not in (*SHARED, *FILES) and action.help != "==SUPPRESS=="
    }


def words_of(name: str, question: dict[str, Any]) -> list[str]:
    """The words of a command line for what the page asks; options that have their default are left out."""
    known = own_options(find(name).options)
    words = [f"--target={question['target']}"] if question.get("target") else []
    for flag, value in question.get("options", {}).items():
        if flag not in known:
            raise UserError(f"{name} has no option {flag!r} that can be asked for here")
        if known[flag].nargs == 0:
            words += [flag] if value else []
        elif isinstance(value, list):
            words += [flag, *map(str, value)]
        elif str(value) not in ("", str(known[flag].default)):
            words.append(f"{flag}={value}")
    return words
