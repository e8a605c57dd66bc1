"""PyTorch's own operator samples, with what PyTorch makes of them: writes opinfo.npz.

    pip install torch==2.13.0 expecttest      (in an environment of its own: op_db is private)
    python tests/golden/make_opinfo.py

A sample is a call of an operator as PyTorch's developers test it, in float64.  Stored with it
are the outputs, one fixed cotangent for each, and the gradients that PyTorch gives.

opinfo.npz holds "index", JSON in bytes, a list of samples, and "numbers", all their values one
after another: {"array": [start, shape]} stands for some of them, {"tensor": ...} for some
that want a gradient, {"integers": [values, shape]} for labels.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

FUNCTIONAL = (
    "conv1d conv2d conv_transpose2d batch_norm instance_norm group_norm layer_norm "
    "local_response_norm max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d linear "
    "relu relu6 hardswish hardsigmoid hardtanh silu gelu mish elu selu leaky_relu prelu softplus "
    "softsign softmin glu cross_entropy nll_loss mse_loss l1_loss smooth_l1_loss huber_loss "
    "kl_div binary_cross_entropy binary_cross_entropy_with_logits normalize unfold "
    "pixel_shuffle pixel_unshuffle channel_shuffle embedding pad"
)
PLAIN = "native_batch_norm addmm matmul mm bmm sigmoid tanh softmax log_softmax logsumexp"
WANTED = {f"nn.functional.{name}" for name in FUNCTIONAL.split()} | set(PLAIN.split())
VARIANTS = ("", "constant", "reflect", "replicate", "circular")


class Writer:
    """The numbers, and the JSON that refers to them."""

    def __init__(self) -> None:
        self.numbers: list[float] = []
        self.places: dict[bytes, int] = {}

    def place(self, array):
        """Where the numbers of an array start; the same numbers are written once."""
        key = array.tobytes()
        if key not in self.places:
            self.places[key] = len(self.numbers)
            self.numbers.extend(array.tolist())
        return self.places[key]

    def plain(self, value):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            kind = "tensor" if value.requires_grad else "array"
            start = self.place(value.detach().flatten().double().numpy())
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
        "op": name_of(op),
        "k": k,
        "args": call[0],
        "kwargs": call[1],
        "outputs": [writer.plain(t.detach()) for t in outputs],
        "cotangents": [writer.plain(t) for t in cotangents],
        "grads": [None if g is None else writer.plain(g) for g in grads],
    }


def name_of(op):
    return op.name + ("." + op.variant_test_name if op.variant_test_name else "")


def described(value):
    """An argument of a call that is refused: of a tensor its shape and dtype are enough."""
    if isinstance(value, torch.Tensor):
        return {"ones": [list(value.shape), str(value.dtype).removeprefix("torch.")]}
    if isinstance(value, (list, tuple)):
        return [described(v) for v in value]
    if isinstance(value, dict):
        return {k: described(v) for k, v in value.items()}
    return value


def refusals(op):
    """The calls that PyTorch's developers expect to be refused, and in which words."""
    for k, case in enumerate(op.error_inputs("cpu") if op.error_inputs_func else ()):
        sample = case.sample_input
        yield {
            "op": name_of(op),
            "k": k,
            "args": described([sample.input, *sample.args]),
            "kwargs": described(dict(sample.kwargs)),
            "error": str(case.error_regex),
        }


def main() -> None:
    writer, index, refused = Writer(), [], []
    for op in op_db:
        if op.name in WANTED and op.variant_test_name in VARIANTS:
            refused += refusals(op)
            index += [record(writer, op, k, sample) for k, sample in enumerate(samples(op))]
    found = {"torch": torch.__version__, "samples": index, "refused": refused}
    target = Path(__file__).with_name("opinfo.npz")
    encoded = np.frombuffer(json.dumps(found, separators=(",", ":")).encode(), np.uint8)
    np.savez_compressed(target, index=encoded, numbers=np.array(writer.numbers))
    print(len(index), "samples,", len(refused), "refusals,", target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
