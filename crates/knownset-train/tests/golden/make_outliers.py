"""Losses and gradients of the recipes that learn from outliers, by PyTorch: outliers.safetensors.

Run with torch and safetensors installed: python make_outliers.py
Made with torch 2.15.0.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20)
CASES = {}


def case(name, loss, **inputs):
    """Keeps inputs, the loss and its gradient with respect to every input."""
    inputs = {key: value.clone().requires_grad_() for key, value in inputs.items()}
    value = loss(**inputs)
    value.backward()
    CASES[f"{name}.loss"] = value.detach().reshape(1)
    for key, tensor in inputs.items():
        CASES[f"{name}.{key}"] = tensor.detach()
        CASES[f"{name}.{key}.gradient"] = tensor.grad


def entropy(logits):
    p = torch.softmax(logits, dim=1)
    return -(p * torch.log(p)).sum(dim=1)


def energy_reg(known, outliers):
    inside, outside = -torch.logsumexp(known, dim=1), -torch.logsumexp(outliers, dim=1)
    return F.relu(inside + 25).pow(2).mean() + F.relu(-7 - outside).pow(2).mean()


def vos(known, outliers, weights, slope, offset):
    def energy(z):
        return torch.log((F.relu(weights) * torch.exp(z)).sum(dim=1, keepdim=True))

    scores = torch.cat([energy(known), energy(outliers)]) @ slope + offset
    labels = torch.cat([torch.ones(len(known)), torch.zeros(len(outliers))]).long()
    return F.cross_entropy(scores, labels)


def npos(known, outliers):
    labels = torch.cat([torch.ones(len(known), 1), torch.zeros(len(outliers), 1)])
    return F.binary_cross_entropy_with_logits(torch.cat([known, outliers]), labels)


def cider(features, before, labels, temperature=0.1, momentum=0.95):
    units = F.normalize(features, dim=1)
    prototypes = list(before)
    for unit, label in zip(units, labels):
        prototypes[label] = F.normalize(prototypes[label] * momentum + unit * (1 - momentum), dim=0)
    prototypes = torch.stack(prototypes)
    CASES["cider.after"] = prototypes.detach()
    others = 1 - torch.eye(len(prototypes))
    similarity = torch.exp(prototypes @ prototypes.T / temperature)
    dispersion = torch.log((similarity * others).sum(1) / others.sum(1)).mean()
    return 2 * F.cross_entropy(units @ prototypes.detach().T / temperature, labels) + dispersion


def ascood(embedding, weight):
    mean, deviation = embedding.mean(dim=-1, keepdim=True), embedding.std(dim=-1, keepdim=True)
    logits = 0.5 * (embedding - mean) / (deviation + 1e-6) @ weight.T
    known = F.cross_entropy(logits[:3], torch.tensor([0, 2, 1]))
    uniform = torch.full((3, 4), 0.25)
    return known + F.kl_div(F.log_softmax(logits[3:], dim=1), uniform, reduction="batchmean")


case("oe", lambda logits: -(logits.mean(1) - torch.logsumexp(logits, dim=1)).mean(), logits=4 * torch.randn(6, 5))
case("energy-reg", energy_reg, known=8 * torch.randn(5, 4), outliers=8 * torch.randn(6, 4))
soft = 0.35 * F.one_hot(torch.tensor([3, 1, 0, 3]), 4) + 0.65 / 4
case("mixoe", lambda logits: (-soft * logits.log_softmax(dim=-1)).sum(dim=-1).mean(), logits=3 * torch.randn(4, 4))
case(
    "mcd",
    lambda first, second: F.relu(1.2 - (entropy(first) - entropy(second)).mean()),
    first=2 * torch.randn(6, 5),
    second=2 * torch.randn(6, 5),
)
case(
    "vos",
    vos,
    known=3 * torch.randn(4, 5),
    outliers=3 * torch.randn(3, 5),
    weights=torch.tensor([[0.9, -0.2, 0.4, 0.1, 0.7]]),
    slope=torch.randn(1, 2),
    offset=torch.randn(1, 2),
)
case("npos", npos, known=3 * torch.randn(5, 1), outliers=3 * torch.randn(4, 1))
labels = torch.tensor([0, 2, 1, 0, 0, 3, 2, 0])
before = F.normalize(torch.randn(4, 6), dim=1)
case("cider", lambda features: cider(features, before, labels), features=torch.randn(8, 6))
CASES["cider.before"], CASES["cider.labels"] = before, labels.float()
case("ascood", ascood, embedding=torch.rand(6, 7), weight=torch.randn(4, 7))

picture, gradient = torch.randn(2, 3 * 8 * 8), torch.randn(2, 3 * 8 * 8)
places = gradient.abs().topk(int(3 * 8 * 8 * 0.1), dim=1).indices
mask = torch.zeros_like(gradient).scatter_(1, places, 1)
CASES["ascood.picture"], CASES["ascood.gradient"] = picture, gradient
CASES["ascood.pushed"] = picture + gradient * 10 * mask

save_file({name: tensor.contiguous() for name, tensor in CASES.items()}, Path(__file__).with_name("outliers.safetensors"))
