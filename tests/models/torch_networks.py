"""ResNet-50, EfficientNet-B0 and EfficientNet-Lite0 in torch, written by hand, with their published names."""

import torch
from torch import nn
from torch.nn import functional as F


def lively(network, seed=0):
    """Weights drawn, and statistics near those of its activations, so that these neither vanish nor explode."""
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
    for norm in norms:
        norm.momentum = 1
        norm.weight.data.uniform_(0.5, 1.5, generator=generator)
        norm.bias.data.normal_(0, 0.3, generator=generator)
    with torch.no_grad():
        network.train()(torch.rand(8, 3, 64, 64, generator=generator))
    for norm in norms:
        norm.running_mean += norm.running_var.sqrt() * torch.randn(norm.num_features, generator=generator) / 8
        norm.running_var *= torch.empty(norm.num_features).uniform_(0.8, 1.25, generator=generator)
    return network.eval()


class Bottleneck(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        if stride != 1 or channels != 4 * width:
            conv = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for stage, (count, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
            blocks = []
            for place in range(count):
                blocks.append(Bottleneck(channels, width, 2 if stage > 1 and place == 0 else 1))
                channels = 4 * width
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def conv_norm(channels, width, kernel, stride=1, groups=1, activation=True):
    conv = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), *([nn.SiLU()] if activation else []))


class SqueezeExcitation(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(x.mean((2, 3), keepdim=True)))))


class MBConv(nn.Module):
    def __init__(self, channels, width, kernel, stride, expansion):
        super().__init__()
        wide = channels * expansion
        layers = [conv_norm(channels, wide, 1)] if expansion > 1 else []
        layers += [conv_norm(wide, wide, kernel, stride, wide), SqueezeExcitation(wide, channels // 4)]
        self.block = nn.Sequential(*layers, conv_norm(wide, width, 1, activation=False))
        self.adds = stride == 1 and channels == width

    def forward(self, x):
        return x + self.block(x) if self.adds else self.block(x)


class LiteBlock(nn.Module):
    def __init__(self, channels, width, kernel, stride, expansion):
        super().__init__()
        wide = channels * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._project_conv, self._bn2 = nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width, eps=1e-3)
        self.adds = stride == 1 and channels == width

    def forward(self, x):
        y = F.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        y = F.relu6(self._bn1(self._depthwise_conv(padded(y, self._depthwise_conv))))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


def padded(x, conv):
    """x padded for `conv` as TensorFlow's SAME does."""
    widths = []
    for size, kernel, stride in zip(x.shape[:1:-1], conv.kernel_size[::-1], conv.stride[::-1], strict=True):
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        widths += [missing // 2, missing - missing // 2]
    return F.pad(x, widths)


STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))


def stages(block):
    """[[block, ...], ...]."""
    found, channels = [], 32
    for count, kernel, stride, expansion, width in (*STAGES, (1, 3, 1, 6, 320)):
        found.append([])
        for place in range(count):
            found[-1].append(block(channels, width, kernel, stride if place == 0 else 1, expansion))
            channels = width
    return found


class EfficientNetB0(nn.Module):
    def __init__(self):
        super().__init__()
        inner = [nn.Sequential(*blocks) for blocks in stages(MBConv)]
        self.features = nn.Sequential(conv_norm(3, 32, 3, 2), *inner, conv_norm(320, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class EfficientNetLite0(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.Sequential(*[block for blocks in stages(LiteBlock) for block in blocks])
        self._conv_head, self._bn1 = nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x):
        x = F.relu6(self._bn0(self._conv_stem(padded(x, self._conv_stem))))
        x = F.relu6(self._bn1(self._conv_head(self._blocks(x))))
        return self._fc(x.mean((2, 3)))
