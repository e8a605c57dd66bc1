"""A pytest plugin: one decorated function puts somebody's kernel to all cases of the judge.

    import pytest

    @pytest.mark.minigrad("conv2d", layout="NHWC")
    def test_my_convolution(case):
        return my_convolution(*case.inputs, **case.words)

becomes one test a case; what the function returns is judged.  The arguments of the mark are
those of ``minigrad.verify.examine``.  Nothing of minigrad is imported before a test has the mark.
"""

from __future__ import annotations

import pytest

__all__: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line(
        "markers", "minigrad(op, **how): judge what the test returns, over all cases of op"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case."""
    mark = metafunc.definition.get_closest_marker("minigrad")
    if mark is None or "case" not in metafunc.fixturenames:
        return
    from minigrad.verify.testing import cases

    found = cases(*mark.args, **mark.kwargs)
    metafunc.parametrize("case", found, ids=[case.name for case in found])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Call a marked test and judge what it returns."""
    if pyfuncitem.get_closest_marker("minigrad") is None:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    case = pyfuncitem.funcargs.get("case")
    if case is None:
        pytest.fail("a test with the mark minigrad takes the argument `case`", pytrace=False)
    try:
        y = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    except NotImplementedError as refusal:
        pytest.skip(f"the kernel does not take this case: {refusal}")
    told = case.judge(y)
    if told:
        pytest.fail(told, pytrace=False)
    return True
