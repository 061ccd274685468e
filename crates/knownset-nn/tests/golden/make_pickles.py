"""Small PyTorch files in every layout the reader knows, each with the same tensors, and one safetensors with the truth.

Made with torch 2.13.0: python make_pickles.py
"""

import argparse
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent


def main():
    # Extremes of each type, or values it has to round.
    state = OrderedDict(
        f32=torch.tensor([[1.5, -2.25], [0.1, 3e-5]]),
        f64=torch.tensor([0.1, -7.0], dtype=torch.float64),
        f16=torch.tensor([0.1, 65504.0], dtype=torch.float16),
        bf16=torch.tensor([0.1, 1e20], dtype=torch.bfloat16),
        i64=torch.tensor([-5, 7]),
        i32=torch.tensor([-5, 7], dtype=torch.int32),
        i16=torch.tensor([-300, 7], dtype=torch.int16),
        i8=torch.tensor([-5, 7], dtype=torch.int8),
        u8=torch.tensor([250, 7], dtype=torch.uint8),
        bool=torch.tensor([True, False]),
        transposed=torch.arange(6.0).reshape(2, 3).t(),
        part=torch.arange(10.0)[3:8:2],
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.tensor([4.0, 5.0])),
    )
    state["bn.num_batches_tracked"] = torch.tensor(9)
    checkpoint = {
        "epoch": 12,
        "best_prec1": 91.7,
        "args": argparse.Namespace(lr=0.1, arch="resnet"),
        "state_dict": OrderedDict((f"module.{name}", tensor) for name, tensor in state.items()),
        "optimizer": {"state": {0: {"momentum": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    }
    torch.save(state, HERE / "plain.pt")
    torch.save(checkpoint, HERE / "checkpoint.pt")
    torch.save(checkpoint, HERE / "checkpoint-old.pt", _use_new_zipfile_serialization=False)
    truth = {name: tensor.detach().float().contiguous() for name, tensor in state.items()}
    save_file(truth, HERE / "pickles.safetensors")


if __name__ == "__main__":
    main()
