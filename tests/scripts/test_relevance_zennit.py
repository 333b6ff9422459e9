"""LRP on a residual network against zennit's, in float64, with the same drawn weights."""

import importlib

import numpy as np
import pytest

import viz
from minigrad import functional as F
from minigrad import nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (make verify installs it)")
pytestmark = pytest.mark.torch

references = importlib.import_module("verification.references")

CHANNELS = ((6, 6, 1), (6, 8, 2), (8, 8, 1))  # of the blocks: in, out, stride
STABILIZER = 1e-6


@pytest.fixture(scope="module")
def zennit():
    try:
        references.reference("zennit")
    except references.MissingReference as error:
        pytest.skip(f"zennit {error} (make verify installs it)")
    names = ("attribution", "canonizers", "composites", "layer", "rules", "types")
    return {name: importlib.import_module(f"zennit.{name}") for name in names}


class Block(nn.Module):
    """A basic block of He et al. 2015, with torchvision's names."""

    def __init__(self, inner, outer, stride):
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(outer, eps=0.0), nn.ReLU()
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2, self.downsample = nn.BatchNorm2d(outer, eps=0.0), None
        if stride > 1:
            norm = nn.BatchNorm2d(outer, eps=0.0)
            self.downsample = nn.Sequential({"0": nn.Conv2d(inner, outer, 1, stride, bias=False), "1": norm})
        self.relu2 = nn.LeakyReLU(0.2)

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu2(y + (self.downsample(x) if self.downsample else x))


class ResNet(nn.Module):
    def __init__(self):
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, eps=0.0)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.layers_ = nn.Sequential({f"block{i}": Block(*sizes) for i, sizes in enumerate(CHANNELS)})
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.layers_(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(F.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def in_torch(add):
    """The same network in torch; add: the class of the Module that sums a last axis."""

    class Theirs(torch.nn.Module):
        def __init__(self, inner, outer, stride):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
            self.bn1, self.relu = torch.nn.BatchNorm2d(outer, eps=0.0), torch.nn.ReLU()
            self.conv2 = torch.nn.Conv2d(outer, outer, 3, padding=1, bias=False)
            self.bn2, self.downsample = torch.nn.BatchNorm2d(outer, eps=0.0), None
            if stride > 1:
                norm = torch.nn.BatchNorm2d(outer, eps=0.0)
                self.downsample = torch.nn.Sequential(torch.nn.Conv2d(inner, outer, 1, stride, bias=False), norm)
            self.add, self.relu2 = add(), torch.nn.LeakyReLU(0.2)

        def forward(self, x):
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu2(self.add(torch.stack([y, self.downsample(x) if self.downsample else x], -1)))

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = torch.nn.Conv2d(3, 6, 3, padding=1, bias=False), torch.nn.BatchNorm2d(6, eps=0.0)
            self.relu, self.maxpool = torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2, 1)
            self.layers_ = torch.nn.ModuleDict({f"block{i}": Theirs(*sizes) for i, sizes in enumerate(CHANNELS)})
            self.gap, self.fc = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Linear(8, 5)

        def forward(self, x):
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            for block in self.layers_.values():
                x = block(x)
            return self.fc(self.gap(x).flatten(1))

    return Whole().double().eval()


def pair(zennit):
    """(ours, theirs) with lively weights and statistics."""
    rng = np.random.default_rng(7)
    ours, theirs = ResNet(), in_torch(zennit["layer"].Sum)
    state = {}
    for name, array in ours.state_dict().items():
        positive = array.ndim == 1 and name.endswith(("weight", "running_var"))
        drawn = rng.uniform(0.5, 1.5, array.shape) if positive else rng.normal(size=array.shape)
        state[name] = drawn * (1 if positive else 0.3)
    ours.load_state_dict(state)
    missing, extra = theirs.load_state_dict({n: torch.from_numpy(a) for n, a in state.items()}, strict=False)
    assert not extra and all(name.endswith("num_batches_tracked") for name in missing)
    return ours, theirs


def composite(zennit, rule, low, high):
    """zennit's rules of the same name for all layers with weights."""
    rules, types, composites = zennit["rules"], zennit["types"], zennit["composites"]
    canonizers = [zennit["canonizers"].SequentialMergeBatchNorm()]
    if rule == "composite":
        return composites.EpsilonGammaBox(low=low, high=high, canonizers=canonizers)
    named = {
        "epsilon_plus": composites.EpsilonPlus,
        "epsilon_plus_flat": composites.EpsilonPlusFlat,
        "epsilon_alpha2_beta1": composites.EpsilonAlpha2Beta1,
        "epsilon_alpha2_beta1_flat": composites.EpsilonAlpha2Beta1Flat,
    }
    if rule in named:
        return named[rule](epsilon=STABILIZER, stabilizer=STABILIZER, canonizers=canonizers)
    hook = {
        "epsilon": rules.Epsilon(STABILIZER),
        "gamma": rules.Gamma(0.25, STABILIZER),
        "zplus": rules.ZPlus(STABILIZER),
        "alphabeta": rules.AlphaBeta(2.0, 1.0, STABILIZER),
        "flat": rules.Flat(STABILIZER),
        "wsquare": rules.WSquare(STABILIZER, zero_params="bias"),
    }[rule]
    layer_map = [*composites.layer_map_base(STABILIZER), (types.Linear, hook)]
    return composites.LayerMapComposite(layer_map=layer_map, canonizers=canonizers)


RULES = ["composite", "epsilon", "gamma", "zplus", "alphabeta", "flat", "wsquare", "epsilon_plus", "epsilon_plus_flat"]
RULES += ["epsilon_alpha2_beta1", "epsilon_alpha2_beta1_flat"]


@pytest.mark.parametrize("through", [None, ("maxpool", [1, 4]), ("layers_.block1", 3)])
@pytest.mark.parametrize("rule", RULES)
def test_a_residual_network(zennit, rule, through):
    """through: what concept relevance keeps, by a hook on the tensor that carries all relevance there."""
    ours, theirs = pair(zennit)
    if through is not None:
        layer, channels = through
        mask = torch.zeros(1, 8 if "block" in layer else 6, 1, 1)
        mask[:, channels] = 1
        layer = dict(theirs.named_modules())[layer]
        layer.register_forward_hook(lambda _, inputs, y: y.register_hook(lambda r: r * mask) and None)
    image = np.random.default_rng(8).uniform(size=(3, 3, 12, 12))
    x, target = torch.from_numpy(image).requires_grad_(True), [1, 4, 2]
    scores = theirs(x).detach()
    start = torch.nn.functional.one_hot(torch.tensor(target), 5) * scores
    bounds = torch.zeros(1, 3, 1, 1, dtype=torch.float64), torch.ones(1, 3, 1, 1, dtype=torch.float64)
    with zennit["attribution"].Gradient(theirs, composite(zennit, rule, *bounds)) as attributor:
        _, expected = attributor(x, start)
    found = viz.lrp(ours, image, target, rule=rule, through=through, epsilon=STABILIZER, gamma=0.25)
    assert abs(found).max() > 1e-3
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-9 * abs(found).max())
