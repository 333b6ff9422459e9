"""Well-known networks of full size as plain torch modules, with the names and numbers of torchvision's."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.models.torch_families import block


def inverted(inputs, outputs, stride, expansion):
    """MobileNetV2's block (Sandler et al. 2018)."""
    wide = inputs * expansion
    layers = [block(inputs, wide, 1, act=nn.ReLU6)] if expansion > 1 else []
    layers += [block(wide, wide, 3, stride, wide, act=nn.ReLU6), block(wide, outputs, 1, act=None)]
    return Residual(nn.Sequential(*layers)) if stride == 1 and inputs == outputs else nn.Sequential(*layers)


class Residual(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        return x + self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self):
        super().__init__()
        layers, inputs = [block(3, 32, 3, 2, act=nn.ReLU6)], 32
        for expansion, outputs, count, stride in (
            *(
                (1, 16, 1, 1),
                (6, 24, 2, 2),
                (6, 32, 3, 2),
                (6, 64, 4, 2),
                (6, 96, 3, 1),
                (6, 160, 3, 2),
                (6, 320, 1, 1),
            ),
        ):
            for place in range(count):
                layers.append(inverted(inputs, outputs, stride if place == 0 else 1, expansion))
                inputs = outputs
        self.features = nn.Sequential(*layers, block(320, 1280, 1, act=nn.ReLU6))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x):
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class DenseLayer(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 128, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(128), nn.Conv2d(128, 32, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))], 1)


class DenseNet121(nn.Module):
    """Huang et al. 2017."""

    def __init__(self):
        super().__init__()
        layers, channels = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()], 64
        layers.append(nn.MaxPool2d(3, 2, 1))
        for count in (6, 12, 24, 16):
            layers += [nn.Sequential(*(DenseLayer(channels + 32 * place) for place in range(count)))]
            channels += 32 * count
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
            if count != 16:
                layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2, 2)]
                channels //= 2
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(1024, 1000)

    def forward(self, x):
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class Inception(nn.Module):
    def __init__(self, inputs, one, before3, three, before5, five, pooled):
        super().__init__()
        self.branch1 = block(inputs, one, 1)
        self.branch2 = nn.Sequential(block(inputs, before3, 1), block(before3, three, 3))
        self.branch3 = nn.Sequential(block(inputs, before5, 1), block(before5, five, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), block(inputs, pooled, 1))

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.children()], 1)


class GoogLeNet(nn.Module):
    """Szegedy et al. 2015, with batch normalisation, its 5x5 convolutions 3x3, as torchvision's."""

    def __init__(self):
        super().__init__()
        pool = lambda size=3: nn.MaxPool2d(size, 2, ceil_mode=True)  # noqa: E731
        layers, inputs = [block(3, 64, 7, 2), pool(), block(64, 64, 1), block(64, 192, 3), pool()], 192
        for widths in (
            *((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), None),
            *((192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64)),
            *((112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), None),
            *((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
        ):
            if widths is None:
                layers.append(pool(3 if inputs == 480 else 2))
                continue
            layers.append(Inception(inputs, *widths))
            inputs = widths[0] + widths[2] + widths[4] + widths[5]
        self.features = nn.Sequential(*layers)
        self.dropout, self.fc = nn.Dropout(0.2), nn.Linear(1024, 1000)

    def forward(self, x):
        return self.fc(self.dropout(torch.flatten(F.adaptive_avg_pool2d(self.features(x), 1), 1)))


class ShuffleUnit(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        half, self.stride = outputs // 2, stride
        whole = inputs if stride == 2 else half
        down = (block(inputs, inputs, 3, 2, inputs, act=None), block(inputs, half, 1))
        self.branch1 = nn.Sequential(*down) if stride == 2 else nn.Identity()
        self.branch2 = nn.Sequential(
            block(whole, half, 1), block(half, half, 3, stride, half, act=None), block(half, half, 1)
        )

    def forward(self, x):
        left, right = x.chunk(2, dim=1) if self.stride == 1 else (x, x)
        y = torch.cat((self.branch1(left), self.branch2(right)), dim=1)
        n, c, h, w = y.size()
        return torch.transpose(y.view(n, 2, c // 2, h, w), 1, 2).contiguous().view(n, c, h, w)


class ShuffleNetV2(nn.Module):
    """x1.0 (Ma et al. 2018)."""

    def __init__(self):
        super().__init__()
        layers, inputs = [block(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)], 24
        for count, outputs in ((4, 116), (8, 232), (4, 464)):
            for place in range(count):
                layers.append(ShuffleUnit(inputs, outputs, 1 if place else 2))
                inputs = outputs
        self.features, self.fc = nn.Sequential(*layers, block(464, 1024, 1)), nn.Linear(1024, 1000)

    def forward(self, x):
        return self.fc(self.features(x).mean([2, 3]))


class Gate(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        return torch.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1))))) * x


class YBlock(nn.Module):
    """RegNet's block with a gate (Radosavovic et al. 2020)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.proj = block(inputs, outputs, 1, stride, act=None) if stride != 1 or inputs != outputs else None
        grouped = block(outputs, outputs, 3, stride, outputs // 8)
        gate = Gate(outputs, round(0.25 * inputs))
        self.f = nn.Sequential(block(inputs, outputs, 1), grouped, gate, block(outputs, outputs, 1, act=None))

    def forward(self, x):
        return F.relu((x if self.proj is None else self.proj(x)) + self.f(x))


class RegNetY400MF(nn.Module):
    def __init__(self):
        super().__init__()
        layers, inputs = [block(3, 32, 3, 2)], 32
        for count, outputs in ((1, 48), (3, 104), (6, 208), (6, 440)):
            for place in range(count):
                layers.append(YBlock(inputs, outputs, 1 if place else 2))
                inputs = outputs
        self.trunk, self.fc = nn.Sequential(*layers), nn.Linear(440, 1000)

    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(self.trunk(x), 1).flatten(1))


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class NextBlock(nn.Module):
    """ConvNeXt's (Liu et al. 2022)."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm, self.linear1 = nn.LayerNorm(channels, 1e-6), nn.Linear(channels, 4 * channels)
        self.linear2, self.layer_scale = (
            nn.Linear(4 * channels, channels),
            nn.Parameter(torch.full((channels, 1, 1), 0.3)),
        )

    def forward(self, x):
        y = self.linear2(F.gelu(self.linear1(self.norm(self.conv(x).permute(0, 2, 3, 1)))))
        return x + self.layer_scale * y.permute(0, 3, 1, 2)


class ConvNeXtTiny(nn.Module):
    def __init__(self):
        super().__init__()
        layers, inputs = [nn.Conv2d(3, 96, 4, 4), LayerNorm2d(96, 1e-6)], 96
        for count, outputs in ((3, 96), (3, 192), (9, 384), (3, 768)):
            if outputs != inputs:
                layers += [LayerNorm2d(inputs, 1e-6), nn.Conv2d(inputs, outputs, 2, 2)]
            layers += [nn.Sequential(*(NextBlock(outputs) for _ in range(count)))]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(LayerNorm2d(768, 1e-6), nn.Flatten(1), nn.Linear(768, 1000))

    def forward(self, x):
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 1))


# {name: (network, parameters that torchvision's has)}
FULL_SIZE = {
    "mobilenet_v2": (MobileNetV2, 3_504_872),
    "densenet121": (DenseNet121, 7_978_856),
    "googlenet": (GoogLeNet, 6_624_904),
    "shufflenet_v2": (ShuffleNetV2, 2_278_604),
    "regnet_y_400mf": (RegNetY400MF, 4_344_144),
    "convnext_tiny": (ConvNeXtTiny, 28_589_128),
}
