"""Reference networks in PyTorch, with the layer sizes of examples/zoo.

Each function returns (module, input shape without batch).
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


def lenet():
    """LeNet as in Dive into Deep Learning: sigmoid, average pooling, 28x28 grey input."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2, 2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    ), (1, 28, 28)


def alexnet(channels=3, classes=1000):
    return nn.Sequential(
        nn.Conv2d(channels, 96, 11, 4, 1), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(),
        nn.Linear(6400, 4096), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4096, classes),
    ), (channels, 224, 224)


def _vgg(blocks, channels=3, classes=1000):
    layers, width = [], channels
    for convolutions, out in blocks:
        for _ in range(convolutions):
            layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()]
            width = out
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(
        *layers, nn.Flatten(),
        nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4096, classes),
    ), (channels, 224, 224)


def vgg11():
    return _vgg([(1, 64), (1, 128), (2, 256), (2, 512), (2, 512)])


def vgg16():
    return _vgg([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)])


def nin(channels=3, classes=1000):
    def block(i, o, kernel, stride, padding):
        return [nn.Conv2d(i, o, kernel, stride, padding), nn.ReLU(),
                nn.Conv2d(o, o, 1), nn.ReLU(), nn.Conv2d(o, o, 1), nn.ReLU()]
    return nn.Sequential(
        *block(channels, 96, 11, 4, 0), nn.MaxPool2d(3, 2),
        *block(96, 256, 5, 1, 2), nn.MaxPool2d(3, 2),
        *block(256, 384, 3, 1, 1), nn.MaxPool2d(3, 2), nn.Dropout(0.5),
        *block(384, classes, 3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ), (channels, 224, 224)


class Inception(nn.Module):
    def __init__(self, i, c1, c2, c3, c4):
        super().__init__()
        self.p1 = nn.Conv2d(i, c1, 1)
        self.p2a, self.p2b = nn.Conv2d(i, c2[0], 1), nn.Conv2d(c2[0], c2[1], 3, padding=1)
        self.p3a, self.p3b = nn.Conv2d(i, c3[0], 1), nn.Conv2d(c3[0], c3[1], 5, padding=2)
        self.pool, self.p4 = nn.MaxPool2d(3, 1, 1), nn.Conv2d(i, c4, 1)

    def forward(self, x):
        return torch.cat([
            F.relu(self.p1(x)),
            F.relu(self.p2b(F.relu(self.p2a(x)))),
            F.relu(self.p3b(F.relu(self.p3a(x)))),
            F.relu(self.p4(self.pool(x))),
        ], 1)


def googlenet(channels=3, classes=1000):
    I = Inception
    return nn.Sequential(
        nn.Conv2d(channels, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(64, 64, 1), nn.ReLU(), nn.Conv2d(64, 192, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        I(192, 64, (96, 128), (16, 32), 32), I(256, 128, (128, 192), (32, 96), 64), nn.MaxPool2d(3, 2, 1),
        I(480, 192, (96, 208), (16, 48), 64), I(512, 160, (112, 224), (24, 64), 64),
        I(512, 128, (128, 256), (24, 64), 64), I(512, 112, (144, 288), (32, 64), 64),
        I(528, 256, (160, 320), (32, 128), 128), nn.MaxPool2d(3, 2, 1),
        I(832, 256, (160, 320), (32, 128), 128), I(832, 384, (192, 384), (48, 128), 128),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, classes),
    ), (channels, 224, 224)


def _conv_norm(i, o, kernel, stride=1, padding=0, groups=1, relu=True):
    layers = [nn.Conv2d(i, o, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(o)]
    return layers + ([nn.ReLU()] if relu else [])


class Residual(nn.Module):
    def __init__(self, main, shortcut=(), relu=True):
        super().__init__()
        self.main, self.shortcut, self.relu = nn.Sequential(*main), nn.Sequential(*shortcut), relu

    def forward(self, x):
        y = self.main(x) + self.shortcut(x)
        return F.relu(y) if self.relu else y


def _stem():
    return _conv_norm(3, 64, 7, 2, 3) + [nn.MaxPool2d(3, 2, 1)]


def _head(channels, classes=1000):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def _resnet_basic(counts):
    layers, width = _stem(), 64
    for stage, count in enumerate(counts):
        out = 64 << stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            shortcut = _conv_norm(width, out, 1, stride, relu=False) if width != out else []
            layers.append(Residual(_conv_norm(width, out, 3, stride, 1) + _conv_norm(out, out, 3, 1, 1, relu=False), shortcut))
            width = out
    return nn.Sequential(*layers, *_head(512)), (3, 224, 224)


def resnet18():
    return _resnet_basic([2, 2, 2, 2])


def resnet34():
    return _resnet_basic([3, 4, 6, 3])


def resnet50():
    layers, width = _stem(), 64
    for stage, count in enumerate([3, 4, 6, 3]):
        middle, out = 64 << stage, 256 << stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            shortcut = _conv_norm(width, out, 1, stride, relu=False) if not block else []
            layers.append(Residual(_conv_norm(width, middle, 1) + _conv_norm(middle, middle, 3, stride, 1)
                                   + _conv_norm(middle, out, 1, relu=False), shortcut))
            width = out
    return nn.Sequential(*layers, *_head(2048)), (3, 224, 224)


class DenseLayer(nn.Module):
    def __init__(self, i, growth):
        super().__init__()
        self.path = nn.Sequential(
            nn.BatchNorm2d(i), nn.ReLU(), nn.Conv2d(i, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth), nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False))

    def forward(self, x):
        return torch.cat([x, self.path(x)], 1)


def densenet121():
    layers, width = _stem(), 64
    for count, out in [(6, 128), (12, 256), (24, 512), (16, None)]:
        for _ in range(count):
            layers.append(DenseLayer(width, 32))
            width += 32
        if out:
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, out, 1, bias=False), nn.AvgPool2d(2)]
            width = out
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(), *_head(width)), (3, 224, 224)


def mobilenet_v1():
    layers, width = _conv_norm(3, 32, 3, 2, 1), 32
    for out, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]:
        layers += _conv_norm(width, width, 3, stride, 1, width) + _conv_norm(width, out, 1)
        width = out
    return nn.Sequential(*layers, *_head(1024)), (3, 224, 224)


def mobilenet_v2():
    """With ReLU6, as published."""
    layers, width = _conv_norm(3, 32, 3, 2, 1), 32
    for expansion, out, count, stride in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for block in range(count):
            hidden, s = width * expansion, stride if not block else 1
            main = (_conv_norm(width, hidden, 1) if expansion > 1 else []) + _conv_norm(hidden, hidden, 3, s, 1, hidden) + _conv_norm(hidden, out, 1, relu=False)
            layers.append(Residual(main, relu=False) if s == 1 and width == out else nn.Sequential(*main))
            width = out
    module = nn.Sequential(*layers, *_conv_norm(320, 1280, 1), *_head(1280))
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(parent, name, nn.ReLU6())
    return module, (3, 224, 224)


class Fire(nn.Module):
    def __init__(self, i, squeeze, expand):
        super().__init__()
        self.squeeze, self.one, self.three = nn.Conv2d(i, squeeze, 1), nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], 1)


def squeezenet():
    """SqueezeNet 1.1 without ceil_mode."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2), Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, 2),
        Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, 2), Fire(256, 48, 192), Fire(384, 48, 192),
        Fire(384, 64, 256), Fire(512, 64, 256), nn.Conv2d(512, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 224, 224)


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)), (784,)


def cifar_vgg():
    """A small VGG with batch normalisation for images of 32x32."""
    layers, width = [], 3
    for out in (64, 128, 256):
        layers += _conv_norm(width, out, 3, 1, 1) + _conv_norm(out, out, 3, 1, 1) + [nn.MaxPool2d(2)]
        width = out
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)), (3, 32, 32)


class Recurrent(nn.Module):
    """`kind` is RNN, GRU or LSTM; input [time, batch, features], output every step's hidden state."""
    def __init__(self, kind, features, hidden, layers=1, bidirectional=False):
        super().__init__()
        self.cell = getattr(nn, kind)(features, hidden, layers, bidirectional=bidirectional)

    def forward(self, x):
        return self.cell(x)[0]


CNN = dict(lenet=lenet, alexnet=alexnet, vgg11=vgg11, vgg16=vgg16, nin=nin, googlenet=googlenet, mlp=mlp, cifar_vgg=cifar_vgg,
           resnet18=resnet18, resnet34=resnet34, resnet50=resnet50, densenet121=densenet121, mobilenet_v1=mobilenet_v1, mobilenet_v2=mobilenet_v2, squeezenet=squeezenet)
# (time, batch, features, hidden, layers, bidirectional)
RECURRENT_SHAPES = [(35, 1, 256, 256, 1, False), (35, 32, 256, 256, 1, False),
                    (35, 32, 28, 256, 2, False), (35, 32, 256, 256, 1, True)]
