"""Plan files made to hurt: each is refused in one sentence, or read; soon, in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_plans import HOSTILE, plan_file, step
from measured import AIM, Measured

import minigrad as mg

SECONDS, MEMORY = AIM, 200 << 20


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    with Measured("hostile_plans:load_and_run") as process:
        yield process


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_plan_takes_little_time_and_memory(
    name: str, tmp_path: Path, measured: Measured
) -> None:
    path = tmp_path / "net.plan"
    path.write_bytes(HOSTILE[name]())
    result = measured.read(path)
    assert result.error in (None, "FormatError", "NotEnoughMemory"), result
    if result.error:
        assert result.message.startswith(str(path))
        assert result.message.isprintable()
        assert len(result.message) < len(str(path)) + 500
    assert result.seconds < SECONDS
    assert result.peak < MEMORY + (result.value or 0)


def test_the_base_of_the_hostile_plans_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "net.plan"
    path.write_bytes(plan_file([step("relu", "0")]))
    assert mg.load_plan(path).graph.shape == (9, 4, 8, 8)
