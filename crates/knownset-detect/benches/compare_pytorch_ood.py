"""Fit + score by pytorch-ood on features made like those of fit_score.rs: seconds per detector, median of --repeat.

    python compare_pytorch_ood.py [--rows 50000] [--threads 2] [--repeat 1] [--detectors mds,knn,…]
"""

import argparse
import statistics
import time

import numpy as np
import torch
from pytorch_ood import detector as o

WIDTH, CLASSES = 512, 100
parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=int, default=50_000)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--repeat", type=int, default=1)
parser.add_argument("--detectors", default="msp,mls,ebo,gen,entropy,klm,temp-scale,mds,rmds,knn,vim,she,fdbd,react,ash-s,scale,dice")
options = parser.parse_args()
torch.set_num_threads(options.threads)

centres = (np.random.default_rng(7).random((CLASSES, WIDTH)) ** 4 * 3).astype(np.float32)
mean = centres.mean(0)
weight = (centres - mean) * np.float32(0.05)
bias = -0.5 * (weight * (centres + mean)).sum(1)


def features(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, options.rows)
    embedding = np.maximum(centres[labels] + 0.8 * rng.standard_normal((options.rows, WIDTH), np.float32) - 0.2, 0)
    logits = embedding @ weight.T + bias
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in (embedding.astype(np.float32), logits, labels)]


(f, z, y), (tf, tz, _) = features(1), features(2)
print("training accuracy", (z.argmax(1) == y).float().mean().item())
head = torch.nn.Linear(WIDTH, CLASSES)
head.weight.data, head.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
w, b = head.weight.data, head.bias.data


def shaped(x):
    return head(x.flatten(1))


maps, test_maps = f[:, :, None, None], tf[:, :, None, None]
RUNS = {
    "msp": lambda: o.MaxSoftmax.score(tz),
    "mls": lambda: o.MaxLogit.score(tz),
    "ebo": lambda: o.EnergyBased.score(tz),
    "gen": lambda: o.GEN.score(tz),
    "entropy": lambda: o.Entropy.score(tz),
    "klm": lambda: o.KLMatching(None).fit_logits(z, y).predict_logits(tz),
    "temp-scale": lambda: o.TemperatureScaling(None).fit_logits(z, y).predict_logits(tz),
    "mds": lambda: o.Mahalanobis(None).fit_features(f, y).predict_features(tf),
    "rmds": lambda: o.RMD(None).fit_features(f, y).predict_features(tf),
    "knn": lambda: o.KNN(None, k=50).fit_features(f, y).predict_features(tf),
    "vim": lambda: o.ViM(None, d=WIDTH // 2, w=w, b=b).fit_features(f, y).predict_features(tf),
    "she": lambda: o.SHE(None, head).fit_features(f, y).predict_features(tf),
    "fdbd": lambda: o.fDBD(None, head).fit_features(f).predict_features(tf),
    "react": lambda: o.ReAct(None, shaped, percentile=0.9).fit_feature_maps(maps, y).predict_feature_maps(test_maps),
    "ash-s": lambda: o.ASH(None, shaped, percentile=0.65).predict_feature_maps(test_maps),
    "scale": lambda: o.SCALE(None, shaped, percentile=0.85).predict_feature_maps(test_maps),
    "dice": lambda: o.DICE(None, w, b, p=0.9).fit_features(f, y).predict_features(tf),
}
for name in options.detectors.split(","):
    times = []
    for _ in range(options.repeat):
        start = time.perf_counter()
        with torch.no_grad() if name != "temp-scale" else torch.enable_grad():
            RUNS[name]()
        times.append(time.perf_counter() - start)
    print(f"{name:10} {statistics.median(times):8.2f} s", flush=True)
