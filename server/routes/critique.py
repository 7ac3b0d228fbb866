"""`POST /critique`: one response judged, in words and as a probability."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from redraft.critic import CriticCall, Judgement
from redraft.types import Critique, Stage
from server import services, stream
from server.errors import Route
from server.observe import watching
from server.routes import schema
from server.services import Services

router = APIRouter(route_class=Route, tags=["loop"])


async def _judge(parts: Services, body: schema.CritiqueRequest, critic: str, tell: Callable[[str], None]) -> dict[str, Any]:
    started = time.monotonic()
    first: list[float] = []

    def on_text(text: str) -> None:
        if not first:
            first.append(time.monotonic() - started)
        tell(text)

    call = CriticCall(parts.engine, model=critic, max_tokens=body.max_tokens or parts.settings.loop.critique_tokens)
    with watching(parts.telemetry, parts.tracing, route="critique", model=critic, critic=critic) as watch:
        async with parts.admission.place():
            watch.admitted()
            begun = time.monotonic()
            try:
                judgement = await call.run(body.problem, body.response, on_text)
            finally:
                watch.call(Stage.CRITIQUE, time.monotonic() - begun, call.usage)
        watch.judged(Critique(0, judgement.text, judgement.verdict, judgement.p_correct, judgement.reason))
    seconds = time.monotonic() - started
    timing = {"wall_s": round(seconds, 6), "ttft_s": round(first[0], 6) if first else None}
    return _body(judgement, critic) | {"usage": schema.usage_body(call.usage), "timing": timing}


def _body(judgement: Judgement, critic: str) -> dict[str, Any]:
    return {
        "id": f"critique-{uuid.uuid4().hex}",
        "object": "redraft.critique",
        "verdict": judgement.verdict.value,
        "p_correct": judgement.p_correct,
        "critique": judgement.text,
        "reason": judgement.reason,
        "truncated": judgement.truncated,
        "model": critic,
    }


@router.post("/critique", summary="Judge a response", response_model=None)
async def critique(body: schema.CritiqueRequest, request: Request) -> Response:
    """`p_correct` is the critic's probability of `right` against `wrong` at the verdict token; `abstain` says why in `reason`.

    `model` may be any served model or adapter. With `stream`: events `critique.text`, and the whole answer as `result`.
    """
    parts = services.of(request)
    critic = await parts.catalog.resolve(body.model or parts.default_critic(request))

    async def job(send: stream.Send) -> None:
        def tell(text: str) -> None:
            send.open()
            send(stream.event({"type": "critique.text", "text": text}, name="critique.text"))

        whole = await _judge(parts, body, critic, tell)
        send(stream.event({"type": "result", **whole}, name="result"))

    if body.stream:
        return await stream.sse(request, job, keep_alive_s=parts.settings.keep_alive_s)
    whole = await stream.until_disconnect(request, _judge(parts, body, critic, lambda text: None))
    return Response(status_code=stream.CLIENT_GONE) if whole is None else JSONResponse(whole)
