"""A small OpenAI-compatible server over the scripted engine, on a real socket: what remote mode is tested against.

It speaks vLLM's dialect of streaming (running usage, `continue_final_message`, log-probabilities) and can be told to misbehave.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from redraft.engine import Generation
from redraft.errors import RedraftError
from redraft.scripted import ScriptedEngine
from server.errors import response_of


def upstream(engine: ScriptedEngine, faults: dict[str, Any] | None = None) -> FastAPI:
    """`faults` may hold: status (with headers), hang, half (break off mid-stream), html (a 200 that is no stream)."""
    faults = {} if faults is None else faults
    app = FastAPI()

    @app.get("/v1/models")
    async def models() -> Response:
        if "status" in faults:
            return JSONResponse({"error": {"message": "down for repairs"}}, faults["status"], headers=faults.get("headers"))
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in await engine.models()]})

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await request.json()
        if "status" in faults:
            return JSONResponse({"error": {"message": "down for repairs"}}, faults["status"], headers=faults.get("headers"))
        if "html" in faults:
            return Response("<html>hello</html>", media_type="text/html")
        try:
            asked = Generation(
                messages=tuple(body["messages"]),
                model=body["model"],
                max_tokens=body.get("max_tokens", 64),
                n=body.get("n", 1),
                temperature=body.get("temperature", 0),
                seed=body.get("seed"),
                stop=tuple(body.get("stop", ())),
                continue_final=body.get("continue_final_message", False),
                top_logprobs=body.get("top_logprobs", 0),
                extra={"cache_salt": body["cache_salt"]} if "cache_salt" in body else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"error": {"message": f"odd: {error!r}", "type": "invalid_request_error", "param": None, "code": 400}}, 400)
        if asked.model not in await engine.models():
            return JSONResponse({"error": {"message": f"no model {asked.model}", "param": "model"}}, 404)
        if not body.get("stream"):
            return JSONResponse({"object": "chat.completion", "echo": body, "authorization": request.headers.get("authorization")})
        return StreamingResponse(_chunks(engine, asked, faults), media_type="text/event-stream")

    @app.get("/health")
    async def health() -> Response:
        return Response(status_code=200)

    return app


async def _chunks(engine: ScriptedEngine, asked: Generation, faults: dict[str, Any]) -> AsyncIterator[str]:
    counts = [0] * asked.n
    try:
        async with engine.stream(asked) as stream:
            async for chunk in stream:
                counts[chunk.index] += bool(chunk.text)
                logprobs = None
                if chunk.top_logprobs:
                    tops = [{"token": token, "logprob": value} for token, value in chunk.top_logprobs[0].items()]
                    logprobs = {"content": [{"token": tops[0]["token"], "logprob": tops[0]["logprob"], "top_logprobs": tops}]}
                choice = {
                    "index": chunk.index,
                    "delta": {"content": chunk.text},
                    "logprobs": logprobs,
                    "finish_reason": chunk.finish_reason,
                }
                usage = {"prompt_tokens": stream.usage.prompt_tokens, "completion_tokens": counts[chunk.index]}
                yield f"data: {json.dumps({'choices': [choice], 'usage': usage})}\n\n"
                if "half" in faults:
                    return
                if "hang" in faults:
                    await asyncio.sleep(60)
            usage = {"prompt_tokens": stream.usage.prompt_tokens, "completion_tokens": sum(counts)}
            yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n"
    except RedraftError as error:
        yield f"data: {bytes(response_of(error).body).decode()}\n\n"


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Serve `app` on a free port of the loopback for as long as the context lasts; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
