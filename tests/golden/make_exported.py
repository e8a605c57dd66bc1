"""Write exported.zip: networks as PyTorch's two exporters write them, and what PyTorch computes.

    python tests/golden/make_exported.py      (PyTorch 2.13.0, onnx 1.23.2, onnxscript 0.7.2)

MobileNetV2 and EfficientNet-B0 are narrow here (an eighth of the channels), with torchvision's
modules and random weights; the third network has what ours have not: transposed convolutions, maps
in another size, leaks, dilation, concatenation.  Beside each file: an input, the output, and the
gradient of the second class' output with respect to the input, all by PyTorch.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

HERE = Path(__file__).parent


def conv(cin, cout, kernel=3, stride=1, groups=1, act=nn.ReLU6):
    layers = [
        nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(cout),
    ]
    return layers if act is None else [*layers, act()]


class Inverted(nn.Module):
    """The inverted residual of torchvision's MobileNetV2."""

    def __init__(self, cin, cout, stride, expand):
        super().__init__()
        wide = cin * expand
        first = conv(cin, wide, 1) if expand > 1 else []
        middle = conv(wide, wide, 3, stride, wide)
        self.conv = nn.Sequential(*first, *middle, *conv(wide, cout, 1, act=None))
        self.adds = stride == 1 and cin == cout

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


def mobilenet_v2():
    """Its table, an eighth as wide, for maps of 32 pixels."""
    table = ((1, 4, 1, 1), (6, 4, 2, 2), (6, 8, 2, 2), (6, 12, 2, 1), (6, 20, 1, 2))
    layers, cin = [*conv(3, 4, stride=2)], 4
    for expand, cout, count, stride in table:
        for k in range(count):
            layers.append(Inverted(cin, cout, stride if k == 0 else 1, expand))
            cin = cout
    layers += [*conv(cin, 40, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(40, 5))


class Squeeze(nn.Module):
    """torchvision's squeeze-and-excitation."""

    def __init__(self, channels, inner):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x):
        scale = functional.silu(self.fc1(functional.adaptive_avg_pool2d(x, 1)))
        return x * torch.sigmoid(self.fc2(scale))


class MBConv(nn.Module):
    """The MBConv of torchvision's EfficientNet."""

    def __init__(self, cin, cout, kernel, stride, expand):
        super().__init__()
        wide = cin * expand
        first = conv(cin, wide, 1, act=nn.SiLU) if expand > 1 else []
        self.block = nn.Sequential(
            *first, *conv(wide, wide, kernel, stride, wide, act=nn.SiLU),
            Squeeze(wide, max(cin // 4, 1)), *conv(wide, cout, 1, act=None),
        )  # fmt: skip
        self.adds = stride == 1 and cin == cout

    def forward(self, x):
        return x + self.block(x) if self.adds else self.block(x)


def efficientnet_b0():
    """Its table, an eighth as wide."""
    table = ((1, 4, 3, 1, 1), (6, 4, 3, 2, 2), (6, 8, 5, 2, 2), (6, 12, 3, 1, 2), (6, 16, 5, 2, 1))
    layers, cin = [*conv(3, 4, stride=2, act=nn.SiLU)], 4
    for expand, cout, kernel, stride, count in table:
        for k in range(count):
            layers.append(MBConv(cin, cout, kernel, stride if k == 0 else 1, expand))
            cin = cout
    layers += [*conv(cin, 40, 1, act=nn.SiLU), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(40, 5))


class Others(nn.Module):
    """What detectors and segmenters have: maps that grow, and are joined."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(*conv(3, 6, stride=2, act=nn.LeakyReLU))
        self.down = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 2, dilation=2), nn.PReLU(8))
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 6, 3, 2, 1, 1, bias=False),
                                nn.BatchNorm2d(6), nn.ReLU())  # fmt: skip
        self.head = nn.Conv2d(18, 5, 1)

    def forward(self, x):
        fine = self.stem(x)
        coarse = self.down(fine)
        up = self.up(coarse)
        wide = functional.interpolate(coarse[:, 2:], size=up.shape[2:], mode="bilinear",
                                      align_corners=False)  # fmt: skip
        joined = torch.cat([functional.elu(fine), up, wide], 1)
        return functional.pixel_shuffle(self.head(joined)[:, :4], 2).mean((2, 3)) + (
            self.head(joined).amax((2, 3))
        )


NETWORKS = {"mobilenet_v2": mobilenet_v2, "efficientnet_b0": efficientnet_b0, "others": Others}


def randomised(model):
    """Weights and statistics that are like those of a trained network."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_in")
    return model.eval()


def exported(model, x, new):
    """The file, of a free batch."""
    buffer = io.BytesIO()
    if new:
        batch = torch.export.Dim("batch")
        model = torch.onnx.export(model, (x,), dynamo=True, dynamic_shapes=({0: batch},))
        model.save(buffer)
    else:
        torch.onnx.export(model, (x,), buffer, dynamo=False, opset_version=13,
                          input_names=["x"], dynamic_axes={"x": {0: "n"}})  # fmt: skip
    return buffer.getvalue()


def main():
    warnings.simplefilter("ignore")
    with zipfile.ZipFile(HERE / "exported.zip", "w") as file:

        def add(name, content):
            file.writestr(
                zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED
            )

        for name, make in NETWORKS.items():
            torch.manual_seed(1)
            model, x = randomised(make()), torch.randn(2, 3, 32, 32)
            for kind in ("old", "new"):
                add(f"{name}.{kind}.onnx", exported(model, x, kind == "new"))
            wide, start = model.double(), x.double().requires_grad_()
            y = wide(start)
            (gradient,) = torch.autograd.grad(y[:, 1].sum(), start)
            buffer = io.BytesIO()
            np.savez(buffer, x=x.numpy(), y=y.detach().numpy(), gradient=gradient.numpy())
            add(f"{name}.npz", buffer.getvalue())


if __name__ == "__main__":
    main()
