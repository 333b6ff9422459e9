"""Training a classifier on photographs: learning rate, running average of the weights, checkpoints, and the loop.

A run is a function of its recipe, its photographs and its model's first weights. All that changes during it is in the
checkpoint, and each batch depends on (seed, epoch, batch) alone, so a run that was stopped goes on to the weights it
would have had anyway, bit for bit. A checkpoint knows no device: a GPU's run may go on on the CPU, and the other way.

A GPU works through what it is given while the next steps are prepared, as long as nobody waits for a result. So losses
stay there, and are read back after every few steps; batches are made ahead by more threads than one.
"""

import hashlib
import json
import math
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
import minigrad.functional as F
from minigrad import nn, optim
from minigrad.device import array_module, current_device, to_device, to_numpy
from minigrad.kernels import thread_count
from minigrad.serialization import replacing

from .augment import Augmentation, Batch, batches_per_epoch, prefetch, to_float, training_batches, validation_batches
from .running_average import RunningAverage

READ_EVERY = 16  # steps on a GPU, of which the losses are then read back together


@dataclass(frozen=True)
class Recipe:
    """What a run is made of, apart from the model and the photographs.

    ``sizes`` are the sides of the training images in pixels, spread evenly over the epochs: small ones first are cheap,
    and a network does best on images somewhat larger than it was trained on (Touvron et al. 2019, arXiv:1906.06423).
    ``copies`` says what the stylised copies among the photographs were made of, where there are any.
    ``lr`` is the peak of ``one_cycle``, whose rise takes the share ``warmup`` of all steps. Weight decay spares biases
    and batch normalisation. ``dropout`` is the probability of all the model's Dropout layers. ``average`` is the decay,
    at each step, of the running average of the weights; 0 for none. ``cutmix`` is the probability of a batch whose
    views have each a piece of another (see ``augment.cutmix``).
    """

    epochs: int = 30
    batch_size: int = 64
    sizes: tuple[int, ...] = (64, 80, 96, 112)
    lr: float = 0.1
    warmup: float = 0.15
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    dropout: float = 0.2
    average: float = 0.999
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    copies: str | None = None
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        area, unresized = self.augmentation.area, self.augmentation.unresized
        for wrong, sentence in (
            (self.epochs < 1, f"epochs must be at least 1, got {self.epochs}"),
            (self.batch_size < 2, f"the batch size must be at least 2, got {self.batch_size}"),
            (not self.sizes or min(self.sizes) < 1, f"sizes must be numbers of pixels, got {self.sizes}"),
            (len(self.sizes) > self.epochs, f"{len(self.sizes)} sizes do not fit into {self.epochs} epochs"),
            (not 0 < self.lr < math.inf, f"the learning rate must be positive, got {self.lr}"),
            (not 0 <= self.warmup < 1, f"warmup must lie in [0, 1), got {self.warmup}"),
            (not 0 <= self.label_smoothing < 1, f"label smoothing must lie in [0, 1), got {self.label_smoothing}"),
            (not 0 <= self.dropout < 1, f"dropout must lie in [0, 1), got {self.dropout}"),
            (not 0 <= self.average < 1, f"the average's decay must lie in [0, 1), got {self.average}"),
            (not 0 <= self.cutmix <= 1, f"cutmix must lie in [0, 1], got {self.cutmix}"),
            (not 0 <= unresized <= 1, f"the share of unresized crops must lie in [0, 1], got {unresized}"),
            (not 0 < area[0] <= area[1] <= 1, f"the crops' area must lie in (0, 1], got {area[0]} to {area[1]}"),
        ):
            if wrong:
                raise ValueError(sentence)

    def size(self, epoch: int) -> int:
        return self.sizes[epoch * len(self.sizes) // self.epochs]


def one_cycle(step: int, steps: int, peak: float, warmup: float) -> float:
    """The learning rate of ``step`` in range(steps), after Smith and Topin 2017 (arXiv:1708.07120): a straight rise
    from peak / 25 over the share ``warmup`` of all steps, then half a cosine down to peak / 1000."""
    rise = warmup * steps
    if step < rise:
        return peak * (0.04 + 0.96 * step / rise)
    progress = (step - rise) / max(1, steps - 1 - rise)
    return peak * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * progress)))


# ---------------------------------------------------------------- the loop


@dataclass
class Step:
    """Which step was done."""

    epoch: int
    batch: int  # batches done in this epoch
    size: int
    lr: float


@dataclass
class Sums:
    """Over the epoch so far, as far as it has been read back."""

    loss: float = 0.0
    correct: int = 0
    images: int = 0
    seconds: float = 0.0


class Trainer:
    """Trains ``model`` (scores (N,K) of images (N,3,H,W)) on ``images`` (M,S,S,3) uint8 and ``labels`` (M,).

    ``members`` are the indices to train on. A run is

        while not trainer.finished:
            for step in trainer.steps():    # the rest of an epoch; may be left, and entered again, at any step
                ...
            trainer.close_epoch()

    ``save`` and ``restore`` carry it from one process to the next. ``close_epoch`` appends a dict to ``history``; every
    ``evaluate_every`` epochs, and at the last, it adds what ``evaluate(model)`` returns for the averaged weights.
    """

    def __init__(
        self,
        model: nn.Module,
        images: np.ndarray,
        labels: np.ndarray,
        members: np.ndarray,
        recipe: Recipe,
        evaluate: Callable[..., Any] | None = None,
        evaluate_every: int = 1,
        device: str = "cpu",
    ) -> None:
        if evaluate_every < 1:
            raise ValueError(f"epochs between evaluations (--eval-every) must be at least 1, got {evaluate_every}")
        self.model, self.recipe = model.requires_grad_().to(device), recipe
        self.device = next(iter(model.parameters())).device
        self.images, self.labels, self.members = images, labels, members
        self.evaluate, self.evaluate_every = evaluate, evaluate_every
        self.batches = batches_per_epoch(len(members), recipe.batch_size)
        self.epoch, self.batch = 0, 0
        self.sums = Sums()
        self.history: list[dict] = []
        self._unread: list = []  # (loss, right answers, images) of the last steps, numbers where the model is
        self.optimizers = make_optimizers(model, recipe)
        self.average = RunningAverage(model.state_dict(), recipe.average) if recipe.average else None
        self.dropouts = [layer for layer in map(model.__getitem__, model.names()) if isinstance(layer, nn.Dropout)]
        for layer in self.dropouts:
            layer.p = recipe.dropout

    @property
    def finished(self) -> bool:
        return self.epoch == self.recipe.epochs

    def steps(self) -> Iterator[Step]:
        recipe = self.recipe
        batches = training_batches(
            self.images,
            self.labels,
            self.members,
            size=recipe.size(self.epoch),
            batch_size=recipe.batch_size,
            augmentation=recipe.augmentation,
            seed=recipe.seed,
            epoch=self.epoch,
            start=self.batch,
            mixed=recipe.cutmix,
        )
        began = time.perf_counter()
        for batch in prefetch(batches, workers(self.device)):
            with current_device(next(iter(self.model.parameters())).data):
                step = self._step(batch)
            self.sums.seconds += time.perf_counter() - began
            yield step
            began = time.perf_counter()

    def _step(self, batch: Batch) -> Step:
        recipe = self.recipe
        for i, layer in enumerate(self.dropouts):
            layer.rng = np.random.default_rng([recipe.seed, self.epoch, self.batch, i])
        lr = one_cycle(self.epoch * self.batches + self.batch, recipe.epochs * self.batches, recipe.lr, recipe.warmup)

        images = self._images(batch.views, batch.labels)
        self.model.train()
        scores = self.model(mg.from_numpy(images))
        target = self._target(batch, scores.shape[1])
        loss = F.cross_entropy(scores, mg.from_numpy(target), label_smoothing=recipe.label_smoothing)
        right = (scores.data.argmax(1) == (target if target.ndim == 1 else target.argmax(1))).sum()
        self._unread.append((loss.data, right, len(batch.labels)))
        if self.device == "cpu" or len(self._unread) >= READ_EVERY:
            self.read_back()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.lr = lr
            optimizer.step()
        if self.average:
            self.average.update(self.model.state_dict())
        self.batch += 1
        return Step(self.epoch, self.batch, recipe.size(self.epoch), lr)

    def _images(self, views: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The batch to learn from, where the model is: (B,3,size,size) float32 in [0,1]."""
        return to_float(to_device(views, self.device))

    def _target(self, batch: Batch, classes: int) -> Any:
        """What cross_entropy takes: on the CPU the labels, if each view is of one class; else probabilities. So always
        on a GPU, which would have to be waited for to check labels."""
        if self.device == "cpu" and batch.share == 1:
            return batch.labels
        one = np.eye(classes, dtype=np.float32)
        share = np.float32(batch.share)
        return to_device(share * one[batch.labels] + (1 - share) * one[batch.others], self.device)

    @property
    def up_to_date(self) -> bool:
        """Whether ``sums`` has every step."""
        return not self._unread

    def read_back(self) -> None:
        """Add the last steps' losses to ``sums``. Raises FloatingPointError if one is not finite."""
        if not self._unread:
            return
        losses, right, counts = zip(*self._unread, strict=True)
        self._unread = []
        xp = array_module(losses[0])
        with current_device(losses[0]):
            values, hits = (to_numpy(xp.stack(numbers)).tolist() for numbers in (losses, right))
        for value, hit, count in zip(values, hits, counts, strict=True):
            if not math.isfinite(value):
                raise FloatingPointError(f"the loss became {value} in epoch {self.epoch + 1}: lower the learning rate")
            self.sums.loss += value * count
            self.sums.correct += hit
            self.sums.images += count

    def close_epoch(self) -> dict:
        began = time.perf_counter()
        self.read_back()
        sums, recipe = self.sums, self.recipe
        sums.seconds += time.perf_counter() - began
        entry = {
            "epoch": self.epoch + 1,
            "size": recipe.size(self.epoch),
            "loss": sums.loss / sums.images,
            "accuracy": sums.correct / sums.images,
            "images_per_second": sums.images / sums.seconds,
        }
        due = (self.epoch + 1) % self.evaluate_every == 0 or self.epoch + 1 == recipe.epochs
        if self.evaluate and due:
            with self.averaged():
                entry |= self.evaluate(self.model)
        self.history.append(entry)
        self.sums, self.epoch, self.batch = Sums(), self.epoch + 1, 0
        return entry

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model holds the running average of its weights, if there is one."""
        trained = self.model.state_dict()
        if self.average:
            self.model.load_state_dict(self.average.state)
        try:
            yield
        finally:
            self.model.load_state_dict(trained)

    # -------- checkpoints

    def save(self, path: Path) -> None:
        """Write all that the rest of the run depends on; the file is replaced whole or not at all."""
        self.read_back()
        arrays = {f"model/{name}": array for name, array in self.model.state_dict().items()}
        if self.average:
            arrays |= {f"average/{name}": array for name, array in self.average.state.items()}
        for group, optimizer in enumerate(self.optimizers):
            for i, state in enumerate(optimizer.state):
                arrays |= {f"optimizer/{group}/{i}/{name}": array for name, array in state.items()}
        progress = {
            "recipe": self._fingerprint(),
            "epoch": self.epoch,
            "batch": self.batch,
            "sums": asdict(self.sums),
            "history": self.history,
            "steps": self.optimizers[0].steps,
        }
        with replacing(path) as temporary, open(temporary, "wb") as file:
            kept: dict[str, Any] = {name: to_numpy(array) for name, array in arrays.items()}
            np.savez(file, progress=json.dumps(progress), **kept)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint. Raises ValueError for one of another recipe, model or set of photographs."""
        try:
            with np.load(path) as file:
                arrays = {name: file[name] for name in file.files}
            progress = json.loads(str(arrays.pop("progress")))
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
            raise ValueError(
                f"{path} is no checkpoint of this program, or is damaged: delete it to start anew"
            ) from error
        recipe = self._fingerprint()
        differing = [key for key in recipe if progress["recipe"].get(key) != recipe[key]]
        if differing:
            raise ValueError(
                f"{path} is of another run (it differs in {', '.join(differing)}): "
                "give the same options, another folder to write to, or delete it"
            )
        parts: dict[str, dict] = {"model": {}, "average": {}, "optimizer": {}}
        for name, array in arrays.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = to_device(array, self.device)
        self.model.load_state_dict(parts["model"])
        if self.average:
            self.average.state, self.average.count = parts["average"], progress["steps"]
        for optimizer in self.optimizers:
            optimizer.steps = progress["steps"]
            optimizer.state = [{} for _ in optimizer.params]
        for name, array in parts["optimizer"].items():
            group, i, key = name.split("/")
            self.optimizers[int(group)].state[int(i)][key] = array
        self.epoch, self.batch = progress["epoch"], progress["batch"]
        self.sums, self.history = Sums(**progress["sums"]), progress["history"]
        self._unread = []

    def _fingerprint(self) -> dict:
        """What must be the same for a checkpoint to be gone on from."""
        digest = hashlib.sha256(self.members.tobytes() + self.labels.tobytes() + repr(self.images.shape).encode())
        shapes = {name: list(array.shape) for name, array in self.model.state_dict().items()}
        facts = asdict(self.recipe) | {"photographs": digest.hexdigest(), "model": shapes}
        return json.loads(json.dumps(facts))  # tuples become lists, as they do on their way through a file


def make_optimizers(model: nn.Module, recipe: Recipe) -> list[optim.SGD]:
    """One for the weights that decay, one for biases and batch normalisation, which do not."""
    groups = [p for p in model.parameters() if p.ndim > 1], [p for p in model.parameters() if p.ndim == 1]
    return [
        optim.SGD(group, recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0, weight_decay=decay)
        for group, decay in zip(groups, (recipe.weight_decay, 0.0), strict=True)
        if group
    ]


def workers(device: str) -> int:
    """How many threads make batches: on the CPU the network needs the others."""
    return 1 if device == "cpu" else max(1, min(8, thread_count() - 1))


# ---------------------------------------------------------------- evaluation


def answers(
    ask: Callable[[mg.Tensor], mg.Tensor],
    images: np.ndarray,
    members: np.ndarray,
    size: int,
    batch_size: int = 64,
    flip: bool = False,
    device: str = "cpu",
) -> np.ndarray:
    """(M,...) float32: what ``ask`` gives, (B,...), for ``images[members]``, whole, as (B,3,size,size) on ``device``.

    ``flip`` averages each image's with its mirror image's.
    """
    found = []
    unlabelled = np.zeros(len(images), np.int8)
    batches = validation_batches(images, unlabelled, members, size=size, batch_size=batch_size)
    for batch, _ in prefetch(batches, workers(device)):
        moved = to_device(batch, device)
        with mg.no_grad(), current_device(moved):
            views = to_float(moved)
            sides = [views, views[:, :, :, ::-1]] if flip else [views]
            given = [ask(mg.from_numpy(side)).numpy() for side in sides]
        found.append(np.mean(given, axis=0))
    return np.concatenate(found)


def probabilities(model: nn.Module, *photographs: Any, **how: Any) -> np.ndarray:
    """(M,K) float32: the classes' probabilities, in evaluation mode; the rest as for `answers`."""
    model.eval()
    return answers(lambda x: F.softmax(model(x), 1), *photographs, **how)


def confusion(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """(K,K) counts: row the true class, column the predicted one."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
