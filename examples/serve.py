"""A network that answers over HTTP: photographs in, JSON out (docs/serving.md).

    minigrad compile efficientnet_lite0 --weights efficientnet_lite0 -o net.plan
    python examples/serve.py net.plan --port 8000
    curl --data-binary @photo.jpg http://127.0.0.1:8000/classify

A pool of as many threads as there are CPUs decodes photographs and runs the plan, each on one
thread of its own: with several callers that answers the most requests a second.  What is wrong
with a request is a status and one sentence.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import NoReturn

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import minigrad as mg
from minigrad.models import Description
from minigrad.resources import available_cpus
from minigrad.vision import preprocess

LARGEST_BODY = 10 << 20  # bytes of a photograph
MOST_PIXELS = 50_000_000  # of a photograph; decoding takes 4 to 8 bytes for each
MOST_WAITING = 64  # requests that are answered or wait; those beyond are told to come again
UPLOAD_SECONDS = 30.0
TOP = 5


class Classifier:
    """The network of a plan file, for one photograph at a time."""

    def __init__(self, path: str) -> None:
        self.plan = mg.load_plan(path, threads=1, mmap=True)
        stated = Description.of(self.plan.metadata)
        if stated.preparation is None:
            raise mg.MinigradError(f"{path} does not say how photographs are prepared")
        self.preparation = stated.preparation
        side = self.preparation.size
        if self.plan.graph.shape != (1, 3, side, side) or self.plan.layout != "NCHW":
            raise mg.MinigradError(f"{path} does not take one photograph of {side} x {side}")
        classes = self.plan(np.zeros((1, 3, side, side), np.float32)).shape[1]
        self.labels = stated.labels or tuple(f"class {k}" for k in range(classes))

    def __call__(self, photograph: bytes) -> list[dict[str, object]]:
        """The likeliest classes of a photograph; FormatError if it is none."""
        batch = preprocess(photograph, self.preparation, max_pixels=MOST_PIXELS)
        z = self.plan(batch)[0].astype(np.float64)
        p = np.exp(z - z.max())
        p /= p.sum()
        best = np.argsort(-p, kind="stable")[:TOP]
        return [{"label": self.labels[k], "probability": float(p[k])} for k in best]


async def body_of(request: Request) -> bytes:
    """The whole body, never more than LARGEST_BODY of it in memory.

    One that is too large is read to its end all the same: a caller that is still sending would
    not see the answer.
    """
    body, size = bytearray(), 0
    async for piece in request.stream():
        size += len(piece)
        if size <= LARGEST_BODY:
            body += piece
    if size > LARGEST_BODY:
        raise HTTPException(413, f"a photograph may have {LARGEST_BODY:,} bytes")
    if not body:
        raise HTTPException(400, "the body is empty: send the bytes of a photograph")
    return bytes(body)


class Service:
    """What the routes share: the network, the threads that run it, and a count."""

    def __init__(self, network: Classifier) -> None:
        self.network, self.waiting = network, 0
        self.pool = ThreadPoolExecutor(available_cpus())

    async def classify(self, request: Request) -> JSONResponse:
        """POST /classify: the likeliest classes of the photograph in the body."""
        if self.waiting >= MOST_WAITING:
            raise HTTPException(503, "there are too many requests: come again soon")
        self.waiting += 1
        try:
            body = await asyncio.wait_for(body_of(request), UPLOAD_SECONDS)
            running = asyncio.get_running_loop().run_in_executor(self.pool, self.network, body)
            return JSONResponse({"model": self.network.plan.name, "top": await running})
        except mg.MinigradError as error:
            raise HTTPException(400, str(error)) from None
        except asyncio.TimeoutError:
            raise HTTPException(408, f"no photograph came in {UPLOAD_SECONDS:g} s") from None
        except ClientDisconnect:
            raise HTTPException(400, "the photograph was not sent to its end") from None
        finally:
            self.waiting -= 1

    async def health(self, request: Request) -> JSONResponse:
        """GET /health: that the service answers, and how many requests it has now."""
        return JSONResponse(
            {"status": "ok", "model": self.network.plan.name, "requests": self.waiting}
        )

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """From the first request to the last: then the threads end."""
        yield
        self.pool.shutdown()

    def app(self) -> Starlette:
        """The application for any ASGI server."""
        routes = [
            Route("/classify", self.classify, methods=["POST"]),
            Route("/health", self.health),
        ]
        return Starlette(
            routes=routes, lifespan=self.lifespan, exception_handlers={HTTPException: refusal}
        )


async def refusal(request: Request, error: Exception) -> JSONResponse:
    """A status and one sentence."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


def stop(*_: object) -> NoReturn:
    """SIGTERM ends the process with 0: uvicorn has answered what was under way before."""
    sys.exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Classify photographs over HTTP.")
    parser.add_argument("plan", help="a file that `minigrad compile` wrote")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    try:
        service = Service(Classifier(options.plan))
        listening = socket.create_server((options.host, options.port))
    except (mg.MinigradError, OSError) as error:
        sys.exit(f"serve: {error}")
    print(f"listening on http://{options.host}:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        service.app(), log_level="warning", lifespan="on", timeout_graceful_shutdown=30
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
