"""Write exported.zip: networks as PyTorch's two exporters write them, and what PyTorch computes.

    pip install torch==2.13.0 torchvision==0.28.0 onnx==1.23.2 onnxscript==0.7.2
    PYTHONPATH=. python tests/golden/make_exported.py

MobileNetV2 and EfficientNet-B0 are torchvision's, a tenth as wide, with the weights of our own
networks (``narrow.py``).  The third network has what ours have not: transposed convolutions, maps
in another size, leaks, dilation, concatenation.  Beside each file: the output for two images of
``weights.py``, and the gradient of the second class' sum with respect to them, by PyTorch.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
import weights
from narrow import own
from torch import nn
from torch.nn import functional
from torchvision.models import EfficientNet, MobileNetV2
from torchvision.models.efficientnet import _efficientnet_conf

from minigrad.models.checkpoints import convert

HERE = Path(__file__).parent


def conv(cin, cout, kernel=3, stride=1, groups=1, act=nn.ReLU6):
    layers = [
        nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(cout),
    ]
    return layers if act is None else [*layers, act()]


def theirs(build, own):
    """A network of torchvision with the weights of ours."""
    state = {
        key: torch.from_numpy(array.copy()) for key, array in convert(own, "torchvision").items()
    }
    missing, unexpected = build.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("num_batches_tracked" in key for key in missing)
    return build.eval()


def mobilenet_v2():
    return theirs(MobileNetV2(num_classes=5, width_mult=0.1), own("mobilenet_v2", "torchvision"))


def efficientnet_b0():
    settings, last = _efficientnet_conf("efficientnet_b0", width_mult=0.1, depth_mult=1.0)
    model = EfficientNet(settings, 0.2, last_channel=last, num_classes=5)
    return theirs(model, own("efficientnet_b0", "torchvision"))


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


def others():
    """Weights and statistics that are like those of a trained network."""
    torch.manual_seed(1)
    model = Others()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_in")
    return model.eval()


NETWORKS = {"mobilenet_v2": mobilenet_v2, "efficientnet_b0": efficientnet_b0, "others": others}


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
            file.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_LZMA)

        for name, make in NETWORKS.items():
            model, x = make(), torch.from_numpy(weights.image(32, 2).astype("f4"))
            for kind in ("old", "new"):
                add(f"{name}.{kind}.onnx", exported(model, x, kind == "new"))
            wide, start = model.double(), x.double().requires_grad_()
            y = wide(start)
            (gradient,) = torch.autograd.grad(y[:, 1].sum(), start)
            buffer = io.BytesIO()
            np.savez(buffer, y=y.detach().numpy(), gradient=gradient.numpy().astype("f4"))
            add(f"{name}.npz", buffer.getvalue())


if __name__ == "__main__":
    main()
