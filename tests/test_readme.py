"""What the README shows is what happens."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path

import pytest

import minigrad as mg
from minigrad.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["README.md", "docs/judge.md", "docs/training.md"])
def test_the_examples_print_what_they_say(name):
    assert doctest.testfile(str(ROOT / name), module_relative=False).failed == 0


def test_the_table_is_what_classify_prints(capsys):
    assert main(["classify", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    shown = re.findall(r"^ +([\d.]+)% +█* +(.+)$", README, flags=re.MULTILINE)
    assert [label for _, label in shown] == [best["label"] for best in result["top"]]
    for (percent, _), best in zip(shown, result["top"], strict=True):
        assert 100 * best["probability"] == pytest.approx(float(percent), abs=0.051)


@pytest.mark.parametrize(
    "name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/judge.md", "docs/training.md"]
)
def test_every_file_that_is_pointed_to_is_there(name):
    text = (ROOT / name).read_text("utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"", text)
    assert links
    folder = (ROOT / name).parent
    assert [link for pair in links for link in pair if link and not (folder / link).exists()] == []


def test_the_number_of_networks_is_right():
    ours = ("inverted_residual_small", "squeezenext_small")
    others = len(set(mg.models.names()) - set(ours))
    names = "`, `".join(ours)
    assert f"{others} from papers and libraries, and two small ones of ours (`{names}`)" in README
