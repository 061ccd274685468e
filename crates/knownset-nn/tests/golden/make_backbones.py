"""Reference outputs of every backbone, from PyTorch.

Weights and inputs are not stored: both sides compute them from names with `hashed` (tests/it/hashed.rs is its twin).
Stored is what the reference says, a few KB: logits and embedding of two images per network.

Made with Python 3.11, torch 2.15.0, torchvision 0.29.2, timm 1.0.31:
    python make_backbones.py
"""

import math
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

CLASSES = 5


def hashed(name: str, count: int) -> np.ndarray:
    """`count` numbers in [-1, 1) with 24 bits each: splitmix64 of the name's FNV-1a hash plus the index."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1.0


def value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor of a network: matrices and kernels keep the signal's size, normalisations are near the identity."""
    u = hashed(name, math.prod(shape))
    if len(shape) == 1 and name.endswith("running_var"):
        u = 1.0 + 0.5 * u
    elif len(shape) == 1 and name.endswith("running_mean"):
        u = 0.2 * u
    elif len(shape) == 1 and name.endswith("bias"):
        u = 0.1 * u
    elif len(shape) == 1:
        u = 1.0 + 0.2 * u
    elif len(shape) == 3:
        u = 0.5 * u
    else:
        u = math.sqrt(3.0 / math.prod(shape[1:])) * u
    return torch.from_numpy(u.astype(np.float32).reshape(shape))


class Block(nn.Module):
    """Two 3x3 convolutions; where the shape changes, option A of the paper or a projection named `shortcut`."""

    def __init__(self, inputs, outputs, stride, project):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pad = (outputs - inputs) // 2
        self.stride = stride
        if project is not None and (stride != 1 or inputs != outputs):
            projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            self.add_module(project, projection)
            self.projection = [projection]
        else:
            self.projection = []

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.projection:
            x = self.projection[0](x)
        elif self.stride != 1 or self.pad:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x)


class SmallResNet(nn.Module):
    """ResNets that torchvision does not have: 3x3 stem, no pooling, stages of basic blocks."""

    def __init__(self, widths, blocks, stem_stride, project, head):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs, self.stages, self.head = widths[0], [], head
        for stage, (width, count) in enumerate(zip(widths, blocks)):
            strides = [2 if stage else 1] + [1] * (count - 1)
            layer = []
            for stride in strides:
                layer.append(Block(inputs, width, stride, project))
                inputs = width
            self.stages.append(f"layer{stage + 1}")
            self.add_module(self.stages[-1], nn.Sequential(*layer))
        self.add_module(head, nn.Linear(inputs, CLASSES))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return getattr(self, self.head)(x.mean((2, 3)))


class ConvNet(nn.Module):
    """Outlier exposure's network for MNIST, of the grey that PIL's `convert("L")` makes of colours."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5)
        self.fc1, self.fc2 = nn.Linear(320, 50), nn.Linear(50, CLASSES)

    def forward(self, x):
        x = x[:, :1] * 0.299 + x[:, 1:2] * 0.587 + x[:, 2:] * 0.114
        for conv in (self.conv1, self.conv2):
            x = F.max_pool2d(conv(x), 2)
            x = x * torch.sigmoid(1.702 * x)
        x = self.fc1(x.flatten(1))
        return self.fc2(x * torch.sigmoid(1.702 * x))


def cifar(n):
    return SmallResNet([16, 32, 64], [n, n, n], 1, None, "linear")


NETWORKS = {
    "mnist-convnet": (28, "fc2", ConvNet),
    "sprite-resnet": (64, "fc", lambda: SmallResNet([32, 64, 128], [1, 1, 1], 2, "downsample", "fc")),
    "cifar-resnet20": (32, "linear", lambda: cifar(3)),
    "cifar-resnet32": (32, "linear", lambda: cifar(5)),
    "cifar-resnet44": (32, "linear", lambda: cifar(7)),
    "cifar-resnet56": (32, "linear", lambda: cifar(9)),
    "cifar-resnet110": (32, "linear", lambda: cifar(18)),
    "resnet18-32x32": (32, "fc", lambda: SmallResNet([64, 128, 256, 512], [2] * 4, 1, "shortcut", "fc")),
    "resnet18": (64, "fc", lambda: torchvision.models.resnet18(num_classes=CLASSES)),
    "resnet34": (64, "fc", lambda: torchvision.models.resnet34(num_classes=CLASSES)),
    "resnet50": (64, "fc", lambda: torchvision.models.resnet50(num_classes=CLASSES)),
    "resnet101": (64, "fc", lambda: torchvision.models.resnet101(num_classes=CLASSES)),
    "vit-tiny-patch16-224": (224, "head", lambda: timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES)),
    "vit-small-patch16-224": (224, "head", lambda: timm.create_model("vit_small_patch16_224", num_classes=CLASSES)),
}


def main():
    print("torch", torch.__version__, "torchvision", torchvision.__version__, "timm", timm.__version__)
    outputs = {}
    for name, (side, head, build) in NETWORKS.items():
        network = build().eval()
        state = network.state_dict()
        network.load_state_dict(
            {key: t if key.endswith("num_batches_tracked") else value(key, tuple(t.shape)) for key, t in state.items()}
        )
        seen = {}
        getattr(network, head).register_forward_pre_hook(lambda _, inputs: seen.update(embedding=inputs[0]))
        with torch.inference_mode():
            images = torch.from_numpy(hashed("images", 2 * 3 * side * side).astype(np.float32))
            outputs[f"{name}.logits"] = network(images.reshape(2, 3, side, side)).clone()
            outputs[f"{name}.embedding"] = seen["embedding"].clone().contiguous()
    save_file(outputs, Path(__file__).parent / "backbones.safetensors")


if __name__ == "__main__":
    main()
