"""PyTorch's own operator samples, with what PyTorch makes of them: writes opinfo.npz.

    pip install torch==2.13.0 expecttest      (in an environment of its own: op_db is private)
    python tests/golden/make_opinfo.py [--all FILE]

A sample is a call of an operator as PyTorch's developers test it, in float64.  Stored with it
are the outputs, one fixed cotangent for each, and the gradients that PyTorch gives.  To keep the
file small, samples of more than 2,600 numbers are left out, and of max_pool2d all but every
16th; ``--all`` keeps everything.

opinfo.npz holds "index", JSON in bytes, a list of samples, and "numbers", all their values one
after another: {"array": [start, shape]} stands for some of them, {"tensor": ...} for some
that want a gradient, {"integers": [values, shape]} for labels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

FUNCTIONAL = (
    "conv1d conv2d conv_transpose2d batch_norm max_pool2d avg_pool2d linear "
    "relu relu6 hardswish hardsigmoid hardtanh silu softmin cross_entropy mse_loss pad"
)
PLAIN = "addmm matmul mm bmm sigmoid tanh softmax log_softmax"
WANTED = {f"nn.functional.{name}" for name in FUNCTIONAL.split()} | set(PLAIN.split())


LARGEST = 2600


class Writer:
    """The numbers, and the JSON that refers to them."""

    def __init__(self) -> None:
        self.numbers: list[float] = []

    def plain(self, value):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            start, kind = len(self.numbers), "tensor" if value.requires_grad else "array"
            self.numbers.extend(value.detach().flatten().tolist())
            return {kind: [start, list(value.shape)]}
        if isinstance(value, torch.Tensor):
            return {"integers": [value.flatten().tolist(), list(value.shape)]}
        if isinstance(value, (list, tuple)):
            return [self.plain(v) for v in value]
        if isinstance(value, dict):
            return {k: self.plain(v) for k, v in value.items()}
        if isinstance(value, torch.dtype):
            return str(value).removeprefix("torch.")
        return value


def tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from tensors(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from tensors(v)


def samples(op):
    torch.manual_seed(0)
    return op.sample_inputs("cpu", torch.float64, requires_grad=True)


def record(writer, op, k, sample):
    given = [sample.input, list(sample.args), dict(sample.kwargs)]
    # Before the call: batch_norm moves its running statistics in place.
    call = writer.plain([sample.input, *sample.args]), writer.plain(dict(sample.kwargs))
    y = op(sample.input, *sample.args, **sample.kwargs)
    outputs = [t for t in tensors(y) if t.requires_grad]
    inputs = [t for t in tensors(given) if t.requires_grad]
    generator = torch.Generator().manual_seed(1000 + k)
    cotangents = [torch.randn(t.shape, dtype=t.dtype, generator=generator) for t in outputs]
    grads = torch.autograd.grad(outputs, inputs, cotangents, allow_unused=True)
    return {
        "op": op.name + ("." + op.variant_test_name if op.variant_test_name else ""),
        "k": k,
        "args": call[0],
        "kwargs": call[1],
        "outputs": [writer.plain(t.detach()) for t in outputs],
        "cotangents": [writer.plain(t) for t in cotangents],
        "grads": [None if g is None else writer.plain(g) for g in grads],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", metavar="FILE", help="write every sample to FILE instead")
    everything = parser.parse_args().all
    writer, index = Writer(), []
    for op in op_db:
        if op.name not in WANTED or op.variant_test_name not in ("", "constant"):
            continue
        for k, sample in enumerate(samples(op)):
            if op.name == "nn.functional.max_pool2d" and k % 16 and not everything:
                continue
            kept, before = len(index), len(writer.numbers)
            index.append(record(writer, op, k, sample))
            if len(writer.numbers) - before > LARGEST and not everything:
                del index[kept:], writer.numbers[before:]
    text = json.dumps({"torch": torch.__version__, "samples": index}, separators=(",", ":"))
    target = Path(everything) if everything else Path(__file__).with_name("opinfo.npz")
    encoded = np.frombuffer(text.encode(), np.uint8)
    np.savez_compressed(target, index=encoded, numbers=np.array(writer.numbers))
    print(len(index), "samples,", target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
