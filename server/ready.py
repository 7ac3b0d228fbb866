"""One line when the server answers: its address, its models, where the docs and the metrics are. On a Unix socket too."""

from __future__ import annotations

import asyncio
import sys

import httpx

from server.services import LOOP_SUFFIX, Services

POLL_S = 0.1


def address(host: str | None, port: int, *, tls: bool = False) -> str:
    """The URL at which this machine reaches a server that listens on `host`."""
    shown = "127.0.0.1" if host in {None, "", "0.0.0.0", "::"} else str(host)
    return f"{'https' if tls else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}"


async def announce(parts: Services, *, host: str | None, port: int, tls: bool = False, uds: str | None = None) -> None:
    """Wait until `/health/ready` answers on the listening address, then say so on standard output."""
    url = address(None if uds else host, port, tls=tls)
    # This asks our own address, whatever name its certificate is for.
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(verify=False, uds=uds)) as client:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                answer = await client.get(f"{url}/health/ready", timeout=5)
            except httpx.TransportError:
                continue
            if answer.status_code == httpx.codes.OK:
                break
    names = ", ".join(f"{name} ({name}{LOOP_SUFFIX})" for name in answer.json()["models"])
    shown = f"{url}/v1  models: {names}  docs: {url}/docs  metrics: {url}/metrics" if uds is None else f"unix:{uds}  models: {names}"
    print(f"redraft is ready: {shown}", file=sys.stdout, flush=True)
