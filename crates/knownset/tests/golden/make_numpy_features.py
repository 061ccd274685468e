"""Feature files as a NumPy user writes them: train.npz, id.npz, far.npz beside this script.

Three classes in six dimensions, rectified; float32 and float64, C and Fortran order, and one array nobody knows.
Made with NumPy 2.x; run again only to change the test.
"""

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CLASSES, WIDTH = 3, 6
rng = np.random.default_rng(20261121)
weight = np.eye(CLASSES, WIDTH, dtype=np.float32) - np.float32(0.2)
bias = np.array([0.1, 0.0, -0.1], dtype=np.float32)


def write(name, n, centre, order, compressed):
    labels = np.arange(n) % CLASSES
    embedding = rng.normal(scale=0.4, size=(n, WIDTH)) + centre
    embedding[np.arange(n), labels] += 2.0 * (centre == 0)
    embedding = np.maximum(embedding, 0).astype(np.float32)
    logits = embedding @ weight.T + bias
    save = np.savez_compressed if compressed else np.savez
    arrays = {
        "embedding": np.asarray(embedding, order=order),
        "logits": logits.astype(np.float64),
        "labels": labels if centre == 0 else np.full(n, -1),
        "head.weight": weight,
        "head.bias": bias,
        "note": np.arange(3),
    }
    save(HERE / f"{name}.npz", **arrays)


write("train", 90, 0, "F", True)
write("id", 45, 0, "C", False)
write("far", 40, 0.7, "F", False)
