"""Expected scores of the twenty detectors on a small seeded feature set -> detectors.npz.

Each formula is stated again from its paper, in NumPy/SciPy float64 on the float32 features that the file holds, and
compared with pytorch-ood where that offers the same score; its known deviations are undone at the comparison.
The residual's and GEN's definitions follow this project where it deviates from OpenOOD (see the detectors' files).

    python make_detectors.py        # numpy 2.x, scipy 1.x, torch 2.13, pytorch-ood 0.4.0 when detectors.npz was made
"""

import warnings
from pathlib import Path

import numpy as np
from scipy.linalg import pinvh
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax
from scipy.stats import weibull_min

rng = np.random.default_rng(20261121)
K, D = 5, 16
centres = rng.gamma(1.0, 1.0, (K, D))


def sample(n, shift):
    y = rng.integers(0, K, n)
    f = np.maximum(centres[y] * shift + rng.normal(0, 1.5, (n, D)), 0).astype(np.float32)
    return f, y


train_f, train_y = sample(200, 1.0)
test_f = np.concatenate([sample(40, 1.0)[0], np.abs(rng.normal(0, 1.6, (20, D))).astype(np.float32)])
W = (centres - centres.mean(0) + rng.normal(0, 0.05, (K, D))).astype(np.float32) * np.float32(0.7)
squares = (centres**2).sum(1)
b = (-0.35 * (squares - squares.mean()) + rng.normal(0, 0.3, K)).astype(np.float32)
train_z, test_z = train_f @ W.T + b, test_f @ W.T + b

# float64 views of the float32 arrays
f, y, z = train_f.astype(float), train_y, train_z.astype(float)
tf, tz = test_f.astype(float), test_z.astype(float)
w64, b64 = W.astype(float), b.astype(float)
P, tP = softmax(z, 1), softmax(tz, 1)
pred, tpred = z.argmax(1), tz.argmax(1)
print("train accuracy", (pred == y).mean())
out = {}

out["msp"] = tP.max(1)


def nll_slope(beta):
    return (z * softmax(beta * z, 1)).sum(1).mean() - z[np.arange(len(y)), y].mean()


beta = brentq(nll_slope, 0.01, 100, xtol=1e-15, rtol=1e-15)
out["temp-scale"] = softmax(tz * beta, 1).max(1)
out["mls"] = tz.max(1)
out["ebo"] = logsumexp(tz, 1)


def gen(p, gamma=0.1, m=100):
    p = -np.sort(-p, 1)
    q = 1 - p
    q[:, 0] = p[:, 1:].sum(1)
    return -((p * q) ** gamma)[:, :m].sum(1)


out["gen"] = gen(tP)
out["entropy"] = (tP * np.log(tP)).sum(1)
templates = np.stack([P[pred == k].mean(0) for k in range(K) if (pred == k).any()])
out["klm"] = -((tP * np.log(tP)).sum(1)[:, None] - tP @ np.log(templates).T).min(1)


def tail_fit(distances, tail=20):
    """Maximum-likelihood Weibull of libMR's shifted distances, in the well-conditioned variable log1p."""
    x = np.sort(distances)[-tail:]
    t = np.log1p((x - x[0]) / 1e4)

    def slope(k):
        e = np.exp(k * (t - t.max()))
        return (e * t).sum() / e.sum() - t.mean() - 1 / k

    k = brentq(slope, 1.0, 1e9, xtol=1e-12, rtol=1e-15)
    return x[0], k, (logsumexp(k * t) - np.log(len(t))) / k


def tail_cdf(distance, fit):
    smallest, k, log_scale = fit
    return -np.expm1(-np.exp(k * (np.log1p((distance - smallest) / 1e4) - log_scale)))


mavs, fits = [], []
for k in range(K):
    own = z[(y == k) & (pred == k)]
    mavs.append(own.mean(0))
    fits.append(tail_fit(np.linalg.norm(own - mavs[-1], axis=1)))
    # SciPy's own CDF at these parameters, on libMR's scale
    at = np.linalg.norm(own - mavs[-1], axis=1) + 1e4 - fits[-1][0]
    scipy_cdf = weibull_min.cdf(at, c=fits[-1][1], scale=1e4 * np.exp(fits[-1][2]))
    np.testing.assert_allclose(tail_cdf(at - 1e4 + fits[-1][0], fits[-1]), scipy_cdf, atol=1e-7)


def openmax(row, alpha=3):
    revised, unknown = row.copy(), 0.0
    for rank, c in enumerate(np.argsort(-row)[:alpha]):
        removed = row[c] * (alpha - rank) / alpha * tail_cdf(np.linalg.norm(row - mavs[c]), fits[c])
        revised[c] -= removed
        unknown += removed
    return -np.exp(unknown - logsumexp(np.append(revised, unknown)))


out["openmax"] = np.array([openmax(row) for row in tz])

means = np.stack([f[y == k].mean(0) for k in range(K)])
within = (f - means[y]).T @ (f - means[y]) / len(f)
overall = (f - f.mean(0)).T @ (f - f.mean(0)) / len(f)


def mahalanobis(x, mean, covariance):
    return np.einsum("nd,de,ne->n", x - mean, pinvh(covariance), x - mean)


classwise = np.stack([mahalanobis(tf, mean, within) for mean in means], 1)
out["mds"] = -classwise.min(1)
out["rmds"] = mahalanobis(tf, f.mean(0), overall) - classwise.min(1)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


out["knn"] = -np.sort(((unit(tf)[:, None] - unit(f)[None]) ** 2).sum(2), 1)[:, 49]

origin = -np.linalg.pinv(w64) @ b64
values, vectors = np.linalg.eigh((f - origin).T @ (f - origin) / len(f))
null = vectors[:, : D - D // 2]


def residual(x):
    return np.linalg.norm((x - origin) @ null, axis=1)


out["residual"] = -residual(tf)
out["vim"] = logsumexp(tz, 1) - z.max(1).mean() / residual(f).mean() * residual(tf)
patterns = np.stack([f[(y == k) & (pred == k)].mean(0) for k in range(K)])
out["she"] = (tf * patterns[tpred]).sum(1)
apart = np.linalg.norm(w64[:, None] - w64[None], axis=2) + np.eye(K)
sums = (np.abs(tz - tz.max(1, keepdims=True)) / apart[tpred]).sum(1)
out["fdbd"] = sums / np.linalg.norm(tf - f.mean(0), axis=1)
out["grad-norm"] = np.abs(K * tP - 1).sum(1) * np.abs(tf).sum(1)


def energy(x, weight=w64):
    return logsumexp(x @ weight.T + b64, 1)


out["react"] = energy(np.minimum(tf, float(np.float32(np.percentile(f, 90)))))


def sums_of_largest(x, percentile):
    k = D - int(np.round(D * percentile / 100))
    largest = np.argsort(-x, 1, kind="stable")[:, :k]
    pruned = np.zeros_like(x)
    np.put_along_axis(pruned, largest, np.take_along_axis(x, largest, 1), 1)
    return pruned, np.exp(x.sum(1) / pruned.sum(1))[:, None]


pruned, factor = sums_of_largest(tf, 65)
out["ash-s"] = energy(pruned * factor)
_, factor = sums_of_largest(tf, 85)
out["scale"] = energy(tf * factor)
contribution = w64 * f.mean(0)
out["dice"] = energy(tf, w64 * (contribution > np.percentile(contribution, 90)))


def compare():
    """The same scores by pytorch-ood (float32, higher = out-of-distribution)."""
    import torch
    from pytorch_ood import detector as o

    t = torch.from_numpy
    head = torch.nn.Linear(D, K)
    head.weight.data, head.bias.data = t(W), t(b)
    maps, test_maps = t(train_f)[:, :, None, None], t(test_f)[:, :, None, None]
    flat = lambda x: head(x.flatten(1))  # noqa: E731
    labels = t(train_y)

    def agree(name, score, rtol=1e-4, expected=None):
        expected = out[name] if expected is None else expected
        np.testing.assert_allclose(-np.asarray(score.detach(), dtype=float), expected, rtol=rtol, atol=1e-4, err_msg=name)
        print("agrees with pytorch-ood:", name)

    agree("msp", o.MaxSoftmax.score(t(test_z)))
    agree("mls", o.MaxLogit.score(t(test_z)))
    agree("ebo", o.EnergyBased.score(t(test_z)))
    agree("entropy", o.Entropy.score(t(test_z)))
    # mean instead of sum; p clamped to 1e-7, which logits a third as large do not reach
    agree("gen", o.GEN.score(t(test_z / 3), gamma=0.1) * K, expected=gen(softmax(tz / 3, 1)))
    agree("klm", o.KLMatching(None).fit_logits(t(train_z), labels).predict_logits(t(test_z)))
    # pytorch-ood: half the distance, scatter not divided by n
    agree("mds", o.Mahalanobis(None).fit_features(t(train_f), labels).predict_features(t(test_f)) * 2 * len(f), rtol=2e-3)
    agree("rmds", o.RMD(None).fit_features(t(train_f), labels).predict_features(t(test_f)) * len(f), rtol=2e-2)
    knn = o.KNN(None, k=50).fit_features(t(train_f), labels).predict_features(t(test_f))
    agree("knn", knn**2)
    agree("vim", o.ViM(None, d=D // 2, w=t(W), b=t(b)).fit_features(t(train_f), labels).predict_features(t(test_f)), rtol=1e-3)
    agree("she", o.SHE(None, head).fit_features(t(train_f), labels).predict_features(t(test_f)))
    agree("fdbd", o.fDBD(None, head).fit_features(t(train_f)).predict_features(t(test_f)) * (K - 1))
    dice = o.DICE(None, t(W), t(b), p=0.9).fit_features(t(train_f), labels)
    agree("dice", dice.predict_features(t(test_f)))
    react = o.ReAct(None, flat, percentile=0.9).fit_feature_maps(maps, labels)
    agree("react", react.predict_feature_maps(test_maps))
    agree("ash-s", o.ASH(None, flat, percentile=0.65).predict_feature_maps(test_maps))
    agree("scale", o.SCALE(None, flat, percentile=0.85).predict_feature_maps(test_maps))
    # closed form against autograd
    grad = []
    for row in t(test_f):
        head.zero_grad()
        (-torch.log_softmax(head(row), 0).sum()).backward()
        grad.append(-head.weight.grad.abs().sum().item())
    agree("grad-norm", torch.tensor(grad))


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    compare()

arrays = {
    "train.embedding": train_f, "train.logits": train_z, "train.labels": train_y.astype(np.int64),
    "test.embedding": test_f, "test.logits": test_z, "head.weight": W, "head.bias": b,
}
np.savez_compressed(
    Path(__file__).with_name("detectors.npz"), **arrays, **{f"expected.{name}": scores for name, scores in out.items()}
)
assert len(out) == 20, len(out)
