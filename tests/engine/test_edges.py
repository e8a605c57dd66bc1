"""Where plans meet their limits: nothing in them, no memory, a signal, a fork, many callers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

import minigrad as mg
from minigrad.engine import execute, slab
from minigrad.errors import ArgumentError, DtypeError, GraphError, NotEnoughMemory, ShapeError

needs_core = needs("cython")
Network = Callable[[mg.Tensor], mg.Tensor]


@pytest.fixture(scope="module")
def small() -> Any:
    return mg.models.create("mobilenet_v2_0_35", rng=0, num_classes=5).eval()


def batch(n: int = 1, side: int = 32) -> Any:
    return np.random.default_rng(n).normal(size=(n, 3, side, side)).astype(np.float32)


def eager(model: Any, x: Any) -> Any:
    with mg.backend("cython"), mg.no_grad():
        return model(mg.Tensor(x)).numpy()


# Nothing in it ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v2_0_35", "squeezenext_1_0_23", "mobilenet_v3_small", "efficientnet_lite0"],
)
@needs_core
def test_no_image_gives_no_output(name: str) -> None:
    model = mg.models.create(name, rng=0, num_classes=5).eval()
    y = mg.compile(model, (0, 3, 64, 64))(np.zeros((0, 3, 64, 64), np.float32))
    assert y.shape == (0, 5)
    assert y.dtype == np.float32


def weights(*shape: int) -> mg.Tensor:
    return mg.Tensor(np.random.default_rng(len(shape)).normal(size=shape))


@st.composite
def small_networks(draw: st.DrawFn) -> tuple[tuple[int, ...], Network]:
    """A batch's shape, in which any size may be 0, and one or two layers for it."""
    sizes = st.sampled_from([0, 0, 1, 2, 3])
    n, c, h, w = (draw(sizes) for _ in range(4))
    out, k, pad = draw(sizes), draw(st.sampled_from([1, 3])), draw(st.integers(1, 2))
    depthwise = draw(st.booleans()) and c > 0
    kernel = weights(c, 1, k, k) if depthwise else weights(out, c, k, k)
    bias = draw(st.sampled_from([None, weights(kernel.shape[0])]))
    activation = draw(st.sampled_from(["relu", "silu", None]))
    last = draw(st.sampled_from(["none", "residual", "gate", "mean", "linear"]))

    def model(x: mg.Tensor) -> mg.Tensor:
        y = mg.conv2d(x, kernel, bias, padding=pad, groups=c if depthwise else 1)
        y = getattr(mg, activation)(y) if activation else y
        if last == "residual":
            return mg.conv2d(y, weights(y.shape[1], y.shape[1], 1, 1)) + y
        if last == "gate" and 0 not in y.shape[2:]:
            gate = mg.sigmoid(mg.global_avg_pool(y))
            return mg.conv2d(y * gate, weights(2, y.shape[1], 1, 1))
        if last == "mean" and 0 not in y.shape[2:]:
            return mg.global_avg_pool(y)
        if last == "linear":
            features = y.shape[1] * y.shape[2] * y.shape[3]
            return mg.linear(y.reshape(n, features), weights(2, features))
        return y

    return (n, c, h, w), model


@needs_core
@given(small_networks())
def test_empty_arrays_are_what_eager_makes_of_them(drawn: tuple[Any, Network]) -> None:
    """Whole networks of them: the edges of single functions are the kernels' own tests."""
    shape, model = drawn
    x = np.random.default_rng(0).normal(size=shape)
    expected = eager(model, x)
    got = mg.compile(model, shape, dtype=np.float64, fold=False)(x, threads=2)
    assert got.shape == expected.shape
    assert np.array_equal(got, expected, equal_nan=True)


def test_the_input_itself_can_be_the_output() -> None:
    x = batch(2)
    for model in (lambda x: x, lambda x: x.reshape(2, -1)):
        assert np.array_equal(mg.compile(model, x.shape)(x).reshape(x.shape), x)


# What is no batch ---------------------------------------------------------------------------

NO_BATCH = ("x", None, b"x", 1j, 3, [[1], [2, 3]], object(), [], {}, np.zeros((0, 3, 32, 32)))


@pytest.mark.parametrize("x", NO_BATCH, ids=lambda x: type(x).__name__)
def test_what_is_no_batch_is_refused_in_a_sentence(x: Any, small: Any) -> None:
    plan = mg.compile(small, (1, 3, 32, 32))
    for call in (plan, plan.intermediates, plan.profile):
        with pytest.raises((ShapeError, DtypeError), match="this plan takes"):
            call(x)


@pytest.mark.parametrize("repeats", [0, -1, True, 1.5, "3", None])
def test_a_profile_of_no_runs_is_refused(repeats: Any, small: Any) -> None:
    with pytest.raises(ArgumentError, match="repeats must be an integer >= 1"):
        mg.compile(small, (1, 3, 32, 32)).profile(batch(), repeats)


@pytest.mark.parametrize("shape", ["1x3x32x32", 5, (1, 3, -1, 2), (1, 3, 2.5, 2), (None,)])
def test_what_is_no_shape_is_refused(shape: Any, small: Any) -> None:
    with pytest.raises(ShapeError, match="shape must be the sizes of the input"):
        mg.compile(small, shape)


@pytest.mark.parametrize("dtype", [None, "abc", np.int32, np.float16, 3, ">f4"])
def test_a_dtype_without_kernels_is_refused(dtype: Any, small: Any) -> None:
    with pytest.raises(DtypeError, match="dtype must be float32 or float64, not"):
        mg.compile(small, (1, 3, 32, 32), dtype=dtype)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(GraphError, match="compile takes a Module or a function, got 'net'"):
        mg.compile("net", (1, 3, 32, 32))  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [["nowhere"], "nowhere", [3]])
def test_an_unknown_layer_is_told_with_known_ones(names: Any, small: Any) -> None:
    with pytest.raises(GraphError, match=r"no step of the name '.*'; its steps are 'stem.* more"):
        mg.compile(small, (1, 3, 32, 32)).intermediates(batch(), names)


@needs_core
@pytest.mark.parametrize("lie", ["backwards", "repeated", "shifted", "read-only", "swapped"])
def test_a_batch_may_lie_anyhow(lie: str, small: Any) -> None:
    x = batch(3)
    plan = mg.compile(small, x.shape)
    same = {
        "backwards": lambda: np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1],
        "repeated": lambda: np.broadcast_to(x[:1], x.shape),
        "shifted": lambda: np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(np.float32),
        "read-only": lambda: np.frombuffer(x.tobytes(), np.float32),
        "swapped": lambda: np.ascontiguousarray(x.transpose(3, 1, 0, 2)).transpose(2, 1, 3, 0),
    }[lie]().reshape(x.shape)
    assert np.array_equal(plan(same), plan(np.array(same, order="C")))


# Values of compile time ---------------------------------------------------------------------


@pytest.mark.parametrize("fold", [False, True])
def test_a_plan_keeps_the_values_of_compile_time(fold: bool) -> None:
    """Of parameters, buffers, views of them, and arrays that were operands."""
    layers = mg.nn.Sequential(
        mg.nn.Conv2d(3, 4, 3), mg.nn.BatchNorm2d(4), mg.nn.Conv2d(4, 4, 3, groups=4)
    ).eval()
    operand, scale = np.full((4, 1, 1), 2.0, np.float32), mg.Tensor(np.ones((4, 4), np.float32))

    def model(x: mg.Tensor) -> mg.Tensor:
        y = layers(x) * operand + mg.Tensor(np.float32(1))
        return mg.linear(y.mean(axis=(2, 3)), scale.reshape(2, 8).reshape(4, 4))

    x = batch(2)
    plan = mg.compile(model, x.shape, fold=fold)
    before = plan(x)
    for array in (*layers.state_dict().values(), scale.array, operand):
        array.flags.writeable = True
        array[...] = 100
    assert np.array_equal(plan(x), before)
    fresh = mg.compile(model, x.shape, fold=fold)
    assert not np.array_equal(fresh(x), before)


# No memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(2**40, 3, 224, 224), (2**40, 3, 1, 1), (2**70, 3, 1, 1), (1, 3, 2**30, 2**30)]
)
def test_a_batch_that_cannot_fit_is_refused_at_once(shape: Any, small: Any) -> None:
    with pytest.raises(NotEnoughMemory, match="GiB of memory, and this process may have"):
        mg.compile(small, shape)


def test_an_output_that_cannot_fit_is_refused_at_once() -> None:
    with pytest.raises(NotEnoughMemory, match="the output for an input of shape"):
        mg.compile(lambda x: x.broadcast_to((2**31 - 1, 2**14)), (1, 1))


@needs_core
def test_a_failed_allocation_leaves_the_plan_whole(small: Any) -> None:
    """Whichever allocation fails, of the first call or of a wider one, the next call is right."""
    x = batch(4)
    expected = mg.compile(small, x.shape)(x, threads=1)
    failures = 0
    for warm in (0, 1, 2):
        for k in range(50):
            plan = mg.compile(small, x.shape)
            if warm:
                plan(x, threads=warm)
            if not fails(lambda plan=plan: plan(x, threads=4), k):
                break
            failures += 1
            assert np.array_equal(plan(x, threads=4), expected)
            assert np.array_equal(plan(x, threads=1), expected)
    assert failures > 10


def fails(call: Callable[[], Any], k: int) -> bool:
    """Whether a call ends with MemoryError if the k-th array that it asks for cannot be had."""
    with pytest.MonkeyPatch.context() as patch:
        failing = Failing(k)
        patch.setattr(execute, "np", failing)
        patch.setattr(slab, "np", failing)
        try:
            call()
        except MemoryError:
            return True
    return False


class Failing:
    """NumPy, but the k-th array that is asked for cannot be had."""

    def __init__(self, k: int) -> None:
        self.left = k

    def __getattr__(self, name: str) -> Any:
        if name in ("empty", "zeros"):
            self.left -= 1
            if self.left < 0:
                raise MemoryError
        return getattr(np, name)


# Many callers -------------------------------------------------------------------------------


@needs_core
def test_many_callers_at_once_have_their_own_answers(small: Any) -> None:
    plan = mg.compile(small, (3, 3, 32, 32))
    xs = [batch(3) * np.float32(k + 1) for k in range(8)]
    expected = [plan(x, threads=1) for x in xs]
    wrong: list[int] = []

    def work(k: int) -> None:
        for turn in range(12):
            if not np.array_equal(plan(xs[k], threads=1 + (k + turn) % 3), expected[k]):
                wrong.append(k)

    run_together([threading.Thread(target=work, args=(k,)) for k in range(8)])
    assert not wrong


@needs_core
def test_the_first_calls_of_a_plan_may_come_together(small: Any) -> None:
    x = batch(2)
    expected = mg.compile(small, x.shape)(x)
    for _ in range(5):
        plan, made = mg.compile(small, x.shape), []
        start = threading.Barrier(6)

        def work(plan: Any = plan, made: Any = made, start: Any = start) -> None:
            start.wait()
            made.append(plan(x, threads=2))

        run_together([threading.Thread(target=work) for _ in range(6)])
        assert len(made) == 6
        assert all(np.array_equal(y, expected) for y in made)


def run_together(threads: list[threading.Thread]) -> None:
    for t in threads:
        t.start()
    for t in threads:
        t.join()


# Fork and signals ---------------------------------------------------------------------------

FORKS = """
import os, sys, threading, time, warnings
import numpy as np
import minigrad as mg
from minigrad.formats import save
warnings.simplefilter("ignore", DeprecationWarning)

model = mg.models.create("mobilenet_v2_0_35", rng=0, num_classes=5).eval()
x = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
plan = mg.compile(model, threads=2)
expected = plan(x)
first = plan(x[:1])
stop = threading.Event()

def eager():
    with mg.no_grad():
        return model(mg.Tensor(x)).numpy()

values = eager()

def calls():
    while not stop.is_set():
        plan(x)
        plan(x[:1])

def compiles():
    while not stop.is_set():
        mg.compile(model, x.shape)(x, threads=2)

def evaluates():
    while not stop.is_set():
        eager()

def loads():
    while not stop.is_set():
        save(f"{os.getpid()}.safetensors", state)
        mg.load(f"{os.getpid()}.safetensors")

def child():
    assert np.array_equal(plan(x), expected)
    assert np.array_equal(plan(x[:1]), first)
    assert np.array_equal(mg.compile(model, x.shape)(x), expected)
    assert np.array_equal(eager(), values)
    mg.load("before.safetensors")

def forked(seconds=60):
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException as error:
            print(type(error), error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    end = time.monotonic() + seconds
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            sys.exit("a child hangs")
        time.sleep(0.002)

state = {name: np.asarray(value) for name, value in model.state_dict().items()}
save("before.safetensors", state)
"""
IN_ALL_THREADS = """
workers = [threading.Thread(target=f) for f in (calls, calls, compiles, evaluates, loads)]
for t in workers:
    t.start()
for _ in range(12):
    forked()
stop.set()
for t in workers:
    t.join()
assert np.array_equal(plan(x), expected)
print("done")
"""
FROM_ALL_THREADS = """
def forks():
    for _ in range(3):
        forked()

workers = [threading.Thread(target=f) for f in (forks, forks, calls)]
for t in workers:
    t.start()
for t in workers[:2]:
    t.join()
stop.set()
print("done")
"""


@needs_core
@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is Unix's")
@pytest.mark.parametrize("script", [IN_ALL_THREADS, FROM_ALL_THREADS], ids=["beside", "inside"])
def test_a_child_forked_while_anything_runs_works(script: str, run_python: Any) -> None:
    done = run_python("-c", FORKS + script)
    assert done.stdout == "done\n", done.stderr


FIRST_USE = """
import os, sys, threading, time, warnings
import numpy as np
import minigrad as mg
warnings.simplefilter("ignore")

def first():
    if backend == "numba":
        w = mg.Tensor(np.ones((8, 8, 1, 1), np.float32))
        with mg.backend("numba"):
            return mg.conv2d(mg.Tensor(np.ones((1, 8, 2, 2), np.float32)), w)
    return mg.compile(mg.nn.Conv2d(3, 4, 1).eval(), (1, 3, 4, 4))(np.ones((1, 3, 4, 4), np.float32))

backend, delays = sys.argv[1], [float(delay) for delay in sys.argv[2:]]
if backend == "numba":
    with mg.backend("numba"):  # imports it all, and compiles for another dtype
        mg.relu(mg.Tensor(np.ones((1, 8, 2, 2))))
threading.Thread(target=first, daemon=True).start()
for delay in delays:
    time.sleep(delay)
    pid = os.fork()
    if pid == 0:
        try:
            first()
        except BaseException as error:
            print(type(error), error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    end = time.monotonic() + 60
    while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, 9)
            sys.exit(f"the child of {delay} hangs")
        time.sleep(0.002)
    if done[1]:
        sys.exit("a child failed")
print("done", flush=True)
os._exit(0)
"""


@needs_core
@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is Unix's")
@pytest.mark.parametrize("delay", [0.001, 0.004, 0.016])
def test_a_child_forked_during_the_first_import_imports_anew(delay: float, run_python: Any) -> None:
    done = run_python("-c", FIRST_USE, "plan", *[str(delay)] * 4)
    assert done.stdout == "done\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is Unix's")
@needs("numba")
def test_a_child_forked_while_numba_compiles_compiles_too(run_python: Any, tmp_path: Any) -> None:
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    done = run_python("-c", FIRST_USE, "numba", "0.1", "0.4", **cache)
    assert done.stdout == "done\n", done.stderr


SIGNALS = """
import signal, time
import numpy as np
import minigrad as mg

w = mg.Tensor(np.ones((256, 256, 3, 3), np.float32))
x = mg.Tensor(np.ones((2, 256, 96, 96), np.float32))
y = mg.conv2d(x, w, padding=1)

def deep(x):
    for _ in range(40):
        x = mg.conv2d(x, w, padding=1)
    return x

plan = mg.compile(deep, x.shape)
small = mg.conv2d(x[:, :, :9, :9], w).numpy()

def interrupted(f):
    def handler(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    start = time.process_time()
    try:
        f()
    except KeyboardInterrupt:
        return time.process_time() - start
    raise SystemExit("not interrupted")

for threads in (1, 2, 3):
    with mg.threads(threads):
        print(interrupted(lambda: plan(x)))
        print(interrupted(lambda: mg.conv2d(big, w, padding=1)) if threads == 1 else 0)
        assert np.array_equal(mg.conv2d(x[:, :, :9, :9], w).numpy(), small)
        assert np.array_equal(mg.conv2d(x, w, padding=1).numpy(), y.numpy())
"""
IN_A_THREAD = """
import threading
from minigrad.kernels.cython.core import core
worker = threading.Thread(target=lambda: core.LEVEL)
worker.start()
worker.join()
"""
ENDS = """
import signal
import numpy as np
import minigrad as mg

w = mg.Tensor(np.ones((256, 256, 3, 3), np.float32))

def deep(x):
    for _ in range(40):
        x = mg.conv2d(x, w, padding=1)
    return x

def handler(*_):
    raise KeyboardInterrupt

x = np.ones((2, 256, 96, 96), np.float32)
y = np.full_like(x, np.nan)
plan = mg.compile(deep, x.shape)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    plan(x, out=y)
except KeyboardInterrupt:
    print("early" if np.isnan(y).any() else "late")
"""
WHILE_HANDLING = """
import signal
import numpy as np
import minigrad as mg

w = mg.Tensor(np.ones((64, 64, 3, 3), np.float32))
x = mg.Tensor(np.random.default_rng(0).integers(-2, 3, (1, 64, 128, 128)).astype(np.float32))

def deep(x):
    for _ in range(12):
        x = mg.conv2d(x, w, padding=1).relu()
    return x

plan = mg.compile(deep, x.shape)
expected = plan(x)
seen = []

def handler(*_):
    seen.append(np.array_equal(plan(x), expected))

for threads in (1, 2):
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    while len(seen) < threads:
        assert np.array_equal(plan(x, threads=threads), expected)
assert all(seen)
print("done")
"""


@needs_core
@pytest.mark.skipif(os.name == "nt", reason="timers are Unix's")
def test_a_signal_ends_a_long_kernel_and_nothing_stays_behind(run_python: Any) -> None:
    big = "big = mg.Tensor(np.ones((8, 256, 200, 200), np.float32))\n"
    done = run_python("-c", SIGNALS.replace("small =", big + "small =", 1))
    assert done.returncode == 0, done.stderr
    whole = 40 * 2 * 9 * 256**2 * 96**2  # multiply-adds: 20 s at 20 GFLOP/s
    assert whole > 10**11
    assert len(done.stdout.split()) == 6


@needs_core
@pytest.mark.skipif(os.name == "nt", reason="timers are Unix's")
@pytest.mark.parametrize("first", ["", IN_A_THREAD], ids=["main", "another"])
def test_signals_are_heard_whichever_thread_imported_the_core(first: str, run_python: Any) -> None:
    done = run_python("-c", first + ENDS)
    assert done.stdout == "early\n", done.stderr


@needs_core
@pytest.mark.skipif(os.name == "nt", reason="timers are Unix's")
def test_a_signal_handler_may_call_the_plan_it_interrupts(run_python: Any) -> None:
    done = run_python("-c", WHILE_HANDLING)
    assert done.stdout == "done\n", done.stderr
