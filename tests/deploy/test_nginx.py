"""The proxy in front of two servers, run for real where nginx is installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from benchmarks.servers import free_port
from tests.deploy.series import DEPLOY
from tests.openai_server import listening

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/bin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


PIECES = (b"data: first\n\n", b"data: second\n\n", b"data: third\n\n")
"""What a stream sends before it goes silent."""


def behind(name: str, seen: list[str]) -> FastAPI:
    app = FastAPI()

    @app.post("/solve")
    async def solve(request: Request) -> dict[str, str]:
        await request.body()
        seen.append(name)
        return {"from": name}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in PIECES:
                yield piece
                await asyncio.sleep(0.1)
            await asyncio.sleep(30)

        return StreamingResponse(pieces(), media_type="text/event-stream")

    return app


@dataclass(frozen=True)
class Proxy:
    url: str
    seen: list[str]


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """nginx over one live server and one that refuses connections."""
    assert NGINX is not None
    seen: list[str] = []
    port, dead = free_port(), free_port()
    text = (DEPLOY / "nginx" / "nginx.conf").read_text(encoding="utf-8")
    with listening(behind("one", seen)) as one:
        for name, address in (("redraft-1:8000", one.removeprefix("http://")), ("redraft-2:8000", f"127.0.0.1:{dead}")):
            text = text.replace(f"server {name}", f"server {address}")
        text = (
            text.replace("listen 8080", f"listen 127.0.0.1:{port}")
            .replace("/tmp/", f"{tmp_path}/")
            .replace("root /srv", f"root {tmp_path}")
        )
        (tmp_path / "nginx.conf").write_text(text)
        (tmp_path / "evaluation").mkdir()
        (tmp_path / "evaluation" / "evalsuite.prom").write_text("evalsuite_accuracy 1\n")
        own = "user root;" if os.geteuid() == 0 else ""
        command = [NGINX, "-c", str(tmp_path / "nginx.conf"), "-g", f"daemon off; {own}"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            while process.poll() is None:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
                    break
                except httpx.TransportError:
                    time.sleep(0.02)
            assert process.poll() is None, process.communicate()[1]
            yield Proxy(f"http://127.0.0.1:{port}", seen)
        finally:
            process.terminate()
            process.communicate()


def test_a_server_that_refuses_connections_loses_no_request(proxy: Proxy) -> None:
    with httpx.Client(base_url=proxy.url, trust_env=False) as client:
        answers = [client.post("/solve", json={"n": n}) for n in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 8
    assert proxy.seen == ["one"] * 8


def test_a_stream_arrives_piece_by_piece(proxy: Proxy) -> None:
    with httpx.Client(base_url=proxy.url, trust_env=False, timeout=20) as client, client.stream("GET", "/stream") as reply:
        got = b""
        for piece in reply.iter_bytes():
            got += piece
            if got == b"".join(PIECES):
                break
    assert got == b"".join(PIECES)


def test_metrics_of_one_replica_are_not_shown_and_the_evaluation_is(proxy: Proxy) -> None:
    with httpx.Client(base_url=proxy.url, trust_env=False) as client:
        assert client.get("/metrics").status_code == 404
        assert client.get("/evaluation/evalsuite.prom").text == "evalsuite_accuracy 1\n"
        assert client.post("/solve", content=b"x" * (17 << 20)).status_code == 413
