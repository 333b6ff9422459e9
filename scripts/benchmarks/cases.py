"""What is timed, and the bars: how many times as fast as PyTorch each case is to be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One step that all engines do, with the same weights on the same input.

    kind: "forward", "gradient" (of one score by the image), "style" (loss and its gradient by the image), "training" (a
    step on one batch), "fed" (such steps on new batches, augmented and moved to the GPU meanwhile), or one of SWEEPS.
    bar: PyTorch's time divided by minigrad's, at least; None where nothing is promised. numpy_bar: the same for another
    engine on NumPy, None where it is not asked. memory_bar: minigrad's peak memory divided by PyTorch's, at most.
    """

    name: str
    title: str
    kind: str
    network: str
    batch: int
    size: int
    bar: float | None = None
    numpy_bar: float | None = None
    memory_bar: float | None = None


def small(name, title, network, size, forward_bar, gradient_bar):
    """The two cases of a network whose time is not all products: what people wait for every day."""
    return (
        Case(name, f"{title}, forward", "forward", network, 1, size, forward_bar),
        Case(f"{name}-grad", f"{title}, with input gradient", "gradient", network, 1, size, gradient_bar),
    )


FOLDED = ("resnet18", "mobilenet_v2", "efficientnet_lite0")  # their batch norms into their convolutions, on both sides
CASES = (
    Case("vgg16-b1", "VGG16 224 px, batch 1, forward", "forward", "vgg16", 1, 224, 1.4, 4.0),
    Case("vgg16-b8", "VGG16 224 px, batch 8, forward", "forward", "vgg16", 8, 224, 1.4, 4.0),
    Case("vgg16-grad-b1", "VGG16 224 px, batch 1, with input gradient", "gradient", "vgg16", 1, 224, 1.3, 4.0, 1.0),
    Case("vgg16-grad-b8", "VGG16 224 px, batch 8, with input gradient", "gradient", "vgg16", 8, 224, 1.3),
    Case("style-512", "style-transfer step, 512 px", "style", "vgg16_features", 1, 512, 1.2),
    *small("squeezenet", "SqueezeNet 1.1, 227 px", "squeezenet1_1", 227, 0.9, 0.8),
    *small("minivgg", "MiniVGG 112 px", "minivgg", 112, 1.0, 1.0),
    *small("resnet18", "ResNet-18 224 px", "resnet18", 224, 0.9, 1.0),
    *small("mobilenet", "MobileNetV2 224 px", "mobilenet_v2", 224, 0.5, 0.5),
    *small("lite0", "EfficientNet-Lite0 224 px", "efficientnet_lite0", 224, 0.5, 0.5),
    Case("squeezenet-b8", "SqueezeNet 1.1, 227 px, batch 8, forward", "forward", "squeezenet1_1", 8, 227),
    Case("minivgg-b8", "MiniVGG 112 px, batch 8, forward", "forward", "minivgg", 8, 112),
    Case("minivgg-step", "MiniVGG training step, 96 px, batch 32", "training", "minivgg_bn", 32, 96, 1.0),
    Case("resnet18-step", "ResNet-18 training step, 64 px, batch 32", "training", "resnet18_bn", 32, 64, 0.9),
    Case("score-cam", "Score-CAM on MiniVGG, against pytorch-grad-cam", "score_cam", "minivgg", 1, 112, 1.5),
    Case("occlusion", "occlusion on MiniVGG, against captum", "occlusion", "minivgg", 1, 112, 1.5),
    Case("rise", "RISE on MiniVGG, 500 masks, against its sums in torch", "rise", "minivgg", 1, 112, 1.3),
    Case("score-cam-vgg16", "Score-CAM on VGG16, 64 maps, against pytorch-grad-cam", "score_cam", "vgg16", 1, 224, 1.5),
    Case("occlusion-vgg16", "occlusion on VGG16, 36 squares, against captum", "occlusion", "vgg16", 1, 224, 1.5),
)
GPU_CASES = (
    Case("vgg16-b1", "VGG16 224 px, batch 1, forward", "forward", "vgg16", 1, 224, 0.8),
    Case("vgg16-b16", "VGG16 224 px, batch 16, forward", "forward", "vgg16", 16, 224, 0.8),
    Case("vgg16-b64", "VGG16 224 px, batch 64, forward", "forward", "vgg16", 64, 224, 0.8),
    Case("vgg16-grad-b1", "VGG16 224 px, batch 1, with input gradient", "gradient", "vgg16", 1, 224, 0.8),
    Case("vgg16-grad-b16", "VGG16 224 px, batch 16, with input gradient", "gradient", "vgg16", 16, 224, 0.8),
    Case("vgg16-grad-b64", "VGG16 224 px, batch 64, with input gradient", "gradient", "vgg16", 64, 224, 0.8),
    Case("style-512", "style-transfer step, 512 px", "style", "vgg16_features", 1, 512, 0.8),
    Case("style-1024", "style-transfer step, 1024 px", "style", "vgg16_features", 1, 1024, 0.8),
    Case("minivgg-step", "MiniVGG training step, 96 px, batch 128", "training", "minivgg_bn", 128, 96, 0.8),
    Case("minivgg-fed", "the same, augmentation on the host included", "fed", "minivgg_bn", 128, 96, 0.8),
)
BUSY_CASES = tuple(case for case in CASES if case.name in ("vgg16-b1", "squeezenet-grad"))
COLD, COLD_TITLE, COLD_BAR = "grad-cam-cold", "prompt to Grad-CAM PNG, cold process", 5.0
ACCURACY, GROWTH, BUSY, PAGE = "accuracy", "growth", "busy", "page"
NAMES = (*(case.name for case in CASES), COLD, ACCURACY, GROWTH, BUSY, PAGE)
GPU_NAMES = (*(case.name for case in GPU_CASES), ACCURACY)
PAGE_METHODS = ("saliency", "grad_cam", "lrp")
PAGE_BARS = {"MiniVGG 112 px": ("minivgg", 0.15), "VGG16 224 px": ("vgg16", 0.5)}  # network, seconds at most

ERROR_BARS = {"direct": 2e-6, "winograd": 2e-5, "auto": 2e-5}  # by algorithm, as shares of the largest value
COSINE_BAR = 1e-6  # 1 - cosine, at most
GPU_ERROR_BAR = 1e-5  # the largest error of scores and gradients, as a share of the largest value

CONTENT_LAYER = "relu4_2"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE_WEIGHT = 1e3
SWEEPS = ("score_cam", "occlusion", "rise")  # methods of hundreds of forward passes
SAMPLES = 500  # RISE's masks
AT_ONCE = 32  # images in a pass of torch; ours are as many as go fastest
LEARNING_RATE, MOMENTUM = 0.001, 0.9


def case(name, gpu=False):
    return next(case for case in (GPU_CASES if gpu else CASES) if case.name == name)


def swept_layer(case):
    """The layer whose maps Score-CAM weighs: the last of MiniVGG; of VGG16, whose last has 512, one with 64."""
    return "relu1_2" if case.network == "vgg16" else "relu5_2"


def square(case):
    """(side, stride) of occlusion's squares, in pixels: 6 x 6 on VGG16, else 13 x 13, each as wide as two steps."""
    stride = case.size // ((6 if case.network == "vgg16" else 13) + 1)
    return 2 * stride, stride


def within(algorithm, row):
    """Whether the errors of an algorithm (see accuracy.py) keep its bar: the 99.9th percentiles and the cosines."""
    errors = (row["scores 99.9 %"], row["held gradient 99.9 %"])
    cosines = (row["scores 1 - cosine"], row["held gradient 1 - cosine"])
    return max(errors) <= ERROR_BARS[algorithm] and max(cosines) <= COSINE_BAR
