"""Losses and gradients of the recipes that train what draws images, by PyTorch: drawing.safetensors.

The autoencoder's are those of the latent diffusion paper's terms, divided by the number of an image's values.

Run with torch and safetensors installed: python make_drawing.py
Made with torch 2.15.0.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.distributions import Normal, kl_divergence

torch.manual_seed(21)
CASES = {}


def case(name, loss, constants, **inputs):
    """Keeps constants, inputs, the loss and its gradient with respect to every input."""
    inputs = {key: value.clone().requires_grad_() for key, value in inputs.items()}
    value = loss(**constants, **inputs)
    value.backward()
    CASES[f"{name}.loss"] = value.detach().reshape(1)
    for key, tensor in (constants | inputs).items():
        CASES[f"{name}.{key}"] = tensor.detach()
    for key, tensor in inputs.items():
        CASES[f"{name}.{key}.gradient"] = tensor.grad


def autoencoder(images, decoded, mean, log_variance):
    posterior = Normal(mean, torch.exp(0.5 * log_variance))
    divergence = kl_divergence(posterior, Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum()
    return (F.l1_loss(decoded, images, reduction="sum") + 0.5 * F.mse_loss(decoded, images, reduction="sum")
            + 0.1 * divergence) / images.numel()


def diffusion(targets, weights, answers):
    return (F.mse_loss(answers, targets, reduction="none").mean(dim=1) * weights).mean()


case("autoencoder", autoencoder, {"images": torch.randn(6, 8)}, decoded=torch.randn(6, 8), mean=torch.randn(2, 8),
     log_variance=torch.randn(2, 8))
case("diffusion", diffusion, {"targets": torch.randn(4, 20), "weights": torch.rand(4)}, answers=torch.randn(4, 20))
save_file(CASES, Path(__file__).parent / "drawing.safetensors")
