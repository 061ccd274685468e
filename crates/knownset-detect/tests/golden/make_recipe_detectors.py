"""Expected scores of the detectors that belong to recipes, on a small seeded feature set -> recipe_detectors.npz.

Each formula is stated again from its paper, in NumPy/SciPy float64 on the float32 features that the file holds; where
torch has the operation (softmax, cosine similarity, KL divergence, rotation losses) its answer is compared. Where the
detectors deviate from OpenOOD (signs, logarithms; see their files), so does this.

    python make_recipe_detectors.py        # numpy 2.x, scipy 1.x, torch 2.13 when recipe_detectors.npz was made
"""

from pathlib import Path

import numpy as np
import torch
from scipy.special import expit, softmax

rng = np.random.default_rng(20261121)
K, D, N, DOF, GROUPS = 5, 12, 60, 4, 3


def normal(*shape, scale=1.0):
    return rng.normal(0, scale, shape).astype(np.float32)


train_f = np.abs(normal(120, D))
test_f = np.concatenate([np.abs(normal(N - 1, D, scale=1.5)), np.zeros((1, D), np.float32)])
W, b = normal(K, D), normal(K, scale=0.3)
train_z, test_z = train_f @ W.T + b, test_f @ W.T + b
rotations = normal(N, 4, 4, scale=2.0)
parts = {
    "confidence.weight": normal(1, D), "confidence.bias": normal(1, 1),
    "second.weight": W + normal(K, D, scale=0.3), "second.bias": normal(1, K),
    "energy.weight": np.array([[0.7, -0.4, 1.9, 0.0, 0.2]], np.float32),
    "godin.weight": normal(K, D), "godin.bias": normal(1, K),
    "rts.weight": normal(DOF, D, scale=0.4), "rts.bias": normal(1, DOF),
    "t2fnorm.tau": np.array([[0.1]], np.float32),
    "outlier.weight": normal(1, D), "outlier.bias": normal(1, 1),
    "centres": normal(K, D), "groups": np.array([[GROUPS]], np.float32),
}

# float64 views of the float32 arrays
f, z, known = test_f.astype(float), test_z.astype(float), train_f.astype(float)
part = {name: array.astype(float) for name, array in parts.items()}
out = {}

out["conf-branch"] = expit((f @ part["confidence.weight"].T + part["confidence.bias"])[:, 0])

second = f @ part["second.weight"].T + part["second.bias"]
first = f @ (2 * W.astype(float) - part["second.weight"]).T + 2 * b.astype(float) - part["second.bias"]
out["mcd"] = -np.abs(softmax(first, 1) - softmax(second, 1)).sum(1)

w = part["godin.weight"]
lengths = np.linalg.norm(f, axis=1, keepdims=True) * np.linalg.norm(w, axis=1)
h = {
    0: f @ w.T + part["godin.bias"],
    1: np.divide(f @ w.T, lengths, out=np.zeros((N, K)), where=lengths > 0),
    2: -((f[:, None] - w[None]) ** 2).sum(2),
}
for kind, numerators in h.items():
    out[f"g-odin kind {kind}"] = numerators.max(1)

weights = np.maximum(part["energy.weight"][0], 0)
out["weighted-ebo"] = np.log((weights * np.exp(z)).sum(1))


def unit(x):
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)


out["cider"] = out["npos"] = -np.sort(((unit(f)[:, None] - unit(known)[None]) ** 2).sum(2), 1)[:, 49]

uniform = np.full(K, 1 / K)
told_apart = (uniform * np.log(uniform / softmax(z, 1))).sum(1)
r = rotations.astype(float)
out["rot-pred"] = told_apart + np.mean([np.log(softmax(r[:, turn], 1)[:, turn]) for turn in range(4)], 0)

out["rts"] = -np.log(np.exp(f @ part["rts.weight"].T + part["rts.bias"]).mean(1))
out["t2fnorm"], out["t2fnorm:base=max-logit"] = softmax(z, 1).max(1), z.max(1)

outlier = f @ part["outlier.weight"].T + part["outlier.bias"]
p = softmax(np.concatenate([z, outlier], 1), 1)
out["kplus1-msp"] = np.log(p[:, :K].max(1) / p[:, K])

image, centre = f.reshape(N, GROUPS, -1), part["centres"].reshape(K, GROUPS, -1)
cosines = np.einsum("ngd,kgd->nkg", *(unit(x.reshape(-1, D // GROUPS)).reshape(x.shape) for x in (image, centre)))
out["tagood"] = cosines.mean(2).max(1)

# The same by torch.
t = torch.from_numpy
agree = {
    "tagood": torch.cosine_similarity(t(image)[:, None], t(centre)[None], dim=3).mean(2).max(1).values,
    "g-odin kind 1": torch.cosine_similarity(t(f)[:, None], t(w)[None], dim=2).max(1).values,
    "rot-pred": torch.nn.functional.kl_div(t(z).log_softmax(1), t(uniform).expand(N, K), reduction="none").sum(1)
    - torch.stack([torch.nn.functional.cross_entropy(t(r[:, k]), torch.full((N,), k), reduction="none") for k in range(4)]).mean(0),
    "mcd": -(t(first).softmax(1) - t(second).softmax(1)).abs().sum(1),
}
for name, score in agree.items():
    np.testing.assert_allclose(score.numpy(), out[name], rtol=1e-9, atol=1e-12, err_msg=name)
    print("agrees with torch:", name)
# A quarter turn is counter-clockwise: the last column becomes the first row.
assert torch.rot90(torch.arange(4).reshape(2, 2), 1).tolist() == [[1, 3], [0, 2]]

np.savez_compressed(
    Path(__file__).with_name("recipe_detectors.npz"),
    **{"train.embedding": train_f, "train.logits": train_z, "test.embedding": test_f, "test.logits": test_z},
    **{"head.weight": W, "head.bias": b, "test.rotations": rotations},
    **{f"parts.{name}": array for name, array in parts.items()},
    **{f"expected.{name}": scores for name, scores in out.items()},
)
for name, scores in out.items():
    print(f"{name:24} {scores.min():.4g} .. {scores.max():.4g}")
