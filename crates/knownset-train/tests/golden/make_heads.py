"""Losses and gradients of the recipes that change the head or the loss -> heads.safetensors.

Each loss is stated from its paper in PyTorch, float64 on the float32 inputs that the file holds; gradients are
autograd's. NAME.loss is a loss, NAME.INPUT.gradient its gradient by an input. Where a recipe deviates from its authors' code
(see its file) the definition here is the project's.

    python make_heads.py        # torch 2.15, safetensors 0.8 when heads.safetensors was made
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20261121)
N, K, D, DOF = 6, 5, 20, 7

inputs = {
    "z": torch.randn(N, K) * 2,
    "f": torch.randn(N, D),
    "rectified": torch.relu(torch.randn(N, D)),
    "w": torch.randn(K, D) / 3,
    "b": torch.randn(1, K) / 3,
    "s": torch.randn(N, 1),
    "hinted": torch.tensor([[1.0], [0.0], [1.0], [1.0], [0.0], [0.0]]),
    "radius": torch.tensor([[1.2]]),
    "turns": torch.randn(4 * N, 4),
    "logarithms": torch.randn(N, DOF) / 2,
    "noise": torch.randn(N, DOF),
    "labels": torch.tensor([0.0, 3.0, 1.0, 4.0, 2.0, 3.0]),
}
y = inputs["labels"].long()
out = dict(inputs)


def golden(name, loss, *names):
    """Keeps the loss of those inputs and its gradients by them."""
    given = {n: inputs[n].double().requires_grad_() for n in names}
    value = loss(**given)
    gradients = torch.autograd.grad(value, list(given.values()))
    out[f"{name}.loss"] = value.detach().reshape(1)
    out.update({f"{name}.{n}.gradient": g for n, g in zip(names, gradients)})


def ce(z):
    return F.cross_entropy(z, y)


golden("logit-norm", lambda z: ce(z / (0.04 * z.norm(dim=1, keepdim=True))), "z")
golden("t2fnorm", lambda f, w, b: ce(F.normalize(f, dim=1) / 0.1 @ w.T + b), "f", "w", "b")


def conf_branch(z, s):
    p, c = z.softmax(1), torch.sigmoid(s)
    given = torch.where(inputs["hinted"].double() > 0, c, torch.ones_like(c))
    told = given * p + (1 - given) * F.one_hot(y, K)
    return F.nll_loss(told.log(), y) - 0.1 * c.log().mean()


golden("conf-branch", conf_branch, "z", "s")


def g(s):
    return torch.sigmoid(s)


golden("g-odin-inner", lambda f, w, b, s: ce((f @ w.T + b) / g(s)), "f", "w", "b", "s")
golden("g-odin-cosine", lambda f, w, s: ce(F.cosine_similarity(f[:, None], w[None], dim=2) / g(s)), "f", "w", "s")
golden("g-odin-euclidean", lambda f, w, s: ce(-torch.cdist(f, w).square() / g(s)), "f", "w", "s")


def arpl(f, w, radius):
    distances = (f[:, None] - w[None]).square().mean(2)
    own = distances.gather(1, y[:, None])
    bound = F.margin_ranking_loss(radius.expand_as(own), own, torch.ones_like(own), margin=1.0)
    return ce(distances - f @ w.T) + 0.1 * bound


golden("arpl", arpl, "f", "w", "radius")
turn = torch.arange(4).repeat_interleave(N)
golden("rot-pred", lambda z, turns: ce(z) + F.cross_entropy(turns, turn), "z", "turns")


class Shaped(torch.autograd.Function):
    """A linear layer whose weight sees exp(s1 / s2) times the largest 15 % of what it reads."""

    @staticmethod
    def forward(ctx, f, w, b):
        largest, places = f.topk(int(D * (100 - 85)) // 100, dim=1)
        factor = torch.exp(f.sum(1, keepdim=True) / largest.sum(1, keepdim=True))
        ctx.save_for_backward(torch.zeros_like(f).scatter(1, places, largest * factor), w)
        return f @ w.T + b

    @staticmethod
    def backward(ctx, slope):
        shaped, w = ctx.saved_tensors
        return slope @ w, slope.T @ shaped, slope.sum(0, keepdim=True)


golden("ish", lambda rectified, w, b: ce(Shaped.apply(rectified, w, b)), "rectified", "w", "b")


def rts(z, logarithms):
    variances = logarithms.exp()
    t = (variances * inputs["noise"].double() ** 2).sum(1, keepdim=True) / (DOF - 2)
    return ce(z / t) + 0.1 * ((variances - variances.log() - 1) / 2).mean()


golden("rts", rts, "z", "logarithms")

save_file({n: t.float().contiguous() for n, t in out.items()}, Path(__file__).with_name("heads.safetensors"))
print({n: round(t.item(), 4) for n, t in out.items() if n.endswith(".loss")})
