"""OpenCV's blur of cut-outs, one box after the other -> blur.safetensors.

    python make_blur.py        # opencv-python-headless 5.0, numpy 2.4, safetensors 0.8 when blur.safetensors was made
"""

from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import save_file

rng = np.random.default_rng(20261121)
image = rng.integers(0, 256, (45, 60, 3), dtype=np.uint8)
cases = {
    "one": [[5.7, 2.2, 35.9, 40.0]],
    "two": [[-8.0, 3.0, 30.5, 32.0], [20.0, 15.0, 70.0, 35.3]],
    "small": [[50.0, 40.0, 51.0, 43.0], [3.0, 3.0, 12.0, 5.0]],
}
out = {"image": image.astype(np.float32)}
for name, boxes in cases.items():
    result = image.copy()
    for x0, y0, x1, y1 in boxes:
        x0, x1 = (int(min(max(x, 0), 60)) for x in (x0, x1))
        y0, y1 = (int(min(max(y, 0), 45)) for y in (y0, y1))
        result[y0:y1, x0:x1] = cv2.blur(result[y0:y1, x0:x1].copy(), (50, 50))
    out[f"{name}.boxes"] = np.array(boxes, dtype=np.float32)
    out[f"{name}.result"] = result.astype(np.float32)
save_file(out, Path(__file__).with_name("blur.safetensors"))
