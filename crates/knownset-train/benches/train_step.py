"""The same training steps in PyTorch: python benches/train_step.py (torch, two threads)."""

import time

import torch
from torch import nn

BATCH, STEPS = 64, 6
torch.set_num_threads(2)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.short = None
        if stride != 1 or inputs != outputs:
            self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.short is None else self.short(x)))


def resnet(stem_stride, widths, blocks):
    layers = [nn.Conv2d(3, widths[0], 3, stem_stride, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    inputs = widths[0]
    for stage, (width, count) in enumerate(zip(widths, blocks)):
        for index in range(count):
            layers.append(Block(inputs, width, 2 if stage > 0 and index == 0 else 1))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


def rate(network, side, layout):
    network = network.to(memory_format=layout)
    images = torch.rand(BATCH, 3, side, side).to(memory_format=layout)
    labels = torch.arange(BATCH) % 10
    sgd = torch.optim.SGD(network.parameters(), 0.1, 0.9, weight_decay=5e-4)
    for step in range(STEPS):
        if step == 1:
            started = time.perf_counter()
        sgd.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        sgd.step()
    return BATCH * (STEPS - 1) / (time.perf_counter() - started)


for name, stride, widths, blocks, side in [
    ("sprite-resnet", 2, [32, 64, 128], [1, 1, 1], 64),
    ("cifar-resnet20", 1, [16, 32, 64], [3, 3, 3], 32),
    ("resnet18-32x32", 1, [64, 128, 256, 512], [2, 2, 2, 2], 32),
]:
    rates = [rate(resnet(stride, widths, blocks), side, layout) for layout in (torch.contiguous_format, torch.channels_last)]
    print(f"{name}, batch {BATCH}: {rates[0]:.1f} images/s contiguous, {rates[1]:.1f} channels last")
