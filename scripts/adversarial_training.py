"""Train a network on attacked images, so that it withstands them (Madry et al. 2018, arXiv:1706.06083).

The options and the course of the run are those of train.py, and so is stopping and going on. Each batch is first
attacked by PGD within --epsilon, in --attack-steps steps, each about as long as two thirds of a training step. --start
begins with trained weights, which takes far fewer epochs and a smaller --lr. The weights are written as
OUT/MODEL_robust.h5; accuracy on held-out photographs, clean and attacked, is that of the stored network.
"""

import begin  # noqa: F401 (first of all: see there)
import numpy as np
import train

import models
import viz
from models.augment import whole
from models.dataset import open_photographs
from viz.adversarial_training import AdversarialTrainer
from viz.commands.command import main
from viz.commands.options import distance
from viz.commands.tables import markdown

EXAMPLE = "--data photos.tar.gz --start minivgg --epochs 4 --lr 0.01"
options = train.course_options(__doc__, EXAMPLE)
add = options.add_argument
add("--epsilon", type=distance, default=4 / 255, help="the budget of the attack in training (default 4/255)")
add("--attack-steps", type=int, default=3, help="of PGD in training (default %(default)s)")
add("--attacked", type=int, default=240, help="held-out photographs to attack in the end (default %(default)s)")


def run(job):
    args, recipe = job.args, train.recipe_of(job.args)
    photographs = open_photographs(args.data, max(args.eval_size, *recipe.sizes), args.cache, progress=job.progress)
    members, held_out = photographs.split(args.seed, args.held_out)
    model = train.first_model(args, photographs)
    train.check_sides(model, recipe, args)
    args.model = f"{args.model}_robust"  # what the files are called

    trainer = AdversarialTrainer(
        model,
        photographs.images,
        photographs.labels,
        members,
        recipe,
        device=args.device,
        epsilon=args.epsilon,
        attack_steps=args.attack_steps,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / f"train_{args.model}_checkpoint.npz"
    if args.resume and checkpoint.exists():
        trainer.restore(checkpoint)
    train.train(trainer, checkpoint, job)
    if not trainer.finished:
        print(f"stopped in epoch {trainer.epoch + 1} of {recipe.epochs}: the same command goes on from {checkpoint}")
        return
    job.stopped = False
    with trainer.averaged():
        train.report(trainer, photographs, held_out, job)
    measure(job, photographs, held_out)


def measure(job, photographs, held_out):
    """The stored network's accuracy, clean and under PGD of growing budgets, beside that of --start."""
    args = job.args
    chosen = np.random.default_rng(args.seed).permutation(held_out)[: args.attacked]
    images, labels = viz.as_saved(whole(photographs.images[chosen], args.eval_size)), photographs.labels[chosen]
    networks = {"robust": models.load(args.out / f"{args.model}.h5", device=args.device)}
    if args.start is not None:
        networks["before"] = models.load(args.start, device=args.device)
    rows = []
    for name, network in networks.items():
        row = {"network": name, "images": len(chosen), "clean": viz.accuracy(network, images, labels)}
        for factor in (0.25, 0.5, 1.0):
            attacked = viz.robustness.attacked_images(
                network,
                images,
                labels,
                lambda m, x, y, _, factor=factor: viz.pgd(m, x, label=y, epsilon=factor * args.epsilon, steps=10),
            )
            key = f"pgd-10 {255 * factor * args.epsilon:.3g}/255"
            row[key] = viz.accuracy(network, viz.as_saved(attacked), labels)
        rows.append(row)
    job.say(markdown(rows))
    job.write("accuracy under attack", numbers={"rows": rows}, subject=f"{args.model}_attacked")


if __name__ == "__main__":
    raise SystemExit(main("adversarial_training", options, run))
