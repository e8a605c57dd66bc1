"""The number of threads: one check for every entry, and a default that a container limits."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import resources
from minigrad.cli import main
from minigrad.errors import ArgumentError, NotEnoughMemory
from minigrad.kernels.cython.core import LEVEL, core
from minigrad.threads import MOST_THREADS, num_threads, set_threads, thread_count

WRONG = (
    "abc",
    "-1",
    "0",
    "1.5",
    "1e3",
    "0x10",
    "1_0",
    "2 3",
    "--",
    "nan",
    "\u0663",
    "-" + "9" * 5000,
)
RIGHT = {"1": 1, " 2 ": 2, "+3": 3, "007": 7, "100000": MOST_THREADS, "9" * 5000: MOST_THREADS}


@given(st.one_of(st.integers(), st.integers(-3, 300)))
def test_an_integer_is_taken_clamped_or_refused(n: int) -> None:
    if n >= 1:
        assert thread_count(n) == thread_count(str(n)) == min(n, MOST_THREADS)
    else:
        for value in (n, str(n)):
            with pytest.raises(ArgumentError, match="threads must be an integer of at least 1"):
                thread_count(value)


@given(st.text(st.sampled_from("0123456789+- ._ex\u0663"), max_size=6))
def test_a_text_is_a_number_or_an_error(text: str) -> None:
    if re.fullmatch(r" *\+?[0-9]+ *", text) and int(text) >= 1:
        assert thread_count(text) == min(int(text), MOST_THREADS)
    else:
        with pytest.raises(ArgumentError):
            thread_count(text)


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_an_empty_variable_is_as_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIGRAD_NUM_THREADS", raising=False)
    unset = num_threads()
    monkeypatch.setenv("MINIGRAD_NUM_THREADS", text)
    assert num_threads() == unset


@pytest.mark.parametrize(("text", "number"), RIGHT.items())
def test_the_variable_says_how_many(text: str, number: int, monkeypatch: Any) -> None:
    monkeypatch.setenv("MINIGRAD_NUM_THREADS", text)
    assert num_threads() == number


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_variable_is_told_in_one_sentence(text: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("MINIGRAD_NUM_THREADS", text)
    expected = r"MINIGRAD_NUM_THREADS must be an integer of at least 1, not '"
    with pytest.raises(ArgumentError, match=expected) as told:
        num_threads()
    assert len(str(told.value)) < 200


@pytest.fixture(scope="module")
def model() -> Any:
    return mg.models.create("mobilenet_v2_0_35", rng=0, num_classes=3).eval()


ENTRIES: dict[str, Callable[[Any, Any], Any]] = {
    "compile": lambda model, n: mg.compile(model, (1, 3, 32, 32), threads=n),
    "plan": lambda model, n: mg.compile(model, (1, 3, 32, 32))(
        np.zeros((1, 3, 32, 32), np.float32), threads=n
    ),
    "threads": lambda model, n: mg.threads(n).__enter__(),
    "set_threads": lambda model, n: set_threads(n),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("n", [0, -1, -3, -(2**40), 1.5, True, "abc", [2]])
def test_every_entry_refuses_what_is_no_number_of_threads(entry: str, n: Any, model: Any) -> None:
    with pytest.raises(ArgumentError, match="threads must be an integer of at least 1, not"):
        ENTRIES[entry](model, n)


@pytest.mark.parametrize("command", ["classify", "bench mobilenet_v2_0_35 --input 1x3x32x32"])
@pytest.mark.parametrize("n", ["0", "-1", "1.5", "abc", ""])
def test_every_command_refuses_it_too(command: str, n: str, capsys: Any) -> None:
    assert main([*command.split(), f"--threads={n}"]) == 2
    told = capsys.readouterr().err
    assert "integer of at least 1" in told
    assert told.count("\n") == 1


def test_too_many_threads_are_as_many_as_there_can_be(model: Any) -> None:
    x = np.random.default_rng(0).standard_normal((3, 3, 32, 32), np.float32)
    plan = mg.compile(model, x.shape, threads=2**40)
    assert plan.threads == MOST_THREADS
    assert np.array_equal(plan(x), plan(x, threads=1))
    with mg.threads(10**9):
        assert num_threads() == MOST_THREADS


@pytest.mark.skipif(LEVEL is None, reason="no compiled core")
def test_the_pool_can_have_as_many_as_are_promised() -> None:
    assert core.MOST_THREADS == MOST_THREADS


def test_a_new_thread_begins_with_the_default_and_can_be_told_otherwise() -> None:
    with mg.threads(1), ThreadPoolExecutor(1) as plain:
        default = plain.submit(num_threads).result()
    assert default == min(resources.available_cpus(), MOST_THREADS)
    with ThreadPoolExecutor(1, initializer=set_threads, initargs=(3,)) as told:
        assert told.submit(num_threads).result() == 3


def machine(root: Path, group: str, mounts: str, files: dict[str, str]) -> Path:
    """A folder that looks like the / of a process in control groups."""
    for name, text in {
        "proc/self/cgroup": group,
        "proc/self/mountinfo": mounts,
        "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\nSwapFree: 0 kB\n",
        **files,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = "30 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
V1_GROUPS = "5:memory:/docker/abc\n4:cpuacct,cpu:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, math.inf),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "nonsense"}, math.inf),
        ({"cpu.max": "0 0"}, math.inf),
        ({"a/cpu.max": "50000 100000\n", "cpu.max": "150000 100000\n"}, 0.5),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ({"other/cpu.max": "1000 100000\n"}, math.inf),
    ],
)
def test_the_tightest_quota_of_version_2_holds(tmp_path: Path, files: Any, quota: float) -> None:
    placed = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    assert resources.cpu_quota(machine(tmp_path, "0::/a/b\n", V2, placed)) == quota


@pytest.mark.parametrize("quota", [-1, 100_000, 250_000])
def test_the_quota_of_version_1_holds(tmp_path: Path, quota: int) -> None:
    folder = "sys/fs/cgroup/cpu,cpuacct"
    files = {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": "100000\n"}
    found = resources.cpu_quota(machine(tmp_path, V1_GROUPS, V1, files))
    assert found == (quota / 100_000 if quota > 0 else math.inf)


@given(quota=st.floats(0.01, 300), cpus=st.integers(1, 300))
def test_the_default_honours_quota_and_affinity(quota: float, cpus: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda pid: range(cpus), raising=False)
        patch.setattr(resources, "_quota_at_start", lambda: quota)
        patch.delenv("MINIGRAD_NUM_THREADS", raising=False)
        assert Context().run(num_threads) == min(cpus, math.ceil(quota), MOST_THREADS)


def test_a_change_of_the_affinity_is_seen_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIGRAD_NUM_THREADS", raising=False)
    monkeypatch.setattr(resources, "_quota_at_start", lambda: math.inf)
    now = 5.0
    monkeypatch.setattr(resources, "monotonic", lambda: now)

    def look(cpus: int) -> int:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(cpus), raising=False)
        return num_threads()

    def in_turn() -> None:
        nonlocal now
        assert look(3) == 3
        now += resources.HOLDS / 2
        assert look(5) == 3
        now += resources.HOLDS / 2
        assert look(5) == 5

    Context().run(in_turn)


def test_no_control_groups_limit_nothing(tmp_path: Path) -> None:
    assert resources.cpu_quota(tmp_path) == math.inf
    assert resources.available_memory(tmp_path) > 0


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "room"),
    [
        ("0::/a\n", V2, {}, 4_096_000_000),
        ("0::/a\n", V2, {"a/memory.max": "max\n", "a/memory.current": "5\n"}, 4_096_000_000),
        ("0::/a\n", V2, {"a/memory.max": "5000\n", "a/memory.current": "2000\n"}, 3000),
        (
            "0::/a\n",
            V2,
            {
                "a/memory.max": "5000\n",
                "a/memory.current": "6000\n",
                "a/memory.stat": "anon 1\ninactive_file 1500\nactive_file 20\n",
            },
            520,
        ),
        ("0::/a\n", V2, {"memory.max": "5000\n", "memory.current": "6000\n"}, 0),
        (
            V1_GROUPS,
            V1,
            {
                "memory/memory.limit_in_bytes": "9000\n",
                "memory/memory.usage_in_bytes": "2000\n",
                "memory/memory.stat": "inactive_file 7\ntotal_inactive_file 100\n",
            },
            7100,
        ),
    ],
)
def test_the_memory_that_is_left_is_what_the_groups_leave(
    tmp_path: Path, groups: str, mounts: str, files: Any, room: int
) -> None:
    placed = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    assert resources.available_memory(machine(tmp_path, groups, mounts, placed)) == room


def test_what_cannot_fit_is_refused_first() -> None:
    with pytest.raises(NotEnoughMemory, match=r"^a map needs .* GiB of memory, and this process"):
        resources.check_memory(2**60, "a map")
    resources.check_memory(1000, "a map")


@pytest.mark.parametrize("backend", ["cython", "numba"])
def test_a_map_that_cannot_fit_is_refused_before_it_is_asked_for(backend: str) -> None:
    if reason := mg.kernels.unavailable(backend):
        pytest.skip(reason)
    huge = mg.from_numpy(np.broadcast_to(np.float32(0), (2**31 - 1, 8, 64, 64)))
    w = mg.Tensor(np.ones((8, 8, 1, 1), np.float32))
    with mg.backend(backend), pytest.raises(NotEnoughMemory, match="a map of shape"):
        mg.conv2d(huge, w)


@pytest.mark.skipif(os.name == "nt", reason="resource limits are Unix's")
def test_a_limit_on_the_address_space_counts(run_python: Any) -> None:
    done = run_python(
        "-c",
        "import resource\nfrom minigrad.resources import available_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, -1))\nprint(available_memory())",
    )
    assert int(done.stdout) < 3 * 2**30, done.stderr
