"""TagOOD's loss, its gradients and the centres after a step -> tagood.safetensors.

Stated from the authors' code in PyTorch, float64 on the float32 inputs that the file holds; gradients are autograd's.
`after-once` is what their indexed assignment leaves where no class comes twice; where one does it leaves what was written
last, so `after-twice` is the project's rule: a class moves once, towards the mean of its images.

    python make_tagood.py        # torch 2.15, safetensors 0.8 when tagood.safetensors was made
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20261121)
N, K, WIDTH, GROUPS, ALPHA = 6, 8, 12, 4, 0.999

embedding, logits = torch.randn(N, WIDTH), 2 * torch.randn(N, K)
centres = torch.randn(K, WIDTH)
labels = torch.tensor([0, 3, 1, 3, 2, 3])
once = torch.tensor([7, 3, 1, 0, 2, 4])


def moved(y):
    c = centres.double().clone().reshape(K, GROUPS, -1)
    c[y] = ALPHA * c[y] + (1 - ALPHA) * embedding.double().reshape(N, GROUPS, -1)
    return c.reshape(K, WIDTH)


def moved_towards_means(y):
    c = centres.double().clone()
    for k in y.unique():
        c[k] = ALPHA * c[k] + (1 - ALPHA) * embedding.double()[y == k].mean(0)
    return c


torch.testing.assert_close(moved(once), moved_towards_means(once))

f, z = embedding.double().requires_grad_(), logits.double().requires_grad_()
own = centres.double()[labels].reshape(N, GROUPS, -1)
distance = F.mse_loss(f.reshape(N, GROUPS, -1), own, reduction="none").mean(-1).sum(-1).mean()
loss = torch.clamp(distance * 0.1 + F.cross_entropy(z, labels), min=1e-5, max=1e3)
by_f, by_z = torch.autograd.grad(loss, [f, z])
out = {
    "embedding": embedding,
    "logits": logits,
    "centres": centres,
    "labels": labels,
    "once": once,
    "loss": loss.detach().reshape(1),
    "embedding.gradient": by_f,
    "logits.gradient": by_z,
    "after-once": moved(once),
    "after-twice": moved_towards_means(labels),
}
out = {f"tagood.{name}": tensor.float().contiguous() for name, tensor in out.items()}
save_file(out, Path(__file__).with_name("tagood.safetensors"))
print(loss.item())
