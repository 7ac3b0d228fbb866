"""`POST /solve`: one problem through the loop, whole or as a stream of its events."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from redraft import loop
from redraft.events import Emit, Event, StepEnded, StepStarted, StepText, VoteMoved
from redraft.options import LoopOptions
from redraft.types import LoopResult, Message
from server import services, stream
from server.admission import Deadline, estimate, texts_of
from server.errors import Route
from server.observe import watching
from server.routes import keyed, schema
from server.services import Services

router = APIRouter(route_class=Route, tags=["loop"])


async def run_loop(
    parts: Services,
    messages: list[Message],
    *,
    model: str,
    critic: str,
    options: LoopOptions,
    deadline: Deadline,
    emit: Emit = lambda event: None,
) -> LoopResult:
    """One loop in its place in the queue. Every engine call is counted, also those of a loop that is cancelled."""
    tokens = estimate(texts_of(messages), options.max_tokens)
    with watching(parts.telemetry, parts.tracing, route="solve", model=model, critic=critic) as watch:
        async with parts.admission.place(tokens, deadline):
            watch.admitted()
            result = await loop.run(
                parts.share,
                parts.checker,
                messages,
                model=model,
                critic=critic,
                options=replace(parts.share.fitted(options), deadline_s=deadline.left()),
                calibration=parts.calibration_of(critic),
                halt=parts.halt,
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

    With `stream` the answer is a stream of server-sent events `step.started`, `step.text`, `step.ended`, `vote` and, last, `result`. With
    the header `Idempotency-Key` a retry joins the first request or gets its answer again.
    """
    parts = services.of(request)
    options = body.loop.options(parts.settings.loop, parts.settings.limits)
    deadline = Deadline.after(options.deadline_s)
    model, critic = await parts.models_of(request, body.model, body.critic, deadline)
    messages = body.conversation()
    loop.last_problem(messages)
    request_id = f"solve-{uuid.uuid4().hex}"

    async def solved(emit: Emit) -> dict[str, Any]:
        result = await run_loop(parts, messages, model=model, critic=critic, options=options, deadline=deadline, emit=emit)
        return schema.solve_body(result, request_id=request_id, model=model, critic=critic)

    async def streamed(send: stream.Send) -> None:
        def emit(happened: Event) -> None:
            if isinstance(happened, StepText):
                send.open()
            data = event_body(happened)
            send(stream.event(data, name=data["type"]))

        send(stream.event({"type": "result", **await solved(emit)}, name="result"))

    async def whole(send: stream.Send) -> None:
        send(stream.compact(await solved(lambda event: None)))

    return await keyed.answer(request, body, streamed if body.stream else whole, streamed=body.stream, models=(model, critic))
