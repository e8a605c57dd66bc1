"""How the .pth files beside this were written: pip install torch==2.13.0 numpy; python write.py

expected.npz holds the same tensors as NumPy arrays (bfloat16 as float32).
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent


def state_dict():
    values = torch.arange(24, dtype=torch.float32)
    tensors = OrderedDict()
    tensors["transposed"] = values.reshape(4, 6).T
    tensors["offset"] = values[3:9].reshape(2, 3)
    tensors["every_second"] = values[1::2]
    tensors["expanded"] = values[5].expand(2, 3)
    tensors["scalar"] = torch.tensor(7.5)
    tensors["empty"] = torch.zeros(0, 3)
    tensors["channels_last"] = (
        torch.arange(120.0).reshape(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    )
    tensors["parameter"] = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    for name in ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8",
                 "bool", "complex64"):  # fmt: skip
        tensors[name] = torch.tensor([0, 1, 3]).to(getattr(torch, name))
    tensors["bfloat16"] = torch.tensor([1.5, -3e38, float("inf"), 1e-40]).to(torch.bfloat16)
    return tensors


def checkpoint(tensors):
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    wrapped = {f"module.{name}": tensor for name, tensor in tensors.items()}
    return {
        "epoch": 3,
        "state_dict": wrapped,
        "optimizer": optimizer.state_dict(),
        "best": np.float64(0.5),
        "device": torch.device("cpu"),
        "rng": torch.zeros(3),
    }


def as_numpy(tensor):
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


if __name__ == "__main__":
    tensors = state_dict()
    torch.save(tensors, HERE / "zip.pth")
    torch.save(tensors, HERE / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(checkpoint(tensors), HERE / "checkpoint.pth")
    np.savez(HERE / "expected.npz", **{name: as_numpy(t) for name, t in tensors.items()})
