"""The service of docs/serving.md, on loopback: what it answers, what it refuses, how it stops."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from minigrad.models import Description
from minigrad.vision import preprocess

SCRIPT = Path(__file__).parents[1] / "examples" / "serve.py"
PATIENCE = 120.0  # seconds for anything; each takes milliseconds on a machine that is free
SIDE = 64
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def plan_file(path: Path) -> Path:
    model = mg.models.create("mobilenet_v2_0_35", rng=3, num_classes=3).eval()
    model.labels = ("cat", "dog", "horse")
    model.preparation = mg.vision.preparation_for(model.name)._replace(size=SIDE)
    mg.compile(model, (1, 3, SIDE, SIDE)).save(path)
    return path


class Server:
    """The service as a process, on a port that was free."""

    def __init__(self, plan: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(plan), "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        assert self.process.stdout is not None
        told = self.process.stdout.readline().split()
        assert told[:2] == ["listening", "on"], self.process.communicate()
        self.port = int(told[2].rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def stop(self) -> tuple[int, str]:
        """SIGTERM; the exit code, and what was complained about."""
        self.process.send_signal(signal.SIGTERM)
        _, complained = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, complained


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plan_file(tmp_path_factory.mktemp("served") / "net.plan")


@pytest.fixture(scope="module")
def server(plan: Path) -> Iterator[Server]:
    started = Server(plan)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def photograph(seed: int = 0, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (90, 80, 3), np.uint8)
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def expected(plan: Path, content: bytes) -> list[dict[str, object]]:
    loaded = mg.load_plan(plan)
    stated = Description.of(loaded.metadata)
    assert stated.preparation is not None
    z = loaded(preprocess(content, stated.preparation))[0].astype(np.float64)
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    order = np.argsort(-p, kind="stable")
    return [{"label": stated.labels[k], "probability": pytest.approx(p[k])} for k in order]


def test_it_says_that_it_is_well(server: Server) -> None:
    assert server.ask("GET", "/health") == (
        200, {"status": "ok", "model": "mobilenet_v2_0_35", "requests": 0},
    )  # fmt: skip


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_photograph_is_named(form: str, server: Server, plan: Path) -> None:
    content = photograph(form=form)
    status, said = server.ask("POST", "/classify", content)
    assert (status, said["model"]) == (200, "mobilenet_v2_0_35")
    assert said["top"] == expected(plan, content)


def test_many_callers_get_each_their_own_answer(server: Server, plan: Path) -> None:
    photographs = [photograph(seed) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: server.ask("POST", "/classify", body), photographs))
    assert [status for status, _ in answers] == [200] * 24
    for content, (_, said) in list(zip(photographs, answers, strict=True))[::6]:
        assert said["top"] == expected(plan, content)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "the body is empty"),
        (b"no photograph", 400, "no photograph"),
        (photograph()[:200], 400, "image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1000), 400, ""),
        (bytes(10 * 2**20 + 1), 413, "may have 10,485,760 bytes"),
        (iter([bytes(2**20)] * 11), 413, "may have 10,485,760 bytes"),
    ],
    ids=["empty", "text", "cut", "zeros", "large", "endless"],
)  # fmt: skip
def test_what_is_no_photograph_gets_a_status_and_a_sentence(
    body: Any, status: int, words: str, server: Server
) -> None:
    got, said = server.ask("POST", "/classify", body)
    assert got == status
    assert list(said) == ["error"]
    assert words in said["error"]
    assert said["error"].isprintable()
    assert server.ask("GET", "/health")[0] == 200


def test_another_path_or_method_is_refused(server: Server) -> None:
    assert server.ask("GET", "/classify")[0] == 405
    assert server.ask("GET", "/nothing")[0] == 404


def test_a_caller_that_goes_away_leaves_nothing_behind(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as caller:
        caller.sendall(b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
    end = time.monotonic() + PATIENCE
    while server.ask("GET", "/health")[1]["requests"] and time.monotonic() < end:
        time.sleep(0.02)
    assert server.ask("GET", "/health")[1]["requests"] == 0


def test_sigterm_ends_it_with_0_after_the_answers_under_way(plan: Path) -> None:
    server = Server(plan)
    answers: list[tuple[int, Any]] = []
    content = photograph()
    caller = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    head = f"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}\r\n\r\n"
    caller.sendall(head.encode() + content[:100])
    while not server.ask("GET", "/health")[1]["requests"]:
        time.sleep(0.02)
    stopping = threading.Thread(target=lambda: answers.append(server.stop()))
    stopping.start()
    caller.sendall(content[100:])
    with caller, caller.makefile("rb") as reply:
        assert b" 200 " in reply.readline()
    stopping.join(PATIENCE)
    assert answers == [(0, "")]


@pytest.mark.parametrize("what", ["no/such.plan", "text", "dull.plan"])
def test_what_cannot_be_served_is_a_sentence(what: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no plan")
    mg.compile(mg.nn.Conv2d(3, 8, 1).eval(), (1, 3, 4, 4)).save(tmp_path / "dull.plan")
    command = [sys.executable, str(SCRIPT), str(tmp_path / what)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=ENVIRONMENT
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("serve: ")
    assert ended.stderr.count("\n") == 1
