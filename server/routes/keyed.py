"""Answers that may come with an `Idempotency-Key`: a job's stream or its one whole item, recorded under the key or run for this client."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request, Response
from pydantic import BaseModel

from server import idempotency, services, stream
from server.adapters import leases


async def answer(request: Request, body: BaseModel, job: stream.Job, *, streamed: bool, models: Sequence[str]) -> Response:
    """`models` are the revisions that the job uses: they stay loaded for it, also when it outlives this request."""
    parts = services.of(request)
    asked = idempotency.asked(request, _meant(request, body))
    played, again = job, False
    if asked is not None:
        registry = None if parts.adapters is None else parts.adapters.registry

        async def lasting(send: stream.Send) -> None:
            with leases.kept(registry, models):
                await job(send)

        played, again = parts.replays.join(asked, lasting)
    response = await (stream.sse(request, played, keep_alive_s=parts.settings.keep_alive_s) if streamed else stream.whole(request, played))
    if again:
        response.headers.update(idempotency.REPLAYED)
    return response


def _meant(request: Request, body: BaseModel) -> dict[str, object]:
    """The body with names as its caller gave them: an alias may point elsewhere when the retry comes."""
    found: dict[str, object] = body.model_dump(mode="json")
    for field in leases.FIELDS:
        if isinstance(name := found.get(field), str):
            found[field] = leases.asked_as(request.scope, name)
    return found
