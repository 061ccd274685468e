"""PyTorch's images per second of wall time and per second of a core, both memory layouts, two threads: python forward.py"""

import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/golden"))
from make_backbones import NETWORKS  # noqa: E402

CASES = [
    ("cifar-resnet20", 128, 32),
    ("resnet18-32x32", 32, 32),
    ("sprite-resnet", 128, 64),
    ("resnet18", 16, 224),
    ("resnet50", 8, 224),
]


def main():
    torch.set_num_threads(2)
    for name, n, side in CASES:
        for layout in [torch.contiguous_format, torch.channels_last]:
            network = NETWORKS[name][2]().eval().to(memory_format=layout)
            images = torch.full((n, 3, side, side), 0.5).to(memory_format=layout)
            with torch.inference_mode():
                wall, cores = [], []
                for _ in range(13):
                    start, used = time.perf_counter(), time.process_time()
                    network(images)
                    wall.append(time.perf_counter() - start)
                    cores.append(time.process_time() - used)
            wall, cores = (n / statistics.median(times[3:]) for times in (wall, cores))
            print(name, layout, f"{wall:.0f} images/s, {cores:.0f} per core")


if __name__ == "__main__":
    main()
