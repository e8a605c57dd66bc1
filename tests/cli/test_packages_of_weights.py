"""Each package of weights that is installed loads by its network's name, and knows espresso."""

from __future__ import annotations

import json

import numpy as np
import pytest

from minigrad import compile
from minigrad.cli import main
from minigrad.cli.packages import PACKAGES, located
from minigrad.cli.photographs import expand
from minigrad.models import create, names
from minigrad.vision import preprocess

ESPRESSO = 967


CLASSIFIERS = [package for package in PACKAGES if package.network in names()]


@pytest.mark.parametrize("package", CLASSIFIERS, ids=lambda package: package.distribution)
def test_an_installed_package_loads_by_one_line_and_computes(package):
    path = located(package)
    if path is None:
        pytest.skip(f"{package.pip}")
    model = create(package.network, weights=path)
    batch = preprocess(expand([]), model.preparation)
    y = compile(model, batch.shape)(batch)
    if model.classifier is None:
        assert y.shape == (1, 1280)
        assert np.isfinite(y).all()
    else:
        assert y.shape == (1, 1000)
        assert y.argmax() == ESPRESSO


def test_classify_finds_the_package_by_the_networks_name(capsys):
    installed = {p.network for p in CLASSIFIERS if located(p) is not None}
    for network in sorted(installed):
        assert main(["classify", "--model", network, "--json"]) == 0
        (result,) = json.loads(capsys.readouterr().out)
        assert result["top"][0]["index"] == ESPRESSO
