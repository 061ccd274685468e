"""Makes scaled.json: sizes and inputs of images that are resized within bounds, by transformers' GroundingDINO processor.

Of each input the first and last values and the sum of every row of every channel are kept. Sizes of images that are not
there are kept too, for the roundings.

Made with Python 3.11, transformers 5.23.0, Pillow 12 (13 filters some tall images otherwise):
    python make_scaled.py
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import GroundingDinoImageProcessorPil
from transformers.image_transforms import get_size_with_aspect_ratio

HERE = Path(__file__).parent
IMAGES = [(17, 13), (40, 83), (97, 61)]
BOUNDS = [(48, 64), (32, 1333), (61, 97), (24, 25)]


def main():
    cases, sizes = [], []
    for width, height in IMAGES:
        pixels = np.fromfile(HERE / f"input-{width}x{height}.rgb", np.uint8).reshape(height, width, 3)
        for shortest, longest in BOUNDS:
            processor = GroundingDinoImageProcessorPil(size={"shortest_edge": shortest, "longest_edge": longest})
            values = processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
            rows = values.astype(np.float64).sum(2)
            cases.append(dict(
                input=f"input-{width}x{height}.rgb", width=width, height=height, shortest=shortest, longest=longest,
                shape=values.shape, first=values.ravel()[:8].tolist(), last=values.ravel()[-8:].tolist(),
                rows=rows.round(5).ravel().tolist(),
            ))
    random = np.random.default_rng(5)
    for width, height in random.integers(20, 3000, (200, 2)).tolist() + [[640, 480], [480, 640], [1333, 800], [5, 2000]]:
        for shortest, longest in [(800, 1333), (333, 500)]:
            high, wide = get_size_with_aspect_ratio((height, width), shortest, longest)
            sizes.append([width, height, shortest, longest, wide, high])
    (HERE / "scaled.json").write_text(json.dumps(dict(cases=cases, sizes=sizes)) + "\n")


main()
