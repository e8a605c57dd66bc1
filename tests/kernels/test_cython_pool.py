"""The thread pool and the choice of a level, seen from whole processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import minigrad
from minigrad.geometry import ConvSpec
from minigrad.kernels import cython
from minigrad.kernels.cython import _ext

pytestmark = pytest.mark.skipif(_ext.LEVEL is None, reason=str(_ext.REASON))

WORK = """
import numpy as np
from minigrad.geometry import ConvSpec
from minigrad.kernels import cython
r = np.random.default_rng(0)
x = r.standard_normal((1, 24, 40, 40)).astype(np.float32)
w = r.standard_normal((40, 24, 3, 3)).astype(np.float32)
def run(threads):
    return cython.dense_conv2d(x, w, None, ConvSpec(), threads=threads).tobytes()
expected = run(1)
assert run(3) == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_pool_works_before_and_after_fork_in_parent_and_child(run_python):
    script = """
import os
for _ in range(5):
    child = os.fork()
    assert run(3) == expected
    if child == 0:
        grandchild = os.fork()
        assert all(run(2 + k % 3) == expected for k in range(50))
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) if grandchild else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = run_python("-c", WORK + script)
    assert done.returncode == 0, done.stderr


AFFINITIES = """
mine = os.sched_getaffinity(0)
workers = {int(t) for t in os.listdir("/proc/self/task")} - before
print(*(len(mine - os.sched_getaffinity(t)) for t in workers))
assert all(os.sched_getaffinity(t) <= mine for t in workers)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_worker_may_run_where_the_caller_may_but_not_on_its_cpu(run_python):
    cpus = sorted(os.sched_getaffinity(0))
    for allowed in (cpus[:1], cpus[:2]):
        before = f"import os, numpy\nos.sched_setaffinity(0, {set(allowed)})\n"
        before += "before = {int(t) for t in os.listdir('/proc/self/task')}\n"
        done = run_python("-c", before + WORK + AFFINITIES)
        assert done.stdout.split() == [str(len(allowed) - 1)] * 2, done.stderr


def test_many_python_threads_share_the_pool():
    r = np.random.default_rng(0)
    spec = ConvSpec((1, 1), ((1, 1), (1, 1)), (1, 1), 24)
    xs = [r.standard_normal((1, 24, 30, 30)).astype(np.float32) for _ in range(4)]
    w = r.standard_normal((24, 1, 3, 3)).astype(np.float32)
    expected = [cython.depthwise_conv2d(x, w, None, spec, threads=1) for x in xs]
    wrong = []

    def work(k):
        for turn in range(200):
            y = cython.depthwise_conv2d(xs[k], w, None, spec, threads=1 + turn % 4)
            if y.tobytes() != expected[k].tobytes():
                wrong.append((k, turn))

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in workers:
        t.start()
    for t in workers:
        t.join()
    assert not wrong


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_is_not_lost_while_kernels_run(tmp_path):
    listen = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script = listen + WORK + "print('ready', flush=True)\nwhile True:\n    run(2)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,  # an empty folder: no other minigrad lies in it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(minigrad.__file__).parents[1])},
    )
    try:
        ready = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert ready == "ready\n", errors
    assert "KeyboardInterrupt" in errors
    assert process.returncode != 0


@pytest.mark.parametrize("level", _ext.levels())
def test_only_the_chosen_level_is_ever_loaded(run_python, level):
    script = WORK + (
        "import sys\n"
        "from minigrad.kernels.cython import _ext\n"
        "loaded = sorted(m for m in sys.modules if m.startswith(_ext.__name__ + '.'))\n"
        "print(_ext.level_module(_ext.LEVEL).LEVEL, *(m.rpartition('.')[2] for m in loaded))"
    )
    done = run_python("-c", script, MINIGRAD_ISA=level)
    assert done.stdout.split() == [level, *sorted(("cpu", level))], done.stderr


def test_a_level_that_is_not_here_is_refused_in_one_sentence(run_python):
    script = "from minigrad.kernels import cython as b; print(b.UNAVAILABLE)"
    done = run_python("-c", script, MINIGRAD_ISA="altivec")
    assert "MINIGRAD_ISA=altivec is not among the levels of this CPU" in done.stdout
