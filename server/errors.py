"""Errors as OpenAI-shaped bodies: `{"error": {message, type, param, code}}` with the right status, and Retry-After where it helps."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from redraft.errors import BadRequest, RedraftError, from_status


def body_of(error: RedraftError) -> dict[str, Any]:
    message = error.message.encode("utf-8", "replace").decode()
    return {"error": {"message": message, "type": error.type, "param": error.param, "code": error.status}}


def response_of(error: RedraftError) -> JSONResponse:
    headers = {"Retry-After": str(math.ceil(error.retry_after_s))} if error.retry_after_s is not None else None
    return JSONResponse(body_of(error), status_code=error.status, headers=headers)


async def handle_http(request: Request, error: Exception) -> Response:
    """FastAPI's handler for what the framework itself refuses: no such route, wrong method."""
    assert isinstance(error, HTTPException)
    found = from_status(error.status_code, str(error.detail))
    body = {"error": body_of(found)["error"] | {"code": error.status_code}}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def handle(request: Request, error: Exception) -> Response:
    """FastAPI's handler for RedraftError."""
    assert isinstance(error, RedraftError)
    return response_of(error)


def of_validation(errors: Any) -> BadRequest:
    """The first fault of a body, with the field's dotted name and what was expected there."""
    first = errors[0]
    place = [str(part) for part in first["loc"] if part != "body"]
    if first["type"] == "json_invalid":
        return BadRequest(f"the body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}")
    field = ".".join(place) or None
    return BadRequest(f"`{field}`: {first['msg']}" if field else f"the body: {first['msg']}", param=field)


class Route(APIRoute):
    """A route whose validation errors are ours, whatever app it is attached to."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def typed(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as error:
                return response_of(of_validation(error.errors()))
            except RedraftError as error:
                return response_of(error)
            except HTTPException as error:  # a body that is no text at all
                return await handle_http(request, error)

        return typed
