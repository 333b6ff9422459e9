"""Small networks of the well-known families as plain torch modules, with lively statistics and torchvision's names."""

import torch
from torch import nn


def lively(network, seed=0):
    """The network in evaluation mode, its norms' statistics drawn, so that nothing is the identity by chance."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if name == "running_var":
                tensor.data.uniform_(0.5, 2, generator=generator)
            elif tensor.dtype.is_floating_point and tensor.ndim < 2:
                tensor.data += 0.3 * torch.randn(tensor.shape, generator=generator)
    return network.eval()


def block(inputs, outputs, kernel=3, stride=1, groups=1, act=nn.ReLU):
    padding = (kernel - 1) // 2
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([act()] if act else []))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        change = stride != 1 or inputs != outputs
        self.downsample = block(inputs, outputs, 1, stride, act=None) if change else None

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 8))
        self.layer2 = nn.Sequential(BasicBlock(8, 12, 2), BasicBlock(12, 12))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 7)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1))


class Inverted(nn.Module):
    """MobileNetV2's block."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        wide = 3 * inputs
        self.same = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            block(inputs, wide, 1, act=nn.ReLU6),
            block(wide, wide, 3, stride, wide, act=nn.ReLU6),
            block(wide, outputs, 1, act=None),
        )

    def forward(self, x):
        return x + self.conv(x) if self.same else self.conv(x)


class Squeeze(nn.Module):
    """EfficientNet's gate."""

    def __init__(self, channels):
        super().__init__()
        self.avgpool, self.fc1 = nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 3, 1)
        self.activation, self.fc2 = nn.SiLU(), nn.Conv2d(3, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(self.activation(self.fc1(self.avgpool(x)))))


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth):
        super().__init__()
        self.norm1, self.relu1, self.conv1 = nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, growth, 3, 1, 1)

    def forward(self, features):
        return self.conv1(self.relu1(self.norm1(torch.cat(features, 1))))


class DenseBlock(nn.ModuleDict):
    def __init__(self, inputs, growth, count):
        super().__init__({f"denselayer{i + 1}": DenseLayer(inputs + i * growth, growth) for i in range(count)})

    def forward(self, x):
        features = [x]
        for layer in self.values():
            features.append(layer(features))
        return torch.cat(features, 1)


class Inception(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.branch1 = block(inputs, 4, 1)
        self.branch2 = nn.Sequential(block(inputs, 3, 1), block(3, 5, 3))
        self.branch3 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), block(inputs, 3, 1))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x)], 1)


class Shuffle(nn.Module):
    """ShuffleNetV2's block: half of the channels stays, and both are interleaved."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.branch2 = nn.Sequential(block(half, half, 1), block(half, half, 3, groups=half, act=None))

    def forward(self, x):
        first, second = x.chunk(2, dim=1)
        y = torch.cat((first, self.branch2(second)), 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Next(nn.Module):
    """ConvNeXt's block."""

    def __init__(self, channels):
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm, self.pwconv1 = nn.LayerNorm(channels, 1e-6), nn.Linear(channels, 2 * channels)
        self.act, self.pwconv2 = nn.GELU(), nn.Linear(2 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, x):
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.pwconv2(self.act(self.pwconv1(y)))).permute(0, 3, 1, 2)


def headed(*features, channels):
    layers = {"features": nn.Sequential(*features), "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    layers["classifier"] = nn.Linear(channels, 7)
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    return network


FAMILIES = {
    "resnet": ResNet,
    "mobilenet_v2": lambda: headed(block(3, 6, stride=2), Inverted(6, 6, 1), Inverted(6, 8, 2), channels=8),
    "efficientnet": lambda: headed(block(3, 6, act=nn.SiLU), Squeeze(6), block(6, 8, act=nn.SiLU), channels=8),
    "densenet": lambda: headed(block(3, 6), DenseBlock(6, 4, 3), nn.AvgPool2d(2, 2), channels=18),
    "googlenet": lambda: headed(block(3, 6, stride=2), Inception(6), Inception(12), channels=12),
    "shufflenet_v2": lambda: headed(block(3, 8, stride=2), Shuffle(8), Shuffle(8), channels=8),
    "regnet": lambda: headed(block(3, 8, stride=2), block(8, 8, groups=2), nn.Hardswish(), Squeeze(8), channels=8),
    "convnext": lambda: headed(nn.Conv2d(3, 8, 4, 4), Next(8), Next(8), channels=8),
    "upsampled": lambda: headed(
        block(3, 8, stride=2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.GroupNorm(2, 8),
        nn.PReLU(8),
        nn.ReflectionPad2d((1, 2, 0, 1)),
        nn.ConvTranspose2d(8, 6, 3, 2),
        nn.InstanceNorm2d(6, affine=True),
        nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2),
        channels=6,
    ),
}


class Fire(nn.Module):
    def __init__(self, inputs, squeeze, expand):
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1, self.expand3x3 = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.squeeze1x1(x))
        return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], 1)


def squeezenet():
    """SqueezeNet 1.1 with Caffe's names, in evaluation mode."""
    pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)  # noqa: E731
    layers = {"conv1": nn.Conv2d(3, 64, 3, 2), "relu1": nn.ReLU(), "pool1": pool()}
    inputs = 64
    for number, (squeeze, expand) in enumerate([(16, 64)] * 2 + [(32, 128)] * 2 + [(48, 192)] * 2 + [(64, 256)] * 2, 2):
        layers[f"fire{number}"], inputs = Fire(inputs, squeeze, expand), 2 * expand
        if number in (3, 5):
            layers[f"pool{number}"] = pool()
    layers |= {"conv10": nn.Conv2d(512, 1000, 1), "relu10": nn.ReLU()}
    layers |= {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    return network.eval()
