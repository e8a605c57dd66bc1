"""A short run of the differential trial; CONTRIBUTING has the command of the long one."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.differential import calls, differences


@pytest.mark.newest
@settings(max_examples=3 * settings().max_examples, suppress_health_check=[HealthCheck.too_slow])
@given(calls)
def test_every_backend_is_within_its_bound_of_float64(call):
    found = list(differences(call))
    assert not found, "\n".join(found)
