"""Text features sent back through CLIP's projection, and spliced into a prompt's states -> tokens.safetensors.

    python make_tokens.py        # numpy 2.4, safetensors 0.8 when tokens.safetensors was made
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

rng = np.random.default_rng(20261122)
flat = rng.integers(-2, 3, (6, 3)) @ rng.integers(-2, 3, (3, 6))  # whole numbers, so that rank 3 is exact
projections = {
    "square": rng.normal(size=(6, 6)),
    "wide": rng.normal(size=(4, 6)),
    "tall": rng.normal(size=(6, 4)),
    "flat": flat,
}
assert np.linalg.matrix_rank(flat) == 3
prompt, end = rng.normal(size=(5, 6)).astype(np.float32), 3
out = {"prompt": prompt, "end": np.array([end], dtype=np.float32)}
for name, weight in projections.items():
    weight = weight.astype(np.float32)  # [features, states], as `text_projection.weight` lies in a file
    features = rng.normal(size=(3, weight.shape[0])).astype(np.float32)
    inverse = np.linalg.pinv(weight.T.astype(np.float64), rcond=6 * np.finfo(float).eps)
    if name == "square":
        assert np.allclose(inverse, np.linalg.inv(weight.T.astype(np.float64)))
    states = features.astype(np.float64) @ inverse
    out |= {f"{name}.weight": weight, f"{name}.features": features, f"{name}.states": states.astype(np.float32)}
tokens = np.repeat(prompt[None], 3, axis=0)
tokens[:, end] = out["square.states"]
out["tokens"] = tokens
save_file(out, Path(__file__).with_name("tokens.safetensors"))
