"""`POST /critique`: one response judged, in words and as a probability."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from redraft.critic import CriticCall, Judgement
from redraft.errors import EngineUnavailable
from redraft.types import Critique, Stage
from server import services, stream
from server.admission import RETRY_AFTER_S, estimate
from server.errors import Route
from server.observe import watching
from server.routes import keyed, schema
from server.services import Services

router = APIRouter(route_class=Route, tags=["loop"])

SAMPLED = 0.7
"""The temperature of several critiques where the settings' one is 0."""


async def _judge(parts: Services, body: schema.CritiqueRequest, critic: str, tell: Callable[[str], None]) -> dict[str, Any]:
    started = time.monotonic()
    first: list[float] = []

    def on_text(text: str) -> None:
        if not first:
            first.append(time.monotonic() - started)
        tell(text)

    most = body.max_tokens or parts.settings.loop.critique_tokens
    call = CriticCall(
        parts.share,
        model=critic,
        max_tokens=most,
        critiques=body.critiques,
        temperature=0.0 if body.critiques == 1 else parts.settings.loop.temperature or SAMPLED,
    )
    with watching(parts.telemetry, parts.tracing, route="critique", model=critic, critic=critic) as watch:
        async with parts.admission.place(estimate((body.problem, body.response), most * body.critiques)):
            watch.admitted()
            begun = time.monotonic()
            try:
                async with parts.halt.within(None):
                    judgement = await call.run(body.problem, body.response, on_text)
            except TimeoutError:
                raise EngineUnavailable("this server is shutting down: ask another", retry_after_s=RETRY_AFTER_S) from None
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
        "beliefs": list(judgement.beliefs),
        "critique": judgement.text,
        "reason": judgement.reason,
        "truncated": judgement.truncated,
        "model": critic,
    }


@router.post("/critique", summary="Judge a response", response_model=None)
async def critique(body: schema.CritiqueRequest, request: Request) -> Response:
    """`p_correct` is the critic's probability of `right` against `wrong` at the verdict token; `abstain` says why in `reason`.

    `model` may be any served model or adapter. With `stream`: events `critique.text`, and the whole answer as `result`. With the header
    `Idempotency-Key` a retry joins the first request or gets its answer again.
    """
    parts = services.of(request)
    critic = await parts.catalog.resolve(body.model or parts.default_critic(request))

    async def streamed(send: stream.Send) -> None:
        def tell(text: str) -> None:
            send.open()
            send(stream.event({"type": "critique.text", "text": text}, name="critique.text"))

        send(stream.event({"type": "result", **await _judge(parts, body, critic, tell)}, name="result"))

    async def whole(send: stream.Send) -> None:
        send(stream.compact(await _judge(parts, body, critic, lambda text: None)))

    return await keyed.answer(request, body, streamed if body.stream else whole, streamed=body.stream, models=(critic,))
