"""The error tree. Every error carries what an OpenAI-shaped body needs; `server.errors` renders it.

RedraftError
├── BadRequest          400  a field of the request is wrong; `param` names it
├── Unauthorized        401  no key, or a wrong one
├── Forbidden           403  this key may not do that, or this caller may not ask here
├── ModelNotFound       404  no such model or adapter is served
├── TooLarge            413  the body or the prompt is over a limit
├── Overloaded          429  no place in the queue; `retry_after_s` says when to come back
├── EngineFailed        502  the engine answered something that is no answer
├── EngineUnavailable   503  the engine is gone or not ready; `retry_after_s` says when to come back
└── EngineTimeout       504  the engine did not answer in time
"""

from __future__ import annotations


class RedraftError(Exception):
    """Base of all errors a caller may see. `message` is safe to show."""

    status = 500
    type = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class BadRequest(RedraftError):
    status = 400
    type = "invalid_request_error"


class Unauthorized(RedraftError):
    status = 401
    type = "authentication_error"


class Forbidden(RedraftError):
    status = 403
    type = "permission_error"


class ModelNotFound(RedraftError):
    status = 404
    type = "not_found_error"


class TooLarge(RedraftError):
    status = 413
    type = "request_too_large"


class Overloaded(RedraftError):
    status = 429
    type = "rate_limit_error"


class EngineFailed(RedraftError):
    status = 502
    type = "engine_error"


class EngineUnavailable(RedraftError):
    status = 503
    type = "service_unavailable"


class EngineTimeout(RedraftError):
    status = 504
    type = "timeout_error"


BY_STATUS: dict[int, type[RedraftError]] = {
    cls.status: cls
    for cls in (BadRequest, Unauthorized, Forbidden, ModelNotFound, TooLarge, Overloaded, EngineFailed, EngineUnavailable, EngineTimeout)
}


def from_status(status: int, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> RedraftError:
    """The error for an HTTP status that an engine answered. Unknown 4xx are the request's fault, other ones the engine's."""
    if status == 422:
        status = 400
    cls = BY_STATUS.get(status)
    if cls is None:
        cls = BadRequest if 400 <= status < 500 else EngineFailed
    return cls(message, param=param, retry_after_s=retry_after_s)
