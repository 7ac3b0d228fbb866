"""Puts routes and guards on an app: vLLM's own, or the standalone one over a remote engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from evalsuite import checker
from redraft.errors import RedraftError
from redraft.remote import RemoteEngine
from server import errors, ready, services
from server.adapters.leases import AdapterNames
from server.admission import Admission
from server.config import ServeSettings
from server.drain import Door
from server.guard import gates
from server.routes import adapters, critique, health, metrics, proxy, solve, web
from server.telemetry import Telemetry
from server.tracing import TraceContext
from server.web import load as load_pages

CATALOG_TTL_S = 2.0


def attach_routes(app: FastAPI, settings: ServeSettings, *, bind: str | None, docs: bool = False) -> None:
    """The loop's routes, the playground, and the guards in front of every route of `app`, which is to listen on `bind`.

    With `docs`, our page of the API docs.
    """
    pages = load_pages()
    app.include_router(solve.router)
    app.include_router(critique.router)
    app.include_router(health.router)
    app.include_router(adapters.router)
    app.include_router(web.playground(pages))
    if docs:
        app.include_router(web.docs(pages))
    app.add_exception_handler(RedraftError, errors.handle)
    if settings.otlp_endpoint is not None:
        app.add_middleware(TraceContext)
    app.add_middleware(AdapterNames)
    ring = gates.keyring(settings, bind=bind)
    gates.check_bodies(app, settings, ring)
    app.add_middleware(Door)
    gates.check_callers(app, settings, ring, bind=bind, pages=pages.paths)


def standalone(settings: ServeSettings) -> FastAPI:
    """The same routes and the same loop over `settings.engine_url`; what is not ours passes through to it."""
    assert settings.engine_url is not None
    engine = RemoteEngine(settings.engine_url, api_key=settings.engine_api_key, read_timeout_s=settings.engine_timeout_s)
    registry = CollectorRegistry()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts = services.of_app(app)
        tasks = [
            asyncio.create_task(ready.announce(parts, host=settings.host, port=settings.port)),
            asyncio.create_task(parts.vitals.watch()),
        ]
        await parts.beat.take_over()
        yield
        for task in tasks:
            task.cancel()
        await engine.aclose()
        await asyncio.to_thread(parts.tracing.close)
        checker.close()

    app = FastAPI(title="Redraft", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_exception_handler(HTTPException, errors.handle_http)
    limits = settings.limits
    admission = Admission(running=limits.loops, waiting=limits.waiting, waiting_tokens=limits.waiting_tokens)
    services.assemble(
        app.state, settings, engine, catalog_ttl_s=CATALOG_TTL_S, telemetry=Telemetry(admission, registry), admission=admission
    )
    attach_routes(app, settings, bind=settings.host, docs=True)
    metrics.attach(app, registry)
    app.include_router(proxy.router)
    return app
