"""PyTorch's images per second on CIFAR ResNet-20 and ResNet-50, both memory layouts, two threads: python forward.py"""

import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/golden"))
from make_backbones import NETWORKS  # noqa: E402

CASES = [("cifar-resnet20", 128, 32), ("resnet18-32x32", 32, 32), ("sprite-resnet", 128, 64), ("resnet50", 8, 224)]


def main():
    torch.set_num_threads(2)
    for name, n, side in CASES:
        for layout in [torch.contiguous_format, torch.channels_last]:
            network = NETWORKS[name][2]().eval().to(memory_format=layout)
            images = torch.full((n, 3, side, side), 0.5).to(memory_format=layout)
            with torch.inference_mode():
                times = []
                for _ in range(13):
                    start = time.perf_counter()
                    network(images)
                    times.append(time.perf_counter() - start)
            print(name, layout, f"{n / statistics.median(times[3:]):.0f} images/s")


if __name__ == "__main__":
    main()
