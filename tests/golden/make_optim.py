"""Writes optim.npz: twenty steps of PyTorch's optimisers on both blocks, in float64.

Run in an environment with torch==2.13.0 and numpy:

    python tests/golden/make_optim.py

Stored for each block: the initial values; for each optimiser: the loss before each step and
every parameter after the last.  The batches are NumPy's, drawn from a seed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

STEPS = 20
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05),
    "momentum": lambda p: torch.optim.SGD(p, 0.05, 0.9, 0.1, 1e-2),
    "nesterov": lambda p: torch.optim.SGD(p, 0.02, 0.9, weight_decay=1e-2, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-3, 0.9, 1e-3, 1e-2, 0.9),
    "centered": lambda p: torch.optim.RMSprop(p, 1e-3, 0.9, 1e-3, centered=True),
    "rmsprop_tf": lambda p: RMSpropTF(p, 1e-3, 0.9, 1e-3, 1e-2, 0.9),
    "adam": lambda p: torch.optim.Adam(p, 1e-2, (0.8, 0.95), 1e-6, 1e-2),
    "amsgrad": lambda p: torch.optim.Adam(p, 1e-2, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.1),
}


class RMSpropTF(torch.optim.Optimizer):
    """TensorFlow's update, with tensors."""

    def __init__(self, params, lr, alpha, eps, weight_decay, momentum):
        super().__init__(
            params, {"lr": lr, "a": alpha, "e": eps, "wd": weight_decay, "m": momentum}
        )

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state.update(v=torch.ones_like(p), b=torch.zeros_like(p))
                g = p.grad + group["wd"] * p
                state["v"] = group["a"] * state["v"] + (1 - group["a"]) * g**2
                ratio = g / torch.sqrt(state["v"] + group["e"])
                state["b"] = group["m"] * state["b"] + group["lr"] * ratio
                p -= state["b"]


class InvertedResidual(nn.Module):
    def __init__(self, c, e):
        super().__init__()
        self.convs = nn.ModuleList(
            [nn.Conv2d(c, e, 1, bias=False), nn.Conv2d(e, e, 3, 1, 1, groups=e, bias=False),
             nn.Conv2d(e, c, 1, bias=False)]
        )  # fmt: skip
        self.norms = nn.ModuleList([nn.BatchNorm2d(n) for n in (e, e, c)])

    def forward(self, x):
        y = x
        for k, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(y))
            y = torch.clamp(y, 0, 6) if k < 2 else y
        return x + y


class SqueezeNeXt(nn.Module):
    """1x1 to half, 1x1 to a quarter, 3x1 and 1x3 to half, 1x1 back; ReLU after each and the sum."""

    def __init__(self, c):
        super().__init__()
        shapes = [(c, c // 2, 1, 1), (c // 2, c // 4, 1, 1), (c // 4, c // 2, 3, 1),
                  (c // 2, c // 2, 1, 3), (c // 2, c, 1, 1)]  # fmt: skip
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, (a, b), 1, (a // 2, b // 2), bias=False) for i, o, a, b in shapes
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o, *_ in shapes)

    def forward(self, x):
        y = x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = torch.relu(norm(conv(y)))
        return torch.relu(x + y)


def data(channels):
    """Batches (STEPS, 4, C, 5, 7) and their labels, as the test draws them too."""
    rng = np.random.default_rng(3)
    return rng.standard_normal((STEPS, 4, channels, 5, 7)), rng.integers(0, 5, (STEPS, 4))


def loss_of(block, head, x, labels):
    return nn.functional.cross_entropy(head(block(x).mean((2, 3))), labels)


def main():
    torch.set_default_dtype(torch.float64)
    out = {}
    for name, make in (
        ("inverted", lambda: InvertedResidual(6, 18)),
        ("squeezenext", lambda: SqueezeNeXt(8)),
    ):
        torch.manual_seed(7)
        block = make()
        channels = 6 if name == "inverted" else 8
        head = nn.Linear(channels, 5)
        model = nn.ModuleList([block, head])
        x, labels = map(torch.from_numpy, data(channels))
        first = [p.detach().clone() for p in model.parameters()]
        for k, p in enumerate(first):
            out[f"{name}/first/{k:02}"] = p.numpy()
        for kind, optimizer_of in OPTIMIZERS.items():
            for p, value in zip(model.parameters(), first, strict=True):
                p.data.copy_(value)
            optimizer, losses = optimizer_of(list(model.parameters())), []
            for step in range(STEPS):
                optimizer.zero_grad()
                loss = loss_of(block, head, x[step], labels[step])
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            out[f"{name}/{kind}/losses"] = np.array(losses)
            last = [p.detach().numpy() for p in model.parameters()]
            out[f"{name}/{kind}/last"] = np.concatenate([p.ravel() for p in last])
    np.savez_compressed(Path(__file__).with_name("optim.npz"), **out)


if __name__ == "__main__":
    main()
