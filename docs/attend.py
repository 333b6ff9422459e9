"""Teach MiniVGG's last layers that a close-up of a cat is a cat for its face.

    python docs/attend.py imagenette_cat_zebra_128px.tar.gz --start out/minivgg/minivgg.h5 --out out/attend

Training shows photographs of whole cats, so what is "cat" in a close-up is the fur. Here conv5_1 to fc7 learn on the
maps of pool4, of views as in training and of close-ups of training photographs, cut out about where Grad-CAM lies when
the photograph is seen at 64 px. Beside the cross-entropy, Grad-CAM itself is trained (after Ross et al. 2017,
arXiv:1703.03717, and Li et al. 2018, arXiv:1802.10171), by second derivatives: in a close-up of the class --of its
share of every place should be that of the square of guided backpropagation, which draws eyes and nose; in a whole view,
what it was, and there the scores are held near what they were. The tenth that label smoothing takes from a class goes
mostly to classes of its kind (KINDS, NEARER; after Bertinetto et al. 2020, arXiv:1912.09393): behind "cat" mostly comes
another animal, not a cassette player. The weights are written at --way of the way from the first to the mean of those
that each of --seeds trained (Wortsman et al. 2021, arXiv:2109.01903, and 2022, arXiv:2203.05482); a seed that --out
already has is not trained again.
"""

import argparse
import copy
import json
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from train import confusion_matrix, per_class  # noqa: E402  (scripts/train.py)

import minigrad as mg  # noqa: E402  (found in ROOT)
import minigrad.functional as F  # noqa: E402
import models  # noqa: E402
import viz  # noqa: E402
from minigrad import nn  # noqa: E402
from models.augment import Augmentation, resized, to_float  # noqa: E402
from models.dataset import open_photographs  # noqa: E402
from models.known import learn, threshold  # noqa: E402
from models.running_average import RunningAverage  # noqa: E402
from models.training import Recipe, answers, confusion, make_optimizers, one_cycle, probabilities  # noqa: E402
from models.weights_file import OF_THE_FILE  # noqa: E402
from viz.commands.record import plain, versions  # noqa: E402

FROZEN, DEEPEST = "pool4", "relu5_2"  # the last layer that stays as it is; whose maps Grad-CAM weighs
SMALL = 64  # pixels, where a photograph's most important place is looked for
CLOSE, WHOLE = (0.08, 0.4), Augmentation(area=(0.3, 1.0), unresized=0.25)  # share of a photograph; views as in training
OTHERS = 2600  # close-ups of other classes; of the class asked for there are two of each photograph
RECIPE = Recipe(lr=0.01, average=0.98)
CLOSE_UPS, LOOK, AS_BEFORE, SCORES = 0.4, 1.5, 0.5, 1.0  # share of a batch; weights of the three terms
KINDS = {  # a word for each kind that a class is of, by WordNet, the most general first; what is not here shares none
    "tench": "animal",
    "zebra": "animal mammal",
    "cat": "animal mammal carnivore",
    "English springer": "animal mammal carnivore",
    "church": "artifact",
    "chain saw": "artifact instrumentality",
    "garbage truck": "artifact instrumentality",
    "French horn": "artifact instrumentality device",
    "gas pump": "artifact instrumentality device",
    "cassette player": "artifact instrumentality equipment",
    "golf ball": "artifact instrumentality equipment",
    "parachute": "artifact instrumentality equipment",
}
NEARER = 4.0  # by this factor a class's share of another's smoothed label grows with each kind that both are of


@dataclass(frozen=True)
class CloseUps(Augmentation):
    """Squares about a place of each photograph, ``centres`` (N,2) of x, y in [0, 1]."""

    centres: np.ndarray | None = None

    def boxes(self, count, height, width, size, rng):
        side = np.sqrt(rng.uniform(*self.area, (count, 1))) * min(height, width)
        corner = self.centres * (width, height) + rng.normal(0, 8, (count, 2)) - side / 2
        corner = np.clip(corner, 0, (width, height) - side)
        return np.concatenate([corner, corner + side], axis=1)


def kinds_of(name):
    """The kinds that a class is of, the most general first."""
    return KINDS.get(name, "").split()


def soft_labels(classes):
    """(K,K) float32: the probabilities that the scores of a photograph of each class should give to all."""
    kinds, own = [set(kinds_of(name)) for name in classes], np.eye(len(classes))
    others = NEARER ** np.array([[len(one & other) for other in kinds] for one in kinds]) * (1 - own)
    share = RECIPE.label_smoothing
    return ((1 - share) * own + share * others / others.sum(1, keepdims=True)).astype(np.float32)


def parts(model):
    """(the layers up to FROZEN, those up to DEEPEST, those behind it)."""
    layers = model.children()
    at = [[name for name, _ in layers].index(name) + 1 for name in (FROZEN, DEEPEST)]
    return [nn.Sequential(dict(part)) for part in (layers[: at[0]], layers[at[0] : at[1]], layers[at[1] :])]


def in_batches(function, *arrays, size=64):
    """What function gives of 64 at a time, concatenated."""
    pieces = (range(start, min(start + size, len(arrays[0]))) for start in range(0, len(arrays[0]), size))
    return np.concatenate([function(*(array[piece] for array in arrays)) for piece in pieces])


def centres(model, images, labels):
    """(N,2): x and y in [0, 1] of the mean place of Grad-CAM's square on images (N,S,S,3) uint8 of SMALL px."""

    def of(images, labels):
        cam = np.square(viz.grad_cam(model, to_float(resized(images, SMALL)), labels, DEEPEST, upsample=False))
        grid = (np.arange(cam.shape[1]) + 0.5) / cam.shape[1]
        total = np.maximum(cam.sum((1, 2)), np.finfo(cam.dtype).tiny)
        return np.stack([cam.sum(1) @ grid, cam.sum(2) @ grid], axis=1) / total[:, None]

    return in_batches(of, images, labels)


def shares(maps):
    """(N,H,W) Tensor: what each place has of the sum of the positive part of maps."""
    positive = F.relu(maps)
    return positive / F.maximum(positive.sum(axis=(1, 2), keepdims=True), 1e-6)


def drawn(model, views, labels, side):
    """(N,side,side): the places' shares of the square of guided backpropagation on views (N,S,S,3) uint8."""

    def of(views, labels):
        found = viz.per_pixel(viz.guided_backprop(model, to_float(views), labels))
        blocks = found.reshape(len(found), side, found.shape[1] // side, side, -1).mean((2, 4))
        return shares(mg.from_numpy(np.square(blocks / np.maximum(blocks.max((1, 2), keepdims=True), 1e-12)))).numpy()

    return in_batches(of, views, labels)


def looked(maps, scores, labels):
    """(N,H,W): Grad-CAM's shares, to be differentiated once more; scores (N,K) were computed from maps (N,C,H,W)."""
    g = mg.grad(scores[np.arange(len(labels)), labels].sum(), maps, create_graph=True)
    return shares((g.mean(axis=(2, 3), keepdims=True) * maps).sum(axis=1))


def seen(model, x, labels):
    """(N,h,w): Grad-CAM's shares, of maps x (N,C,H,W) of FROZEN."""
    _, middle, head = parts(model)
    maps = mg.Tensor(middle(mg.from_numpy(x)), requires_grad=True)
    return looked(maps, head(maps), labels).numpy()


@dataclass
class Views:
    """What is learnt from: maps of FROZEN (N,C,H,W), labels (N,), and the shares (N,h,w) that Grad-CAM should have, all
    0 where it is not asked."""

    maps: np.ndarray
    labels: np.ndarray
    wanted: np.ndarray

    def draw(self, count, rng):
        rows = rng.integers(len(self.labels), size=count)
        return self.maps[rows], self.labels[rows], self.wanted[rows]


def prepared(model, photographs, members, target, rng):
    """(whole views, close-ups) of the training photographs."""
    size, images, labels = model.input_size[0], photographs.images, photographs.labels
    below, _, _ = parts(model)

    def below_of(views):
        return answers(below, views, np.arange(len(views)), size)

    chosen = rng.permutation(members)
    x = below_of(WHOLE.views(images[chosen], size, rng))
    whole = Views(x, labels[chosen], in_batches(partial(seen, model), x, labels[chosen]))

    own, rest = members[labels[members] == target], members[labels[members] != target]
    chosen, asked = np.concatenate([own, own, rng.permutation(rest)[:OTHERS]]), slice(2 * len(own))
    places = centres(model, images[chosen], labels[chosen])
    views = CloseUps(area=CLOSE, centres=places).views(images[chosen], size, rng)
    wanted = np.zeros((len(chosen), *whole.wanted.shape[1:]), np.float32)
    wanted[asked] = drawn(model, views[asked], labels[chosen[asked]], wanted.shape[1])
    return whole, Views(below_of(views), labels[chosen], wanted)


def loss_of(views, targets, weight, count, layers, rng):
    """Of `count` views: cross-entropy and how far Grad-CAM is from where it should lie; their scores; their maps."""
    x, labels, wanted = views.draw(count, rng)
    maps = layers[0](mg.from_numpy(x))
    scores = layers[1](maps)
    loss = count / RECIPE.batch_size * F.cross_entropy(scores, targets[labels])
    asked = np.flatnonzero(wanted.any((1, 2)))
    if len(asked):
        loss = loss + weight * abs(looked(maps, scores, labels) - wanted)[asked].sum(axis=(1, 2)).mean()
    return loss, scores, x


def learn_to_look(model, start, whole, close, steps, rng):
    """Train the layers behind FROZEN, in place: their weights become the running average of all steps."""
    layers, before = parts(model)[1:], parts(start)[1:]
    top = nn.Sequential({"maps": layers[0], "head": layers[1]}).requires_grad_()
    optimizers, average = make_optimizers(top, RECIPE), RunningAverage(top.state_dict(), RECIPE.average)
    targets = soft_labels(start.labels)
    near = round(CLOSE_UPS * RECIPE.batch_size)
    for step in range(steps):
        loss, scores, x = loss_of(whole, targets, AS_BEFORE, RECIPE.batch_size - near, layers, rng)
        with mg.no_grad():
            as_before = F.softmax(before[1](before[0](mg.from_numpy(x))), 1)
        loss = loss + SCORES * F.cross_entropy(scores, as_before) + loss_of(close, targets, LOOK, near, layers, rng)[0]
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.lr = one_cycle(step, steps, RECIPE.lr, RECIPE.warmup)
            optimizer.step()
        average.update(top.state_dict())
        if (step + 1) % 20 == 0:
            print(f"step {step + 1} of {steps}: loss {loss.item():.3f}", flush=True)
    top.load_state_dict(average.state)
    top.requires_grad_(False)


def learnt(start, photographs, members, target, steps, seed, folder):
    """The network after the training of one seed: that of an earlier run, where folder has it."""
    path = folder / f"{start.name}_seed{seed}.h5"
    if not path.exists():
        began, rng, model = time.monotonic(), np.random.default_rng(seed), copy.deepcopy(start)
        whole, close = prepared(start, photographs, members, target, rng)
        learn_to_look(model, start, whole, close, steps, rng)
        model.provenance["seconds"] = round(time.monotonic() - began)
        models.save_weights(model, path)
    return models.load(path)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, metavar="DATA", help="the photographs, as for scripts/train.py")
    options.add_argument("--start", required=True, metavar="MODEL", help="the network as training left it")
    options.add_argument("--of", default="cat", metavar="CLASS", help="(default %(default)s)")
    options.add_argument("--steps", type=int, default=400, metavar="N", help="(default %(default)s)")
    options.add_argument("--way", type=float, default=0.85, metavar="SHARE", help="(default %(default)s)")
    options.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2, 3], metavar="N", help="(default %(default)s)"
    )
    options.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="(default %(default)s)")
    given = options.parse_args()
    start = models.load(given.start)
    photographs = open_photographs(given.data, max(128, *start.input_size))
    members, held_out = photographs.split()
    given.out.mkdir(parents=True, exist_ok=True)
    target = models.find_class(start, given.of)
    trained = [learnt(start, photographs, members, target, given.steps, seed, given.out) for seed in given.seeds]
    model, first, share = copy.deepcopy(start), start.state_dict(), np.float32(given.way / len(trained))
    states = [one.state_dict() for one in trained]
    moved = {k: v + share * sum(state[k] - v for state in states) for k, v in first.items()}
    model.load_state_dict({k: v.astype(np.float16).astype(v.dtype) for k, v in moved.items()})
    model.known = learn(model, photographs.images, photographs.labels, members, held_out)
    model.provenance = {k: v for k, v in start.provenance.items() if k not in OF_THE_FILE}
    model.provenance["then"] = {
        "command": " ".join(["python", "docs/attend.py", *sys.argv[1:]]),
        "start": start.provenance["weights_sha256"],
        "seeds": given.seeds,
        "steps": given.steps,
        "way": given.way,
        "seconds": [one.provenance["seconds"] for one in trained],
        "versions": versions(),
    }
    write(model, start, photographs, held_out, given.out)


def second_of_its_kind(guessed, truth, classes):
    """{class: (n,) bool, one for each of its photographs that is named right}: whether the second class is of the same
    first kind, animal or artifact. guessed: probabilities (N,K); truth: labels (N,)."""
    kinds = np.array([[*kinds_of(name), name][0] for name in classes])
    first, second = guessed.argsort(1).T[[-1, -2]]
    right = first == truth
    return {name: (kinds[second] == kinds[label])[right & (truth == label)] for label, name in enumerate(classes)}


def write(model, start, photographs, held_out, folder):
    """The weights, as float16, their record and confusion, and what both networks name right."""
    truth, size, name = photographs.labels[held_out], model.input_size[0], model.name
    guessed = {each: probabilities(each, photographs.images, held_out, size) for each in (start, model)}
    for said, each in (("before", start), ("now", model)):
        print(f"{said}: {viz.estimate(guessed[each].argmax(1) == truth).text('{:.1%}')} of {len(truth)} right")
        for label, close in second_of_its_kind(guessed[each], truth, photographs.classes).items():
            text = viz.estimate(close).text("{:.0%}") if len(close) else "none is named right"
            print(f"    one of its kind behind {label}: {text}")
    counts = confusion(guessed[model].argmax(1), truth, len(photographs.classes))
    top1 = float(counts.trace() / counts.sum())
    model.provenance |= {
        "validation": model.provenance["validation"] | {"top1": top1},
        "known": threshold(guessed[model].max(1)),
    }
    models.save_weights(model, folder / f"{name}.h5", half=True)
    classes = {"classes": per_class(counts, photographs.classes)}
    (folder / f"{name}.json").write_text(json.dumps({"numbers": plain(model.provenance | classes)}, indent=1) + "\n")
    confusion_matrix(counts, photographs.classes).savefig(folder / f"{name}_confusion.png")
    print(folder / f"{name}.h5")


if __name__ == "__main__":
    main()
