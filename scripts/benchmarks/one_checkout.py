"""One checkout's half of `bench.py --before`: `python one_checkout.py CHECKOUT CASE` says "ready", then times a call of
the case for each line that it is given. It uses no name that an older checkout may lack."""

import sys
import time

import numpy as np

FOLDED = ("resnet18", "mobilenet_v2")  # as a weights file has them


def step(name, network, side, batch=1):
    """A step as minigrad_side has it, of a network with drawn weights."""

    def made():
        import models
        from benchmarks import minigrad_side

        model = models.build(network, seed=0).eval()
        if network in FOLDED:
            model = models.fold_batch_norm(model)
        images = np.random.default_rng(0).random((batch, 3, side, side), dtype=np.float32)
        labels = np.arange(batch) % 12
        return getattr(minigrad_side, name)(model, (lambda: (images, labels)) if name == "training" else images)

    return made


def method(name, **options):
    """A method of viz on the embedded network."""

    def made():
        import models
        import viz

        model = models.load("minivgg").eval().requires_grad_(False)
        image = np.random.default_rng(0).random((1, 3, 112, 112), dtype=np.float32)
        if name == "insertion_deletion":
            heat = viz.saliency(model, image, 2)
            return lambda: viz.insertion_deletion(model, image, heat, 2)
        return lambda: getattr(viz, name)(model, image, 2, **options)

    return made


CASES = {
    "vgg16": step("forward", "vgg16", 224),
    "vgg16-grad": step("gradient", "vgg16", 224),
    "squeezenet": step("forward", "squeezenet1_1", 227),
    "squeezenet-grad": step("gradient", "squeezenet1_1", 227),
    "minivgg": step("forward", "minivgg", 112),
    "minivgg-grad": step("gradient", "minivgg", 112),
    "resnet18": step("forward", "resnet18", 224),
    "resnet18-grad": step("gradient", "resnet18", 224),
    "mobilenet": step("forward", "mobilenet_v2", 224),
    "mobilenet-grad": step("gradient", "mobilenet_v2", 224),
    "style": step("style", "vgg16", 224),
    "minivgg-step": step("training", "minivgg", 96, 32),
    "score-cam": method("score_cam"),
    "rise": method("rise", samples=200),
    "occlusion": method("occlusion"),
    "insertion-deletion": method("insertion_deletion"),
}


def main(checkout, case):
    sys.path[:0] = [checkout, f"{checkout}/scripts"]
    import minigrad
    from models.memory import keep_freed_memory

    if not minigrad.__file__.startswith(checkout):
        sys.exit(f"minigrad comes from {minigrad.__file__}")
    call = CASES[case]()
    keep_freed_memory()
    for _ in range(2):
        call()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        call()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
