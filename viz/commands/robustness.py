"""Tables of robustness over many photographs: attacks, defences, transfer, and networks side by side.

attacks      how often each attack changes a right answer, before and after saving, and how far it had to go
defences     accuracy under each defence: clean, attacked without knowledge of it, and by an attack that knows it
             (Athalye et al. 2018, arXiv:1802.00420); the lower of the last two is what it is worth
transfer     whether images attacked on one network fool another (Papernot et al. 2016, arXiv:1605.07277)
networks     accuracy of several networks under the same attacks, noises and corruptions (Hendrycks and Dietterich 2019)

Every attacked image is rounded to 8 bits first. A network of ImageNet's 1,000 classes stands beside one of the
photographs' classes by the best of the ImageNet classes that classes.txt names for each.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping

import numpy as np

import models
import viz
from minigrad.nn import Module
from models.mistakes import UserError
from models.model import Model
from viz import plot
from viz.table import Table

from .job import Job
from .kept import Keep, add_store_option, add_worker_options, in_batches, kept
from .labelled import Labelled, add_data_options, labelled_images, model_for
from .options import chosen, distance, parser
from .record import network_name
from .tables import counted, markdown

TABLES = ("attacks", "defences", "transfer", "networks")

AUTO = "of defences and networks: pgd, or auto: APGD-CE, APGD-T and Square, one after the other (default %(default)s)"

options = parser(
    __doc__,
    "--data photos --beside squeezenet1_1 --tables attacks,defences",
    image=False,
    target=False,
)
add_data_options(options, count=240)
add, number = options.add_argument, options.number
add("--beside", nargs="+", default=[], metavar="MODEL", help="further networks, for transfer and networks")
add("--tables", default=",".join(TABLES), help=f"any of {', '.join(TABLES)} (default: all that apply)")
number("--epsilon", "4/255", "the L-infinity budget of pgd and fgsm", low=0, high=1, type=distance)
add("--attack", choices=("pgd", "auto"), default="pgd", help=AUTO)
number("--steps", 10, "of pgd and apgd")
number("--queries", 1000, "of Square, the last attack of auto")
number("--samples", 4, "draws a gradient is averaged over for a random defence")
number("--slow", 0, "also cw, jsma and one_pixel, over the first N photographs", low=0, metavar="N")
add_store_option(options)
add_worker_options(options)


def run(job: Job) -> None:
    """Write each of the tables that were asked for."""
    args = job.args
    wanted = chosen(args.tables, TABLES, "table")
    data = labelled_images(args.data, job.model.input_size, args.count, args.seed, job.model)
    networks, beside = {network_name(args.model): model_for(job.model, data)}, []
    for name in args.beside:
        other = models.load(name, device=args.device).eval().requires_grad_(False)
        if network_name(name) in networks:
            raise UserError(f"--beside {name}: a network of that name stands there already")
        networks[network_name(name)] = model_for(other, data)
        beside.append(other)
    if not args.beside and "transfer" in wanted:
        if args.tables == "transfer":
            raise UserError("transfer is from one network to another: name the other, --beside MODEL")
        wanted.remove("transfer")
    with kept(job, data.images, beside) as keep:
        for name in wanted:
            rows = TABLE[name](job, data, networks, keep)
            of = list(networks) if name in ("transfer", "networks") else [next(iter(networks))]
            write(job, name, rows, data, " and ".join(of))


def write(job: Job, name: str, rows: Table, data: Labelled, of: str) -> None:
    """The table as Markdown, as JSON in the record, and as a figure of its rates. of: the networks' names."""
    heading = next(iter(rows[0]))
    drawn = [row for row in rows if any(isinstance(value, float) for value in row.values())]
    rates = [key for key in drawn[-1] if key not in ("linf", "l2", "l0")]
    columns = [key for key in rates if all(isinstance(row[key], float) for row in drawn)]
    figure = plot.matrix(
        [[100 * row[key] for key in columns] for row in drawn],
        [row[heading] for row in drawn],
        [key.replace("_", " ") for key in columns],
        f"{name}: {of}, {counted(len(data.labels), 'photograph')}, %",
        form="{:.0f}",
    )
    subject = job.subject(name)
    text = markdown(rows)
    job.write_text(text, ".md", subject)
    job.say(text)
    job.write(f"{name}: {counted(len(rows), 'row')}", figure=figure, numbers={"rows": rows}, subject=subject)


# ---- attacks ---------------------------------------------------------------------------------------------------------


Attack = Callable[..., np.ndarray]  # f(model, image, label, samples)


def fgsm(epsilon: float) -> Attack:
    return lambda model, image, label, samples: viz.fgsm(model, image, label=label, epsilon=epsilon, samples=samples)


def pgd(epsilon: float, steps: int, norm: str = "linf") -> Attack:
    return lambda model, image, label, samples: viz.pgd(
        model, image, label=label, epsilon=epsilon, norm=norm, steps=steps, samples=samples
    )


def auto(epsilon: float, steps: int, queries: int) -> Attack:
    return lambda model, image, label, samples: viz.auto_attack(
        model, image, label=label, epsilon=epsilon, steps=steps, queries=queries, samples=samples
    )


def deepfool(model: Module, image: np.ndarray, label: np.ndarray, samples: int) -> np.ndarray:
    return viz.deepfool(model, image, label=label, candidates=5, steps=20)


def carlini_wagner(model: Module, image: np.ndarray, label: np.ndarray, samples: int) -> np.ndarray:
    return viz.carlini_wagner(model, image, label=label, c=1.0, searches=4, steps=100)


def one_pixel(model: Module, image: np.ndarray, label: np.ndarray, samples: int) -> np.ndarray:
    return viz.one_pixel(model, image, label=label, population=100, generations=20)


def jsma(model: Module, image: np.ndarray, label: np.ndarray, samples: int) -> np.ndarray:
    """JSMA needs a target: the second most likely class."""
    ranked = viz.attacks.scores(model, image).argsort(1)[:, ::-1]
    second = [next(c for c in row if c != own) for row, own in zip(ranked, label, strict=True)]
    return viz.jsma(model, image, target=second)


def budgets(args: Namespace) -> dict[str, Attack]:
    level = f"{255 * args.epsilon:.3g}/255"
    return {f"fgsm {level}": fgsm(args.epsilon), f"pgd-{args.steps} {level}": pgd(args.epsilon, args.steps)}


def strongest(args: Namespace) -> Attack:
    """The attack that --attack names."""
    if args.attack == "auto":
        return auto(args.epsilon, args.steps, args.queries)
    return pgd(args.epsilon, args.steps)


def batched(
    job: Job, keep: Keep, table: str, attacks: Mapping[str, Attack], size: int | None = None
) -> dict[str, Attack]:
    """`in_batches` of {name: attack}."""
    return {name: in_batches(keep, f"{table}, {name}", one, job.progress, size) for name, one in attacks.items()}


def attacks(job: Job, data: Labelled, networks: Mapping[str, Model], keep: Keep) -> Table:
    """Attacks on the network, each alone; the slow ones on some photographs."""
    args = job.args
    model = next(iter(networks.values()))
    weak = {
        "fgsm 1/255": fgsm(1 / 255),
        f"pgd-{args.steps} 1/255": pgd(1 / 255, args.steps),
        f"pgd-{args.steps} L2 0.5": pgd(0.5, args.steps, "l2"),
        "deepfool": deepfool,
    }
    tried = batched(job, keep, "attacks", weak | budgets(args))
    rows = viz.attack_table(model, data.images, data.labels, tried, len(data.labels))
    if args.slow:
        slow = {"carlini_wagner": carlini_wagner, "jsma": jsma, "one_pixel": one_pixel}
        slow = batched(job, keep, "slow", slow, 8)
        chosen = job.rng.permutation(len(data.labels))[: args.slow]
        rows += viz.attack_table(model, data.images[chosen], data.labels[chosen], slow, len(chosen))
    return rows


# ---- the other tables ------------------------------------------------------------------------------------------------


def defences(job: Job, data: Labelled, networks: Mapping[str, Model], keep: Keep) -> Table:
    """What defences are worth against the strongest attack."""
    args = job.args
    chosen = {
        "noise 0.05": viz.GaussianNoise(0.05, args.seed),
        "noise 0.1": viz.GaussianNoise(0.1, args.seed),
        "jpeg 75": viz.Jpeg(75),
        "jpeg 25": viz.Jpeg(25),
        "blur 1": viz.GaussianBlur(1.0),
        "3 bits": viz.BitDepth(3),
    }
    attack = in_batches(keep, "defences", strongest(args), job.progress)
    images, labels = data.images, data.labels
    model = next(iter(networks.values()))
    return viz.defence_table(model, images, labels, chosen, attack, args.samples, len(labels))


def transfer(job: Job, data: Labelled, networks: Mapping[str, Model], keep: Keep) -> Table:
    """Whether what fools one network fools another."""
    attack = in_batches(keep, "transfer", pgd(job.args.epsilon, job.args.steps), job.progress)
    return viz.transfer_table(networks, data.images, data.labels, attack, len(data.labels))


def compare(job: Job, data: Labelled, networks: Mapping[str, Model], keep: Keep) -> Table:
    """The networks side by side."""
    attack = {"fgsm 1/255": fgsm(1 / 255)} | budgets(job.args)
    if job.args.attack == "auto":
        attack[f"auto {255 * job.args.epsilon:.3g}/255"] = strongest(job.args)
    attack, count = batched(job, keep, "networks", attack), len(data.labels)
    return viz.robustness_table(networks, data.images, data.labels, attack, seed=job.args.seed, batch_size=count)


TABLE = {"attacks": attacks, "defences": defences, "transfer": transfer, "networks": compare}
