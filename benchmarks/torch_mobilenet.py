"""MobileNetV2 (Sandler et al. 2018) in PyTorch, with torchvision's names of weights.

Written from the paper's table, so that a recipe can be run in PyTorch from the same file of
pretrained weights without torchvision.
"""

from __future__ import annotations

from typing import Any

__all__ = ["torch_mobilenet"]

# expand ratio, channels, blocks, stride
TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
         (6, 320, 1, 1))  # fmt: skip


def torch_mobilenet(torch: Any, path: str, weight: Any, bias: Any) -> Any:
    """The network with the weights of a file and another classifier.

    ``weight`` (K, 1280) and ``bias`` (K,) are arrays, the first values of that classifier.
    """
    nn = torch.nn
    network = nn.Sequential()
    network.features = _features(nn)
    network.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, len(bias)))
    state = torch.load(path, weights_only=True)
    state["classifier.1.weight"], state["classifier.1.bias"] = map(torch.tensor, (weight, bias))
    network.load_state_dict(state)
    forward = nn.Sequential(
        network.features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.classifier
    )
    return forward.to(memory_format=torch.channels_last)


def _features(nn: Any) -> Any:
    layers, cin = [nn.Sequential(*_conv(nn, 3, 32, 3, 2))], 32
    for ratio, channels, count, stride in TABLE:
        for k in range(count):
            layers.append(_block(nn, cin, channels, ratio, stride if k == 0 else 1))
            cin = channels
    return nn.Sequential(*layers, nn.Sequential(*_conv(nn, cin, 1280, 1)))


def _conv(nn: Any, cin: int, cout: int, size: int, stride: int = 1, groups: int = 1) -> list[Any]:
    convolution = nn.Conv2d(cin, cout, size, stride, size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(cout), nn.ReLU6()]


def _block(nn: Any, cin: int, cout: int, ratio: int, stride: int) -> Any:
    class Block(nn.Module):  # type: ignore[misc, name-defined]
        """Expand, depthwise, project; the input is added where it fits."""

        def __init__(self) -> None:
            super().__init__()
            hidden = cin * ratio
            parts = [nn.Sequential(*_conv(nn, cin, hidden, 1))] if ratio > 1 else []
            parts.append(nn.Sequential(*_conv(nn, hidden, hidden, 3, stride, hidden)))
            self.conv = nn.Sequential(*parts, *_conv(nn, hidden, cout, 1)[:2])
            self.adds = stride == 1 and cin == cout

        def forward(self, x: Any) -> Any:
            return x + self.conv(x) if self.adds else self.conv(x)

    return Block()
