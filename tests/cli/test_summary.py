"""minigrad summary: the table is the data, it fits the terminal, and the picture is whole."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from minigrad import models
from minigrad.cli import main
from minigrad.columns import Column, fit
from minigrad.models import memory, summary


def run(capsys, *argv):
    code = main(["summary", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", ["squeezenext_1_0_23", "efficientnet_b0", "mobilenet_v3_large"])
def test_the_table_fits_the_terminal_and_no_row_is_wrapped(capsys, monkeypatch, name, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, _ = run(capsys, name)
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= columns
    table = lines[4 : lines.index("", 4)]
    outputs = [line for line in table if "x" in line or line.startswith(("hidden", "classifier"))]
    assert len(outputs) == len(table)


def test_a_wide_terminal_shows_every_column(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    _, out, _ = run(capsys, "mobilenet_v2")
    header = ["layer", "output", "kernel", "params", "MACs", "FLOPs", "KiB", "field", "jump",
              "centre", "then"]  # fmt: skip
    assert out.splitlines()[2].split() == header
    row = next(line for line in out.splitlines() if line.startswith("blocks.1.0.dw ")).split()
    assert row == ["blocks.1.0.dw", "96x56x56", "3x3", "/2", "1,056", "2,709,504", "5,419,008",
                   "1,176", "11", "4", "3", "batch_norm", "relu6"]  # fmt: skip


def test_the_rows_add_up_to_the_totals(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run(capsys, "squeezenext_1_0_23")
    lines = out.splitlines()
    header, table = lines[2], lines[4 : lines.index("", 4)]
    for name, total in (("params", 717_280), ("MACs", 277_999_808)):
        end = header.index(name) + len(name)
        cells = [line[:end].split("  ")[-1].strip().replace(",", "") for line in table]
        assert sum(int(c) for c in cells if c.isdecimal()) == total
    assert "    555,999,616  FLOPs (2 x MACs)" in lines


def test_json_is_the_summary(capsys):
    _, out, _ = run(capsys, "mobilenet_v2", "--input", "1x3x96x128", "--json")
    data = json.loads(out)
    wanted = summary(models.create("mobilenet_v2"), (1, 3, 96, 128)).as_dict()
    assert {k: data[k] for k in wanted} == json.loads(json.dumps(wanted))
    assert data["preset"] == "slim"


def test_memory_is_the_papers_table(capsys):
    """Unsplit 5880 KiB, split to single channels 2450 KiB (MobileNetV2, section 5.1)."""
    code, out, _ = run(capsys, "mobilenet_v2", "--memory")
    assert code == 0
    (largest,) = [line for line in out.splitlines() if line.startswith("largest")]
    assert largest.split()[-4:] == ["5,880", "4,018", "3,136", "2,450"]
    _, out, _ = run(capsys, "mobilenet_v2", "--memory", "--json")
    rows = json.loads(out)["memory"]
    blocks = memory(models.create("mobilenet_v2"))
    assert [row["split_4"] for row in rows] == [block.split(4) for block in blocks]
    assert [row["split_all"] for row in rows] == [block.split() for block in blocks]


def test_memory_marks_the_blocks_that_need_two_passes(capsys):
    _, out, _ = run(capsys, "mobilenet_v3_large", "--memory")
    lines = [line for line in out.splitlines() if line.startswith("blocks.")]
    model = models.create("mobilenet_v3_large")
    gated = [name for name, m in model.blocks.named_modules("blocks") if getattr(m, "se", None)]
    assert [line.split()[0] for line in lines if line.endswith("SE")] == gated


def test_the_picture_is_a_file_of_svg(capsys, tmp_path):
    path = tmp_path / "net.svg"
    assert run(capsys, "mobilenet_v3_small", "--svg", path)[0] == 0
    root = ElementTree.fromstring(path.read_text())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert [p.name for p in tmp_path.iterdir()] == ["net.svg"]


def test_switches_reach_the_builder(capsys):
    half = ["efficientnet_b0", "--set", "width=0.5", "--classes", "7", "--input", "1x1x64x64"]
    _, out, _ = run(capsys, *half, "--json")
    wanted = models.create("efficientnet_b0", width=0.5, num_classes=7, in_channels=1)
    assert json.loads(out)["parameters"] == sum(p.size for p in wanted.parameters())


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["efficientnet"], "there is no network 'efficientnet'; did you mean"),
        (["mobilenet_v2", "--set", "depth_=2"], "has no switch"),
        (["mobilenet_v2", "--set", "width"], "is not of the form NAME=VALUE"),
        (["mobilenet_v2", "--set", "output_stride=7"], "output_stride must be 8, 16 or 32"),
        (["mobilenet_v2", "--preset", "caffe"], "has the presets"),
        (["mobilenet_v2", "--input", "224x224"], "is not of the form 1x3x224x224"),
        (["mobilenet_v2", "--weights", "no.pth"], "no.pth: no such file"),
        (["squeezenext_1_0_23", "--memory"], "no inverted residual block"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(capsys, argv, told):
    code, out, err = run(capsys, *argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err


def test_the_columns_that_matter_least_go_first():
    columns = [Column("a", ["1"]), Column("b", ["22"], rank=2), Column("c", ["3"], rank=1)]
    assert fit(columns, 8) == ["a   b  c", "-  --  -", "1  22  3"]
    assert fit(columns, 7) == ["a  c", "-  -", "1  3"]
    assert fit(columns, 1) == ["a", "-", "1"]
