"""Expected scores of the detectors that read words, and of the mining of negatives -> words.npz.

Each formula is stated again from its paper, densely and without regard to speed, in NumPy float64 on the float32
features that the file holds: images, patches and texts in a narrow cone, as CLIP's are. The one thing that is shared
with the Rust code is the definition of the random permutation (ChaCha8), stated again here too.

    python make_words.py detic_clip_text_embeddings.zip        # numpy 2.x when words.npz was made

The zip holds Detic's CLIP text embeddings of class names (datasets/metadata/*.npy, Apache-2.0); only the numbers of
the names that are mined from it go into the file.
"""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np

rng = np.random.default_rng(20261122)
K, M, D, N, P, ROUNDS = 6, 37, 24, 300, 4, 3

cone = rng.normal(0, 1, D)
centres = rng.normal(0, 1, (K, D))
others = rng.normal(0, 1, (9, D))


def texts(around, spread=0.35, lengths=(8, 12), rng=rng):
    rows = 1.2 * cone + 0.8 * around + rng.normal(0, spread, around.shape)
    return (rows * rng.uniform(*lengths, (len(rows), 1)) / 10).astype(np.float32)


def unknown(n):
    return others[rng.integers(0, len(others), n)] + 0.6 * rng.normal(0, 1, (n, D))


label = rng.integers(0, K, N)
known_image = rng.random(N) < 0.5
about = np.where(known_image[:, None], centres[label], unknown(N))
embedding = (1.5 * cone + 0.8 * about + rng.normal(0, 0.5, (N, D))).astype(np.float32)
patches = (embedding[:, None] + rng.normal(0, 1.0, (N, P, D))).astype(np.float32)
prompts = {
    "classes": texts(centres),
    "negatives": texts(unknown(M)),
    "conjugated": texts(unknown(23)),
    "agents": texts(0.3 * rng.normal(0, 1, (4, D))),
    "outliers": texts(unknown(8)),
    "shuffled": texts(np.tile(centres, (ROUNDS, 1)), spread=0.6),
    "denials": texts(0.4 * rng.normal(0, 1, (K, D))),
    "candidates": texts(unknown(60)),
}
own = np.random.default_rng(7)  # so that the arrays above stay as they were
prompts["negated"] = texts(np.tile(centres, (3, 1)), spread=0.9, rng=own)
prompts["candidates"][5] = 3 * prompts["classes"][2]  # a class by another length: left out


def unit(x):
    x = np.asarray(x, dtype=np.float64)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


x = unit(embedding)
text = {name: unit(rows) for name, rows in prompts.items()}
s = {name: x @ rows.T for name, rows in text.items()}


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def chacha8_words(seed):
    """The 32-bit words of ChaCha with 8 rounds: key = the seed's 8 bytes and zeros, counter from 0, nonce 0."""
    key = np.frombuffer(int(seed).to_bytes(8, "little") + bytes(24), dtype="<u4")
    constants = np.frombuffer(b"expand 32-byte k", dtype="<u4")
    counter = 0
    while True:
        start = [int(v) for v in (*constants, *key, counter & 0xFFFFFFFF, counter >> 32, 0, 0)]
        w = start.copy()

        def quarter(a, b, c, d):
            for i, j, k, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                w[i] = (w[i] + w[j]) & 0xFFFFFFFF
                v = w[k] ^ w[i]
                w[k] = ((v << turn) | (v >> (32 - turn))) & 0xFFFFFFFF

        for _ in range(4):
            for i in range(4):
                quarter(i, 4 + i, 8 + i, 12 + i)
            for i in range(4):
                quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
        yield from ((a + b) & 0xFFFFFFFF for a, b in zip(w, start))
        counter += 1


def permutation(n, seed):
    order, words = list(range(n)), chacha8_words(seed)
    for last in range(n - 1, 0, -1):
        place = (next(words) * (last + 1)) >> 32
        order[last], order[place] = order[place], order[last]
    return np.array(order, dtype=int)


def neglabel(known, negative, groups=100, seed=0, scale=100.0):
    m = negative.shape[1]
    groups = min(groups, m)
    order = permutation(m, seed)[: m // groups * groups].reshape(groups, -1)
    parts = [softmax(scale * np.concatenate([known, negative[:, g]], 1))[:, : known.shape[1]].sum(1) for g in order]
    return np.mean(parts, 0)


out = {}
mcm = {t: softmax(s["classes"] / t).max(1) for t in (1.0, 0.01)}
out["mcm"], out["mcm:temperature=0.01"] = mcm[1.0], mcm[0.01]
local = softmax(unit(patches) @ text["classes"].T).max((1, 2))
out["gl-mcm"], out["gl-mcm:lambda=0.5"] = mcm[1.0] + local, mcm[1.0] + 0.5 * local
out["neglabel"] = neglabel(s["classes"], s["negatives"])
out["neglabel:groups=5:seed=3"] = neglabel(s["classes"], s["negatives"], 5, 3)
out["neglabel:groups=1:scale=30"] = neglabel(s["classes"], s["negatives"], 1, scale=30)
out["csp"] = neglabel(s["classes"], s["conjugated"])
out["csp:groups=4"] = neglabel(s["classes"], s["conjugated"], 4)
for k in (1, 3):
    agents = s["agents"][:, np.arange(k * K) % len(text["agents"])]
    p = softmax(np.concatenate([s["classes"], agents], 1))
    out["cma" if k == 1 else f"cma:k={k}"] = p[:, :K].max(1)
rounds = (s["shuffled"] / 0.01).reshape(N, ROUNDS, K)
out["tag"] = softmax(rounds).max(2).mean(1)
out["tag:base=max-logit"] = rounds.max(2).mean(1)
out["tag:base=energy"] = np.log(np.exp(rounds).sum(2)).mean(1)
p = softmax(np.concatenate([s["classes"], s["outliers"]], 1))
out["eoe"] = p[:, :K].max(1) - 0.25 * p[:, K:].max(1)
p = softmax(100 * s["classes"])
y = 1 / (1 + np.exp(100 * (s["denials"] - s["classes"])))
out["clipn"] = (p * y).sum(1)
out["clipn:rule=ctw"] = y[np.arange(N), p.argmax(1)]
out["negprompt"], out["negprompt:temperature=0.01"] = (
    softmax(np.concatenate([s["classes"], s["negated"]], 1) / t)[:, :K].max(1) for t in (1.0, 0.01)
)
no = s["negated"].reshape(N, 3, K)
out["lsn"], out["lsn:temperature=0.05"] = (mcm[1.0] + softmax((1 - no) / t).max(2).mean(1) for t in (5.0, 0.05))
words = text["candidates"][(text["candidates"] @ text["classes"].T).max(1) <= 0.999]
assert len(words) == 59
for top in (35, 3):
    nearest = -np.sort(-(x @ words.T), 1)[:, :top]
    p = softmax(100 * np.concatenate([s["classes"], nearest], 1))
    out["candidate-words" if top == 35 else f"candidate-words:top={top}"] = 1 - p[:, K:].sum(1)


def adaneg(batch=256, memory=10, groups=5, proxies="sample", before=True, lam=0.1, gamma=0.5, gap=0.5):
    labels = np.concatenate([text["classes"], text["negatives"]])
    feat = np.zeros((K + M, memory, D))
    feat[:, 0] = labels
    entropies, used, scores = np.zeros((K + M, memory)), np.ones(K + M, dtype=int), []

    def put(image, first, cosines):
        p = softmax(100 * cosines)
        entropy = -(p * np.log(np.maximum(p, 1e-300))).sum()
        label = first + cosines.argmax()
        if used[label] < memory:
            place = used[label]
            used[label] += 1
        else:
            place = 1 + entropies[label, 1:].argmax() if memory > 1 else 0
            if not entropy < entropies[label, place]:
                return
        feat[label, place], entropies[label, place] = image, entropy

    def update(images, cosines, p):
        for image, row, share in zip(images, cosines, p):
            if share > gamma + gap * (1 - gamma):
                put(image, 0, row[:K])
            elif share < gamma - gap * gamma:
                put(image, K, row[K:])

    for start in range(0, N, batch):
        images = x[start : start + batch]
        cosines = images @ labels.T
        p = neglabel(cosines[:, :K], cosines[:, K:], groups)
        if before:
            update(images, cosines, p)
        present = np.arange(memory) < used[:, None]
        adapted = np.empty_like(cosines)
        for i, image in enumerate(images):
            weights = np.exp(-5.5 * (1 - feat @ image)) if proxies == "sample" else np.ones((K + M, memory))
            adapted[i] = unit(((weights * present)[:, :, None] * feat).sum(1)) @ image
        scores.append(neglabel(adapted[:, :K], adapted[:, K:], groups) + lam * p)
        if not before:
            update(images, cosines, p)
    print("memories used:", (used > 1).sum(), "of", K + M, "fullest", used.max())
    return np.concatenate(scores)


out["adaneg"] = adaneg()
out["adaneg:batch=16:proxies=task:memory=3"] = adaneg(16, 3, proxies="task")
out["adaneg:batch=7:memory=4:update_before_score=false:lambda=0.5"] = adaneg(7, 4, before=False, lam=0.5)
out["adaneg:gap=0.2:gamma=0.6:groups=1"] = adaneg(groups=1, gap=0.2, gamma=0.6)


def oodd(queue=2048, k=5, batch=64, before=True):
    base, scores, kept = mcm[1.0], [], []
    for start in range(0, N, batch):
        rows = list(range(start, min(start + batch, N)))
        seen = rows[-1] + 1 if before else start
        kept = sorted(range(seen), key=lambda row: (base[row], row))[:queue]
        cosines = np.sort(x[rows] @ x[kept].T, 1)[:, ::-1] if kept else np.zeros((len(rows), 1))
        scores.append(base[rows] - cosines[:, min(k, cosines.shape[1]) - 1])
    return np.concatenate(scores)


out["oodd"] = oodd()
out["oodd:queue=20:k=3:batch=10"] = oodd(20, 3, 10)
out["oodd:queue=9:k=4:batch=3:update_before_score=false"] = oodd(9, 4, 3, False)


def mine(classes, words, parts, ceiling=None, ascending=False, share=0.15, q=0.95):
    cosines = unit(words) @ unit(classes).T
    near = np.sort(cosines, 1)[:, int(q * len(classes))] if ascending else np.quantile(cosines, q, axis=1)
    chosen = []
    for start, end in parts:
        rows = np.arange(start, end)
        if ceiling is not None:
            rows = rows[cosines[start:end].max(1) <= ceiling]
        rows = rows[np.argsort(near[rows], kind="stable")]
        chosen.append(rows[: int(share * (end - start))])
    return near, np.concatenate(chosen)


mining_classes, mining_words = texts(rng.normal(0, 1, (33, D))), texts(rng.normal(0, 1.5, (700, D)))
mining_words[100:110] = mining_classes[:10]
parts = [(0, 500), (500, 700)]
near, chosen = mine(mining_classes, mining_words, parts)
mined = {
    "mining.classes": mining_classes, "mining.words": mining_words, "mining.near": near, "mining.neglabel": chosen,
    "mining.csp": mine(mining_classes, mining_words, parts, ceiling=0.8)[1],
    "mining.ascending": mine(mining_classes, mining_words, parts, ascending=True)[1],
}
archive = zipfile.ZipFile(sys.argv[1])


def detic(name):
    (path,) = [path for path in archive.namelist() if path.endswith(name)]
    return np.load(io.BytesIO(archive.read(path))).astype(np.float32)


coco, lvis = detic("coco_clip_a+cname.npy"), detic("lvis_v1_clip_a+cname.npy")
mined["mining.coco_lvis"] = mine(coco, lvis, [(0, len(lvis))])[1]
mined["mining.coco_lvis_csp"] = mine(coco, lvis, [(0, len(lvis))], ceiling=0.95)[1]

for name, score in out.items():
    a, b = score[known_image], score[~known_image]
    print(f"{name:62} AUROC {(a[:, None] > b[None]).mean():.3f}  {score.min():.3g}..{score.max():.3g}")
np.savez_compressed(
    Path(__file__).with_name("words.npz"),
    **{"images.embedding": embedding, "images.patches": patches},
    **{f"prompts.{name}": rows for name, rows in prompts.items()},
    **{f"expected.{name}": score for name, score in out.items()},
    **{name: rows.astype(np.int64) if rows.dtype == int else rows for name, rows in mined.items()},
)
