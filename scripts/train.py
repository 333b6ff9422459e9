"""Train a classifier on a folder of class folders, and write its weights, training curve and confusion matrix.

DIR holds train/<class>/ and val/<class>/, or <class>/ (a share of each class is then held out), or is a tar archive of
either. The run may be stopped at any time, by Ctrl-C or a lost machine: the same command goes on from its checkpoint.

--style-augment mixes in copies of photographs in the style of pictures, to make the network go by shape more than by
texture (Geirhos et al. 2019, arXiv:1811.12231; Jackson et al. 2019, arXiv:1809.05375).
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import begin  # noqa: F401 (first of all: see there)
import numpy as np
from matplotlib.figure import Figure
from stylized import add_style_options, stylized_copies
from tqdm import tqdm

import models
from minigrad import nn
from minigrad.serialization import replacing
from models.augment import Augmentation
from models.dataset import Joined, Photographs, open_photographs
from models.known import learn, threshold
from models.labels import imagenet_labels, minivgg_labels
from models.memory import keep_freed_memory
from models.mistakes import UserError
from models.training import Recipe, Step, Trainer, confusion, probabilities
from viz import plot
from viz.commands.command import main
from viz.commands.options import parser
from viz.commands.record import plain, versions


def sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 64,96") from None


default = Recipe()


def course_options(doc, example):
    """A parser with the options of a course of training, new at each call: others may be added to it."""
    options = parser(
        doc,
        example,
        image=False,
        target=False,
        model="the architecture: minivgg or a VGG, such as vgg16 (default %(default)s)",
    )
    add = options.add_argument
    add("--data", required=True, type=Path, metavar="DIR", help="the photographs: a folder or a tar archive")
    add("--held-out", type=float, default=0.2, help="share to validate with if DIR has no val (default %(default)s)")
    add("--cache", type=Path, metavar="FOLDER", help="for decoded photographs (default: in the user's cache)")
    add("--epochs", type=int, default=default.epochs, help="passes over the photographs (default %(default)s)")
    add("--batch-size", type=int, default=default.batch_size, help="(default %(default)s)")
    add("--sizes", type=sizes, default=default.sizes, help="sides of images, spread over the epochs (64,80,96,112)")
    add("--lr", type=float, default=default.lr, help="peak of the learning rate (default %(default)s)")
    add("--warmup", type=float, default=default.warmup, help="share of all steps before the peak (default %(default)s)")
    add("--weight-decay", type=float, default=default.weight_decay, help="(default %(default)s)")
    add("--label-smoothing", type=float, default=default.label_smoothing, help="(default %(default)s)")
    add("--dropout", type=float, default=default.dropout, help="(default %(default)s)")
    add(
        "--average",
        type=float,
        default=default.average,
        help="decay of the average of the weights (default %(default)s)",
    )
    add("--area", type=float, default=0.35, help="the smallest crop, as a share of the image (default %(default)s)")
    add("--eval-size", type=int, default=112, help="side of the validation images (default %(default)s)")
    add(
        "--store-size",
        type=int,
        default=128,
        help="side at which photographs are kept; crops are cut from these (default %(default)s)",
    )
    add("--eval-every", type=int, default=2, metavar="EPOCHS", help="(default %(default)s)")
    add("--flip", action="store_true", help="average the scores of each validation image with its mirror image's")
    add("--checkpoint-every", type=int, default=50, metavar="STEPS", help="(default %(default)s)")
    add(
        "--resume", action=argparse.BooleanOptionalAction, default=True, help="go on from the checkpoint in OUT, if any"
    )
    add("--start", metavar="MODEL", help="begin with these weights (default: new ones, with batch normalisation)")
    add("--half", action="store_true", help="store the weights as float16")
    return options


options = course_options(__doc__, "--data imagenette_cat_zebra_128px.tar.gz")
options.add_argument("--cutmix", type=float, default=0.0, help="share of batches that CutMix mixes (default 0)")
options.add_argument("--unresized", type=float, default=0.0, help="share of crops cut pixel for pixel (default 0)")
add_style_options(options)


def run(job):
    args = job.args
    recipe = recipe_of(args)
    crops = replace(recipe.augmentation, unresized=args.unresized)
    recipe = replace(recipe, augmentation=crops, cutmix=args.cutmix)
    stored = max(args.store_size, args.eval_size, *recipe.sizes)
    photographs = open_photographs(args.data, stored, args.cache, progress=job.progress)
    members, held_out = photographs.split(args.seed, args.held_out)

    def evaluate(model):
        guessed = guess(model, photographs, held_out, args)
        truth = photographs.labels[held_out]
        likelihood = guessed[np.arange(len(truth)), truth]
        accuracy = (guessed.argmax(1) == truth).mean()
        return {"val_loss": float(-np.log(np.maximum(likelihood, 1e-12)).mean()), "val_accuracy": float(accuracy)}

    model = first_model(args, photographs)
    check_sides(model, recipe, args)
    data = photographs.images, photographs.labels, members
    if (copies := stylized_copies(job, photographs, members)) is not None:
        if not copies.finished:
            print("stopped before all stylised copies were made: the same command goes on from there")
            return
        data, recipe = with_copies(data, copies), replace(recipe, copies=copies.key)
        show_copies(job, photographs, copies)
    trainer = Trainer(model, *data, recipe, evaluate, args.eval_every, args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / f"train_{args.model}_checkpoint.npz"
    if args.resume and checkpoint.exists():
        trainer.restore(checkpoint)
    if job.own_process:
        keep_freed_memory()
    train(trainer, checkpoint, job)
    if trainer.finished:
        job.stopped = False  # asked to stop after the last step: there is nothing left to stop
        with trainer.averaged():
            report(trainer, photographs, held_out, job)
    else:
        print(f"stopped in epoch {trainer.epoch + 1} of {recipe.epochs}: the same command goes on from {checkpoint}")


def first_model(args, photographs: Photographs):
    """The network that a run begins with: of new weights, or of those of --start."""
    lines = label_lines(photographs)
    if args.start is None:
        return models.build(args.model, seed=args.seed, batch_norm=True, labels=lines)
    model = models.load(args.start, device=args.device)
    if len(model.labels or ()) != len(lines):
        raise UserError(
            f"--start {args.start} has {len(model.labels or ())} classes, the photographs have {len(lines)}"
        )
    return model


def with_copies(data, copies):
    """(images, labels, members) of training, with the copies after the photographs, each of its photograph's class."""
    images, labels, members = data
    added = np.arange(len(images), len(images) + len(copies.images))
    together = np.concatenate([labels, labels[copies.owners]])
    return Joined(images, copies.images), together, np.concatenate([members, added])


def show_copies(job, photographs: Photographs, copies) -> None:
    """A figure of the first few photographs, each above its copy."""
    few = np.arange(min(6, len(copies.owners)))
    rows = (photographs.images[copies.owners[few]], copies.images[few])
    shown = [image.transpose(2, 0, 1) / 255 for row in rows for image in row]
    names = [photographs.classes[photographs.labels[copies.owners[i]]] for i in few] + ["stylised"] * len(few)
    job.write(
        f"{len(copies.owners)} stylised copies",
        plot.pictures(shown, names, "Photographs and their stylised copies", columns=len(few)),
        numbers={"copies": len(copies.owners), "key": copies.key},
        subject=f"{job.args.model}_styled",
    )


def check_sides(model, recipe: Recipe, args) -> None:
    """Each 2x2 max-pool halves the sides of an image, and something must be left in the end."""
    least = 2 ** sum(isinstance(model[name], nn.MaxPool2d) for name in model.names())
    if (smallest := min(args.eval_size, *recipe.sizes)) < least:
        raise UserError(f"{args.model} takes images from {least} px (--sizes, --eval-size), got {smallest}")


def recipe_of(args) -> Recipe:
    if args.checkpoint_every < 1:
        raise UserError(f"--checkpoint-every must be at least 1, got {args.checkpoint_every}")
    names = ("epochs", "batch_size", "sizes", "lr", "warmup", "weight_decay", "label_smoothing", "dropout", "average")
    chosen = {name: getattr(args, name) for name in (*names, "seed")}
    return Recipe(augmentation=Augmentation(area=(args.area, 1.0)), **chosen)


def label_lines(photographs: Photographs) -> list[str]:
    """The classes' names; all names of a class whose folder is a WordNet id that is known."""
    known = {label.synset: label.line for label in (*imagenet_labels(), *minivgg_labels())}
    return [known.get(f, name) for f, name in zip(photographs.folders, photographs.classes, strict=True)]


def guess(model, photographs: Photographs, members: np.ndarray, args) -> np.ndarray:
    """Probabilities (M,K) of the photographs at ``members``."""
    return probabilities(model, photographs.images, members, args.eval_size, flip=args.flip, device=args.device)


# ---- the run ---------------------------------------------------------------------------------------------------------


def train(trainer: Trainer, checkpoint: Path, job) -> None:
    """Train to the end or until asked to stop, and leave a checkpoint of where that was."""
    total = trainer.recipe.epochs * trainer.batches
    done = trainer.epoch * trainer.batches + trainer.batch
    with job.stoppable(), tqdm(total=total, desc="train", initial=done, unit="step", disable=job.args.quiet) as bar:
        while not trainer.finished and not job.stopped:
            for step in trainer.steps():
                show(bar, step, trainer)
                if job.stopped:
                    break
                if step.batch % job.args.checkpoint_every == 0:
                    trainer.save(checkpoint)
            else:
                bar.set_description("validation")
                entry = trainer.close_epoch()
                if not job.args.quiet:
                    bar.write(", ".join(f"{key} {value:.4g}" for key, value in entry.items()))
                write_log(trainer.history, checkpoint.with_name(f"train_{job.args.model}_log.jsonl"))
                trainer.save(checkpoint)
        trainer.save(checkpoint)


def show(bar: tqdm, step: Step, trainer: Trainer) -> None:
    sums = trainer.sums
    bar.set_description(f"epoch {step.epoch + 1}/{trainer.recipe.epochs} at {step.size} px", refresh=False)
    if trainer.up_to_date:
        loss, accuracy, speed = sums.loss / sums.images, sums.correct / sums.images, sums.images / sums.seconds
        bar.set_postfix_str(f"loss {loss:.3f}, accuracy {accuracy:.1%}, {speed:.0f} images/s", refresh=False)
    bar.update()


def write_log(history: list[dict], path: Path) -> None:
    """A line of JSON for each epoch."""
    with replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in history))


# ---- what comes of it ------------------------------------------------------------------------------------------------


def report(trainer: Trainer, photographs: Photographs, held_out: np.ndarray, job) -> None:
    """Store the network, batch normalisation folded; measure it, as stored, on all held-out photographs; draw."""
    args = job.args
    model, start = models.fold_batch_norm(trainer.model), trainer.model.provenance
    if args.half:
        model.load_state_dict({name: a.astype("float16").astype(a.dtype) for name, a in model.state_dict().items()})
    guessed = guess(model, photographs, held_out, args)
    counts = confusion(guessed.argmax(1), photographs.labels[held_out], len(photographs.classes))
    accuracy = float(counts.trace() / counts.sum())

    model.name, model.input_size = args.model, (args.eval_size, args.eval_size)
    model.provenance = {
        "source": f"trained by minigrad on {args.data.name}",
        "command": job.facts()["command"],
        "seed": args.seed,
        "start": start.get("weights_sha256", start["source"]),
        "recipe": plain(asdict(trainer.recipe)),
        "photographs": counts_of(trainer, photographs, held_out),
        "validation": {"size": args.eval_size, "flip": args.flip, "top1": accuracy},
        "known": threshold(guessed.max(1)),
        "versions": versions(),
    }
    members = trainer.members[trainer.members < len(photographs.images)]  # without the stylised copies
    model.known = learn(model, photographs.images, photographs.labels, members, held_out, args.device)
    weights = args.out / f"{args.model}.h5"
    models.save_weights(model, weights, half=args.half)
    job.written.append(weights)

    history = trainer.history
    line = f"{trainer.recipe.epochs} epochs, training loss {history[-1]['loss']:.3f}"
    job.write(line, training_curve(history), numbers={"history": history}, subject=f"{args.model}_curve")
    job.write(
        f"{accuracy:.2%} of {len(held_out)} validation images right, weights in {weights}",
        confusion_matrix(counts, photographs.classes),
        arrays={"confusion": counts},
        numbers=model.provenance | {"classes": per_class(counts, photographs.classes)},
        subject=f"{args.model}_confusion",
    )


def counts_of(trainer: Trainer, photographs: Photographs, held_out: np.ndarray) -> dict:
    copies = len(trainer.images) - len(photographs.images)
    styled = {"of these stylised": copies} if copies else {}
    return {"training": len(trainer.members), **styled, "validation": len(held_out)}


def per_class(counts: np.ndarray, classes: tuple[str, ...]) -> dict:
    """Accuracy (of the true images of a class, those named so) and precision (of those named so, the true ones)."""
    right, true, named = counts.diagonal(), counts.sum(1), np.maximum(counts.sum(0), 1)
    return {
        name: {"accuracy": right[i] / true[i], "precision": right[i] / named[i], "images": true[i]}
        for i, name in enumerate(classes)
    }


def training_curve(history: list[dict]) -> Figure:
    """Loss and accuracy by epoch, with the sides of the training images where they change."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    epochs = [entry["epoch"] for entry in history]
    validated = [entry for entry in history if "val_loss" in entry]
    for axes, key, scale in zip(figure.subplots(1, 2), ("loss", "accuracy"), (1, 100), strict=True):
        axes.plot(epochs, [scale * e[key] for e in history], label="training (augmented)")
        epochs_validated = [e["epoch"] for e in validated]  # few, perhaps one: hence the markers
        axes.plot(epochs_validated, [scale * e[f"val_{key}"] for e in validated], "o-", ms=3, label="validation")
        for before, entry in zip([None, *history], history, strict=False):
            if before is None or before["size"] != entry["size"]:
                axes.axvline(entry["epoch"] - 0.5, color="0.85", zorder=0)
                place = (entry["epoch"] - 0.5, 1)
                axes.annotate(f" {entry['size']} px", place, xycoords=("data", "axes fraction"), color="0.5", va="top")
        axes.set(xlabel="epoch", ylabel="loss" if key == "loss" else "top-1 accuracy, %")
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def confusion_matrix(counts: np.ndarray, classes: tuple[str, ...]) -> Figure:
    """(K,K) counts as a table, rows (the true classes) shaded by their shares."""
    side = 2.5 + 0.45 * len(classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / counts.sum(1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=90)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true", title=f"{counts.trace() / counts.sum():.1%} of {counts.sum()} right")
    return figure


if __name__ == "__main__":
    raise SystemExit(main("train", options, run))
