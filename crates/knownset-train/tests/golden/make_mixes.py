"""Losses and gradients of the recipes that mix pictures or compare views, by PyTorch: python make_mixes.py

Writes mixes.safetensors: for every case its inputs, `CASE.loss` and `CASE.INPUT.gradient`. torch 2.15.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

torch.manual_seed(0)
out = {}


def case(name, inputs, loss):
    points = {key: value.clone().requires_grad_() for key, value in inputs.items()}
    value = loss(**points)
    value.backward()
    out[f"{name}.loss"] = value.detach().reshape(1)
    for key, point in points.items():
        out[f"{name}.{key}"] = point.detach().contiguous()
        out[f"{name}.{key}.gradient"] = point.grad.contiguous()


def reg_mixup(logits):
    labels, partners, share = torch.tensor([2, 0, 1, 2]), torch.tensor([3, 2, 1, 0]), 0.35
    return share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels[partners])


def divergence(first, second, third):
    shares = [F.softmax(logits, 1) for logits in (first, second, third)]
    mean = (sum(shares) / 3).clamp(1e-7, 1).log()
    return sum(F.kl_div(mean, share, reduction="batchmean") for share in shares) / 3


def contrast(z, tau=0.1, base=0.07):
    labels = torch.tensor([0, 1, 2, 2, 0, 1, 2, 2])
    n = len(labels)
    cosines = z @ z.T / tau
    mine = ~torch.eye(n, dtype=torch.bool)
    total = 0
    for i in range(n):
        log_all = torch.logsumexp(cosines[i][mine[i]], 0)
        same = mine[i] & (labels == labels[i])
        total = total - (cosines[i][same] - log_all).mean()
    return tau / base * total / n


case("reg-mixup", {"logits": torch.randn(4, 3)}, reg_mixup)
case("aug-mix", {name: 2 * torch.randn(5, 4) for name in ("first", "second", "third")}, divergence)
case("fodfom", {"z": F.normalize(torch.randn(8, 6))}, contrast)
save_file(out, Path(__file__).parent / "mixes.safetensors")
