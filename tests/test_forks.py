"""A fork waits for the imports of other threads, and for one that never ends only once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is Unix's")

FORK = """
import importlib, os, sys, threading, time
import minigrad.forks

sys.path.insert(0, sys.argv[1])
threading.Thread(target=importlib.import_module, args=("slow",), daemon=True).start()
while "slow" not in sys.modules:
    time.sleep(0.001)

def fork():
    start = time.monotonic()
    if (child := os.fork()) == 0:
        {child}
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return time.monotonic() - start
"""


def _run(run_python: Any, folder: Path, module: str, child: str, then: str) -> Any:
    (folder / "slow.py").write_text(module)
    return run_python("-c", FORK.format(child=child) + then, str(folder))


def test_a_fork_waits_for_the_import_of_another_thread(run_python: Any, tmp_path: Path) -> None:
    # Forgetting is not enough: ``state`` stands for a compiled module, which cannot begin anew.
    module = "import time, sys\nassert not hasattr(sys, 'once')\n"
    module += "sys.once = 1\ntime.sleep(0.3)\nend = 1"
    child = "import slow; os._exit(slow.end - 1)"
    done = _run(run_python, tmp_path, module, child, "fork(); print('done')")
    assert done.stdout == "done\n", done.stderr


def test_an_import_that_never_ends_is_awaited_once_and_forgotten(
    run_python: Any, tmp_path: Path
) -> None:
    module = "import sys, threading\nif not hasattr(sys, 'once'):\n    sys.once = 1\n"
    module += "    threading.Event().wait()\nend = 1"
    child = "import slow; os._exit(slow.end - 1)"
    then = "minigrad.forks.PATIENCE = 0.5\n"
    then += "print(fork() >= 0.5, len(minigrad.forks._outlasted) == 1)\n"
    then += "minigrad.forks.PATIENCE = 3600\nfork(); print('done', flush=True); os._exit(0)"
    done = _run(run_python, tmp_path, module, child, then)
    assert done.stdout == "True True\ndone\n", done.stderr
