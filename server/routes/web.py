"""The playground at `/` with its files below `/web/`, and the standalone server's API docs page. Nothing here knows a model."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from redraft.errors import ModelNotFound
from server.errors import Route
from server.web import HEADERS, File, Pages

READING = ["GET", "HEAD"]


def playground(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=Route, include_in_schema=False)

    @router.api_route("/", methods=READING, response_model=None)
    async def page(request: Request) -> Response:
        return _sent(pages.playground, request)

    @router.api_route("/web/{name:path}", methods=READING, response_model=None)
    async def file(name: str, request: Request) -> Response:
        found = pages.files.get(name)
        if found is None:
            raise ModelNotFound("there is no such file")
        return _sent(found, request)

    return router


def docs(pages: Pages) -> APIRouter:
    """The API docs from our own origin, where the framework's own page would load its scripts from a CDN."""
    router = APIRouter(route_class=Route, include_in_schema=False)

    @router.api_route("/docs", methods=READING, response_model=None)
    async def page(request: Request) -> Response:
        return _sent(pages.docs, request)

    return router


def _sent(file: File, request: Request) -> Response:
    headers = {**HEADERS, "Content-Security-Policy": file.policy, "ETag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.type, headers=headers)
