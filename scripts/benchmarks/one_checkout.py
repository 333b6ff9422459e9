"""One checkout's half of `bench.py --before`: `python one_checkout.py CHECKOUT CASE` says "ready", then times a call of
the case for each line that it is given. It uses no name that an older checkout may lack."""

import sys
import time

import numpy as np

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def vgg16():
    import models

    image = np.random.default_rng(0).random((1, 3, 224, 224), dtype=np.float32)
    return models.build("vgg16", seed=0).eval().requires_grad_(False), image


def forward():
    import minigrad as mg

    model, image = vgg16()

    def step():
        with mg.no_grad():
            model(mg.Tensor(image))

    return step


def gradient():
    import minigrad as mg

    model, image = vgg16()

    def step():
        x = mg.Tensor(image, requires_grad=True)
        mg.grad(model(x)[0, 1], x)

    return step


def style():
    import minigrad as mg
    import viz

    model, image = vgg16()

    def step():
        x = mg.Tensor(image, requires_grad=True)
        found = model.activations(x, ["relu4_2", *STYLE_LAYERS])
        loss = (found["relu4_2"] ** 2).sum()
        for layer in STYLE_LAYERS:
            loss = loss + (viz.gram(found[layer]) ** 2).sum()
        mg.grad(loss, x)

    return step


def training():
    import models
    from benchmarks import minigrad_side

    images = np.random.default_rng(0).random((32, 3, 96, 96), dtype=np.float32)
    labels = np.arange(len(images)) % 12
    return minigrad_side.training(models.build("minivgg", seed=0), lambda: (images, labels))


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
    "vgg16": forward,
    "vgg16-grad": gradient,
    "style": style,
    "minivgg-step": training,
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
    step = CASES[case]()
    keep_freed_memory()
    for _ in range(2):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
