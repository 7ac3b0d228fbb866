"""`POST /solve`: one problem through the loop, whole or as a stream of its events."""

from __future__ import annotations

import uuid
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from redraft import loop
from redraft.events import Emit, Event, StepEnded, StepStarted, StepText, VoteMoved
from redraft.types import LoopResult, Message
from server import services, stream
from server.errors import Route
from server.observe import watching
from server.routes import schema
from server.services import Services

router = APIRouter(route_class=Route, tags=["loop"])


async def run_loop(
    parts: Services, messages: list[Message], *, model: str, critic: str, options: loop.LoopOptions, emit: Emit = lambda event: None
) -> LoopResult:
    """One loop in its place in the queue. Every engine call is counted, also those of a loop that is cancelled."""
    with watching(parts.telemetry, parts.tracing, route="solve", model=model, critic=critic) as watch:
        async with parts.admission.place():
            watch.admitted()
            result = await loop.run(
                parts.engine,
                parts.checker,
                messages,
                model=model,
                critic=critic,
                options=options,
                calibration=parts.calibration_of(critic),
                emit=emit,
                on_call=watch.call,
            )
        watch.looped(result)
    return result


def event_body(happened: Event) -> dict[str, Any]:
    match happened:
        case StepStarted(stage, index, parent):
            return {"type": "step.started", "stage": stage.value, "index": index, "parent": parent}
        case StepText(stage, index, text):
            return {"type": "step.text", "stage": stage.value, "index": index, "text": text}
        case StepEnded(stage, index, draft, critique):
            body = schema.draft_body(draft) if draft is not None else {}
            if critique is not None:
                body = schema.critique_body(critique)
            return {"type": "step.ended", **body, "stage": stage.value, "index": index}
        case VoteMoved(candidates):
            votes = [{"answer": c.answer, "members": list(c.members), "weight": c.weight} for c in candidates]
            return {"type": "vote", "candidates": votes}


@router.post("/solve", summary="Solve, critique, revise", response_model=None)
async def solve(body: schema.SolveRequest, request: Request) -> Response:
    """Drafts in parallel, grouped by mathematical equality; critique where they disagree; revisions that join the vote.

    With `stream` the answer is a stream of server-sent events `step.started`, `step.text`, `step.ended`, `vote` and, last, `result`.
    """
    parts = services.of(request)
    model, critic = await parts.models_of(request, body.model, body.critic)
    options = body.loop.options(parts.settings.loop, parts.settings.limits)
    messages = body.conversation()
    loop.last_problem(messages)
    request_id = f"solve-{uuid.uuid4().hex}"

    async def job(send: stream.Send) -> None:
        def emit(happened: Event) -> None:
            if isinstance(happened, StepText):
                send.open()
            data = event_body(happened)
            send(stream.event(data, name=data["type"]))

        result = await run_loop(parts, messages, model=model, critic=critic, options=options, emit=emit)
        whole = schema.solve_body(result, request_id=request_id, model=model, critic=critic)
        send(stream.event({"type": "result", **whole}, name="result"))

    if body.stream:
        return await stream.sse(request, job, keep_alive_s=parts.settings.keep_alive_s)
    result = await stream.until_disconnect(request, run_loop(parts, messages, model=model, critic=critic, options=options))
    if result is None:
        return Response(status_code=stream.CLIENT_GONE)
    return JSONResponse(schema.solve_body(result, request_id=request_id, model=model, critic=critic))
