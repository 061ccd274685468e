"""Reference outputs and gradients of one training step through the layers our networks are trained with.

Convolution of stride 2 → batch normalisation in training mode → ReLU → global mean → linear → cross-entropy.
Made with torch 2.13.0: python make_layers.py
"""

from pathlib import Path

import numpy as np
import torch
from make_backbones import hashed
from safetensors.torch import save_file
from torch.nn import functional as F


def leaf(name, *shape):
    values = hashed(name, int(np.prod(shape))).astype(np.float32).reshape(shape)
    return torch.from_numpy(values).requires_grad_()


def main():
    images, weight = leaf("images", 4, 3, 9, 9), leaf("weight", 8, 3, 3, 3)
    gamma, beta = leaf("gamma", 8), leaf("beta", 8)
    head, bias = leaf("head", 5, 8), leaf("bias", 5)
    mean, variance = torch.zeros(8), torch.ones(8)
    hidden = F.relu(F.batch_norm(F.conv2d(images, weight, stride=2, padding=1), mean, variance, gamma, beta, True))
    loss = F.cross_entropy(F.linear(hidden.mean((2, 3)), head, bias), torch.tensor([0, 3, 1, 4]))
    loss.backward()
    grads = {"images": images, "weight": weight, "gamma": gamma, "beta": beta, "head": head, "bias": bias}
    out = {f"grad.{name}": tensor.grad for name, tensor in grads.items()}
    out |= {"hidden": hidden.detach(), "loss": loss.detach().reshape(1), "mean": mean, "variance": variance}
    save_file(out, Path(__file__).parent / "layers.safetensors")


if __name__ == "__main__":
    main()
