"""Writes `resnet.safetensors` and `resnet_trained.safetensors`: the `state_dict` of a small residual network before and
after one step of SGD, as `safetensors.torch` saves them, and `resnet.json`: the batch, its logits in evaluation mode, and
the loss of the step.

Run with a Python that has torch and safetensors, from this folder: `python resnet.py`. `tests/api/exchange.rs` reads the
files.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        skip = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + skip)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Block(8, 8, 1))
        self.layer2 = nn.Sequential(Block(8, 16, 2), Block(16, 16, 1))
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.layer1(x))
        return self.fc(x.mean((2, 3)))


net = ResNet()
# Running statistics and scales that are not those of a new network.
net.train()
with torch.no_grad():
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
    for _ in range(20):
        net(torch.randn(16, 3, 8, 8))

here = Path(__file__)
save_file(net.state_dict(), here.with_name("resnet.safetensors"))
# Rounded, to be short in the file.
images = (torch.randn(6, 3, 8, 8) * 100).round() / 100
labels = torch.tensor([0, 3, 1, 4, 2, 2])
net.eval()
with torch.no_grad():
    logits = net(images)
net.train()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
loss = F.cross_entropy(net(images), labels)
loss.backward()
optimizer.step()
save_file(net.state_dict(), here.with_name("resnet_trained.safetensors"))
numbers = {
    "images": [round(x, 2) for x in images.flatten().tolist()],
    "labels": labels.tolist(),
    "logits": logits.flatten().tolist(),
    "loss": loss.item(),
}
here.with_name("resnet.json").write_text(json.dumps(numbers, separators=(",", ":")) + "\n")
